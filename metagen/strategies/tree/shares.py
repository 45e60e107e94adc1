"""How much each node gets: the arithmetic of tree searches. Pure functions over numbers; `None` is no verdict."""

from collections.abc import Sequence
from itertools import accumulate
from math import ceil, exp, floor, inf, isfinite, log, sqrt

from metagen.errors import WeightError
from metagen.strategies.tree.node import Node

SURE = 1e-9
"""A probability is kept so far from 0 and from 1, where its odds would be nothing or infinite."""


def top(values: Sequence[float | None], width: int) -> set[int]:
    """The places of the `width` highest values. `None` ranks last; ties go to the first."""
    order = sorted(range(len(values)), key=lambda place: -_ranked(values[place]))
    return set(order[:width])


def softmax(values: Sequence[float | None], counts: Sequence[int], temperature: float) -> list[float]:
    """cᵢ·exp(vᵢ / temperature) over their sum. `None` has no weight, unless all are `None`: then the counts decide."""
    known = [value for value in values if value is not None]
    highest = max(known, default=0.0)
    if not isfinite(highest):
        raise WeightError(f"nothing can be shared out by verdicts of {highest}")
    weights = [
        (0.0 if known else float(count)) if value is None else count * exp((value - highest) / temperature)
        for value, count in zip(values, counts, strict=True)
    ]
    return [weight / sum(weights) for weight in weights]


def log_odds(values: Sequence[float | None]) -> list[float | None]:
    """log(v / (1 - v)) of probabilities. Raises `WeightError` for what is none."""
    for value in values:
        if value is not None and not 0 <= value <= 1:
            raise WeightError(f"the odds of {value} are not known: it must be a probability, from 0 to 1")
    kept = [None if value is None else min(max(value, SURE), 1 - SURE) for value in values]
    return [None if value is None else log(value / (1 - value)) for value in kept]


def apportion(weights: Sequence[float], n: int) -> list[int]:
    """Divide n into whole shares by weights that sum to 1.

    Each share n·w is rounded down, and what is left goes to the largest remainders, ties to the first. Where
    rounding each share to the nearest adds up to n, that is the result; where it does not, this one does.
    """
    exact = [n * weight for weight in weights]
    shares = [floor(round(share, 9)) for share in exact]
    order = sorted(range(len(exact)), key=lambda place: round(shares[place] - exact[place], 9))
    for place in order[: n - sum(shares)]:
        shares[place] += 1
    return shares


def systematic(weights: Sequence[float], n: int, uniform: float) -> list[int]:
    """How often each is drawn when n draws are made by weights that sum to 1, at (uniform + 0 … n - 1) / n.

    (Systematic resampling, Kitagawa 1996: each is drawn n·w times, rounded down or up.)
    """
    ends = [min(n, ceil(n * end - uniform)) for end in accumulate(weights)]
    last = max(place for place, weight in enumerate(weights) if weight > 0)
    ends[last:] = [n] * (len(ends) - last)  # whatever the sum is rounded to
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def puct(parent: Node, child: Node, branch: int, exploration: float) -> float:
    """Q(child) + exploration · P(child) · √N(parent) / (1 + N(child)), with N in verdicts.

    Q is the mean verdict at and below the child, on a scale from the lowest to the highest verdict at and below the
    parent (Schrittwieser et al. 2020, appendix B), and 0, the low end, where there is none yet. P is its share of its
    siblings, equal ones counted. An expansion under way counts as `branch` of the lowest verdicts, a virtual loss, so
    that the next ones look elsewhere. (PUCT: Silver et al. 2017, methods; virtual loss: Segal 2010.)
    Raises `WeightError` for verdicts of which there is no mean: infinite ones.
    """
    around, below = parent.sums, child.sums
    span = around.high - around.low
    gained = (below.total - below.visits * around.low) / span if below.visits and span > 0 else 0.0
    if around.visits and not isfinite(span + gained):
        raise WeightError(f"PUCT takes means, and there is none of verdicts from {around.low} to {around.high}")
    visits = below.visits + branch * below.drawing
    prior = child.count / sum([sibling.count for sibling in parent.children])
    visited = around.visits + branch * around.drawing
    return gained / max(visits, 1) + exploration * prior * sqrt(visited) / (1 + visits)


def _ranked(value: float | None) -> float:
    return -inf if value is None else value
