"""Several servers of one model."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from metagen.errors import InputError, TransientError
from metagen.request import Backend, Card, Meter, Outcome, Request, Sampling, card_of, refusal, thinking_of
from metagen.thinking import Family

HOMES = 10_000
"""Problems of which it is known where they were served."""
LEAN = 32
"""Samples more than elsewhere that are no reason to leave a cached prefix."""
REST = 10.0
"""Seconds for which a server that could not be reached is left out."""


@dataclass
class _Member:
    backend: Backend
    opened: bool = False
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    in_flight: int = 0
    """Samples."""
    rests_until: float = 0.0


class Balanced(Backend):
    """Serves one model by several backends: each request goes to the one with the fewest samples in flight.

    A request of a problem that a backend has served before goes there again, where its prefix is cached, unless that
    backend has over `lean` samples more in flight than the least busy one.

    One that cannot be reached is left out for `rest` seconds and then tried again. The request that found out raises
    `TransientError`: inside `Retrying` it is asked again, and so goes to another. All must be called alike, since
    token ids belong to a model by its name. Opening needs one that is there.
    """

    def __init__(self, *of: Backend, rest: float = REST, lean: int = LEAN) -> None:
        if not of:
            raise InputError("Balanced: needs backends, such as Balanced(OpenAIServer(...), OpenAIServer(...))")
        self.of = of
        self._members = [_Member(backend) for backend in of]
        self._rest = rest
        self._lean = lean
        self._homes: OrderedDict[str, _Member] = OrderedDict()
        """By problem: the backend that served it last."""

    @property
    def name(self) -> str:
        return self._first().name

    @property
    def context(self) -> int:
        return min(member.backend.context for member in self._members if member.opened)

    @property
    def card(self) -> Card | None:
        return card_of(self._first())

    @property
    def missing(self) -> tuple[str, ...]:
        """What some of them cannot do."""
        return tuple({what: None for member in self._members for what in member.backend.missing})

    @property
    def thinking(self) -> Family | None:
        return thinking_of(self._first())

    async def encode(self, text: str) -> tuple[int, ...]:
        return await self._first().encode(text)

    def refuses(self, sampling: Sampling) -> str:
        return next(filter(None, (refusal(member.backend, sampling) for member in self._members)), "")

    async def forget(self) -> None:
        for member in self._members:
            await member.backend.forget()

    async def probe(self) -> None:
        await (await self._pick()).backend.probe()

    async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
        member = await self._pick(request.session)
        member.in_flight += request.n
        try:
            return await member.backend.generate(request, spend)
        except TransientError as error:
            self._note(member, error)
            raise
        finally:
            member.in_flight -= request.n

    async def count(self, request: Request) -> int:
        member = await self._pick(request.session)
        try:
            return await member.backend.count(request)
        except TransientError as error:
            self._note(member, error)
            raise

    def _first(self) -> Backend:
        return next((member for member in self._members if member.opened), self._members[0]).backend

    async def _pick(self, session: str = "") -> _Member:
        """The one that served the problem, else the least busy of those that are not resting.

        If all are resting, the one that rests the shortest.
        """
        now = asyncio.get_running_loop().time()
        awake = [member for member in self._members if member.rests_until <= now]
        member = min(awake or self._members, key=lambda member: (member.in_flight, member.rests_until))
        home = self._homes.pop(session, member)
        if home in awake and home.in_flight <= member.in_flight + self._lean:
            member = home
        if session:
            self._homes[session] = member
            if len(self._homes) > HOMES:
                self._homes.popitem(last=False)
        async with member.opening:
            if not member.opened:
                await self._open(member)
        return member

    async def _open(self, member: _Member) -> None:
        member.rests_until = asyncio.get_running_loop().time() + self._rest  # meanwhile others go elsewhere
        await member.backend.__aenter__()
        member.opened, member.rests_until = True, 0.0
        names = {each.backend.name for each in self._members if each.opened}
        if len(names) > 1:
            raise InputError(f"Balanced: all must serve one model, and these are called {', '.join(sorted(names))}")

    def _note(self, member: _Member, error: TransientError) -> None:
        if error.unreachable:
            member.rests_until = asyncio.get_running_loop().time() + self._rest

    async def __aenter__(self) -> Self:
        try:
            failures = [error for member in self._members if (error := await self._opened(member))]
        except BaseException:
            await self._close()
            raise
        if len(failures) == len(self._members):
            raise failures[0]
        return self

    async def _opened(self, member: _Member) -> TransientError | None:
        try:
            await self._open(member)
        except TransientError as error:
            return error
        return None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        for member in self._members:
            if member.opened:
                member.opened = False
                await member.backend.__aexit__(None, None, None)
