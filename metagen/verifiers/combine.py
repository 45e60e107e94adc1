"""Verifiers made of verifiers.

One rule for what is missing: a combination of verdicts is a verdict only where each of them is one. What one verifier
could not judge is neither bad nor as good as the others found it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from math import exp, fsum, nan, prod
from typing import Any

from metagen.candidate import Candidate, Score
from metagen.errors import InputError, SampleError
from metagen.problem import Problem
from metagen.run import Run, Verifier
from metagen.run.contracts import settled
from metagen.settings import counted, is_number, require_number, require_verifier, spelled
from metagen.strategies.judging import judged
from metagen.tasks import together

Numbers = Sequence[float]
Verdicts = Sequence[Score | SampleError | None]
"""With the error of a verifier where it failed, which costs no other candidate its verdict."""


@dataclass(frozen=True, slots=True, repr=False)
class Sigmoid:
    """The verdicts of `by`, which are logits, as probabilities 1 / (1 + exp(−v)), steps too: then they can vote."""

    by: Verifier

    __repr__ = spelled

    def __post_init__(self) -> None:
        _needed(self, self.by)

    async def __call__(self, problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        return [mapped(sigmoid, score) for score in await run.score(self.by, problem, candidates)]


@dataclass(frozen=True, slots=True, repr=False)
class Threshold:
    """1 where the verdict of `by` is `at` or more, else 0; each step too. No verdict stays none."""

    by: Verifier
    at: float = 0.5

    __repr__ = spelled

    def __post_init__(self) -> None:
        _needed(self, self.by)
        require_number(self, at=self.at)

    async def __call__(self, problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        scores = await run.score(self.by, problem, candidates)
        return [mapped(lambda value: float(value >= self.at), score) for score in scores]


@dataclass(frozen=True, slots=True, repr=False, init=False)
class _Combination:
    """Several verifiers, whose numbers become one; those of steps too, where all score the same steps."""

    of: tuple[Verifier, ...]

    __repr__ = spelled

    def __init__(self, *of: Verifier) -> None:
        _several(self, of)

    def _one(self, values: Numbers) -> float:
        raise NotImplementedError

    async def __call__(self, problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        """All verifiers at once; they begin in their order, so each has the same number in every run."""
        verdicts = await together(run.score(by, problem, candidates) for by in self.of)
        return [joined(self._one, scores) for scores in zip(*verdicts, strict=True)]


@dataclass(frozen=True, slots=True, repr=False, init=False)
class Mean(_Combination):
    """The mean of several verdicts, weighed by `weights` if they are given: Σ wⱼ·vⱼ(x, y) / Σ wⱼ.

    Each step has the mean of its scores, where all verifiers score the same steps.
    """

    weights: tuple[float, ...] = ()

    def __init__(self, *of: Verifier, weights: tuple[float, ...] = ()) -> None:
        _several(self, of)
        if not isinstance(weights, tuple) or not all(_is_weight(weight) for weight in weights):
            raise InputError(f"Mean: weights must be a tuple of numbers above 0, not {weights!r}")
        if weights and len(weights) != len(of):
            raise InputError(f"Mean: needs a weight for each of {counted(len(of), 'verifier')}, not {len(weights)}")
        object.__setattr__(self, "weights", weights)

    def _one(self, values: Numbers) -> float:
        return weighted_mean(values, self.weights or (1.0,) * len(self.of))


class Lowest(_Combination):
    """The lowest of several verdicts: good is what all find good. Each step has the lowest of its scores."""

    __slots__ = ()

    def _one(self, values: Numbers) -> float:
        return min(values)


class Product(_Combination):
    """The product of several verdicts, as of probabilities that err apart. Each step has the product of its scores."""

    __slots__ = ()

    def _one(self, values: Numbers) -> float:
        return prod(values)


@dataclass(frozen=True, slots=True, repr=False, init=False)
class Cascade:
    """Cheap verifiers first: the next is asked only about what the one before it does not settle.

    A verdict of `low` or less, or of `high` or more, is settled and stands. The last verifier's verdict stands whatever
    it is, also where it is none. So all of them should mean the same by the same number, such as a probability.
    (Viola and Jones 2001, with both ends.)
    """

    of: tuple[Verifier, ...]
    _: KW_ONLY
    low: float = 0.1
    high: float = 0.9

    __repr__ = spelled

    def __init__(self, *of: Verifier, low: float = 0.1, high: float = 0.9) -> None:
        _several(self, of)
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)
        require_number(self, low=low, high=high)
        if low >= high:
            raise InputError(f"Cascade: low must be below high, not {low!r} and {high!r}")

    async def __call__(self, problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        verdicts: list[Score | SampleError | None] = [None] * len(candidates)
        open_ = list(range(len(candidates)))
        for by in self.of:
            if open_:
                scores = await judged(by, problem, [candidates[number] for number in open_], run)
                verdicts = _replaced(verdicts, open_, scores)
                open_ = [number for number in open_ if not self._settled(verdicts[number])]
        return settled(verdicts, run)

    def _settled(self, score: Score | SampleError | None) -> bool:
        return isinstance(score, Score) and not self.low < score.value < self.high


@dataclass(frozen=True, slots=True, repr=False)
class Cached:
    """The verdicts of `by`, asked once for equal candidates by one node of a strategy.

    For a search that comes back to the same candidate, a vote that judges its samples one by one, or a batch with
    twins. A verdict is kept while the node that asks works on its problem, and no other node sees it: which of two
    nodes at work at once came first is up to the clock. What had no verdict is asked again.
    """

    by: Verifier

    __repr__ = spelled

    def __post_init__(self) -> None:
        _needed(self, self.by)

    async def __call__(self, problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        # The entry keeps this object alive: once it was freed, another one could have its id, and get its verdicts.
        known: dict[Any, Score] = run.memory.setdefault(id(self), (self, {}))[1]
        missing = list(dict.fromkeys(each for each in candidates if (problem, each) not in known))
        scores = await judged(self.by, problem, missing, run) if missing else []
        found = dict(zip(missing, scores, strict=True))
        known.update(((problem, each), score) for each, score in found.items() if isinstance(score, Score))
        return settled([known.get((problem, each)) or found.get(each) for each in candidates], run)


def sigmoid(logit: float) -> float:
    """1 / (1 + exp(−logit)), without overflow."""
    return 1 / (1 + exp(-logit)) if logit >= 0 else exp(logit) / (1 + exp(logit))


def weighted_mean(values: Numbers, weights: Numbers) -> float:
    """Σ w·v / Σ w; NaN where there is none, as of ∞ and −∞."""
    try:
        return fsum(weight * value for weight, value in zip(weights, values, strict=True)) / fsum(weights)
    except (OverflowError, ValueError):  # of what is too large, or infinite on both sides
        return nan


def mapped(function: Callable[[float], float], score: Score | None) -> Score | None:
    """The verdict with the function of its value and of each step."""
    return score and replace(score, value=function(score.value), steps=tuple(map(function, score.steps)))


def joined(function: Callable[[Numbers], float], scores: Iterable[Score | None]) -> Score | None:
    """One verdict from several: none if one is missing; with steps if all have equally many."""
    given = list(scores)
    known = [score for score in given if score is not None]
    if len(known) < len(given):
        return None
    alike = len({len(score.steps) for score in known}) == 1
    steps = tuple(map(function, zip(*(score.steps for score in known), strict=True))) if alike else ()
    reason = "; ".join(score.reason for score in known if score.reason)
    return Score(function([score.value for score in known]), steps, reason)


def _replaced(verdicts: Verdicts, numbers: Sequence[int], scores: Verdicts) -> list[Score | SampleError | None]:
    new = dict(zip(numbers, scores, strict=True))
    return [new.get(number, verdict) for number, verdict in enumerate(verdicts)]


def _needed(of: object, by: Verifier | None) -> None:
    require_verifier(of, by=by)
    if by is None:
        name = type(of).__name__
        raise InputError(f"{name}: needs a verifier, such as {name}(MatchesReference())")


def _several(of: object, parts: tuple[Verifier, ...]) -> None:
    if not parts:
        name = type(of).__name__
        raise InputError(f"{name}: needs verifiers, such as {name}(one, another)")
    for part in parts:
        require_verifier(of, of=part)
        if part is None:
            raise InputError(f"{type(of).__name__}: None is not a verifier")
    object.__setattr__(of, "of", parts)


def _is_weight(weight: object) -> bool:
    return is_number(weight) and weight > 0
