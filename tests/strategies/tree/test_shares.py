from math import exp, inf, isfinite, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import WeightError
from metagen.strategies.tree.node import begin
from metagen.strategies.tree.shares import apportion, log_odds, puct, softmax, systematic, top
from tests.support.trees import node

weights = st.lists(st.integers(0, 50), min_size=1, max_size=20).filter(any).map(lambda ws: [w / sum(ws) for w in ws])


def test_the_top_ranks_none_last_and_ties_by_order() -> None:
    assert top([0.5, None, 0.75, 0.5], 2) == {0, 2}
    assert top([None, None, 0.1], 2) == {0, 2}
    assert top([0.1], 5) == {0}


def test_the_softmax_is_that_of_the_paper() -> None:
    rewards, temperature = [0.9, 0.5, 0.1], 0.25
    whole = sum(exp(reward / temperature) for reward in rewards)
    assert softmax(rewards, [1, 1, 1], temperature) == pytest.approx([exp(r / temperature) / whole for r in rewards])


def test_equal_siblings_count_and_no_verdict_has_no_weight() -> None:
    assert softmax([0.5, 0.5, None], [3, 1, 4], 1.0) == [0.75, 0.25, 0.0]
    assert softmax([None, None], [3, 1], 1.0) == [0.75, 0.25]
    assert softmax([1e6, 0.0], [1, 1], 1e-3) == [1.0, 0.0], "without overflow"
    with pytest.raises(WeightError, match="verdicts of inf"):
        softmax([inf, 0.0], [1, 1], 1.0)


def test_odds_are_of_probabilities() -> None:
    assert log_odds([0.8, 0.5, None]) == pytest.approx([log(4), 0.0, None])
    zero, one = log_odds([0.0, 1.0])
    assert zero == pytest.approx(-20.7, abs=0.1)
    assert one == pytest.approx(20.7, abs=0.1)
    with pytest.raises(WeightError, match=r"the odds of 1\.5 are not known"):
        log_odds([1.5])


@pytest.mark.parametrize(
    ("weights", "n", "shares"),
    [
        ([0.7, 0.2, 0.1], 10, [7, 2, 1]),
        ([0.66, 0.34], 4, [3, 1]),  # 2.64 and 1.36: rounded each to the nearest, they add up
        ([0.25, 0.25, 0.25, 0.25], 6, [2, 2, 1, 1]),  # 1.5 each: rounded each, 8
        ([1 / 16] * 16, 7, [1] * 7 + [0] * 9),  # 0.44 each: rounded each, nothing
        ([1.0], 5, [5]),
        ([0.5, 0.5], 0, [0, 0]),
    ],
)
def test_shares_are_rounded_so_that_they_add_up(weights: list[float], n: int, shares: list[int]) -> None:
    assert apportion(weights, n) == shares


@given(weights, st.integers(0, 300))
def test_a_share_is_off_by_less_than_one_and_rounding_to_the_nearest_is_kept(weights: list[float], n: int) -> None:
    shares = apportion(weights, n)
    assert sum(shares) == n
    assert all(abs(share - n * weight) < 1 for share, weight in zip(shares, weights, strict=True))
    nearest = [round(n * weight) for weight in weights]
    halves = any(abs(n * weight % 1 - 0.5) < 1e-6 for weight in weights)
    if sum(nearest) == n and not halves:
        assert shares == nearest


@pytest.mark.parametrize(
    ("uniform", "drawn"), [(0.0, [3, 1, 1]), (0.35, [3, 1, 1]), (0.6, [2, 2, 1]), (0.99, [2, 1, 2])]
)
def test_systematic_resampling_on_literals(uniform: float, drawn: list[int]) -> None:
    assert systematic([0.5, 0.25, 0.25], 5, uniform) == drawn  # ends at 2.5, 3.75 and 5 of 5


@given(weights, st.integers(1, 100), st.floats(0, 1, exclude_max=True))
def test_systematic_resampling_draws_each_its_share_rounded(weights: list[float], n: int, uniform: float) -> None:
    drawn = systematic(weights, n, uniform)
    assert sum(drawn) == n
    assert all(abs(count - n * weight) < 1 + 1e-6 for count, weight in zip(drawn, weights, strict=True))
    assert all(count == 0 for count, weight in zip(drawn, weights, strict=True) if not weight)


def test_puct_is_the_mean_on_the_scale_of_the_tree_and_the_bonus_of_the_unvisited() -> None:
    tree = node("", None, node("a", 0.25, node("a/a", 0.75)), node("b", 0.75, count=2), node("c", None))
    first, second, third = tree.children
    assert puct(tree, first, 2, 0.0) == pytest.approx(0.5)
    assert puct(tree, second, 2, 0.0) == pytest.approx(1.0)
    assert puct(tree, first, 2, 1.0) == pytest.approx(0.5 + 0.25 * 3**0.5 / 3)
    assert puct(tree, second, 2, 1.0) == pytest.approx(1.0 + 0.5 * 3**0.5 / 2)
    assert puct(tree, third, 2, 1.0) == pytest.approx(0.25 * 3**0.5)


@pytest.mark.parametrize("values", [(-inf, 0.9, 0.1), (0.9, inf), (-inf, -inf), (1e308, -1e308), (1e308, 1e308, 0.0)])
def test_a_verdict_of_which_there_is_no_mean_is_refused(values: tuple[float, ...]) -> None:
    tree = node("", None, *[node("a", value, node("a/a", value)) for value in values])
    with pytest.raises(WeightError, match="PUCT takes means"):
        [puct(tree, child, 2, 1.0) for child in tree.children]


@pytest.mark.parametrize("values", [(None, None), (None, 0.3), (0.5,), (0.5, 0.5), (1e150, -1e150), (0.0, -3.0, None)])
def test_others_have_a_mean(values: tuple[float | None, ...]) -> None:
    tree = node("", None, *[node("a", value) for value in values])
    assert all(isfinite(puct(tree, child, 2, 1.0)) for child in tree.children)


def test_an_expansion_under_way_is_a_virtual_loss() -> None:
    tree = node("", None, node("a", 0.25), node("b", 0.75))
    under_way = begin(tree, (1,))
    assert puct(under_way, under_way.children[1], 2, 0.0) == pytest.approx(1.0 / 3)
    assert puct(under_way, under_way.children[0], 2, 1.0) > puct(tree, tree.children[0], 2, 1.0)


@given(st.lists(st.none() | st.integers(0, 20).map(lambda number: number / 20), min_size=1, max_size=5))
def test_a_choice_by_puct_does_not_depend_on_the_scale_of_verdicts(found: list[float | None]) -> None:
    plain = node("", None, *[node("a", value) for value in found])
    scaled = node("", None, *[node("a", None if value is None else 100 * value - 50) for value in found])
    for one, other in zip(plain.children, scaled.children, strict=True):
        assert puct(plain, one, 2, 1.0) == pytest.approx(puct(scaled, other, 2, 1.0), abs=1e-6)
