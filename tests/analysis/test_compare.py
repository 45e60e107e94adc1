from collections.abc import Callable
from itertools import product
from math import inf, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metagen.analysis.compare import (
    Comparison,
    at_equal_cost,
    compare,
    cost_to_reach,
    difference,
    mcnemar,
)
from metagen.analysis.curve import Curve
from metagen.errors import InputError
from tests.support.power import power


@pytest.mark.parametrize(
    ("only_first", "only_second", "exact", "mid"),
    [
        (0, 0, 1.0, 1.0),
        (3, 3, 1.0, 1.0),
        (0, 5, 2 / 32, 1 / 32),
        (1, 7, 18 / 256, 10 / 256),
        (7, 1, 18 / 256, 10 / 256),
        (2, 8, 112 / 1024, 67 / 1024),
    ],
)
def test_mcnemars_test_counts_the_outcomes(only_first: int, only_second: int, exact: float, mid: float) -> None:
    assert mcnemar(only_first, only_second, exact=True) == pytest.approx(exact)
    assert mcnemar(only_first, only_second) == pytest.approx(mid)


def test_mcnemars_test_takes_thousands() -> None:
    assert mcnemar(5000, 5000) == pytest.approx(1.0)
    assert mcnemar(4902, 5098) == pytest.approx(0.05, abs=0.0005)  # 1.96 standard deviations


def brute_power(problems: int, only_first: float, only_second: float, alpha: float) -> float:
    chances = {1: only_first, 2: only_second, 0: 1 - only_first - only_second}
    total = 0.0
    for outcome in product((0, 1, 2), repeat=problems):
        if mcnemar(outcome.count(1), outcome.count(2)) < alpha:
            total += float(np.prod([chances[each] for each in outcome]))
    return total


@pytest.mark.parametrize("chances", [(0.2, 0.5), (0.3, 0.3), (0.0, 0.9), (0.0, 1.0), (0.0, 0.0)])
def test_power_is_the_chance_of_all_outcomes_that_claim(chances: tuple[float, float]) -> None:
    assert power(7, *chances, alpha=0.1) == pytest.approx(brute_power(7, *chances, alpha=0.1))


def test_power_grows_with_the_problems() -> None:
    powers = [power(problems, 0.08, 0.15) for problems in (50, 100, 200, 400, 800)]
    assert powers == sorted(powers)
    assert powers[2] == pytest.approx(0.54, abs=0.01)
    assert powers[-1] > 0.95


def test_two_runs_are_compared_problem_by_problem() -> None:
    first = np.array([True] * 5 + [False] * 5)
    second = np.array([True] * 4 + [False] + [True] * 3 + [False] * 2)
    found = compare(first, second)
    assert (found.problems, found.first, found.second) == (10, 0.5, 0.7)
    assert (found.only_first, found.only_second, found.p) == (1, 3, mcnemar(1, 3))
    assert found.difference.value == pytest.approx(0.2)
    assert found.difference.low < 0.2 < found.difference.high


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_the_other_way_round_the_sign_turns(rows: list[tuple[bool, bool]]) -> None:
    first, second = np.array(rows).T
    one, other = compare(first, second, draws=200), compare(second, first, draws=200)
    assert one.p == other.p
    assert one.difference.value == pytest.approx(-other.difference.value)
    assert one.difference.low == pytest.approx(-other.difference.high)


def test_pairs_that_differ_alike_differ_for_certain() -> None:
    values = np.random.default_rng(0).random(50)
    found = difference(values, values + 0.25)
    assert (found.value, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))


def test_of_one_problem_the_difference_is_open() -> None:
    found = compare([True], [False]).difference
    assert (found.value, found.low, found.high) == (-1.0, -1.0, 1.0)


@pytest.mark.parametrize("problems", [2, 5, 10, 19])
def test_few_problems_that_differ_alike_leave_room_for_others(problems: int) -> None:
    share = problems / (problems + 1.959964**2)  # Wilson's for all of them
    for first, value in ((False, 1.0), (True, 0.0)):
        found = compare([first] * problems, [True] * problems).difference
        expected = (value, share * value - (1 - share), share * value + 1 - share)
        assert (found.value, found.low, found.high) == pytest.approx(expected, abs=1e-6)


