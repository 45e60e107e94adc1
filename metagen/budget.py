"""What was spent, and what may be.

`Usage` adds up. A `Budget` is a limit in the user's hands; an `Account` keeps the books under one, and nests: what an
inner account reserves and spends, all accounts around it reserve and spend too.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import NoReturn

from metagen.errors import BudgetExceeded, InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What models read and wrote, in tokens; it adds. Generators and verifiers are told apart."""

    calls: int = 0
    """Requests to generators."""
    prompt_tokens: int = 0
    """Read by generators, once a request however many samples it asks for."""
    cached_tokens: int = 0
    """Those among `prompt_tokens` that the prefix cache already held."""
    completion_tokens: int = 0
    """Written by generators, those of cancelled requests too."""
    verifier_calls: int = 0
    verifier_tokens: int = 0
    """Read and written by the models inside verifiers."""
    estimated_tokens: int = 0
    """Those among all tokens that were estimated (by their reservation), because no count came back."""

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})

    @property
    def tokens(self) -> int:
        """Every token that a model read or wrote: what a `Budget` in tokens limits."""
        return self.prompt_tokens + self.completion_tokens + self.verifier_tokens


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that may be spent; `None` sets no limit.

    `tokens` counts all that models read or write, prompts and verifiers included, and is never passed.
    `seconds` is a deadline: nothing starts after it, and what runs is let finish.
    """

    tokens: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("tokens", "seconds"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise InputError(f"a budget of {name}={limit!r} allows nothing: give a positive number")


class Account:
    """Keeps the books under one budget: reserves before a request, settles after it."""

    def __init__(
        self, budget: Budget | None = None, parent: "Account | None" = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.budget = budget or Budget()
        self.spent = Usage()
        self.in_flight = 0
        self.refused = False
        """Whether this very budget has turned something away: not one around it, nor one inside it."""
        self._held = 0
        self.clock: Callable[[], float] = parent.clock if parent else clock
        self.start()
        self._around: tuple[Account, ...] = (self, *(parent._around if parent else ()))
        self._settled = asyncio.Event()

    @property
    def exhausted(self) -> bool:
        """Whether this budget or one around it has turned something away."""
        return any(account.refused for account in self._around)

    @property
    def deadline(self) -> float | None:
        """The first moment, by the clock, after which nothing is started any more; `None` if there is none."""
        ends = [account._begun + account.budget.seconds for account in self._around if account.budget.seconds]
        return min(ends, default=None)

    @property
    def limited(self) -> bool:
        """Whether this account or one around it has a limit in tokens."""
        return any(account.budget.tokens is not None for account in self._around)

    def start(self) -> None:
        """Start the clock, again if it runs: seconds count from here."""
        self._begun = self.clock()

    def seconds(self) -> float:
        """Seconds since the start."""
        return self.clock() - self._begun

    def overshoot(self) -> float:
        """Seconds past the deadline, if there is one and it has passed, else 0."""
        return 0.0 if self.budget.seconds is None else max(0.0, self.seconds() - self.budget.seconds)

    def fits(self, tokens: int) -> bool:
        """Whether so many tokens could be reserved at once, without waiting."""
        return all(account._room() >= tokens for account in self._around)

    async def reserve(self, prompt: int, output: int) -> int:
        """Reserve `prompt` tokens to read and up to `output` to write; return how many may be written.

        Waits while requests in flight may still give room back; then shrinks the output; then refuses.
        What is reserved must be given to `settle`. Raises `BudgetExceeded`.
        """
        while True:
            self.check_time()
            for account in self._around:
                if account._held == 0 and account._room() - prompt < output:
                    output = account._room() - prompt
                    if output < 1:
                        account._refuse(prompt)
            lacking = next((account for account in self._around if account._room() < prompt + output), None)
            if lacking is None:
                break
            await lacking._settled.wait()
        for account in self._around:
            account._held += prompt + output
        return output

    def settle(self, reserved: int) -> int:
        """Give back what `reserve` set aside; what was used of it has been given to `spend` by now. Returns 0."""
        for account in self._around:
            account._held -= reserved
            account._settled.set()
            account._settled = asyncio.Event()
        return 0

    def spend(self, usage: Usage) -> None:
        """Book what was used."""
        for account in self._around:
            account.spent += usage

    @contextmanager
    def sending(self, samples: int) -> Iterator[None]:
        """Count samples as in flight."""
        for account in self._around:
            account.in_flight += samples
        try:
            yield
        finally:
            for account in self._around:
                account.in_flight -= samples

    def check_time(self) -> None:
        """Raise `BudgetExceeded` if a deadline has passed."""
        for account in self._around:
            if account.overshoot() > 0:
                account.refused = True
                raise BudgetExceeded(f"{account.budget.seconds} seconds have passed, so nothing more is started")

    def _limit(self) -> float:
        return float("inf") if self.budget.tokens is None else self.budget.tokens

    def _room(self) -> int:
        return int(min(self._limit() - self.spent.tokens - self._held, 2**62))

    def _refuse(self, prompt: int) -> NoReturn:
        self.refused = True
        raise BudgetExceeded(
            f"{self.spent.tokens} of {self.budget.tokens} tokens are spent, "
            f"and a prompt of {prompt} tokens leaves no room for an answer"
        )
