"""Over-optimisation: whether a curve falls as more samples are drawn."""

from dataclasses import dataclass

import numpy as np

from metagen.analysis.curve import Curve
from metagen.analysis.intervals import DRAWS, LEVEL, resampled_means

_FEWEST = 6
"""Problems without which nothing is claimed: with 5, even a sign test has p = 2·2⁻⁵ > 0.05."""


@dataclass(frozen=True, slots=True)
class Fall:
    """More samples made it worse: the verifier is over-optimised (Gao et al. 2023)."""

    best: int
    """The k with the highest mean before that."""
    worse_from: int
    """The first k after it that is certainly worse than some smaller k."""
    difference: float
    """Of the means at `worse_from` and at the smaller k that shows it most clearly."""
    low: float
    high: float
    """The interval of that difference, simultaneous over all pairs of k."""


def over_optimised(curve: Curve, level: float = LEVEL, draws: int = DRAWS, seed: int = 0) -> Fall | None:
    """Find out from which k on a curve is lower than it was at a smaller k, beyond chance; `None` if it is not.

    All pairs of k are looked at, so the intervals of their paired differences are simultaneous: as wide as the
    `level` quantile of the largest standardised fall among all pairs in the bootstrap. A curve that is flat is thus
    accused in 1 − `level` of cases at most. With fewer than 6 problems nothing is claimed.
    """
    earlier, later = np.triu_indices(len(curve.ks), 1)
    if len(curve.values) < _FEWEST or not len(later):
        return None
    means = resampled_means(curve.values, draws, seed)
    noise = (means - curve.means)[:, later] - (means - curve.means)[:, earlier]
    spread = np.maximum(noise.std(0), 1e-9)
    widest = np.quantile((noise / spread).max(1), level) * spread
    difference = curve.means[later] - curve.means[earlier]
    if not (falls := np.flatnonzero(difference + widest < 0)).size:
        return None
    first = later[falls].min()
    pair = min(falls[later[falls] == first], key=lambda pair: float(difference[pair] / spread[pair]))
    value, width = float(difference[pair]), float(widest[pair])
    best = curve.ks[int(curve.means[: first + 1].argmax())]
    return Fall(best, curve.ks[first], value, value - width, value + width)
