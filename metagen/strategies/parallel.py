"""Parallel sampling: draw m candidates and choose one."""

from dataclasses import KW_ONLY, dataclass

from metagen.answers import canonical, extract
from metagen.candidate import Candidate, Score
from metagen.errors import InputError, WeightError
from metagen.problem import Problem
from metagen.run import Generator, Run, Verifier
from metagen.settings import generators, literal, spelled, verifiers, whole
from metagen.strategies.select import best, majority, weighted_majority


@dataclass(frozen=True, slots=True, repr=False)
class Vote:
    r"""The most frequent answer of n samples, or with `by` the one with the largest sum of scores.

    y⁽¹⁾ … y⁽ⁿ⁾ ~ g(· | x);  argmax over answers a of Σᵢ v(x, y⁽ⁱ⁾)·[answer(y⁽ⁱ⁾) = a], with v = 1 without `by`.
    (Self-consistency, Wang et al. 2023; weighted, Li et al. 2023.)

    Answers are grouped by their canonical key, so 1/2, 0.5 and \frac12 vote together. A candidate without an answer,
    or without a verdict, does not vote. Ties go to the answer that was drawn first. What is returned is the first
    sample with the winning answer, or with `by` the best of them. If no candidate has a verdict, the majority decides;
    if none has an answer, the first sample is returned. Both are noted.

    Raises `WeightError` if a score is negative or not finite.
    """

    n: int
    _: KW_ONLY
    of: Generator | None = None
    by: Verifier | None = None

    __repr__ = spelled

    def __post_init__(self) -> None:
        whole(self, n=self.n)
        generators(self, of=self.of)
        verifiers(self, by=self.by)

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        candidates = await run.sample(self.of, problem, self.n)
        answers = [extract(candidate.text, finished=candidate.finished) for candidate in candidates]
        keys = [None if answer is None else canonical(answer) for answer in answers]
        if self.by is None:
            chosen = majority(keys)
        else:
            chosen = self._weighted(keys, await run.score(self.by, problem, candidates), run)
        if chosen is None:
            run.note(f"none of {len(candidates)} samples has an answer: the first is handed over")
        return candidates[chosen or 0]

    def _weighted(self, keys: list[str | None], scores: list[Score | None], run: Run) -> int | None:
        if all(score is None for score in scores):
            run.note("no sample has a verdict: the majority decides")
            return majority(keys)
        try:
            return weighted_majority(keys, values(scores))
        except WeightError as error:
            raise WeightError(
                f"{self!r}: {error}. If {literal(self.by)} gives logits, write by=Sigmoid({literal(self.by)})"
            ) from None


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
        whole(self, n=self.n)
        generators(self, of=self.of)
        verifiers(self, by=self.by)
        if self.by is None and self.n > 1:
            raise InputError(f"BestOf({self.n}): needs a verifier to choose by, such as by=MatchesReference()")

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        candidates = await run.sample(self.of, problem, self.n)
        if self.by is None:
            return candidates[0]
        scores = await run.score(self.by, problem, candidates)
        if all(score is None for score in scores):
            run.note("no sample has a verdict: the first is handed over")
        return candidates[best(values(scores))]


def values(scores: list[Score | None]) -> list[float | None]:
    """The numbers of verdicts."""
    return [None if score is None else score.value for score in scores]
