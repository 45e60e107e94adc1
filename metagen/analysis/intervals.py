"""Intervals: percentiles of means over resampled problems."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


Index = NDArray[np.intp]


DRAWS = 1000
"""Bootstrap resamples."""


LEVEL = 0.95


FEW = 20
"""With fewer problems, resamples of them vary too little: of one problem there is but one resample."""


BLOCK = 1 << 19
"""Cells that are in memory at once."""


def resampled_means(values: ArrayLike, draws: int = DRAWS, seed: int = 0) -> Array:
    """[draws, K]: the means of `values` [P, K] over bootstrap resamples of the P problems.

    The same seed resamples the same problems, so the differences of two curves are paired.
    """
    return all_resampled_means([values], draws, seed)[0]


def all_resampled_means(tables: Sequence[ArrayLike], draws: int = DRAWS, seed: int = 0) -> list[Array]:
    """The same for each of several tables; problems are resampled once for all tables that have equally many.

    Each resample is a row of multinomial counts, and a block of them one matrix product.
    """
    given: list[Array] = [np.asarray(values, dtype=np.float64) for values in tables]
    found = [np.empty((draws, values.shape[1])) for values in given]
    for problems in {len(values) for values in given}:
        alike = [each for each in zip(given, found, strict=True) if len(each[0]) == problems]
        rng, block = np.random.default_rng(seed), max(1, BLOCK // problems)
        for start in range(0, draws, block):
            counts = _counts(problems, min(block, draws - start), rng)
            for values, means in alike:
                means[start : start + block] = counts @ values / problems
    return found


def percentiles(means: Array, level: float = LEVEL) -> tuple[Array, Array]:
    """The middle `level` of the rows of `means`, column by column."""
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


@lru_cache(64)
def student(level: float, freedom: int) -> float:
    """Student's t (1908): within ± of it lies the middle `level` of the distribution.

    With t = √freedom · tan(angle), the density of the angle is cos(angle) to the power of freedom − 1.
    """
    steps = 1 << 14
    ends = np.linspace(0, np.pi / 2, steps + 1)
    shares = np.concatenate([[0.0], np.cumsum(np.cos(ends[:-1] + np.pi / 4 / steps) ** (freedom - 1))])
    return float(np.sqrt(freedom) * np.tan(np.interp(level, shares / shares[-1], ends)))


def _counts(problems: int, draws: int, rng: np.random.Generator) -> Array:
    """[draws, P]: how often each problem stands in each resample."""
    counts = np.empty((draws, problems))
    for row in counts:  # all at once would take twice as long: fresh memory is slow
        row[:] = np.bincount(rng.integers(problems, size=problems), minlength=problems)
    return counts
