import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen.analysis.halving import Entrant, better_half, gain, laps
from metagen.analysis.intervals import Array

VALUES, COSTS = np.tile([0.2, 0.6], (4, 1)), np.tile([1.0, 5.0], (4, 1))


def entrant(spec: str, right: list[float], cost: float) -> Entrant:
    return Entrant(spec, np.arange(len(right)), np.array(right), {"tokens": np.full(len(right), cost)})


@pytest.mark.parametrize(("problems", "sizes"), [(3, [3]), (40, [8, 16, 32, 40]), (100, [13, 26, 52, 100])])
def test_laps_double_up_to_all(problems: int, sizes: list[int]) -> None:
    assert laps(problems) == sizes


@given(st.integers(1, 5000))
def test_the_last_lap_is_all_of_them(problems: int) -> None:
    sizes = laps(problems)
    assert sizes[-1] == problems
    assert sizes == sorted(set(sizes))


def test_a_strategy_is_compared_with_the_best_that_costs_no_more() -> None:
    cheap, expensive = entrant("a", [0.5] * 3, 2), entrant("b", [0.5] * 3, 6)
    assert gain(cheap, VALUES, COSTS, "tokens").value == pytest.approx(0.3)
    assert gain(expensive, VALUES, COSTS, "tokens").value == pytest.approx(-0.1)


def test_the_interval_allows_for_the_luckiest() -> None:
    values: Array = np.zeros((30, 1))
    some = entrant("a", [0.0, 1.0] * 15, 1)
    alone, among = (gain(some, values, values + 1, "tokens", count) for count in (1, 20))
    assert among.low < alone.low < alone.value < alone.high < among.high


def test_the_half_with_the_larger_gain_is_kept() -> None:
    some = [entrant("a", [0.1], 1), entrant("b", [0.9], 1), entrant("c", [0.7], 6)]
    assert [each.spec for each in better_half(some, VALUES, COSTS, "tokens")] == ["b", "c"]
    assert [each.spec for each in better_half(some[:1], VALUES, COSTS, "tokens")] == ["a"]
