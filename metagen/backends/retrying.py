"""A backend that is asked again where a failure may pass, and given up when it is gone."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from math import inf
from typing import Self, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception
from tenacity.wait import wait_random_exponential

from metagen.backends.wrapper import Inner, Passing, RewardWrapper, Wrapper
from metagen.budget import Usage
from metagen.errors import BackendGone, InputError, SampleError, ServerBusy, TransientError
from metagen.request import (
    AnyBackend,
    Backend,
    Meter,
    Outcome,
    Reading,
    Renewing,
    Request,
    RewardBackend,
    all_written,
    seconds_left,
)
from metagen.tasks import together

Result = TypeVar("Result")
Waited = Callable[[float], None]
"""Is told of seconds between two tries."""
Left = Callable[[], float]
"""Says how many seconds are left for a request."""
JUST = 0.001
"""Seconds after a deadline, at which it has passed by any clock."""

SAID = 100
"""Characters of the last error that are shown while requests wait."""
TRIES_BEFORE_GONE = 5
"""Failures in a row, over all requests, before a server can be given up."""
REST = 5.0
"""Seconds for which a server that was given up is not looked at again."""


class Patience:
    """Waits, counts the failures of one backend over all requests, and gives it up."""

    def __init__(self, of: AnyBackend, attempts: int, wait: float, longest: float, patience: float) -> None:
        if attempts < 1 or wait < 0 or longest < wait or patience < 0:
            raise InputError("Retrying: needs attempts of 1 or more, 0 <= wait <= longest, and patience of 0 or more")
        self._of = of
        self._attempts = attempts
        self._backoff = wait_random_exponential(multiplier=wait, max=longest)
        self._patience = patience
        self._failures = self._answered = 0
        self._since = 0.0
        self._probing: asyncio.Task[bool] | None = None
        self._gone: BackendGone | None = None
        self._rests_until = 0.0
        self._waiting = 0
        """Requests between two tries."""
        self._last = ""

    @property
    def waits(self) -> str:
        """How many requests wait to be sent again, and why; empty if none does."""
        if not self._waiting:
            return ""
        return f"{self._of.name}: {self._waiting:,} waiting to be sent again after: {self._last[:SAID]}"

    async def watched(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Do it, unless the server is gone, and keep count of failures."""
        if (gone := self._gone) and not await self._is_back():
            raise gone.with_traceback(None)  # else it would keep the frames of all that it was raised to
        try:
            result = await work()
        except TransientError as error:
            self._failed(error)
            raise
        except BackendGone as gone:  # such as a refused key: a run that goes on must not ask for each problem again
            self._gone, self._rests_until = gone, asyncio.get_running_loop().time() + REST
            raise
        self._failures = 0
        self._answered += 1
        return result

    async def again(
        self, work: Callable[[], Awaitable[Result]], worth: Callable[[], bool] = lambda: True, left: Left = lambda: inf
    ) -> Result:
        """The same, tried again while that is `worth` it."""
        result: Result = await self.trying(worth=worth, left=left)(self.watched, work)
        return result

    async def _is_back(self) -> bool:
        """Whether a server that was given up answers again: a run has ended by then, but a server of ours has not."""
        now = asyncio.get_running_loop().time
        if now() < self._rests_until:
            return False
        if not await self._answers():
            self._rests_until = now() + REST
            return False
        self._failures, self._gone = 0, None
        return True

    def trying(
        self,
        *,
        opening: bool = False,
        worth: Callable[[], bool] = lambda: True,
        waited: Waited = lambda _: None,
        left: Left = lambda: inf,
    ) -> AsyncRetrying:
        tried, answered = 0, self._answered

        async def tired(state: RetryCallState) -> bool:
            """Whether all attempts are used up.

            One that fails while the server answers nobody does not count, nor one that it turns away while it is busy
            with answers to others.
            """
            nonlocal tried, answered
            error = state.outcome.exception() if state.outcome else None
            before, answered = answered, self._answered
            if isinstance(error, ServerBusy) and answered > before:
                return False
            if isinstance(error, TransientError) and error.unreachable:  # other servers may answer meanwhile
                tried += opening or error.sent
            else:
                tried += opening or await self._answers()
            return tried >= self._attempts

        return AsyncRetrying(
            retry=retry_if_exception(lambda error: _may_pass(error, opening=opening) and worth()),
            stop=tired,  # type: ignore[arg-type]  # it may be async, as its documentation says
            wait=self._pause,
            sleep=partial(self._sleep, waited=waited, left=left),
            reraise=True,
        )

    async def _answers(self) -> bool:
        """Whether the server answers at all; requests that fail together look at it together."""
        if self._probing is None:
            self._probing = asyncio.create_task(self._look())
        return await asyncio.shield(self._probing)

    async def _look(self) -> bool:
        try:
            await self._of.probe()
        except TransientError:
            return False
        finally:
            self._probing = None
        return True

    async def _sleep(self, seconds: float, waited: Waited, left: Left) -> None:
        seconds = min(seconds, max(0.0, left()) + JUST)  # by then it is too late for another try
        self._waiting += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._waiting -= 1
        waited(seconds)

    def _pause(self, state: RetryCallState) -> float:
        assert state.outcome
        error = state.outcome.exception()
        self._last = str(error)
        asked = error.retry_after if isinstance(error, TransientError) else None
        return max(self._backoff(state), min(asked or 0.0, self._patience))

    def _failed(self, error: TransientError) -> None:
        """Count a failure; when there were only failures for too long, the server is gone."""
        now = asyncio.get_running_loop().time()
        self._since = self._since if self._failures else now
        self._failures += 1
        if self._failures >= TRIES_BEFORE_GONE and now - self._since >= self._patience:
            self._rests_until = now + REST
            self._gone = BackendGone(
                f"{self._of.name} has not answered for {self._patience:g} s; the last error: {error}"
            )
            raise self._gone from error

    async def opened(self, opening: Callable[[], Awaitable[object]]) -> None:
        self._failures, self._gone = 0, None
        try:
            async for attempt in self.trying(opening=True):
                with attempt:
                    await opening()
        except TransientError as error:
            raise InputError(error.advice) from None


