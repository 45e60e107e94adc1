"""How far scores are probabilities: the share of right samples among those with about equal scores. Pure."""

from dataclasses import dataclass

import numpy as np

from metagen.analysis.curve import Samples
from metagen.analysis.share import Share

BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """The samples whose scores lie between two tenths."""

    score: float
    """Their mean score."""
    right: Share


@dataclass(frozen=True, slots=True)
class Calibration:
    """The bins that hold samples, from low scores to high ones."""

    bins: tuple[Bin, ...]

    @property
    def error(self) -> float:
        """The expected calibration error: the mean distance of score and share over samples (Guo et al. 2017)."""
        total = sum(each.right.total for each in self.bins)
        return sum(abs(each.score - each.right.value) * each.right.total for each in self.bins) / total


def calibration(samples: Samples) -> Calibration | None:
    """That of the scores of samples; `None` where there are none, or where they are no probabilities."""
    if samples.scores is None or not (judged := ~np.isnan(samples.scores)).any():
        return None
    scores, right = samples.scores[judged], samples.right[judged]
    if scores.min() < 0 or scores.max() > 1:
        return None
    places = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    inside = [places == place for place in range(BINS)]
    return Calibration(
        tuple(Bin(float(scores[at].mean()), Share(int(right[at].sum()), int(at.sum()))) for at in inside if at.any())
    )
