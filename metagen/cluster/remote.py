"""The models of workers, as backends of the driver: a strategy runs here, and each of its requests on a worker."""

import asyncio
import itertools
import math
import time
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, Self

from metagen.backends import Balanced, BalancedReward, Recorded, Retrying, RetryingReward
from metagen.backends.wrapper import Inner, Passing, RewardWrapper, Wrapper, innermost
from metagen.budget import Usage
from metagen.errors import MetagenError, SampleError, TransientError
from metagen.jobs.opening import is_served
from metagen.request import (
    AnyBackend,
    Backend,
    Card,
    Hearing,
    Meter,
    Outcome,
    Reading,
    Request,
    RewardBackend,
    card_of,
    changed,
    generates,
    scores,
    thinking_of,
)
from metagen.solve import cancel
from metagen.tasks import uninterrupted
from metagen.thinking import Family

REST = 2.0
"""Seconds after which a worker that was not there is tried again."""
ATTEMPTS = 5
"""Workers that may die with one request before it is lost."""
COUNTED = 10_000
"""Readings that are counted and not rated yet, at most."""
PAUSE = 0.1
"""Seconds before a request is sent to another worker."""


@dataclass(frozen=True, slots=True)
class About:
    """What a worker reports about an opened model."""

    name: str
    context: int
    card: Card | None
    thinking: Family | None

    @classmethod
    def of(cls, model: AnyBackend) -> Self:
        return cls(model.name, model.context, card_of(model), thinking_of(model))


@dataclass(frozen=True, slots=True)
class Reply:
    """The result of one question to a model, or the error that lost it; and what was spent."""

    result: Any
    error: SampleError | None = None
    spent: Usage = field(default_factory=Usage)
    waited: float = 0.0
    """Seconds before the model took it."""


Detail = Literal["", "samples", "text"]
"""How much progress the driver wants to hear: none, which samples are done, or also the growing text."""
Progress = tuple[int, str, bool] | tuple[str, str]
"""A sample that is done (its number, its text, whether it is whole), or the thought and the text so far."""


class Ear:
    """What is heard of a question at a worker, until the driver asks for it."""

    def __init__(self) -> None:
        self._done: list[Progress] = []
        self._grown: tuple[str, str] | None = None
        self._news = asyncio.Event()

    def hearing(self, detail: Detail) -> Hearing:
        return Hearing(self._add, self._grow if detail == "text" else None)

    async def listen(self) -> list[Progress]:
        """What was heard since this was called last. Of a growing text that is the latest."""
        await self._news.wait()
        self._news.clear()
        said = [*([self._grown] if self._grown else []), *self._done]
        self._done, self._grown = [], None
        return said

    def close(self) -> None:
        """Nothing more comes."""
        self._news.set()

    def _add(self, number: int, text: str, whole: bool) -> None:
        self._done.append((number, text, whole))
        self._news.set()

    def _grow(self, thought: str, text: str) -> None:
        self._grown = thought, text
        self._news.set()


