"""What was spent, and what may be.

`Usage` adds up. A `Budget` is a limit in the user's hands; an `Account` keeps the books under one, and nests: what an
inner account reserves and spends, all accounts around it reserve and spend too. A `Price` turns tokens into money.
"""

import asyncio
import time
from bisect import bisect_right, insort
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal, InvalidOperation
from itertools import count
from math import inf
from numbers import Integral, Real
from operator import add, attrgetter
from typing import Any, NoReturn, Protocol, Self

from metagen.copies import copier, maker
from metagen.errors import BudgetExceeded, InputError
from metagen.settings import counted

PARTS = 10**12
"""Money is counted in whole trillionths, so that sums of prices a token are exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What models read and wrote, and what that took; it adds. Generators and verifiers are counted separately."""

    calls: int = 0
    """Requests to generators."""
    prompt_tokens: int = 0
    """Read by generators, once per request however many samples it asks for."""
    cached_tokens: int = 0
    """Those among `prompt_tokens` that the prefix cache already held."""
    completion_tokens: int = 0
    """Written by generators, those of cancelled requests too."""
    thought_tokens: int = 0
    """Those among `completion_tokens` that were thought, as far as it is known."""
    flops: int = 0
    """Floating-point operations of generators, where the backend has a card (`metagen.card`)."""
    cost: int = 0
    """What generators cost, in trillionths of the money, where the backend has a `Price`."""
    seconds: float = field(default=0.0, compare=False)
    """That requests to generators took; those of requests at the same time add up."""
    verifier_calls: int = 0
    verifier_tokens: int = 0
    """Read and written by the models inside verifiers."""
    verifier_flops: int = 0
    verifier_cost: int = 0
    verifier_seconds: float = field(default=0.0, compare=False)
    estimated_tokens: int = 0
    """Those among all tokens that were estimated, because no count came back."""

    def __add__(self, other: "Usage") -> "Usage":
        return other if self is NOTHING else usage_of(*map(add, counts_of(self), counts_of(other)))

    def since(self, before: "Usage") -> "Usage":
        """What was used after an earlier count; nothing where that one is the later."""
        return Usage(**{name: max(0, getattr(self, name) - getattr(before, name)) for name in COUNTS})

    def row(self) -> dict[str, float]:
        """What is not nothing, for a line on disk; seconds in microseconds' precision."""
        counts = zip(COUNTS, counts_of(self), strict=True)
        return {name: round(count, 6) if isinstance(count, float) else count for name, count in counts if count}

    @property
    def tokens(self) -> int:
        """Every token that a model read or wrote: what a `Budget` in tokens limits."""
        return self.prompt_tokens + self.completion_tokens + self.verifier_tokens

    @property
    def all_flops(self) -> int:
        """Every floating-point operation: what a `Budget` in FLOPs limits."""
        return self.flops + self.verifier_flops

    @property
    def all_cost(self) -> int:
        """What everything cost, in trillionths of the money."""
        return self.cost + self.verifier_cost

    @property
    def money(self) -> float:
        """What everything cost, in the money that prices are in: what a `Budget` in money limits."""
        return self.all_cost / PARTS

    def of_verifier(self) -> "Usage":
        """The same, where a verifier asked for it."""
        return Usage(
            verifier_calls=self.calls + self.verifier_calls,
            verifier_tokens=self.tokens,
            verifier_flops=self.all_flops,
            verifier_cost=self.all_cost,
            verifier_seconds=self.seconds + self.verifier_seconds,
            estimated_tokens=self.estimated_tokens,
        )


COUNTS = tuple(each.name for each in fields(Usage))
counts_of = attrgetter(*COUNTS)
NOTHING = Usage()
usage_of = maker(Usage)
"""The usage with all these counts: all spending comes here."""
_changed = copier(Usage)


def took(seconds: float) -> Usage:
    """The usage of a request to a generator that took so long, and nothing else."""
    return _changed(NOTHING, seconds=seconds)


