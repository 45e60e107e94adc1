"""Several servers of one model."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from math import inf
from typing import Any, Generic, Self, TypeVar

from metagen.budget import Price
from metagen.errors import BackendGone, InputError, TransientError
from metagen.request import (
    AnyBackend,
    Backend,
    Card,
    Meter,
    Outcome,
    Reading,
    Request,
    RewardBackend,
    Sampling,
    card_of,
    draws_singly,
    extra_of,
    is_named,
    longest_of,
    price_of,
    refusal,
    thinking_of,
)
from metagen.thinking import Family

Inner = TypeVar("Inner", bound=AnyBackend)

HOMES = 10_000
"""Problems of which it is known where they were served."""
LEAN = 32
"""Samples more than elsewhere that are no reason to leave a cached prefix."""
REST = 10.0
"""Seconds for which a server that could not be reached is left out."""
TIRED = 3
"""Requests in a row that fail at a server, as where it limits the rate, after which others are asked for a while."""
LOOK = 0.1
"""Seconds, at least, after which a request that waits for room looks whether a server is back."""


@dataclass
class _Member(Generic[Inner]):
    backend: Inner
    opened: bool = False
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    in_flight: int = 0
    """Samples, or readings."""
    failures: int = 0
    """Requests in a row that failed and may be sent again."""
    rests_until: float = 0.0
    away: str = ""
    """Why it could not be opened with the others."""


class _Balanced(Generic[Inner]):
    """Picks one of several backends of one model, opens them, and leaves out those that cannot be reached."""

    def __init__(self, *of: Inner, rest: float = REST, lean: int = LEAN, most: float = inf) -> None:
        if not of:
            name = type(self).__name__
            raise InputError(f"{name}: needs backends, such as {name}(OpenAIServer(...), OpenAIServer(...))")
        self.of = of
        self._members = [_Member(backend) for backend in of]
        self._rest = rest
        self._lean = lean
        self._most = most
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()
        self._homes: OrderedDict[str, _Member[Inner]] = OrderedDict()
        """By problem: the backend that served it last."""

    @property
    def name(self) -> str:
        return self._first().name

    @property
    def named(self) -> bool:
        return all(is_named(member.backend) for member in self._members)

    @property
    def always_sent(self) -> Mapping[str, Any] | None:
        every = [extra_of(member.backend) for member in self._members]
        if not any(every):  # nobody adds anything
            return every[0]
        first, *others = sorted((each or {} for each in every), key=repr)
        return first if all(other == first for other in others) else {"balanced": [first, *others]}

    @property
    def context(self) -> int:
        return min(member.backend.context for member in self._members if member.opened)

    @property
    def card(self) -> Card | None:
        return card_of(self._first())

    @property
    def price(self) -> Price | None:
        return price_of(self._first())

    @property
    def missing(self) -> tuple[str, ...]:
        """What some of them cannot do."""
        return tuple({what: None for member in self._members for what in member.backend.missing})

    @property
    def away(self) -> tuple[str, ...]:
        """Why some could not be opened; they are tried again later."""
        return tuple(member.away for member in self._members if member.away)

    @property
    def waits(self) -> str:
        """What some of them wait for."""
        return ", ".join(filter(None, (member.backend.waits for member in self._members)))

    @property
    def thinking(self) -> Family | None:
        return thinking_of(self._first())

    async def forget(self) -> None:
        for member in self._members:
            if member.opened:
                await member.backend.forget()

    async def probe(self) -> None:
        """Raises `TransientError` only where none of them answers."""
        opened = [member for member in self._members if member.opened] or self._members
        failures = []
        for member in sorted(opened, key=lambda member: member.rests_until):
            try:
                return await member.backend.probe()
            except TransientError as error:
                failures.append(error)
        raise failures[0]

    def _first(self) -> Inner:
        return next((member for member in self._members if member.opened), self._members[0]).backend

    @asynccontextmanager
    async def _picked(self, session: str = "", size: int = 0) -> AsyncIterator[Inner]:
        """The backend that serves a request for `size` samples. If it cannot be reached, it rests."""
        member = await self._pick(session, size)
        try:
            async with member.opening:
                if not member.opened:
                    await self._open_late(member)
            yield member.backend
            if size:
                member.failures = 0
        except TransientError as error:
            member.failures += 1
            if self._homes.get(session) is member:
                del self._homes[session]
            if error.unreachable or member.failures >= TIRED:
                member.rests_until = asyncio.get_running_loop().time() + self._rest
            raise
        except BackendGone as gone:
            if not await self._answers_without(member):
                raise
            raise TransientError(str(gone), unreachable=True) from None
        finally:
            member.in_flight -= size
            self._freed.set()

    async def _answers_without(self, member: _Member[Inner]) -> bool:
        """Leave one out whose key or model is wrong by now; return whether another one answers."""
        now = asyncio.get_running_loop().time()
        others = [each for each in self._members if each is not member and each.opened and each.rests_until <= now]
        member.rests_until = now + self._rest
        for other in others:
            with suppress(TransientError):
                await other.backend.probe()
                return True
        return False

    async def _pick(self, session: str, size: int) -> _Member[Inner]:
        """Wait until one has room, first come, first served, and take it. What has no size needs no room."""
        if not size:
            return self._best(session, inf) or self._members[0]
        async with self._turn:
            while (member := self._best(session, self._most)) is None:
                self._freed.clear()
                with suppress(TimeoutError):  # by then, one that rests may be back
                    async with asyncio.timeout(max(self._rest, LOOK)):
                        await self._freed.wait()
            member.in_flight += size
        if session:
            self._homes[session] = member
            self._homes.move_to_end(session)
            if len(self._homes) > HOMES:
                self._homes.popitem(last=False)
        return member

    def _best(self, session: str, most: float) -> _Member[Inner] | None:
        """The one that served the problem, else the least busy of those that are not resting and have room.

        If all are resting, the least busy of them.
        """
        now = asyncio.get_running_loop().time()
        awake = [member for member in self._members if member.rests_until <= now] or self._members
        free = [member for member in awake if member.in_flight < most]
        best = min(free, key=lambda member: (member.in_flight, member.failures, member.rests_until), default=None)
        home = self._homes.get(session)
        if best and home in free and home.in_flight <= best.in_flight + self._lean and home.rests_until <= now:
            return home
        return best

    async def _open_late(self, member: _Member[Inner]) -> None:
        """Open one that was away. What is wrong with it costs no request, as long as others serve the model."""
        try:
            await self._open(member)
        except InputError as error:
            raise TransientError(str(error), unreachable=True) from None

    async def _open(self, member: _Member[Inner]) -> None:
        member.rests_until = asyncio.get_running_loop().time() + self._rest  # meanwhile others go elsewhere
        await member.backend.__aenter__()
        names = {each.backend.name for each in self._members if each.opened or each is member}
        if len(names) > 1:
            await member.backend.__aexit__(None, None, None)
            called = ", ".join(sorted(names))
            raise InputError(f"{type(self).__name__}: all must serve one model, and these are called {called}")
        member.opened, member.rests_until, member.away = True, 0.0, ""

    async def __aenter__(self) -> Self:
        try:
            failures = [error for member in self._members if (error := await self._opened(member))]
        except BaseException:
            await self._close()
            raise
        if len(failures) == len(self._members):
            raise failures[0]
        return self

    async def _opened(self, member: _Member[Inner]) -> TransientError | None:
        try:
            await self._open(member)
        except TransientError as error:
            member.away = str(error)
            return error
        return None

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def _close(self) -> None:
        for member in self._members:
            if member.opened:
                member.opened = False
                await member.backend.__aexit__(None, None, None)


class Balanced(_Balanced[Backend], Backend):
    """Serves one model by several backends: each request goes to the one with the fewest samples in flight.

    A request of a problem that a backend has served before goes there again, where its prefix is cached, unless that
    backend has over `lean` samples more in flight than the least busy one. A backend with `most` samples in flight is
    sent no more: requests wait for their turn until one has fewer.

    One that cannot be reached, that refuses the key or the model, or that fails three requests in a row, is left out
    for `rest` seconds and then tried again. The request that found out raises `TransientError`: inside `Retrying` it is
    asked again, and so goes to another. All must be called alike, since token ids belong to a model by its name.
    Opening needs one that is there.
    """

    @property
    def singly(self) -> bool:
        return any(draws_singly(member.backend) for member in self._members)

    async def encode(self, text: str) -> tuple[int, ...]:
        async with self._picked() as backend:
            return await backend.encode(text)

    def longest(self, request: Request, prompt: int) -> int:
        return min(longest_of(member.backend, request, prompt) for member in self._members if member.opened)

    def refuses(self, sampling: Sampling) -> str:
        return next(filter(None, (refusal(member.backend, sampling) for member in self._members)), "")

    async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
        begun = request.clock()
        async with self._picked(request.session, request.n) as backend:
            if (waited := request.clock() - begun) > 0 and self._most < inf:
                request.report_wait(waited)
            request.check_time()
            return await backend.generate(request, spend)

    async def count(self, request: Request) -> int:
        async with self._picked(request.session) as backend:
            return await backend.count(request)


class BalancedReward(_Balanced[RewardBackend], RewardBackend):
    """Serves one reward model by several backends, as `Balanced` does for a model that writes.

    A problem's readings go where its earlier ones went, so that what they begin with is cached there.
    """

    @property
    def process(self) -> bool:
        return self._first().process

    async def rate(self, reading: Reading, spend: Meter) -> tuple[float, ...]:
        async with self._picked(reading.problem, 1) as backend:
            return await backend.rate(reading, spend)

    async def count(self, reading: Reading) -> int:
        async with self._picked(reading.problem) as backend:
            return await backend.count(reading)
