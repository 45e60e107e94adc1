"""A fixed number of samples over many problems: more to those whose vote is still in doubt."""

import asyncio
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from metagen.candidate import Candidate
from metagen.errors import InputError, SampleError
from metagen.problem import Problem
from metagen.run import Generator, Run
from metagen.settings import counted, require_generator, require_whole, spelled
from metagen.strategies.choosing import majority, vote_keys
from metagen.strategies.parallel.stopping import Keys, stays_ahead
from metagen.strategies.parallel.vote import elected

DOUBT = 1e-9
"""A leader that is less likely than this to be caught is settled; sums of chances are rounded."""
PART = 4
"""A round goes to one in so many of the problems that are not settled."""


@dataclass(frozen=True, slots=True, repr=False)
class Allocate:
    """A vote of n samples per problem on average, with more of them where it is still in doubt.

    The problems of a file are taken in groups of `among`, which share n samples per problem. Half of the samples are
    shared equally. The rest is given out in `rounds`, each to the quarter of the problems whose leading answer is the
    least likely to lead after `most` samples too (the predictive probability of `PredictiveStop`); `most` is 4·n if it
    is left out. Decisions are taken between the rounds, when all samples of a round are there, so they do not depend on
    which came first. (Adaptive allocation: Damani et al. 2025, who predict how hard a problem is; Zuo and Zhu 2025, who
    learn it as they draw, as here.)

    A group is begun as a whole and its solutions come at its end. Votes are those of `Vote`. Inside another strategy,
    and for a single problem, there is nobody to share with: then it is a vote of n.
    """

    n: int
    _: KW_ONLY
    of: Generator | None = None
    most: int | None = None
    """The most samples for one problem."""
    rounds: int = 8
    among: int = 256
    """Problems that share; what is decided waits for all of them."""

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_whole(self, n=self.n, rounds=self.rounds, among=self.among)
        require_generator(self, of=self.of)
        if self.most is not None:
            require_whole(self, most=self.most)
            if self.most < self.n:
                raise InputError(
                    f"Allocate: most={self.most} samples per problem are fewer than the average, n={self.n}"
                )

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        (alone,) = self.members(1, 1)
        return await alone(problem, run)

    def members(self, count: int, concurrency: int) -> list[Generator]:
        """A generator for each of `count` problems, which share; each must be called, in any order and at once."""
        table = _Table(self, count, concurrency)
        return [_Member(table, number) for number in range(count)]


def shares(votes: Sequence[Keys], left: Sequence[int], samples: int) -> list[int]:
    """How many of `samples` more each problem gets, from its votes so far and the most that it may still get.

    They go to the quarter that is most in doubt, equally, and only if these cannot take them all to the next; ties go
    to the problem that comes first. What is settled gets none.
    """
    doubts = [_doubt(keys, more) for keys, more in zip(votes, left, strict=True)]
    open_ones = [number for number, doubt in enumerate(doubts) if doubt > DOUBT]
    given = [0] * len(votes)
    each = -(-samples // max(1, len(open_ones) // PART))
    for number in sorted(open_ones, key=lambda number: -doubts[number]):
        given[number] = min(each, left[number], samples)
        samples -= given[number]
    return given


def _doubt(keys: Keys, left: int) -> float:
    """The chance that the samples that may still come change the leader."""
    if not left:
        return 0.0
    return 1.0 - stays_ahead(keys, left)


class _Table:
    """Where the problems of a group meet: when all that are left have brought their votes, each is told its share."""

    def __init__(self, strategy: Allocate, count: int, concurrency: int) -> None:
        self.of = strategy.of
        self.first = strategy.n if count == 1 else -(-strategy.n // 2)
        self.slots = asyncio.Semaphore(concurrency)
        self._most = strategy.most or 4 * strategy.n
        self._rounds = strategy.rounds
        self._samples = (strategy.n - self.first) * count
        self._drawn = dict.fromkeys(range(count), self.first)
        """By problem, of those that have not left."""
        self._votes: dict[int, Keys] = {}
        self._answers: dict[int, asyncio.Future[int | None]] = {}

    async def turn(self, number: int, keys: Keys) -> int | None:
        """How many samples to draw next, perhaps 0; `None` when all is spent or settled."""
        self._votes[number] = keys
        self._answers[number] = asyncio.get_running_loop().create_future()
        self._meet()
        return await self._answers[number]

    def leave(self, number: int) -> None:
        """Wait for this problem no more; a second time does nothing."""
        if self._drawn.pop(number, None) is not None:
            self._votes.pop(number, None)
            self._meet()

    def _meet(self) -> None:
        if not self._votes or self._votes.keys() != self._drawn.keys():
            return
        numbers = sorted(self._votes)
        votes = [self._votes.pop(number) for number in numbers]
        part = -(-self._samples // self._rounds) if self._rounds else 0
        given = shares(votes, [self._most - self._drawn[number] for number in numbers], part)
        over = not any(given)
        for number, share in zip(numbers, given, strict=True):
            self._drawn[number] += share
            if not self._answers[number].done():
                self._answers[number].set_result(None if over else share)
        self._samples -= sum(given)
        self._rounds -= 1


@dataclass(frozen=True, slots=True)
class _Member:
    """One problem of a group."""

    table: _Table
    number: int
    __name__: ClassVar[str] = "Allocate"
    """How it is called in a trace."""

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        try:
            candidates = await self._drawn(problem, run)
        finally:
            self.table.leave(self.number)
        return elected(candidates, majority(vote_keys(problem, candidates)), run)

    async def _drawn(self, problem: Problem, run: Run) -> list[Candidate]:
        """All its samples. What is lost in a later round ends them."""
        candidates: list[Candidate] = []
        more: int | None = self.table.first
        while more is not None:
            if more:
                try:
                    async with self.table.slots:
                        candidates += await run.sample(self.table.of, problem, more)
                except SampleError as error:
                    if not candidates:
                        raise
                    run.note(f"no more than {counted(len(candidates), 'sample')}: {error}")
                    break
            more = await self.table.turn(self.number, vote_keys(problem, candidates))
        return candidates
