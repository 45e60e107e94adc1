from math import log
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen.confidence import FLOOR, least_kept, lowest_group, of_token

some = st.lists(st.floats(0, 50), min_size=1, max_size=40)


def test_a_token_is_surer_the_more_one_stands_out() -> None:
    assert of_token([log(0.5), log(0.5)]) == pytest.approx(log(2))
    assert of_token([log(0.9), log(0.1)]) > of_token([log(0.6), log(0.4)])
    assert of_token([0.0]) == 0
    assert of_token([0.0, -float("inf")]) == -FLOOR / 2


def test_the_lowest_group_is_the_least_sure_passage() -> None:
    assert lowest_group([5, 1, 1, 5, 5, 0], 2) == 1
    assert lowest_group([5, 1, 1, 5, 5, 0], 1) == 0
    assert lowest_group([5, 1, 1, 5], 9) == lowest_group([5, 1, 1, 5], 4) == 3


@given(some, st.integers(1, 10))
def test_the_lowest_group_is_that_of_all_windows_and_never_rises(values: list[float], size: int) -> None:
    windows = [fmean(values[at : at + size]) for at in range(max(1, len(values) - size + 1))]
    assert lowest_group(values, size) == pytest.approx(min(windows), abs=1e-9)
    if len(values) > size:
        assert lowest_group(values, size) <= lowest_group(values[:-1], size) + 1e-9


def test_the_best_share_is_kept() -> None:
    values = [3.0, 1.0, 2.0, 5.0]
    assert [least_kept(values, share) for share in (0.01, 0.25, 0.26, 0.5, 1.0)] == [5, 5, 3, 3, 1]
    assert least_kept(range(25), 0.28) == 18, "7 of 25: that 0.28 · 25 is rounded up a little keeps no eighth"