class Sum:
    """Usages that are added when that is worth it, several at once: each request adds some to every account."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[Usage] = []

    def add(self, usage: Usage) -> None:
        self._parts.append(usage)
        if len(self._parts) > AT_ONCE:
            self.now()

    def now(self) -> Usage:
        """The sum, for the thread that adds: the next one is found faster."""
        self._parts = [self.value]
        return self._parts[0]

    @property
    def value(self) -> Usage:
        """The sum, for any thread."""
        parts = self._parts
        if len(parts) < 2:
            return parts[0] if parts else NOTHING
        return usage_of(*map(sum, zip(*map(counts_of, parts), strict=True)))


AT_ONCE = 16
"""How many usages are added up together."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs: money for a million tokens that it reads, writes, and finds in its prefix cache.

    `Price(0.15, 0.6)` is 0.15 for a million tokens read and 0.60 for a million written. `cached` is the price of what
    is read from the cache, at most that of reading; without it, nothing is cheaper for being cached. Six decimals.
    """

    read: float
    write: float
    cached: float | None = None
    _parts: tuple[int, int, int] = field(init=False, repr=False, compare=False)
    """Trillionths per token: to read, to write, and off for one that is cached."""

    def __post_init__(self) -> None:
        cached = self.read if self.cached is None else self.cached
        read, write, kept = (parts_of("Price", each, 6) for each in (self.read, self.write, cached))
        if kept > read:
            raise InputError(f"Price: cached={self.cached!r} is more than read={self.read!r}")
        object.__setattr__(self, "_parts", (read, write, read - kept))

    @classmethod
    def parse(cls, text: str) -> Self:
        """The price in `READ/WRITE` or `READ/WRITE/CACHED`, such as `0.15/0.6`. Raises `InputError`."""
        try:
            read, write, *cached = map(float, text.split("/"))
            return cls(read, write, *cached)
        except (ValueError, TypeError):
            raise InputError(
                f"{text!r} is no price: write READ/WRITE or READ/WRITE/CACHED for a million tokens, such as 0.15/0.6"
            ) from None

    def of(self, read: int, written: int, cached: int = 0) -> int:
        """What a request costs, in trillionths of the money; `cached` are among the tokens read."""
        to_read, to_write, off = self._parts
        return read * to_read + written * to_write - cached * off


def parts_of(whose: str, amount: float, decimals: int = 12) -> int:
    """An amount of money by 10 to the power of `decimals`, which must be whole. Raises `InputError`."""
    try:
        parts = Decimal("nan" if isinstance(amount, str | bool) else str(amount)).scaleb(decimals)
    except InvalidOperation:
        parts = Decimal("nan")
    if not parts.is_finite() or parts < 0 or parts != parts.to_integral_value():
        raise InputError(f"{whose}: money must be a number of 0 or more with up to {decimals} decimals, not {amount!r}")
    return int(parts)


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that may be spent; `None` sets no limit.

    `tokens` counts all that models read or write, prompts and verifiers included, and is never passed. Neither is
    `flops`, which needs backends that have a card, nor `money`, which needs backends that have a price. `seconds` is a
    deadline: nothing starts after it, and running requests are allowed to finish.
    """

    tokens: int | None = None
    seconds: float | None = None
    flops: float | None = None
    money: float | None = None

    def __post_init__(self) -> None:
        for name in LIMITS:
            limit = getattr(self, name)
            if name == "tokens" and isinstance(limit, float) and limit.is_integer():  # such as 1e6
                object.__setattr__(self, name, int(limit))
            elif limit is not None:
                _require_limit(name, limit)
            if limit is not None and not limit > 0:
                raise InputError(f"a budget of {name}={limit!r} allows nothing: give a positive number")
        if self.money is not None:
            parts_of("Budget", self.money)

    @property
    def limits(self) -> frozenset[str]:
        """The names of what is limited, such as `money`."""
        if self == UNLIMITED:
            return frozenset()
        return frozenset(name for name in LIMITS if getattr(self, name) is not None)


def _require_limit(name: str, limit: object) -> None:
    """Refuse what is no number, and one that is too large to be divided."""
    kinds, what = ((Integral,), "a whole number") if name == "tokens" else ((Real, Decimal), "a number")
    if isinstance(limit, bool) or not isinstance(limit, kinds) or _is_no_money(name, limit):
        raise InputError(f"Budget: {name} must be {what}, not {limit!r}")
    try:
        if name != "tokens":
            float(limit)
    except OverflowError:
        raise InputError(f"Budget: {name} must be a number that a float can hold") from None


