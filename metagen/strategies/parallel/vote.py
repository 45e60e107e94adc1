"""Parallel sampling: draw m candidates and choose one."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial

from metagen.candidate import Candidate, Score
from metagen.errors import InputError, NoCandidate, SampleError
from metagen.problem import Problem
from metagen.run import Generator, Run, Verifier
from metagen.run.contracts import call_for_truth, settled
from metagen.settings import counted, require_generator, require_verifier, require_whole, spelled
from metagen.strategies.choosing import (
    best,
    explaining_weights,
    majority,
    values,
    vote_key,
    vote_keys,
    weighted_majority,
)
from metagen.strategies.judging import is_broken, judged
from metagen.strategies.parallel.stopping import Stop, check_rule


@dataclass(frozen=True, slots=True, repr=False)
class Vote:
    r"""The most frequent answer of n samples, or with `by` the one with the largest sum of scores.

    y⁽¹⁾ … y⁽ⁿ⁾ ~ g(· | x);  argmax over answers a of Σᵢ v(x, y⁽ⁱ⁾)·[answer(y⁽ⁱ⁾) = a], with v = 1 without `by`.
    (Self-consistency, Wang et al. 2023; weighted, Li et al. 2023.)

    Answers are grouped by their keys, which `problem.answers` gives: 1/2, 0.5 and \frac12 vote together. A
    candidate without an answer, or without a verdict, does not vote. Ties go to the answer that was drawn first.
    What is returned is the first sample with the winning answer, or with `by` the best of them. If no candidate with
    an answer has a verdict, the majority decides; if none has an answer, the first sample is returned. Both are noted.

    With `until`, samples are drawn `window` at a time and judged in the order of their numbers, and no more are drawn
    once the rule says that the vote is settled, as in `Vote(40, until=BetaStop(0.95), window=4)`. Those in flight are
    then cancelled. With `by`, the rule must be `ConsensusStop`, `WindowStop` or a function: the others count votes. A
    function that raises costs the vote as a whole, and no other sample.

    Raises `WeightError` if a score is negative or not finite.
    """

    n: int
    _: KW_ONLY
    of: Generator | None = None
    by: Verifier | None = None
    until: Stop | None = None
    window: int = 1
    """Samples in flight, with `until`; without it all n are asked for at once."""

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_whole(self, n=self.n, window=self.window)
        require_generator(self, of=self.of)
        require_verifier(self, by=self.by)
        _check_stop(self)

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        if self.until is None:
            candidates = await run.sample(self.of, problem, self.n)
            scores = await run.score(self.by, problem, candidates) if self.by else []
            keys = vote_keys(problem, candidates)
        else:
            candidates, scores, keys = await self._until_settled(partial(call_for_truth, self.until), problem, run)
        chosen = majority(keys) if self.by is None else self._weighted(keys, scores, run)
        return elected(candidates, chosen, run)

    async def _until_settled(
        self, is_settled: Stop, problem: Problem, run: Run
    ) -> tuple[list[Candidate], list[Score | None], list[str | None]]:
        candidates: list[Candidate] = []
        verdicts: list[Score | SampleError | None] = []
        keys: list[str | None] = []
        async with run.stream(self.of, problem, self.n, self.window) as drawn:
            async for candidate in drawn:
                verdicts += await judged(self.by, problem, [candidate], run) if self.by else [Score(1.0)]
                candidates.append(candidate)
                if is_broken(verdicts):
                    break
                keys.append(vote_key(problem, candidate))
                weights = values(verdicts)
                voting = [None if weight is None else key for key, weight in zip(keys, weights, strict=True)]
                if is_settled(voting, [weight or 0.0 for weight in weights], drawn.left):
                    if not run.out_of_budget():  # which ended it
                        run.note(f"settled after {len(candidates)} of {counted(self.n, 'sample')}")
                    break
        if not candidates:
            raise NoCandidate.of(self.n, run.why_lost(), most=True)
        return candidates, settled(verdicts, run), keys

    def _weighted(self, keys: list[str | None], scores: list[Score | None], run: Run) -> int | None:
        if all(score is None for score in scores):
            run.note("no sample has a verdict: the majority decides")
            return majority(keys)
        with explaining_weights(self, self.by):
            chosen = weighted_majority(keys, values(scores))
        if chosen is None and (chosen := majority(keys)) is not None:
            run.note("no sample with an answer has a verdict: the majority decides")
        return chosen


@dataclass(frozen=True, slots=True, repr=False)
class BestOf:
    """The best of n samples: y⁽¹⁾ … y⁽ⁿ⁾ ~ g(· | x);  argmax over i of v(x, y⁽ⁱ⁾).

    (Best-of-n, or rejection sampling; Stiennon et al. 2020; Cobbe et al. 2021, section 4.)
    A candidate without a verdict ranks last; ties go to the sample that was drawn first.
    """

    n: int
    _: KW_ONLY
    of: Generator | None = None
    by: Verifier | None = None
    """May be left out only for n = 1, where there is nothing to choose."""

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_whole(self, n=self.n)
        require_generator(self, of=self.of)
        require_verifier(self, by=self.by)
        if self.by is None and self.n > 1:
            raise InputError(f"BestOf({self.n}): needs a verifier to choose by, such as by=MatchesReference()")

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        candidates = await run.sample(self.of, problem, self.n)
        if self.by is None:
            return candidates[0]
        scores = await run.score(self.by, problem, candidates)
        if all(score is None for score in scores):
            run.note("no sample has a verdict: the first is returned")
        return candidates[best(values(scores))]


def elected(candidates: Sequence[Candidate], chosen: int | None, run: Run) -> Candidate:
    """The chosen candidate; if no candidate votes, the first one, which a note says."""
    if chosen is None:
        run.note(f"none of {counted(len(candidates), 'sample')} has an answer: the first is returned")
    return candidates[chosen or 0]


def _check_stop(vote: Vote) -> None:
    if vote.until is None:
        if vote.window != 1:
            raise InputError("Vote: window needs until, such as Vote(40, until=BetaStop(0.95), window=4)")
        return
    check_rule(vote, vote.until, weighted=vote.by is not None)