def test_the_difference_of_few_problems_has_the_interval_of_the_paired_t_test() -> None:
    found = difference([0.0, 0.1, 0.2], [0.1, 0.3, 0.5])
    assert (found.low, found.high) == pytest.approx(
        (0.2 - 4.302653 * 0.1 / sqrt(3), 0.2 + 4.302653 * 0.1 / sqrt(3)), abs=1e-6
    )


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ([True], [True, False], "only runs on the same problems"),
        ([], [], "there are no problems to compare"),
        ([0.5], [1.0], "booleans"),
        ([[True]], [[True]], "booleans"),
    ],
)
def test_runs_that_do_not_fit_are_refused(first: Any, second: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        compare(np.array(first), np.array(second))


def simulate(
    better: float, pairs: int = 1000, problems: int = 200, seed: int = 0
) -> tuple[list[Comparison], float, tuple[float, float]]:
    """Pairs of runs over problems of different difficulty, the second run better by `better` on each.

    Returns the comparisons, the true difference, and the chances that only the first or the second is right.
    """
    rng = np.random.default_rng(seed)
    found, chances = [], []
    for pair in range(pairs):
        ease = rng.beta(0.6, 0.6, problems) * (1 - better)
        first, second = rng.random((2, problems)) < [ease, ease + better]
        chances.append([np.mean(ease * (1 - ease - better)), np.mean((1 - ease) * (ease + better))])
        found.append(compare(first, second, draws=400, seed=pair))
    only_first, only_second = np.mean(chances, axis=0)
    return found, better, (float(only_first), float(only_second))


ERROR = 2 * sqrt(0.05 * 0.95 / 1000)
"""Two standard errors of a share of 5 % among 1,000 pairs: 1.4 points."""


def covered(found: list[Comparison], true: float) -> float:
    return float(np.mean([each.difference.low <= true + 1e-9 <= each.difference.high + 2e-9 for each in found]))


def test_runs_that_are_equally_good_are_told_apart_one_time_in_twenty() -> None:
    found, true, _ = simulate(better=0.0)
    assert np.mean([each.p < 0.05 for each in found]) == pytest.approx(0.05, abs=ERROR)
    assert covered(found, true) == pytest.approx(0.95, abs=ERROR)


def test_a_known_difference_is_covered_and_found_as_often_as_power_says(
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    found, true, chances = simulate(better=0.08)
    share = float(np.mean([each.p < 0.05 for each in found]))
    record_testsuite_property("power at 8 points, 200 problems", f"{share:.3f}, by formula {power(200, *chances):.3f}")
    assert covered(found, true) == pytest.approx(0.95, abs=ERROR)
    assert share == pytest.approx(power(200, *chances), abs=2 * sqrt(0.25 / 1000))
    assert 0.3 < share < 0.95


@pytest.mark.parametrize(
    ("differing", "mid", "exact"),
    [
        (0.02, 0.0169, 0.0051),
        (0.04, 0.0377, 0.0183),
        (0.1, 0.0457, 0.0294),
        (0.2, 0.0483, 0.0346),
        (0.3, 0.0493, 0.0374),
        (0.5, 0.0491, 0.0395),
    ],
)
def test_the_mid_p_test_holds_and_the_exact_one_is_conservative(differing: float, mid: float, exact: float) -> None:
    chances = differing / 2, differing / 2
    assert (power(200, *chances), power(200, *chances, exact=True)) == pytest.approx((mid, exact), abs=0.0005)


def line(values: Any, costs: Any) -> Curve:
    values = np.asarray(values, dtype=float)
    ks = tuple(1 << column for column in range(values.shape[1]))
    return Curve("majority", ks, values, np.zeros_like(values), np.asarray(costs, dtype=float))


def same(*row: float, problems: int = 10) -> list[list[float]]:
    return [list(row)] * problems


@pytest.mark.parametrize(
    ("accuracy", "cost"),
    [(0.2, 100), (0.3, 100), (0.5, 200), (0.4, 100 * sqrt(2)), (0.6, 200 * 2 ** (1 / 3)), (0.8, 400), (0.81, inf)],
)
def test_the_cost_of_an_accuracy_is_read_off_the_curve(accuracy: float, cost: float) -> None:
    curve = line(same(0.3, 0.5, 0.8), same(100, 200, 400))
    reached = cost_to_reach(curve, accuracy, draws=50)
    assert (reached.cost, reached.low, reached.high) == pytest.approx((cost, cost, cost))


def test_an_accuracy_that_some_resamples_miss_may_cost_anything() -> None:
    curve = line([[0.0, 1.0]] * 5 + [[0.0, 0.0]] * 5, same(100, 200))
    reached = cost_to_reach(curve, 0.5)
    assert reached.cost == pytest.approx(200)
    assert reached.low < 200
    assert reached.high == inf


def test_curves_are_compared_where_they_cost_the_same() -> None:
    # The second model costs 4 times as much a token: its k = 1 is beside the first one's k = 4.
    small = line(same(0.1, 0.3, 0.5, 0.6), same(10, 20, 40, 80))
    large = line(same(0.4, 0.8, 0.9, 0.9), same(40, 80, 160, 320))
    found = at_equal_cost(small, large, draws=50)
    assert [each.cost for each in found] == pytest.approx([40, 80])
    assert [each.first for each in found] == pytest.approx([0.5, 0.6])
    assert [each.second for each in found] == pytest.approx([0.4, 0.8])
    assert [each.difference.value for each in found] == pytest.approx([-0.1, 0.2])
    assert at_equal_cost(small, line(same(0.4, 0.8), same(1000, 2000))) == []


def test_between_measured_costs_a_curve_is_interpolated() -> None:
    found = at_equal_cost(line(same(0.2, 0.4), same(10, 40)), line(same(0.5, 0.5), same(20, 30)), draws=50)
    assert [each.cost for each in found] == pytest.approx([20, 30])
    assert found[0].first == pytest.approx(0.3)


def test_the_interval_at_equal_cost_is_that_of_pairs() -> None:
    values = np.random.default_rng(0).random((40, 2))
    first, second = line(values, same(10, 20, problems=40)), line(values + 0.1, same(10, 20, problems=40))
    for each in at_equal_cost(first, second):
        assert (each.difference.low, each.difference.high) == pytest.approx((0.1, 0.1))


def test_curves_without_costs_or_over_other_problems_are_refused() -> None:
    curve, more = line(same(0.1), same(1)), line(same(0.1, problems=11), same(1, problems=11))
    with pytest.raises(InputError, match="curves over the same problems"):
        at_equal_cost(curve, more)
    with pytest.raises(InputError, match="has no costs"):
        cost_to_reach(Curve("majority", (1,), curve.values, curve.variances), 0.1)


def test_problems_that_cost_nothing_have_no_costs_to_compare() -> None:
    curve = line([[0.0, 1.0]] * 10, [*same(10, 20, problems=9), [0, 0]])
    with pytest.raises(InputError, match="the samples of every problem need their tokens"):
        cost_to_reach(curve, 0.5)
    with pytest.raises(InputError, match="the samples of every problem need their tokens"):
        at_equal_cost(curve, curve)