def _is_no_money(name: str, limit: object) -> bool:
    """Whether it is a decimal that is no amount of money."""
    return isinstance(limit, Decimal) and (name != "money" or limit.is_nan())


LIMITS = ("tokens", "seconds", "flops", "money")
UNLIMITED = Budget()


Amounts = tuple[int, int, int]
"""Tokens, FLOPs and trillionths of the money."""


def tightest(*budgets: Budget) -> Budget:
    """The smallest of each limit."""
    limited = [each for each in budgets if each.limits]
    if len(limited) < 2:
        return limited[0] if limited else UNLIMITED
    least: dict[str, Any] = {name: min(_given(limited, name), default=None) for name in LIMITS}
    return Budget(**least)


def _given(budgets: Sequence[Budget], name: str) -> Iterator[float]:
    return (limit for each in budgets if (limit := getattr(each, name)) is not None)


@dataclass(frozen=True, slots=True)
class Hold:
    """What is set aside for one request until it is settled."""

    output: int = 0
    """The tokens that it may write."""
    tokens: int = 0
    flops: int = 0
    cost: int = 0
    level: float = inf
    """How many accounts are around the one that shortened `output`; infinite where none did."""

    @property
    def amounts(self) -> "Amounts":
        """Tokens, FLOPs and trillionths of the money."""
        return self.tokens, self.flops, self.cost


Rate = Callable[[int], int]
"""The cost of a request, prompt included, in FLOPs or in money, as a function that rises with the tokens written."""


def free(_output: int) -> int:
    """The rate where nobody counts."""
    return 0


_NUMBERS = count()
Seat = tuple[int, int, asyncio.Event]
"""A place among those who wait for room: the number of the account that came for it, its own, and its turn."""


