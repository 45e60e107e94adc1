"""Which strategy to use for the next problem of a file, learned as its problems are answered."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import product
from random import Random
from typing import ClassVar, Literal

from metagen.budget import Budget, Usage
from metagen.candidate import Candidate
from metagen.errors import InputError, SampleError, WeightError
from metagen.problem import Problem
from metagen.run import Generator, Run, Verifier
from metagen.settings import (
    literal,
    require_generators,
    require_number,
    require_text,
    require_verifier,
    require_whole,
    spelled,
)
from metagen.strategies.choosing import values
from metagen.strategies.judging import judged

Unit = Literal["tokens", "flops", "money"]


@dataclass(slots=True)
class Arm:
    """What is known of one strategy on one kind of problem."""

    rewards: float = 0.0
    judged: int = 0
    cost: float = 0.0
    paid: int = 0

    def add(self, reward: float | None, cost: float | None) -> None:
        if reward is not None:
            self.rewards += reward
            self.judged += 1
        if cost is not None:
            self.cost += cost
            self.paid += 1

    @property
    def mean_cost(self) -> float | None:
        return self.cost / self.paid if self.paid else None


def posterior(here: Arm, everywhere: Arm, shared: float, weight: float) -> tuple[float, float]:
    """(a, b) of the beta posterior of an arm's mean reward on one kind of problem.

    The prior is (½, ½) and what the arm came to on all other kinds, which counts as `shared` results at most; all
    results count `weight` times.
    """
    rewards, judged = everywhere.rewards - here.rewards, everywhere.judged - here.judged
    part = min(shared, judged) / judged if judged else 0.0
    a = 0.5 + here.rewards + part * rewards
    b = 0.5 + here.judged - here.rewards + part * (judged - rewards)
    return weight * a, weight * max(b, 0.5)


def mixture(rewards: Sequence[float], costs: Sequence[float], left: float) -> tuple[int, int, float]:
    """(i, j, p): arm j with probability p and else arm i have the highest mean reward at a mean cost of `left`.

    If every arm costs more than that, it is the cheapest.
    """
    cheap = [arm for arm, cost in enumerate(costs) if cost <= left]
    if not cheap:
        arm = min(range(len(costs)), key=lambda arm: (costs[arm], -rewards[arm]))
        return arm, arm, 0.0
    best = max(cheap, key=lambda arm: rewards[arm])
    found, value = (best, best, 0.0), rewards[best]
    for one, other in product(cheap, range(len(costs))):
        if costs[other] > left:
            share = (left - costs[one]) / (costs[other] - costs[one])
            mixed = (1 - share) * rewards[one] + share * rewards[other]
            if mixed > value:
                found, value = (one, other, share), mixed
    return found


@dataclass(frozen=True, slots=True, repr=False)
class Bandit:
    """The arm of `of` that is likely to do best on the next problem: any strategies over any models.

    For each arm a success rate is drawn from its posterior, and the arm with the highest answers the problem (Thompson
    1933). `by` says how good the answer was, from 0 to 1; an arm whose sample is lost got 0, and no verdict teaches
    nothing. With `average`, the arms of a file are to cost so much a problem, in `unit`: then the drawn rates and the
    mean costs so far decide which mixture of two arms makes the most of what is left for each problem (Thompson
    sampling within an inventory; Ferreira et al. 2018, section 3). An arm that was not tried yet is taken to cost
    `average`. That is a target, not a limit: `Budget` and `Within` are.

    Each value of the tag `per`, such as `per="subject"`, has posteriors of its own, with the prior Beta(½, ½) and up to
    `shared` results of the same arm on other kinds. Each result counts `weight` times: above 1 less is explored.

    The problem with number i is decided with the results of those up to i − `window`, whatever is done by then, so one
    seed gives one run at any concurrency. What was learned ends with the group of `among` problems, and where a run is
    taken up again it begins anew. Inside another strategy and for a single problem, an arm is drawn at random.

    Raises `WeightError` for a verdict that is not from 0 to 1.
    """

    of: tuple[Generator, ...]
    _: KW_ONLY
    by: Verifier
    per: str = ""
    average: float | None = None
    unit: Unit = "tokens"
    window: int = 8
    """Problems at once."""
    shared: float = 3.0
    weight: float = 2.0
    among: int = 4096

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_whole(self, window=self.window, among=self.among)
        require_generators(self, 2, example='(CoT(), Vote(8, of=Model("large")))')
        require_verifier(self, by=self.by)
        if self.by is None:
            raise InputError("Bandit: needs a verifier that says what was good, such as by=MatchesReference()")
        require_text(self, per=self.per)
        if self.unit not in ("tokens", "flops", "money"):
            raise InputError(f"Bandit: unit must be tokens, flops or money, not {self.unit!r}")
        require_number(
            self, shared=self.shared, weight=self.weight, average=1 if self.average is None else self.average
        )
        if self.shared < 0 or self.weight <= 0 or (self.average is not None and self.average <= 0):
            raise InputError("Bandit: average and weight must be above 0, and shared 0 or more")

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        (alone,) = self.members(1, 1)
        return await alone(problem, run)

    def members(self, count: int, concurrency: int) -> list[Generator]:
        """A generator for each of `count` problems, in order; each must be called, in any order and at once."""
        table = Table(self, count, concurrency)
        return [Member(table, number) for number in range(count)]

    def cost_of(self, usage: Usage) -> float:
        return float({"tokens": usage.tokens, "flops": usage.all_flops, "money": usage.money}[self.unit])


@dataclass(slots=True)
class Result:
    """What came of one problem."""

    kind: str
    arm: int = -1
    """Negative where the problem was never begun."""
    reward: float | None = None
    cost: float | None = None


class Table:
    """Where the problems of a group learn from each other: each is told its arm when its turn has come."""

    def __init__(self, strategy: Bandit, count: int, concurrency: int) -> None:
        self.strategy, self.count = strategy, count
        self.slots = asyncio.Semaphore(concurrency)
        self._arms: defaultdict[str, list[Arm]] = defaultdict(lambda: [Arm() for _ in strategy.of])
        self._everywhere = [Arm() for _ in strategy.of]
        self._spent = 0.0
        self._told = self._learned = 0
        self._waiting: dict[int, tuple[str, Random, asyncio.Future[int]]] = {}
        self._begun: dict[int, int] = {}
        """By number: the arms of problems of which nothing was learned yet."""
        self._done: dict[int, Result] = {}

    async def turn(self, number: int, kind: str, random: Random) -> int:
        """Which arm is to answer the problem of this number."""
        future = asyncio.get_running_loop().create_future()
        self._waiting[number] = kind, random, future
        self._advance()
        return int(await future)

    def settle(self, number: int, result: Result) -> None:
        """Say what came of a problem; one that ended before its turn holds nobody up."""
        self._done[number] = result
        self._advance()

    def _advance(self) -> None:
        """Tell all their arms whose turn has come, in order."""
        while self._told in self._waiting or self._told in self._done:
            while self._learned <= self._told - self.strategy.window:
                if self._learned not in self._done:
                    return
                self._begun.pop(self._learned, None)
                self._learn(self._done.pop(self._learned))
                self._learned += 1
            number, self._told = self._told, self._told + 1
            kind, random, future = self._waiting.pop(number, ("", Random(0), None))
            if future is not None and not future.done():
                self._begun[number] = self._choose(kind, random, self.count - number)
                future.set_result(self._begun[number])

    def _learn(self, result: Result) -> None:
        if result.arm < 0:
            return
        for arm in (self._arms[result.kind][result.arm], self._everywhere[result.arm]):
            arm.add(result.reward, result.cost)
        self._spent += result.cost or 0.0

    def _choose(self, kind: str, random: Random, left: int) -> int:
        strategy, arms = self.strategy, self._arms[kind]
        pairs = zip(arms, self._everywhere, strict=True)
        rates = [random.betavariate(*posterior(*pair, strategy.shared, strategy.weight)) for pair in pairs]
        if strategy.average is None:
            return rates.index(max(rates))
        known = [
            next((cost for cost in (here.mean_cost, every.mean_cost) if cost is not None), strategy.average)
            for here, every in zip(arms, self._everywhere, strict=True)
        ]
        under_way = sum(known[arm] for arm in self._begun.values())
        share = (strategy.average * self.count - self._spent - under_way) / left
        one, other, chance = mixture(rates, known, share)
        return other if random.random() < chance else one


@dataclass(frozen=True, slots=True)
class Member:
    """One problem of a group."""

    table: Table
    number: int
    __name__: ClassVar[str] = "Bandit"
    """How it is called in a trace."""

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        strategy = self.table.strategy
        result = Result(problem.tags.get(strategy.per, ""))
        try:
            result.arm = await self.table.turn(self.number, result.kind, run.random())
            async with self.table.slots:
                candidate = await self._answer(problem, result, run)
                result.reward = await self._reward(problem, candidate, run)
        finally:
            self.table.settle(self.number, result)
        run.note(f"arm {result.arm}: {literal(strategy.of[result.arm])}")
        return candidate

    async def _answer(self, problem: Problem, result: Result, run: Run) -> Candidate:
        """What the arm gives; where it loses its sample that is a reward of 0, unless a budget around refused it."""
        with run.within(Budget()) as within:
            try:
                return await within.ask(self.table.strategy.of[result.arm], problem)
            except SampleError:
                result.reward = None if run.out_of_budget() else 0.0
                raise
            finally:
                result.cost = self.table.strategy.cost_of(within.spent)

    async def _reward(self, problem: Problem, candidate: Candidate, run: Run) -> float | None:
        """The verdict on an answer, from which others learn; a single problem has no others."""
        if self.table.count == 1:
            return None
        (verdict,) = await judged(self.table.strategy.by, problem, [candidate], run)
        if isinstance(verdict, SampleError):  # the answer is there all the same
            run.note(f"no verdict on the answer: {verdict}")
        (reward,) = values([verdict])
        if reward is not None and not 0 <= reward <= 1:
            by = literal(self.table.strategy.by)
            raise WeightError(f"Bandit: {by} gave {reward}, and a reward is from 0 to 1: if logits, Sigmoid({by})")
        return reward