class _Patient(Passing[Inner]):
    """Is asked again, with a patience of its own."""

    def __init__(
        self, of: Inner, *, attempts: int = 10, wait: float = 0.5, longest: float = 30.0, patience: float = 120.0
    ) -> None:
        super().__init__(of)
        self._patience = Patience(of, attempts, wait, longest, patience)

    @property
    def waits(self) -> str:
        return self._patience.waits

    async def __aenter__(self) -> Self:
        await self._patience.opened(super().__aenter__)
        return self


class Retrying(_Patient[Backend], Wrapper):
    """Asks the backend `of` again after a `TransientError`: at most `attempts` times per request.

    Waits are random, up to an exponential limit that begins at `wait` seconds and ends at `longest`; where the server
    said how long to wait (Retry-After), at least so long, up to `patience`. Of several samples only the missing ones
    are asked for again. What each try used is counted; under a budget, each new try reserves anew. A try that finds no
    server does not count, nor does another one while the server answers nobody, or one that is turned away (429, 503)
    while the server answers others. When nothing has succeeded for `patience` seconds and several tries, it is gone:
    that and all other requests raise `BackendGone`, until it answers again. After a refusal of the key they do so for
    some seconds. Errors that will not change are raised at once. Opening is tried again alike, unless nothing listens
    there.
    """

    async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
        if request.n > 1 and request.room is None and self.singly:  # each is a request, and is tried again by itself
            return await together(self._single(request.part(index, 1), spend) for index in range(request.n))
        done: dict[int, Outcome] = {}
        paid = 0

        def book(usage: Usage) -> None:
            nonlocal paid
            paid += usage.tokens
            spend(usage)

        try:
            try:
                await self._once(request, book, done)
            except TransientError as error:  # trying is prepared where it is needed, which is seldom
                left = partial(seconds_left, request)
                async for attempt in self._patience.trying(waited=request.report_wait, left=left):
                    with attempt:
                        if attempt.retry_state.attempt_number == 1:
                            raise error  # noqa: TRY201 (another error may be under way by then)
                        request.check_time()
                        if paid and isinstance(spend, Renewing):
                            request, paid = await spend.renew(request), 0
                        await self._once(request, book, done)
        except SampleError as lost:
            if not done:
                raise
            return [done.get(index, lost) for index in range(request.n)]
        return [done[index] for index in range(request.n)]

    async def _single(self, request: Request, spend: Meter) -> Outcome:
        try:
            (outcome,) = await self.generate(request, spend)
        except SampleError as lost:
            return lost
        return outcome

    async def count(self, request: Request) -> int:
        return await self._patience.again(partial(self.of.count, request))

    async def encode(self, text: str) -> tuple[int, ...]:
        return await self._patience.again(partial(self.of.encode, text))

    async def _once(self, request: Request, spend: Meter, done: dict[int, Outcome]) -> None:
        """One try at what is missing, in one request from the first gap to the last; what is settled goes to `done`.

        Raises `TransientError` if some of it may come with another try.
        """
        missing = [index for index in range(request.n) if index not in done] if done else range(request.n)
        first = missing[0]
        part = request.part(first, missing[-1] - first + 1) if done else request
        outcomes = await self._patience.watched(partial(self.of.generate, part, spend))
        if not done and all_written(outcomes):
            done.update(enumerate(outcomes))
            return
        again: TransientError | None = None
        for index, outcome in enumerate(outcomes, first):
            if isinstance(outcome, TransientError):
                again = outcome if index in missing else again
            else:
                done.setdefault(index, outcome)
        if again:
            raise again


class RetryingReward(_Patient[RewardBackend], RewardWrapper):
    """The same for a reward model. A reading that was paid for is not asked again: it was reserved once."""

    async def rate(self, reading: Reading, spend: Meter) -> tuple[float, ...]:
        paid = 0

        def book(usage: Usage) -> None:
            nonlocal paid
            paid += usage.tokens
            spend(usage)

        async def once() -> tuple[float, ...]:
            reading.check_time()
            return await self.of.rate(reading, book)

        return await self._patience.again(once, worth=lambda: not paid, left=partial(seconds_left, reading))

    async def count(self, reading: Reading) -> int:
        return await self._patience.again(partial(self.of.count, reading))


def _may_pass(error: BaseException, *, opening: bool) -> bool:
    """Whether to ask again. Where nothing listens when a run begins, the address is wrong more likely than the time."""
    return isinstance(error, TransientError) and not (opening and error.unreachable)
