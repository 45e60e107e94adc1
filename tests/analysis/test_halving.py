from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen.analysis import halving
from metagen.analysis.compare import binomial
from metagen.analysis.halving import Entrant, better_half, gain, laps
from metagen.analysis.intervals import LEVEL, Array

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


def test_the_two_problems_that_are_counted_more_favour_neither() -> None:
    values: Array = np.array([[0.0], [1.0]] * 5)
    found = gain(entrant("a", [0.0, 1.0] * 5, 1), values, values + 1, "tokens")
    assert found.value == 0
    assert found.low == pytest.approx(-found.high)
    assert found.high > 0


NEVER = 1e-7
"""The chance of an outcome that need not be looked at: all such together are far rarer than a claim may be."""


@pytest.mark.parametrize("problems", [8, 13, 26, 50])
def test_an_entrant_that_is_no_better_is_seldom_called_better(problems: int) -> None:
    """A lucky entrant is right on more problems than its chances say; the rival's values are the chances themselves."""
    entrants = 3
    for chance in (0.05, 0.3, 0.5, 0.8, 0.95, 0.97):
        values: Array = np.full((problems, 1), chance)
        claimed = 0.0
        for count, weight in enumerate(binomial(problems, chance)):
            right = [1.0] * count + [0.0] * (problems - count)
            if weight > NEVER and gain(entrant("a", right, 1), values, values, "tokens", entrants).low > 0:
                claimed += float(weight)
        assert claimed <= (1 - LEVEL) / 2 / entrants


@pytest.mark.parametrize(("easy", "hard"), [(6, 2), (12, 2), (23, 3)])
def test_an_entrant_that_is_as_good_on_other_problems_is_seldom_called_better(easy: int, hard: int) -> None:
    """The rival is nearly sure of most problems, and the entrant has the same chance on each."""
    entrants = 3
    values: Array = np.array([0.95] * easy + [0.1] * hard)[:, None]
    chance = float(values.mean())
    claimed = 0.0
    for (some, one), (others, other) in product(enumerate(binomial(easy, chance)), enumerate(binomial(hard, chance))):
        right = [1.0] * some + [0.0] * (easy - some) + [1.0] * others + [0.0] * (hard - others)
        weight = float(one * other)
        if weight > NEVER and gain(entrant("a", right, 1), values, values, "tokens", entrants).low > 0:
            claimed += weight
    assert claimed <= (1 - LEVEL) / 2 / entrants


@pytest.mark.parametrize("sure", [60, 10])
def test_what_is_equally_good_on_the_same_problems_is_no_luck(sure: int) -> None:
    """Ten problems that only the entrant solves weigh the same, whether both or neither solve most others."""
    values: Array = np.array([1.0] * sure + [0.0] * (100 - sure))[:, None]
    right = [1.0] * (sure + 10) + [0.0] * (90 - sure)
    found = gain(entrant("a", right, 1), values, values, "tokens", 3)
    assert found.value == pytest.approx(0.1)
    assert 0 < found.low < 0.1 < found.high < 0.25


def test_all_right_on_few_problems_is_no_proof_and_on_many_is_one() -> None:
    values: Array = np.full((100, 1), 0.9)
    few, many = (gain(entrant("a", [1.0] * count, 1), values, values, "tokens", 3) for count in (8, 100))
    assert few.value == pytest.approx(0.1)
    assert few.low < 0 < few.high
    assert many.low > 0


def test_the_half_with_the_larger_gain_is_kept() -> None:
    some = [entrant("a", [0.1], 1), entrant("b", [0.9], 1), entrant("c", [0.7], 6)]
    assert [each.spec for each in better_half(some, VALUES, COSTS, "tokens")] == ["b", "c"]
    assert [each.spec for each in better_half(some[:1], VALUES, COSTS, "tokens")] == ["a"]


def test_nothing_is_resampled_to_find_the_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halving, "difference", None)
    assert better_half([entrant("a", [0.1], 1)], VALUES, COSTS, "tokens")
