"""One budget over many workers: the driver lends parts of it, and takes back what nobody used.

The driver's account holds what is lent as set aside, so that spent and lent together never pass the budget. A worker
asks before a request that it has no room for; where the driver has none either, it first takes back what the workers
have set aside for nothing. Only when nothing is lent any more is the last of the budget given away, however little
that is: then a request is shortened or refused, as on one machine.
"""

import asyncio
from collections.abc import Awaitable, Callable
from operator import add, sub

from metagen.budget import Account, Amounts, Budget, Hold, Usage

NOTHING: Amounts = (0, 0, 0)
AHEAD = 8
"""A worker is lent room for so many more requests of the size it asks for, so that it asks less often ..."""
SHARE = 64
"""... but at most one part in so many, of a worker's equal share of what is left: a dead worker's part is lost."""
RECALL_SECONDS = 0.02
"""How often workers are asked for what they do not use, while another one waits for it."""


def amounts_of(usage: Usage) -> Amounts:
    """What a usage takes from a budget."""
    return usage.tokens, usage.all_flops, usage.all_cost


class Branch(Account):
    """A worker's part of a budget. It has what was lent to it, and asks `lender` for more."""

    def __init__(self, whole: Budget, ask: Callable[[Amounts, bool], Awaitable[None]]) -> None:
        super().__init__(whole)
        self._most_tokens = None if whole.tokens is None else 0
        self._most_flops = None if whole.flops is None else 0
        self._most_cost = None if whole.money is None else 0
        self._ask = ask
        self._asking = asyncio.Lock()

    @property
    def lender(self) -> "Branch":  # type: ignore[override]
        """This account itself. An attribute would make it hold itself, and be freed late."""
        return self

    def inner(self, budget: Budget | None = None) -> Account:  # type: ignore[override]
        return Account(budget, self)

    async def lend(self, amounts: Amounts, *, wait: bool = True) -> None:
        """Ask the driver where there is no room for so much here; one question at a time."""
        if not self.limited or self._has_room(*amounts):
            return
        async with self._asking:
            if not self._has_room(*amounts):
                await self._ask(amounts, wait)

    def add(self, amounts: Amounts) -> None:
        """Room that the driver has lent."""
        tokens, flops, cost = amounts
        self._most_tokens = None if self._most_tokens is None else self._most_tokens + tokens
        self._most_flops = None if self._most_flops is None else self._most_flops + flops
        self._most_cost = None if self._most_cost is None else self._most_cost + cost

    def give_back(self) -> Amounts:
        """All that is not set aside here, which the driver may lend to others."""
        tokens, flops, cost = (
            0 if most is None else int(left) for most, left in zip(self._mosts, self.room, strict=True)
        )
        self.add((-tokens, -flops, -cost))
        return tokens, flops, cost

    @property
    def _mosts(self) -> tuple[float | None, ...]:
        return self._most_tokens, self._most_flops, self._most_cost


Recall = Callable[[], Awaitable[None]]


class Treasury:
    """What the driver has lent to whom, under its account."""

    def __init__(self, account: Account, workers: int, recall: Recall) -> None:
        self.account = account
        self._limits = [account.limits(name) for name in ("tokens", "flops", "money")]
        self._workers = workers
        self._recall = recall
        self._lent: dict[int, Amounts] = {}
        self._turn = asyncio.Lock()

    async def lend(self, worker: int, amounts: Amounts, *, wait: bool) -> Amounts:
        """Set room aside for a worker: for these amounts and some more, or for all there is once nothing else is lent.

        It waits until one of these can be had. Without `wait`, nothing is lent where there is no room at once.
        """
        amounts = self._limited(amounts)
        if not wait and self._turn.locked():
            return NOTHING
        async with self._turn:
            while True:
                if self.account.fits(*amounts):
                    return self._set_aside(worker, self._generous(amounts))
                await self._recall()
                if self.account.fits(*amounts):
                    return self._set_aside(worker, amounts)
                if not wait:
                    return NOTHING
                if not any(map(any, self._lent.values())):
                    return self._set_aside(worker, self._rest())
                await asyncio.sleep(RECALL_SECONDS)

    def take_back(self, worker: int, amounts: Amounts) -> None:
        """What a worker gives back, or has spent: never more than it was lent."""
        lent = self._lent.get(worker, NOTHING)
        amounts = _each(min, self._limited(amounts), lent)
        self._lent[worker] = _each(sub, lent, amounts)
        self.account.settle(_hold(amounts))

    def book(self, worker: int, usage: Usage) -> None:
        """What a worker has spent, out of what it was lent."""
        self.take_back(worker, amounts_of(usage))
        self.account.spend(usage)

    def forfeit(self, worker: int) -> Usage:
        """Count all that a dead worker was lent as spent: it may have been. Returns it, as an estimate."""
        lent = self._lent.pop(worker, NOTHING)
        self.account.settle(_hold(lent))
        tokens, flops, cost = lent
        usage = Usage(completion_tokens=tokens, estimated_tokens=tokens, flops=flops, cost=cost)
        self.account.spend(usage)
        return usage

    def _set_aside(self, worker: int, amounts: Amounts) -> Amounts:
        self._lent[worker] = _each(add, self._lent.get(worker, NOTHING), amounts)
        self.account.hold(_hold(amounts))
        return amounts

    def _generous(self, amounts: Amounts) -> Amounts:
        """These amounts, and room for some more requests like it, as far as that takes little of what is left."""
        left = _each(sub, self._rest(), amounts)
        more = ((AHEAD * amount, part // (SHARE * self._workers)) for amount, part in zip(amounts, left, strict=True))
        return _each(add, amounts, tuple(map(min, more)))

    def _rest(self) -> Amounts:
        return self._limited(
            tuple(room if limit else 0 for room, limit in zip(self.account.room, self._limits, strict=True))
        )

    def _limited(self, amounts: tuple[float, ...]) -> Amounts:
        """Without what has no limit: nobody counts that."""
        tokens, flops, cost = (
            int(max(0, one)) if limit else 0 for one, limit in zip(amounts, self._limits, strict=True)
        )
        return tokens, flops, cost


def _hold(amounts: Amounts) -> Hold:
    tokens, flops, cost = amounts
    return Hold(tokens=tokens, flops=flops, cost=cost)


def _each(combine: Callable[[int, int], int], one: Amounts, other: tuple[int, ...]) -> Amounts:
    tokens, flops, cost = map(combine, one, other)
    return tokens, flops, cost
