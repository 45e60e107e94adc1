"""Verifiers made of verifiers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp

from metagen.candidate import Candidate, Score
from metagen.errors import InputError
from metagen.problem import Problem
from metagen.run import Run, Verifier
from metagen.settings import spelled, verifiers


@dataclass(frozen=True, slots=True, repr=False)
class Sigmoid:
    """The verdicts of `by`, which are logits, as probabilities 1 / (1 + exp(−v)), steps too: then they can vote."""

    by: Verifier

    __repr__ = spelled

    def __post_init__(self) -> None:
        verifiers(self, by=self.by)
        if self.by is None:
            raise InputError("Sigmoid: needs a verifier whose verdicts are logits")

    async def __call__(self, problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        scores = await run.score(self.by, problem, candidates)
        return [None if score is None else _squashed(score) for score in scores]


def _squashed(score: Score) -> Score:
    return replace(score, value=sigmoid(score.value), steps=tuple(map(sigmoid, score.steps)))


def sigmoid(logit: float) -> float:
    """1 / (1 + exp(−logit)), without overflow."""
    return 1 / (1 + exp(-logit)) if logit >= 0 else exp(logit) / (1 + exp(logit))