class Account:
    """Keeps the books under one budget: reserves before a request, settles after it.

    Pass one to several calls of `solve`, or to `solve_all`, to limit them together: `Account(Budget(tokens=10_000))`.
    Without a `budget` it only counts; `spent` says what was used so far. Whatever is spent here is spent in the account
    `parent` too (default: there is none). `clock` returns the seconds by which deadlines are measured (default:
    `time.monotonic`; a parent's clock replaces it).
    """

    lender: "Lender | None" = None
    """The lender of more budget, if this account holds only a part of one."""

    def __init__(
        self, budget: Budget | None = None, parent: "Account | None" = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if not isinstance(budget, Budget | None):
            raise InputError(f"Account: budget must be a Budget, such as Account(Budget(tokens=1000)), not {budget!r}")
        self.budget = budget or UNLIMITED
        self._spent = Sum()
        self.in_flight = 0
        self.refused = False
        """Whether this very budget has turned something away: not one around it, nor one inside it."""
        self.short = False
        """Whether a budget around this one has refused something here, or has shortened it."""
        self._held_tokens = self._held_flops = self._held_cost = 0
        self._most_tokens, self._most_flops = self.budget.tokens, self.budget.flops
        self._most_cost = None if self.budget.money is None else parts_of("Budget", self.budget.money)
        self.clock: Callable[[], float] = parent.clock if parent else clock
        self.start()
        self._above: tuple[Account, ...] = parent._around if parent else ()
        limits: frozenset[str] = parent._limits if parent else frozenset()
        self._limits: frozenset[str] = limits | budget.limits if budget else limits
        self._number = next(_NUMBERS)
        self._line: list[Seat] = []
        """The requests that wait for room here, those of the work that was begun first in front."""

    @property
    def _around(self) -> "tuple[Account, ...]":
        """This account and those around it. It is not kept: an account that held itself would be freed late."""
        return (self, *self._above)

    def inner(self, budget: Budget | None = None) -> Self:
        """Books under a further budget: whatever they reserve and spend, this account reserves and spends too."""
        return type(self)(budget, self)

    @property
    def spent(self) -> Usage:
        """What was used so far."""
        return self._spent.value

    @property
    def exhausted(self) -> bool:
        """Whether this budget or one around it has turned something away."""
        return any(account.refused for account in self._around)

    @property
    def level(self) -> int:
        """How many accounts are around this one."""
        return len(self._above)

    @property
    def deadline(self) -> float | None:
        """The first moment, by the clock, after which nothing is started any more; `None` if there is none."""
        if "seconds" not in self._limits:
            return None
        return min(account._begun + account.budget.seconds for account in self._around if account.budget.seconds)

    @property
    def held(self) -> Hold:
        """What is set aside for requests that are not settled yet."""
        return Hold(tokens=self._held_tokens, flops=self._held_flops, cost=self._held_cost)

    @property
    def limited(self) -> bool:
        """Whether this account or one around it has a limit in tokens, FLOPs or money."""
        return not self._limits <= {"seconds"}

    def limits(self, name: str) -> bool:
        """Whether this account or one around it has a limit of this name, such as `money`."""
        return name in self._limits

    def left(self) -> Budget:
        """The tightest limits of this account and those around it, with the seconds until the deadline."""
        tight = tightest(*(account.budget for account in self._around))
        return tight if self.deadline is None else replace(tight, seconds=max(self.deadline - self.clock(), 1e-9))

    def start(self) -> None:
        """Start the clock, again if it runs: seconds count from here."""
        self._begun = self.clock()

    def seconds(self) -> float:
        """Seconds since the start."""
        return self.clock() - self._begun

    def overshoot(self) -> float:
        """Seconds past the deadline, if there is one and it has passed, else 0."""
        return 0.0 if self.budget.seconds is None else max(0.0, self.seconds() - self.budget.seconds)

    def cut_short(self, level: float) -> None:
        """Remember that the account of this level refused or shortened something here: all inside it fell short."""
        for account in self._around:
            account.short = account.short or account.level > level

    def late(self) -> float:
        """The level of the outermost account here whose deadline has passed; infinite if none has."""
        return min((account.level for account in self._around if account.overshoot() > 0), default=inf)

    def fits(self, tokens: int, flops: int = 0, cost: int = 0) -> bool:
        """Whether so much could be reserved at once, without waiting."""
        return all(account._has_room(tokens, flops, cost) for account in self._around)

    async def can_hold(self, tokens: int, flops: int = 0, cost: int = 0) -> bool:
        """The same, once more room was asked for where this account has a part of a budget."""
        if lender := self._around[-1].lender:
            await lender.lend((tokens, flops, cost), wait=False)
        return self._yields_to() is None and self.fits(tokens, flops, cost)

    @property
    def room(self) -> tuple[float, float, float]:
        """Tokens, FLOPs and trillionths of the money that can be reserved at once; infinite without a limit."""
        left = [(each._tokens_left(), each._flops_left(), each._cost_left()) for each in self._around]
        tokens, flops, cost = (min(amounts) for amounts in zip(*left, strict=True))
        return tokens, flops, cost

    async def reserve(self, prompt: int, output: int, flops: Rate = free, cost: Rate = free, *, least: int = 1) -> Hold:
        """Reserve `prompt` tokens to read and up to `output` to write, with their FLOPs and what they cost.

        Waits while requests in flight may still give room back; then shrinks the output, down to `least`; then refuses.
        Room goes to the work that was begun first: so a small budget finishes some problems, and does not begin all.
        What is held must be given to `settle`. Raises `BudgetExceeded`.
        """
        level, waits = inf, ExitStack()
        with waits:
            lacking: Account | None = None
            while True:
                if lender := self._around[-1].lender:
                    await lender.lend((prompt + output, flops(output), cost(output)))
                self.check_time()
                before, lacking = lacking, self._yields_to()
                if lacking is None:
                    for account in self._around:
                        if not account._held_tokens:
                            longest, output = output, self._shrunk(account, prompt, output, flops, cost, least)
                            level = account.level if output < longest else level
                    hold = Hold(output, prompt + output, flops(output), cost(output), level)
                    lacking = next((each for each in self._around if not each._has_room(*hold.amounts)), None)
                if lacking is None:
                    self.hold(hold)
                    return hold
                if lacking is not before:
                    waits.close()
                    turn = waits.enter_context(lacking._waiting(self))
                await turn.wait()
                turn.clear()

    def _yields_to(self) -> "Account | None":
        """The account here, if any, in which a request of earlier work waits for room."""
        return next((each for each in self._around if each._line and each._line[0][0] < self._begun_in(each)), None)

    def _begun_in(self, around: "Account") -> int:
        """The number of the account right inside `around` that this one is, or is in: the lower, the earlier begun."""
        return self._around[max(0, self.level - around.level - 1)]._number

    @contextmanager
    def _waiting(self, inner: "Account") -> Iterator[asyncio.Event]:
        """Stand in the line for room here; yields the event that says when to look for it again."""
        seat = (inner._begun_in(self), next(_NUMBERS), asyncio.Event())
        insort(self._line, seat)
        try:
            yield seat[2]
        finally:
            self._line.remove(seat)
            self._call_first()

    def _call_first(self) -> None:
        if self._line:
            self._line[0][2].set()

    def hold(self, hold: Hold) -> None:
        """Set an amount aside, which is known to fit."""
        for account in self._around:
            account._held_tokens += hold.tokens
            account._held_flops += hold.flops
            account._held_cost += hold.cost

    def settle(self, hold: Hold) -> None:
        """Give back what `reserve` set aside; what was used of it has been given to `spend` by now."""
        for account in self._around:
            account._held_tokens -= hold.tokens
            account._held_flops -= hold.flops
            account._held_cost -= hold.cost
            account._call_first()

    def spend(self, usage: Usage) -> None:
        """Book what was used."""
        for account in self._around:
            account._spent.add(usage)

    def count_in_flight(self, samples: int) -> None:
        """Count samples as in flight, or no more as such where `samples` is negative."""
        for account in self._around:
            account.in_flight += samples

    def check_time(self) -> None:
        """Raise `BudgetExceeded` if a deadline has passed."""
        for account in self._around if "seconds" in self._limits else ():
            if account.overshoot() > 0:
                account.refused = True
                self.cut_short(account.level)
                late = f"the deadline of {account.budget.seconds:g} s has passed, so nothing more is started"
                raise BudgetExceeded(late, account.level)

    def _has_room(self, tokens: int, flops: int, cost: int) -> bool:
        return tokens <= self._tokens_left() and flops <= self._flops_left() and cost <= self._cost_left()

    def _tokens_left(self) -> float:
        return inf if self._most_tokens is None else self._most_tokens - self._spent.now().tokens - self._held_tokens

    def _flops_left(self) -> float:
        return inf if self._most_flops is None else self._most_flops - self._spent.now().all_flops - self._held_flops

    def _cost_left(self) -> float:
        return inf if self._most_cost is None else self._most_cost - self._spent.now().all_cost - self._held_cost

    def _shrunk(self, account: "Account", prompt: int, output: int, flops: Rate, cost: Rate, least: int) -> int:
        """The longest output that this account or one around it has room for."""
        try:
            return account._room_for(prompt, output, flops, cost, least)
        except BudgetExceeded as refused:
            self.cut_short(refused.level)
            raise

    def _room_for(self, prompt: int, output: int, flops: Rate, cost: Rate, least: int) -> int:
        """The longest output that there is room for. What is not left is spent: nothing is set aside."""
        budget = self.budget
        if output > self._tokens_left() - prompt:
            output = int(self._tokens_left()) - prompt
        if output < least:
            self._refuse(f"{(budget.tokens or 0) - self._tokens_left()} of {budget.tokens} tokens", prompt)
        if (output := _longest(output, flops, self._flops_left())) < least:
            spent = (budget.flops or 0) - self._flops_left()
            self._refuse(f"{spent:.4g} of {budget.flops:.4g} FLOPs", prompt)
        if (output := _longest(output, cost, self._cost_left())) < least:
            spent = float(budget.money or 0) - self._cost_left() / PARTS
            self._refuse(f"{spent:.4g} of {budget.money:.4g} in money", prompt)
        return output

    def _refuse(self, spent: str, prompt: int) -> NoReturn:
        self.refused = True
        why = f"{spent} are spent, and a prompt of {counted(prompt, 'token')} leaves no room for an answer"
        raise BudgetExceeded(why, self.level)


class Lender(Protocol):
    """Lends parts of a budget to accounts, as the driver of a cluster does to its workers."""

    async def lend(self, amounts: Amounts, *, wait: bool = True) -> None:
        """Make room for so much, or as much as there is, once nobody else holds anything that may come back.

        Without `wait`, make room only if that is possible at once.
        """


def _longest(output: int, rate: Rate, left: float) -> int:
    """The longest output, up to this one, that takes no more than what is left."""
    return output if rate(output) <= left else bisect_right(range(1, output), left, key=rate)
