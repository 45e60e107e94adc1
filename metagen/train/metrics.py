"""How well scores tell good from bad: pure functions over numbers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def auc(scores: ArrayLike, labels: ArrayLike) -> float:
    """The chance that a good one scores higher than a bad one, ties counting half; nan if one kind is missing.

    `scores` and `labels` (0 or 1) are vectors of the same length. (The Mann-Whitney statistic.)
    """
    values, good = np.asarray(scores, dtype=float), np.asarray(labels) > 0.5
    if good.all() or not good.any():
        return float("nan")
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    rank = (last - (counts - 1) / 2)[place]
    many, others = good.sum(), (~good).sum()
    return float((rank[good].sum() - many * (many + 1) / 2) / (many * others))


def calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = 10) -> float:
    """The expected calibration error: mean distance of probability and share of good ones, over bins of equal width.

    (Guo et al. 2017, section 2.)
    """
    values, good = np.asarray(probabilities, dtype=float), np.asarray(labels, dtype=float)
    bin_of = np.minimum((values * bins).astype(int), bins - 1)
    inside = [bin_of == each for each in range(bins)]
    gaps: Sequence[float] = [float(abs(values[at].mean() - good[at].mean()) * at.mean()) for at in inside if at.any()]
    return float(sum(gaps))
