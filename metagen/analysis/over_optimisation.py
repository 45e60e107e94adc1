"""Over-optimisation: whether a curve falls as more samples are drawn."""

from dataclasses import dataclass

import numpy as np

from metagen.analysis.compare import ROUNDING
from metagen.analysis.curve import Curve
from metagen.analysis.intervals import BLOCK, DRAWS, LEVEL, Array

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

    On a flat curve, what a problem gains or loses from one k to another has either sign with the same chance. So the
    signs of each problem are flipped at random, and a fall counts if it is larger than the `level` quantile of the
    largest standardised difference among all pairs of k then (a permutation test; Westfall and Young 1993). A flat
    curve is thus accused in 1 − `level` of cases. With fewer than 6 problems nothing is claimed.
    """
    earlier, later = np.triu_indices(len(curve.ks), 1)
    if len(curve.values) < _FEWEST or not len(later):
        return None
    changes = curve.values[:, later] - curve.values[:, earlier]
    spread = np.maximum(np.sqrt((changes**2).mean(0) / len(changes)), 1e-9)
    flipped = _flipped(curve.values, draws, seed)
    widest = np.quantile(((flipped[:, later] - flipped[:, earlier]) / spread).max(1), level, method="higher") * spread
    difference = changes.mean(0)
    if not (falls := np.flatnonzero(difference + widest < -ROUNDING)).size:
        return None
    first = later[falls].min()
    pair = min(falls[later[falls] == first], key=lambda pair: float(difference[pair] / spread[pair]))
    value, width = float(difference[pair]), float(widest[pair])
    best = curve.ks[int(curve.means[: first + 1].argmax())]
    return Fall(best, curve.ks[first], value, max(-1.0, value - width), value + width)


def _flipped(values: Array, draws: int, seed: int) -> Array:
    """[draws, K]: the means of values [P, K] where the signs of each problem are flipped at random."""
    rng, block = np.random.default_rng(seed), max(1, BLOCK // len(values))
    sizes = [min(block, draws - start) for start in range(0, draws, block)]
    signs = (rng.integers(2, size=(size, len(values))) * 2.0 - 1 for size in sizes)
    return np.concatenate([each @ values for each in signs]) / len(values)
