from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen.train.metrics import auc, calibration_error


@pytest.mark.parametrize(
    ("scores", "labels", "area"),
    [
        ([0.1, 0.9], [0, 1], 1.0),
        ([0.9, 0.1], [0, 1], 0.0),
        ([0.5, 0.5], [0, 1], 0.5),
        ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], 0.75),
        ([1, 2, 2, 3], [0, 1, 0, 1], 0.875),
    ],
)
def test_auc_of_literals(scores: list[float], labels: list[int], area: float) -> None:
    assert auc(scores, labels) == pytest.approx(area)


def test_auc_needs_both_kinds() -> None:
    assert isnan(auc([0.1, 0.2], [1, 1]))


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_auc_counts_pairs(rows: list[tuple[int, bool]]) -> None:
    good = [score for score, label in rows if label]
    bad = [score for score, label in rows if not label]
    found = auc([score for score, _ in rows], [label for _, label in rows])
    if good and bad:
        pairs = [(one > other) + (one == other) / 2 for one in good for other in bad]
        assert found == pytest.approx(np.mean(pairs))


def test_calibration_of_literals() -> None:
    assert calibration_error([0.8] * 5, [1, 1, 1, 1, 0]) == pytest.approx(0.0)
    assert calibration_error([0.95, 0.95, 0.05, 0.05], [1, 0, 0, 0]) == pytest.approx(0.5 * 0.45 + 0.5 * 0.05)
    assert calibration_error([1.0], [1]) == 0.0
