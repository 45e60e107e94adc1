"""The choice among strategies: by literals, and by what must hold whatever the numbers are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import InputError
from metagen.analysis.choice import best_within, budgets, choose, doubled, estimate, front, held_out
from metagen.analysis.intervals import Array

SOME = st.integers(2, 12).flatmap(
    lambda problems: st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=problems, max_size=problems)
)


def columns(*values: float, problems: int = 4) -> Array:
    """Strategies that are alike on all problems."""
    return np.tile(np.array(values, np.float64), (problems, 1))


@pytest.mark.parametrize(
    ("means", "costs", "budget", "place"),
    [
        ([0.5, 0.7, 0.9], [1, 2, 3], 2, 1),
        ([0.5, 0.7, 0.7], [1, 3, 2], 3, 2),  # of equals the cheapest
        ([0.5, 0.7, 0.9], [2, 3, 4], 1, 0),  # of none within the budget the cheapest
        ([0.9, 0.7, 0.5], [1, 2, 3], 9, 0),
    ],
)
def test_the_best_within_a_budget(means: list[float], costs: list[float], budget: float, place: int) -> None:
    assert best_within(np.array(means), np.array(costs, np.float64), budget) == place


def test_no_problem_counts_under_what_it_chose() -> None:
    # Each strategy is right on one problem alone: whichever it is, the problem that it is right on chose it.
    values = np.eye(4)
    assert not held_out(values, columns(1, 1, 1, 1), 1).any()
    found = choose(values, columns(1, 1, 1, 1), 1)
    assert (found.apparent, found.accuracy.value) == (0.25, 0)


def test_a_strategy_that_is_always_better_is_chosen_for_certain() -> None:
    found = choose(columns(0.2, 0.6), columns(1, 2), 2)
    assert (found.place, found.cost, found.sure, found.rivals) == (1, 2, 1, ())
    assert found.accuracy.value == pytest.approx(0.6)


def test_what_costs_too_much_makes_no_choice_less_sure() -> None:
    assert choose(columns(0.2, 0.6, 0.9), columns(1, 2, 3), 2).sure == 1


def test_the_interval_of_chances_is_that_of_more_problems() -> None:
    chances = np.tile([0.2, 0.4], 50)  # a hundred problems whose mean has a standard error of 0.0101
    found = estimate(chances)
    assert (found.low, found.high) == pytest.approx((0.3 - 1.96 * 0.01005, 0.3 + 1.96 * 0.01005), abs=1e-3)


def test_those_within_chance_are_named_the_cheapest_first() -> None:
    values = np.array([[1.0, 0, 0], [0, 1, 1], [1, 1, 0], [0, 0, 0]])
    found = choose(np.hstack([values, columns(0.0)]), columns(3, 2, 1, 1), 3)
    assert found.place == 1
    assert set(found.rivals) >= {2, 0}
    assert list(found.rivals) == sorted(found.rivals, key=lambda place: (3, 2, 1, 1)[place])


def test_rounding_is_no_reason_to_be_sure() -> None:
    found = estimate(np.array([1.0, 1 - 4e-16] * 6))
    assert found.low == pytest.approx(estimate(np.ones(12)).low)


def test_what_cannot_be_chosen_is_refused() -> None:
    with pytest.raises(InputError, match="every strategy costs more than 1: the cheapest costs 2"):
        choose(columns(0.5), columns(2), 1)
    with pytest.raises(InputError, match="needs two problems or more"):
        choose(columns(0.5, problems=1), columns(2, problems=1), 2)


def test_twice_the_budget_adds_what_the_dearer_one_is_better() -> None:
    assert doubled(columns(0.2, 0.6), columns(1, 2), 1).value == pytest.approx(0.4)
    assert doubled(columns(0.2, 0.6), columns(1, 3), 1).value == 0


def test_budgets_double_up_to_the_most_expensive() -> None:
    assert budgets(columns(1, 3, 5)) == [1, 2, 4, 5]
    assert budgets(columns(0, 3, 5)) == [0, 3, 5]
    assert budgets(columns(0, 0)) == [0]
    assert [each.place for each in front(columns(0.2, 0.6, 0.5), columns(1, 3, 5))] == [0, 1]


def test_the_interval_of_rights_and_wrongs_is_wilsons() -> None:
    found = estimate(np.repeat([1.0, 0.0], [30, 70]))
    assert (found.value, found.low, found.high) == pytest.approx((0.3, 0.2191, 0.3958), abs=2e-3)
    certain = estimate(np.ones(20))
    assert certain.low == pytest.approx(0.839, abs=1e-3)
    assert certain.high == 1


@given(SOME, SOME, st.integers(1, 4))
def test_a_choice_keeps_to_its_budget(rows: list[list[int]], spent: list[list[int]], budget: int) -> None:
    problems = min(len(rows), len(spent))
    values, costs = np.array(rows[:problems]) / 4, np.array(spent[:problems]) + 1.0
    costs[:, 0] = 1
    found = choose(values, costs, budget)
    assert found.cost <= budget
    assert 0 <= found.accuracy.low <= found.accuracy.value <= found.accuracy.high <= 1
    assert found.place not in found.rivals
    assert costs.mean(0)[list(found.rivals)].tolist() == sorted(costs.mean(0)[list(found.rivals)].tolist())


def test_the_interval_covers_what_the_choice_is_worth() -> None:
    # 40 strategies that are equally good: the best looks better than it is, and the interval must not believe it.
    rng = np.random.default_rng(5)
    truth, misses, lucky = 0.4, 0, []
    for _ in range(60):
        values = (rng.random((60, 40)) < truth).astype(np.float64)
        found = choose(values, np.ones((60, 40)), 1)
        misses += not found.accuracy.low <= truth <= found.accuracy.high
        lucky.append(found.apparent - truth)
    assert misses <= 6
    assert np.mean(lucky) > 0.1
