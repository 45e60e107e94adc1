"""One number for the scores of all steps: pure functions."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from statistics import fmean

Aggregate = Callable[[Sequence[float]], float]

AGGREGATES: Mapping[str, Aggregate] = {
    "min": min,
    "prod": prod,
    "mean": fmean,
    "last": lambda scores: scores[-1],
}
"""By name. The lowest step and the product: Lightman et al. 2024, section 2.5; the last: Snell et al. 2024."""
