"""How often a test claims a difference: by its formula, for tests of the test."""

import numpy as np

from metagen.analysis.compare import binomial
from metagen.analysis.intervals import LEVEL


def power(
    problems: int, only_first: float, only_second: float, alpha: float = 1 - LEVEL, *, exact: bool = False
) -> float:
    """How often McNemar's test claims a difference (p < `alpha`), exactly, summed over all outcomes.

    `only_first` and `only_second` are the chances that only the one or the other run gets a problem right. So with
    equal chances this is the share of false claims.
    """
    differing = only_first + only_second
    if not differing:
        return 0.0
    claimed = [_claimed(count, only_second / differing, alpha, exact=exact) for count in range(problems + 1)]
    return float(binomial(problems, differing) @ claimed)


def _claimed(differing: int, share: float, alpha: float, *, exact: bool) -> float:
    """The chance that the test claims a difference, of `differing` problems each in favour of the second by `share`."""
    evens = binomial(differing, 0.5)
    lower = evens.cumsum() - (0 if exact else evens / 2)
    claims = 2 * np.minimum(lower, lower[::-1]) < alpha
    return float(binomial(differing, share)[claims].sum())
