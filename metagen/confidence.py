"""How sure a model was of its own words, from the log-probabilities of its tokens. Pure."""

from collections.abc import Sequence
from itertools import accumulate
from math import ceil, fsum
from operator import sub
from statistics import fmean

FLOOR = -9999.0
"""Stands for the log-probability of the impossible, as vLLM's server writes it."""


def of_token(top: Sequence[float]) -> float:
    """−1/k Σⱼ log pⱼ over the k most probable tokens at one position: 0 at the least, larger where one stands out.

    (Token confidence, Fu et al. 2025, section 2. Over the whole vocabulary V it is the KL divergence of p from the
    uniform distribution, plus log V.)
    """
    return -fsum(max(logprob, FLOOR) for logprob in top) / len(top)


def lowest_group(confidences: Sequence[float], size: int) -> float:
    """The lowest mean of `size` tokens in a row, or of all if they are fewer (Fu et al. 2025, section 2).

    From `size` tokens on, it never rises as more are added.
    """
    if len(confidences) <= size:
        return fmean(confidences)
    sums = list(accumulate(confidences, initial=0.0))
    least: float = min(map(sub, sums[size:], sums))
    return least / size


def least_kept(values: Sequence[float], share: float) -> float:
    """The lowest of the best `share` of these values; at least one is kept."""
    return sorted(values, reverse=True)[max(1, ceil(round(share * len(values), 9))) - 1]
