import numpy as np
import pytest

from metagen.analysis.calibration import Bin, Calibration, calibration
from metagen.analysis.curve import Samples
from metagen.analysis.share import Share
from metagen.train.metrics import calibration_error

RIGHT = np.array([[True, False], [True, True]])


def of(scores: list[list[float]]) -> Calibration | None:
    return calibration(Samples(np.zeros((2, 2), np.int64), RIGHT, np.array(scores)))


def test_samples_with_about_equal_scores_are_taken_together() -> None:
    found = of([[0.5, 0.52], [1.0, np.nan]])
    assert found is not None
    assert found.bins == (Bin(0.51, Share(1, 2)), Bin(1.0, Share(1, 1)))
    assert found.error == pytest.approx(0.02 / 3)
    assert found.error == pytest.approx(calibration_error([0.5, 0.52, 1.0], [1, 0, 1]))


def test_scores_that_are_no_probabilities_have_none() -> None:
    assert of([[0.5, -0.1], [1.0, 1.0]]) is None
    assert of([[0.5, 0.1], [1.5, 1.0]]) is None
    assert of([[0.0, 0.0], [1.0, 1.0]]) is not None
    assert of([[np.nan, np.nan], [np.nan, np.nan]]) is None
    assert calibration(Samples(np.zeros((2, 2), np.int64), RIGHT)) is None
