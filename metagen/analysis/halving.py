"""Strategies that no pool can stand for, run on more and more problems while the worse half is dropped. Pure.

(Successive halving: Karnin, Koren and Somekh 2013; Jamieson and Talwalkar 2016.) What is compared is the gain: what a
strategy gives above the best one of the pool that costs no more, on the same problems.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from metagen.analysis.arms import Unit
from metagen.analysis.choice import best_within
from metagen.analysis.compare import Difference, difference
from metagen.analysis.intervals import LEVEL, Array, Index

LEAST = 8
"""Problems of the first lap, at least."""
LAPS = 3
"""The first lap has the problems, halved so many times."""


@dataclass(frozen=True, slots=True, eq=False)
class Entrant:
    """A strategy, and what it came to on the problems that it ran on."""

    spec: str
    places: Index
    """Which problems these are."""
    right: Array
    costs: Mapping[Unit, Array]


def laps(problems: int) -> list[int]:
    """How many problems each lap has run on at its end: they double up to all."""
    sizes = [min(problems, max(LEAST, -(-problems // 2**LAPS)))]
    while sizes[-1] < problems:
        sizes.append(min(problems, 2 * sizes[-1]))
    return sizes


def gain(entrant: Entrant, values: Array, costs: Array, unit: Unit, entrants: int = 1) -> Difference:
    """How much better it is than the best of the pool that costs no more, in pairs, as a share from -1 to 1.

    `values` and `costs` are [P, C], of the strategies of the pool. The interval allows for the luckiest of so many
    `entrants` (Bonferroni), and counts one more problem that only the entrant solves and one that only the rival does.
    """
    rival = _rival(entrant, values, costs, unit)
    # The entrant was right or wrong, and the rival's values are chances. An entrant that happens to be right on all of
    # eight problems is above 0.95 on each, and resamples of these alone never show that it could have failed.
    found = difference(
        np.append(rival, (0.0, 1.0)), np.append(entrant.right, (1.0, 0.0)), level=1 - (1 - LEVEL) / entrants
    )
    return replace(found, value=float((entrant.right - rival).mean()))


def better_half(entrants: Sequence[Entrant], values: Array, costs: Array, unit: Unit) -> list[Entrant]:
    """The half with the largest gain, one at least."""
    gains = sorted(entrants, key=lambda each: -(each.right - _rival(each, values, costs, unit)).mean())
    return gains[: -(-len(gains) // 2)]


def _rival(entrant: Entrant, values: Array, costs: Array, unit: Unit) -> Array:
    """What the best of the pool that costs no more gives on the entrant's problems."""
    spent = float(entrant.costs[unit].mean())
    return np.asarray(values[entrant.places, best_within(values.mean(0), costs.mean(0), spent)])
