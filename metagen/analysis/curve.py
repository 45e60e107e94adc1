"""Graded samples as arrays, and a curve: a mean for each number of samples, with its interval."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import NormalDist
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from metagen.analysis.choice import estimate
from metagen.analysis.intervals import DRAWS, FEW, LEVEL, Array, Index, all_resampled_means, percentiles, student
from metagen.analysis.share import Share
from metagen.budget import Price
from metagen.errors import InputError
from metagen.notebook import html_table
from metagen.settings import counted

Unit = Literal["money", "FLOPs", "tokens"]
"""What a curve may count its costs in, the most telling one first."""
UNITS: tuple[Unit, ...] = get_args(Unit)


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """n samples of each of P problems, as arrays [P, n]."""

    groups: NDArray[np.int64]
    """Samples with equal answers have equal numbers, 0 or more; −1 has no answer."""
    right: NDArray[np.bool_]
    scores: Array | None = None
    """A verifier's verdicts, higher is better; nan is no verdict."""
    tokens: NDArray[np.int64] | None = None
    """What each sample cost."""
    flops: Array | None = None
    """Of writing each sample, where the model's card is known."""
    prompt_flops: Array | None = None
    """[P]: of reading the prompt, once for all samples; beside `flops`."""
    prompts: NDArray[np.int64] | None = None
    """[P]: the tokens of the prompt; 0 where nobody counted them."""
    again: Array | None = None
    """[P]: the tokens that a second request per sample reads again, such as a thought; the mean of its samples."""
    price: Price | None = None
    """What the tokens of the model cost, where it is known."""
    done: NDArray[np.bool_] | None = None
    """Whether no limit cut each sample off; `None` where none of them holds a thought."""
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Such as level and subject, one value per problem; empty where a problem has none."""

    def __post_init__(self) -> None:
        """Raises `InputError` for arrays that do not fit together."""
        shape = np.shape(self.groups)
        if len(shape) != 2 or 0 in shape:
            raise InputError(f"groups must be an array of problems by samples, with one of each or more, not {shape}")
        for name in ("right", "scores", "tokens", "flops", "done"):
            given = getattr(self, name)
            if given is not None and np.shape(given) != shape:
                raise InputError(f"{name} must have the shape {shape} of groups, not {np.shape(given)}")
        for name, values in self.labels.items():
            if len(values) != shape[0]:
                raise InputError(
                    f"label {name!r} must have a value for each of {counted(shape[0], 'problem')}, not {len(values)}"
                )
        if np.min(self.groups) < -1:
            raise InputError(f"a group is a number of 0 or more, or -1 for no answer, not {np.min(self.groups)}")

    def first(self, k: int) -> "Samples":
        """The first k samples of each problem."""
        names = ("groups", "right", "scores", "tokens", "flops", "done")
        cut = {name: each[:, :k] for name in names if (each := getattr(self, name)) is not None}
        return replace(self, **cut)

    def of(self, problems: Index) -> "Samples":
        """The same for some of the problems, by their numbers; without labels."""
        names = ("groups", "right", "scores", "tokens", "flops", "prompt_flops", "prompts", "again", "done")
        parts = {name: each[problems] for name in names if (each := getattr(self, name)) is not None}
        return Samples(**parts, price=self.price)

    @property
    def problems(self) -> int:
        return int(self.groups.shape[0])

    @property
    def n(self) -> int:
        """Samples a problem."""
        return int(self.groups.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """The expected accuracy of one rule for each k in `ks`, problem by problem."""

    rule: str
    ks: tuple[int, ...]
    values: Array
    """[P, K], each from 0 to 1."""
    variances: Array
    """[P, K]: of the Monte Carlo estimate of each value; 0 where it is exact."""
    costs: Array | None = None
    """[P, K]: the expected tokens of k samples."""
    flops: Array | None = None
    """[P, K]: the expected FLOPs of k samples that share one reading of the prompt."""
    money: Array | None = None
    """[P, K]: what they are expected to cost, counted in the same way."""

    @property
    def means(self) -> Array:
        """[K]: over problems."""
        return np.asarray(self.values.mean(0))

    @property
    def errors(self) -> Array:
        """[K]: the Monte Carlo standard error of each mean; 0 where it is exact. Not the error of few problems."""
        return np.asarray(np.sqrt(self.variances.sum(0)) / len(self.values))

    def interval(self, level: float = LEVEL, draws: int = DRAWS, seed: int = 0) -> tuple[Array, Array]:
        """([K], [K]): the percentile bootstrap interval of each mean, over problems (Efron 1979).

        Where every problem is right, or none is, resampling cannot show what else might be: there it is Wilson's. With
        fewer than 20 problems it is Wilson's for as many problems as the variance is worth (Korn and Graubard 1998),
        with Student's t in place of 1.96. In simulations it covered 94 to 100 %, and the bootstrap 0 to 93 %.
        """
        return intervals([self], level, draws, seed)[0]

    def _repr_html_(self) -> str:
        """How a notebook shows it."""
        low, high = self.interval()
        points = zip(self.ks, self.means, low, high, strict=True)
        rows = [(f"{k}", f"{mean:.1%}", f"{least:.1%} to {most:.1%}") for k, mean, least, most in points]
        return html_table(
            f"{self.rule}, {counted(len(self.values), 'problem')}", ("samples", "accuracy", "interval"), rows
        )

    def of(self, problems: Index) -> "Curve":
        """The same for some of the problems, by their numbers."""
        spent = (None if each is None else each[problems] for each in (self.costs, self.flops, self.money))
        return Curve(self.rule, self.ks, self.values[problems], self.variances[problems], *spent)

    def costs_in(self, unit: Unit) -> Array | None:
        """[P, K]: what k samples cost in this unit, where that is known."""
        return {"money": self.money, "FLOPs": self.flops, "tokens": self.costs}[unit]

    def at(self, k: int) -> Array:
        """[P]: the values at one k of `ks`. Raises `InputError` for another."""
        if k not in self.ks:
            raise InputError(f"the curve of {self.rule} has no k = {k!r}: it has {', '.join(map(str, self.ks))}")
        return np.asarray(self.values[:, self.ks.index(k)])


def unit_of(curves: Iterable[Curve]) -> Unit | None:
    """What all of them know their costs in; `None` if nothing: pools from elsewhere may not count tokens."""
    every = list(curves)
    if not all(has_costs(curve.costs) for curve in every):  # what is read is known, and not what is written
        return None
    return next((unit for unit in UNITS if all(has_costs(curve.costs_in(unit)) for curve in every)), None)


def has_costs(costs: Array | None) -> bool:
    """Whether the costs of every problem are known: what counts nothing costs nothing."""
    return costs is not None and bool((costs[:, 0] > 0).all())


def intervals(
    curves: Iterable[Curve], level: float = LEVEL, draws: int = DRAWS, seed: int = 0
) -> list[tuple[Array, Array]]:
    """The interval of each curve; problems are resampled once for all curves over equally many."""
    every, found = [curve.values for curve in curves], []
    means = iter(all_resampled_means([values for values in every if len(values) >= FEW], draws, seed))
    for values in every:
        low, high = percentiles(next(means), level) if len(values) >= FEW else _of_few(values, level)
        for total in (0, len(values)):
            alike = np.isclose(values.sum(0), total)  # sums of chances are rounded
            low[alike], high[alike] = Share(total, len(values)).interval(NormalDist().inv_cdf((1 + level) / 2))
        found.append((low, high))
    return found


def _of_few(values: Array, level: float) -> tuple[Array, Array]:
    """([K], [K]): the interval of the means of values from 0 to 1 over few problems [P, K]."""
    problems = len(values)
    z = student(level, problems - 1) if problems > 1 else NormalDist().inv_cdf((1 + level) / 2)
    found = [estimate(each, z) for each in values.T]
    return np.array([each.low for each in found]), np.array([each.high for each in found])


def check_ks(ks: Iterable[int], n: int) -> tuple[int, ...]:
    ks = tuple(ks)
    if not ks or not all(1 <= k <= n for k in ks) or any(one >= other for one, other in pairwise(ks)):
        raise InputError(f"k must go up from 1 to at most {n}, the samples of a problem, not {ks}")
    return ks


def scores_of(samples: Samples) -> Array:
    if samples.scores is None:
        raise InputError("these samples have no scores, and this rule chooses by them")
    return np.asarray(samples.scores, dtype=np.float64)


def costs_of(samples: Samples, ks: tuple[int, ...]) -> tuple[Array | None, Array | None, Array | None]:
    """[P, K] each: the tokens, the FLOPs and the money that k samples are expected to cost, where they are known."""
    if samples.tokens is None or not samples.tokens.any():
        return None, None, None
    tokens = np.outer(samples.tokens.mean(1), ks)
    flops = money = None
    if samples.flops is not None and samples.prompt_flops is not None:
        flops = np.outer(samples.flops.mean(1), ks) + samples.prompt_flops[:, None]
    if samples.price:
        read = 0 if samples.prompts is None else samples.prompts[:, None]
        again = 0 if samples.again is None else np.outer(samples.again, ks)
        money = ((read + again) * samples.price.read + tokens * samples.price.write) / 1e6
    return tokens, flops, money
