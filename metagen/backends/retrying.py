"""A backend that is asked again where a failure may pass, and given up when it is gone."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Self, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_random_exponential

from metagen.backends.wrapper import RewardWrapper, Wrapper
from metagen.budget import Usage
from metagen.errors import BackendGone, InputError, TransientError
from metagen.request import Backend, Completion, Meter, Reading, Request, RewardBackend

Result = TypeVar("Result")

TRIES_BEFORE_GONE = 5
"""Failures in a row, over all requests, before a server can be given up."""


class _Patience:
    """What waits, counts failures and gives up; its subclasses say what is asked again."""

    name: str

    def _settle(self, attempts: int, wait: float, longest: float, patience: float) -> None:
        if attempts < 1 or wait < 0 or longest < wait or patience < 0:
            raise InputError(f"{type(self).__name__}: needs attempts of 1 or more, and 0 <= wait <= longest")
        self._attempts = attempts
        self._backoff = wait_random_exponential(multiplier=wait, max=longest)
        self._patience = patience
        self._failures = 0
        self._since = 0.0
        self._gone: BackendGone | None = None

    async def _watched(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Do it, unless the server is gone, and keep count of failures."""
        if self._gone:
            raise self._gone
        try:
            result = await work()
        except TransientError as error:
            self._failed(error)
            raise
        self._failures = 0
        return result

    def _trying(self, *, opening: bool = False, worth: Callable[[], bool] = lambda: True) -> AsyncRetrying:
        return AsyncRetrying(
            retry=retry_if_exception(lambda error: _may_pass(error, opening=opening) and worth()),
            stop=stop_after_attempt(self._attempts),
            wait=self._pause,
            reraise=True,
        )

    def _pause(self, state: RetryCallState) -> float:
        assert state.outcome
        error = state.outcome.exception()
        asked = error.retry_after if isinstance(error, TransientError) else None
        return max(self._backoff(state), asked or 0.0)

    def _failed(self, error: TransientError) -> None:
        """Count a failure; when there were only failures for too long, the server is gone."""
        if error.completions:
            self._failures = 0
            return
        now = asyncio.get_running_loop().time()
        self._since = self._since if self._failures else now
        self._failures += 1
        if self._failures >= TRIES_BEFORE_GONE and now - self._since >= self._patience:
            self._gone = BackendGone(
                f"{self.name} has not answered for {self._patience:g} seconds; the last error: {error}"
            )
            raise self._gone from None

    async def _opened(self, opening: Callable[[], Awaitable[object]]) -> None:
        self._failures, self._gone = 0, None
        try:
            async for attempt in self._trying(opening=True):
                with attempt:
                    await opening()
        except TransientError as error:
            raise InputError(f"{error}: is the server running?") from None


class Retrying(_Patience, Wrapper):
    """Asks the backend `of` again after a `TransientError`: at most `attempts` times a request.

    Waits are random, up to an exponential limit that begins at `wait` seconds and ends at `longest`; where the server
    said how long to wait (Retry-After), at least so long. Of several samples only the missing ones are asked for again.
    What each try used is counted; under a budget, each new try reserves anew. When nothing has succeeded for
    `patience` seconds and several tries, the server is gone: that and all other requests raise `BackendGone`.
    Errors that will not change are raised at once. Opening is tried again alike, unless nothing listens there.
    """

    def __init__(
        self, of: Backend, *, attempts: int = 10, wait: float = 0.5, longest: float = 30.0, patience: float = 120.0
    ) -> None:
        super().__init__(of)
        self._settle(attempts, wait, longest, patience)

    async def __aenter__(self) -> Self:
        await self._opened(super().__aenter__)
        return self

    @property
    def lost(self) -> tuple[str, ...]:
        """What the backend cannot do, where it says so."""
        return tuple(getattr(self.of, "lost", ()))

    async def generate(self, request: Request, spend: Meter) -> list[Completion]:
        done: dict[int, Completion] = {}
        paid = Usage()

        def book(usage: Usage) -> None:
            nonlocal paid
            paid += usage
            spend(usage)

        async for attempt in self._trying():
            with attempt:
                if attempt.retry_state.attempt_number > 1:
                    request.check_time()
                if paid.tokens and request.renew:
                    request, paid = await request.renew(), Usage()
                await self._once(request, book, done)
        return [done[index] for index in range(request.n)]

    async def count(self, request: Request) -> int:
        tokens = 0
        async for attempt in self._trying():
            with attempt:
                tokens = await self._watched(partial(self.of.count, request))
        return tokens

    async def _once(self, request: Request, spend: Meter, done: dict[int, Completion]) -> None:
        """One try at what is missing, in one request from the first gap to the last; what comes is added to `done`."""
        missing = [index for index in range(request.n) if index not in done]
        first = missing[0]
        came: dict[int, Completion] = {}
        try:
            part = request.part(first, missing[-1] - first + 1)
            came |= enumerate(await self._watched(partial(self.of.generate, part, spend)))
        except TransientError as error:
            came |= error.completions
            raise
        finally:
            done.update({first + index: one for index, one in came.items() if first + index not in done})


class RetryingReward(_Patience, RewardWrapper):
    """The same for a reward model. A reading that was paid for is not asked again: it was reserved once."""

    def __init__(
        self,
        of: RewardBackend,
        *,
        attempts: int = 10,
        wait: float = 0.5,
        longest: float = 30.0,
        patience: float = 120.0,
    ) -> None:
        super().__init__(of)
        self._settle(attempts, wait, longest, patience)

    async def __aenter__(self) -> Self:
        await self._opened(super().__aenter__)
        return self

    async def rate(self, reading: Reading, spend: Meter) -> tuple[float, ...]:
        paid = Usage()
        scores: tuple[float, ...] = ()

        def book(usage: Usage) -> None:
            nonlocal paid
            paid += usage
            spend(usage)

        async for attempt in self._trying(worth=lambda: not paid.tokens):
            with attempt:
                reading.check_time()
                scores = await self._watched(partial(self.of.rate, reading, book))
        return scores

    async def count(self, reading: Reading) -> int:
        tokens = 0
        async for attempt in self._trying():
            with attempt:
                tokens = await self._watched(partial(self.of.count, reading))
        return tokens


def _may_pass(error: BaseException, *, opening: bool) -> bool:
    """Whether to ask again. Where nothing listens when a run begins, the address is wrong more likely than the time."""
    return isinstance(error, TransientError) and not (opening and error.unreachable)