class Fleet(Protocol):
    """Workers, which start when the first of their models is opened, and end when the last one is closed."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    @property
    def count(self) -> int:
        """How many there are."""

    @property
    def fill(self) -> int:
        """The samples with which a worker is kept busy; others wait here, for whichever worker has room first."""

    async def some_ready(self) -> None:
        """Wait until a worker has opened its models. Raises `BackendGone` where one dies again and again."""

    def check_ready(self, number: int) -> None:
        """Raise `TransientError` until a worker has opened its models. One that died meanwhile is started again."""

    async def call(self, number: int, method: str, *arguments: Any) -> Any:
        """What a method of a worker returns. Raises `TransientError` where it dies, and then starts it again."""

    def note(self, number: int, spent: Usage) -> None:
        """A worker has answered a question, which took so much."""


def spread(fleet: Fleet, named: Mapping[str, str], local: Mapping[str, AnyBackend]) -> dict[str, AnyBackend]:
    """The models by name, whose requests go to the workers. Servers and pools are asked from here, by no worker.

    `local` are the same models in this process, which are never opened: they know what can be known before.
    """
    return {name: _spread(fleet, name, named.get(name, ""), model) for name, model in local.items()}


def _spread(fleet: Fleet, name: str, model: str, local: AnyBackend) -> AnyBackend:
    if is_served(model) or isinstance(innermost(local), Recorded):
        return local
    if generates(local):
        each = [Remote(local, fleet, name, number) for number in range(fleet.count)]
        return Spread(fleet, Balanced(*each, rest=REST, most=fleet.fill))
    assert scores(local)
    counts: dict[Reading, int] = {}
    rewards = [RemoteReward(local, fleet, name, number, counts) for number in range(fleet.count)]
    return SpreadReward(fleet, BalancedReward(*rewards, rest=REST, most=fleet.fill))


class _Spread(Passing[Inner]):
    """Starts the workers before it opens the model, and ends them after closing it."""

    def __init__(self, fleet: Fleet, of: Inner) -> None:
        super().__init__(of, attempts=ATTEMPTS, wait=PAUSE, longest=REST, patience=math.inf)  # type: ignore[call-arg]
        self._fleet = fleet
        self._opening = asyncio.Lock()
        self._entered = 0

    async def __aenter__(self) -> Self:
        await self._fleet.__aenter__()
        try:
            async with self._opening:
                while not (self._entered or await self._opened()):
                    await self._fleet.some_ready()
                self._entered += 1
        except BaseException:
            await self._fleet.__aexit__(None, None, None)
            raise
        return self

    async def _opened(self) -> bool:
        try:
            await self.of.__aenter__()
        except TransientError:  # all that were ready have died meanwhile
            return False
        return True

    async def __aexit__(self, *raised: Any) -> None:
        self._entered -= 1
        try:
            if not self._entered:
                await super().__aexit__(*raised)
        finally:
            await self._fleet.__aexit__(*raised)


class Spread(_Spread[Backend], Retrying):
    """A model that writes, on all workers. Where one dies, its requests go to others."""


class SpreadReward(_Spread[RewardBackend], RetryingReward):
    """A reward model, on all workers."""


class _Remote(Passing[Inner]):
    """One model of one worker."""

    def __init__(self, of: Inner, fleet: Fleet, model: str, number: int) -> None:
        super().__init__(of)
        self._fleet, self._model, self._number = fleet, model, number
        self._about: About | None = None
        self._tickets = itertools.count()

    @property
    def name(self) -> str:
        return self._about.name if self._about else self.of.name

    @property
    def context(self) -> int:
        return self._about.context if self._about else self.of.context

    @property
    def card(self) -> Card | None:
        return self._about.card if self._about else card_of(self.of)

    @property
    def missing(self) -> tuple[str, ...]:
        return ()  # the workers say it

    @property
    def thinking(self) -> Family | None:
        return self._about.thinking if self._about else None

    async def __aenter__(self) -> Self:
        self._about = await self._call("about")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._about = None

    async def forget(self) -> None:
        with suppress(TransientError):  # one that begins anew remembers nothing
            await self._call("forget")

    async def probe(self) -> None:
        self._fleet.check_ready(self._number)

    async def _call(self, method: str, *arguments: Any) -> Any:
        await self.probe()
        return await self._fleet.call(self._number, method, self._model, *arguments)

    async def _ask(self, subject: Request | Reading, spend: Meter, most: Usage) -> Any:
        """What came of a question. `most` is booked where the worker dies, since it may have spent that.

        One that is cancelled ends when the worker has stopped it, and said what it had spent.
        """
        ticket = next(self._tickets)
        hearing = subject.hearing if isinstance(subject, Request) else None
        asking = asyncio.create_task(self._answer(ticket, subject, spend, most))
        listening = [asyncio.create_task(self._listen(ticket, hearing))] if hearing else []
        try:
            result = await asyncio.shield(asking)
        except asyncio.CancelledError:
            await uninterrupted(self._withdraw(ticket, asking))
            raise
        finally:
            await cancel(listening)
        for each in listening:
            if not each.cancelled():
                each.result()  # raises what the listener raised
        return result

    async def _listen(self, ticket: int, hearing: Hearing) -> None:
        """Pass on the progress, until it is cancelled. The completions hold whatever is missed."""
        with suppress(TransientError):
            while True:
                for each in await self._call("hear", ticket):
                    if len(each) == 3:
                        hearing.done(*each)
                    elif hearing.grew:
                        hearing.grew(*each)

    async def _answer(self, ticket: int, subject: Request | Reading, spend: Meter, most: Usage) -> Any:
        try:
            reply: Reply = await self._call("ask", ticket, portable(subject), _detail(subject))
        except MetagenError as error:
            spend(Usage() if isinstance(error, TransientError) and not error.sent else most)
            raise
        self._fleet.note(self._number, reply.spent)
        spend(reply.spent)
        if isinstance(subject, Request):
            subject.report_wait(reply.waited)
        if reply.error:
            raise reply.error
        return reply.result

    async def _withdraw(self, ticket: int, asking: "asyncio.Task[Any]") -> None:
        with suppress(MetagenError):  # it has died, and the question with it
            await self._call("withdraw", ticket)
        await asyncio.gather(asking, return_exceptions=True)


class Remote(_Remote[Backend], Wrapper):
    """A model that writes."""

    singly = False  # it is not known here; the worker's server shares the reserved room among the samples then

    async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
        request.check_time()
        most = await self._most(request)
        outcomes: list[Outcome] = await self._ask(request, spend, most)
        return outcomes

    async def _most(self, request: Request) -> Usage:
        """What a request costs at most, under a budget; without one nobody needs to know."""
        if request.room is None:
            return Usage(calls=1)
        prompt = await self.count(request)
        written = request.n * max(0, request.limit(self.context - prompt))
        return Usage(calls=1, prompt_tokens=prompt, completion_tokens=written, estimated_tokens=prompt + written)

    async def count(self, request: Request) -> int:
        counted: int = await self._call("count", portable(request))
        return counted

    def longest(self, request: Request, prompt: int) -> int:
        return request.limit(self.context - prompt)  # the model itself is open at the worker alone

    async def encode(self, text: str) -> tuple[int, ...]:
        ids: tuple[int, ...] = await self._call("encode", text)
        return ids


class RemoteReward(_Remote[RewardBackend], RewardWrapper):
    """A reward model."""

    def __init__(
        self, of: RewardBackend, fleet: Fleet, model: str, number: int, counts: MutableMapping[Reading, int]
    ) -> None:
        """`counts` are tokens of readings that were counted and not rated yet, at all workers: under a budget."""
        super().__init__(of, fleet, model, number)
        self._counts = counts

    async def rate(self, reading: Reading, spend: Meter) -> tuple[float, ...]:
        reading.check_time()
        tokens = self._counts.pop(reading, 0)
        most = Usage(calls=1, prompt_tokens=tokens, estimated_tokens=tokens)
        try:
            rated: tuple[float, ...] = await self._ask(reading, spend, most)
        except TransientError as error:
            if not error.sent:  # it is asked again
                self._counts[reading] = tokens
            raise
        return rated

    async def count(self, reading: Reading) -> int:
        self._counts[reading] = counted = await self._call("count", portable(reading))
        if len(self._counts) > COUNTED:  # the budget had no room for the oldest
            del self._counts[next(iter(self._counts))]
        return int(counted)


def portable(subject: Request | Reading) -> Any:
    """What is asked, without what means something in this process alone."""
    if isinstance(subject, Reading):
        return replace(subject, deadline=None, clock=time.monotonic)
    return changed(subject, deadline=None, clock=time.monotonic, hearing=None, waited=None)


def _detail(subject: Request | Reading) -> Detail:
    hearing = subject.hearing if isinstance(subject, Request) else None
    return "" if hearing is None else "text" if hearing.grew else "samples"
