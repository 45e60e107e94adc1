"""One number for the scores of all steps: pure functions."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from statistics import fmean

from metagen.errors import InputError

Aggregate = Callable[[Sequence[float]], float]

AGGREGATES: Mapping[str, Aggregate] = {
    "min": min,
    "prod": prod,
    "mean": fmean,
    "last": lambda scores: scores[-1],
}
"""By name. The lowest step and the product: Lightman et al. 2024, section 2.5; the last: Snell et al. 2024."""


def require_aggregate(of: object, aggregate: object) -> None:
    """Refuse what makes no number of the scores of steps."""
    if not isinstance(aggregate, str) or aggregate not in AGGREGATES:
        raise InputError(f"{type(of).__name__}: aggregate must be one of {', '.join(AGGREGATES)}, not {aggregate!r}")


def require_step(of: object, step: object) -> None:
    """Refuse what ends no step."""
    if not isinstance(step, str) or not step:
        raise InputError(f"{type(of).__name__}: step must be the text that ends a step, not {step!r}")
