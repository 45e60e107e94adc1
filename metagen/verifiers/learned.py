"""Several verdicts made one by weights that were learned."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metagen.candidate import Candidate, Score
from metagen.errors import InputError
from metagen.problem import Problem
from metagen.run import Run, Verifier
from metagen.settings import require_number, require_verifier, spelled
from metagen.tasks import together
from metagen.verifiers.combine import joined, sigmoid

Array = NDArray[np.float64]
PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)
FOLDS = 5
STEPS = 50
"""Of Newton's method, which needs about ten."""


@dataclass(frozen=True, slots=True, repr=False, init=False)
class Learned:
    """The probability that a candidate is right, from several verdicts: σ(bias + Σ wⱼ·vⱼ(x, y)).

    `learn_weights` learns the weights from samples of problems that have references. Verdicts may be of any scale.
    """

    of: tuple[Verifier, ...]
    _: KW_ONLY
    weights: tuple[float, ...]
    bias: float = 0.0

    __repr__ = spelled

    def __init__(self, *of: Verifier, weights: tuple[float, ...], bias: float = 0.0) -> None:
        for name, value in (("of", of), ("weights", weights), ("bias", bias)):
            object.__setattr__(self, name, value)
        for part in of:
            require_verifier(self, of=part)
        if not isinstance(weights, tuple) or len(weights) != len(of) or not of:
            raise InputError("Learned: needs verifiers and a weight for each, such as Learned(one, weights=(2.0,))")
        require_number(self, bias=bias, **{f"weights[{place}]": weight for place, weight in enumerate(weights)})

    async def __call__(self, problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        verdicts = await together(run.score(by, problem, candidates) for by in self.of)
        return [joined(self._probability, scores) for scores in zip(*verdicts, strict=True)]

    def _probability(self, values: Sequence[float]) -> float:
        return sigmoid(self.bias + sum(weight * value for weight, value in zip(self.weights, values, strict=True)))


@dataclass(frozen=True, slots=True)
class Fit:
    """Weights of a logistic regression, and how well they predict problems that they were not learned from."""

    weights: tuple[float, ...]
    bias: float
    penalty: float
    """That of `PENALTIES` whose held-out loss is the lowest."""
    loss: float
    """The mean −log p of what came true, on held-out problems."""
    naive: float
    """The same where every sample is as likely to be right as all are together."""


def fit(features: Array, right: Array, groups: NDArray[Any]) -> Fit:
    """Weights for verdicts [samples, verifiers], from which samples are right [samples], by logistic regression.

    The squares of the weights of standardised verdicts are penalised; the penalty is chosen by cross-validation over
    `groups`, the number of each sample's problem, so that no problem is on both sides. Raises `InputError`.
    """
    numbers = np.unique(groups)
    if len(numbers) < FOLDS or not 0 < right.mean() < 1:
        raise InputError(f"learning needs right and wrong samples, of {FOLDS} problems or more")
    center, spread = features.mean(0), features.std(0)
    scaled = (features - center) / np.where(spread > 0, spread, 1.0)
    folds = np.searchsorted(numbers, groups) % FOLDS
    losses = {penalty: _held_out(scaled, right, folds, penalty) for penalty in PENALTIES}
    penalty = min(losses, key=losses.__getitem__)
    bias, *weights = _newton(scaled, right, penalty)
    plain = np.array(weights) / np.where(spread > 0, spread, 1.0)
    share = right.mean()
    naive = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    return Fit(tuple(plain.tolist()), float(bias - plain @ center), penalty, losses[penalty], float(naive))


def _held_out(features: Array, right: Array, folds: NDArray[np.intp], penalty: float) -> float:
    """The mean loss on each fold of what was learned from the others."""
    losses = []
    for fold in range(FOLDS):
        learned = _newton(features[folds != fold], right[folds != fold], penalty)
        logits = learned[0] + features[folds == fold] @ learned[1:]
        losses.append(np.logaddexp(0, np.where(right[folds == fold] > 0, -logits, logits)))
    return float(np.concatenate(losses).mean())


def _newton(features: Array, right: Array, penalty: float) -> Array:
    """[1 + verifiers]: bias and weights with the least penalised loss (iteratively reweighted least squares)."""
    ones = np.column_stack([np.ones(len(features)), features])
    ridge = np.diag([1e-9, *[penalty] * features.shape[1]])
    found = np.zeros(ones.shape[1])
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(ones @ found, -30, 30)))
        slope = ones.T @ (right - p) - ridge @ found
        step = np.linalg.solve(ones.T @ (ones * (p * (1 - p))[:, None]) + ridge, slope)
        found = found + step
        if np.abs(step).max() < 1e-9:
            break
    return np.asarray(found)
