"""A share of a total, with Wilson's interval. It needs no numpy, so that a run starts fast."""

from dataclasses import dataclass
from math import nan, sqrt


@dataclass(frozen=True, slots=True)
class Share:
    """A count out of a total, such as right answers out of problems."""

    count: int
    total: int

    @property
    def value(self) -> float:
        return self.count / self.total if self.total else nan

    def interval(self, z: float = 1.959964) -> tuple[float, float]:
        """Wilson's score interval, at 95 % by default (Wilson 1927)."""
        return wilson(self.value, self.total, z) if self.total else (0.0, 1.0)


def wilson(mean: float, n: float, z: float) -> tuple[float, float]:
    """Wilson's interval of a share of `n`, which need not be whole."""
    centre = (mean + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(mean * (1 - mean) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, min(mean, centre - half)), min(1.0, max(mean, centre + half))  # rounding may leave it out
