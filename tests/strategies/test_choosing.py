from collections import Counter
from math import inf, nan
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import Candidate, Problem, WeightError
from metagen.strategies.choosing import best, broke_off, majority, weighted_majority

keys = st.lists(st.none() | st.sampled_from("abcd"))
ballots = st.lists(st.tuples(st.none() | st.sampled_from("abcd"), st.none() | st.integers(0, 9).map(float)))


@pytest.mark.parametrize(
    ("keys", "chosen"),
    [
        ([], None),
        ([None, None], None),
        (["a"], 0),
        (["a", "b", "b"], 1),
        (["a", "b", "b", "a"], 0),
        (["b", "a", "b", "a"], 0),
        ([None, None, None, "a"], 3),
        (["", "a", ""], 0),
    ],
)
def test_a_majority_is_the_first_of_the_largest_group(keys: list[str | None], chosen: int | None) -> None:
    assert majority(keys) == chosen


@given(keys)
def test_no_group_is_larger_than_the_majority(keys: list[str | None]) -> None:
    chosen, counts = majority(keys), Counter(key for key in keys if key is not None)
    if chosen is None:
        assert not counts
    else:
        assert counts[keys[chosen] or ""] == max(counts.values())
        assert chosen == keys.index(keys[chosen])


@given(keys, st.randoms())
def test_a_majority_ignores_order_up_to_ties(keys: list[str | None], rng: Random) -> None:
    counts = Counter(key for key in keys if key is not None)
    if len(counts) > 1 and counts.most_common(2)[0][1] == counts.most_common(2)[1][1]:
        return
    shuffled = rng.sample(keys, len(keys))
    first, second = majority(keys), majority(shuffled)
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        assert keys[first] == shuffled[second]


@pytest.mark.parametrize(
    ("keys", "weights", "chosen"),
    [
        (["a", "b", "b"], [0.5, 0.2, 0.2], 0),
        (["a", "b", "b"], [0.5, 0.2, 0.4], 2),
        (["a", "b", "b"], [0.5, 0.25, 0.25], 0),
        (["a", "b"], [0.0, 0.0], 0),
        (["a", "b"], [None, 0.0], 1),
        ([None, "b"], [9.0, 0.1], 1),
        (["a", "a", "a"], [0.1, 0.3, 0.3], 1),
        (["a", "b"], [None, None], None),
        ([], [], None),
    ],
)
def test_a_weighted_majority_is_the_heaviest_of_the_heaviest_group(
    keys: list[str | None], weights: list[float | None], chosen: int | None
) -> None:
    assert weighted_majority(keys, weights) == chosen


@given(ballots)
def test_no_group_weighs_more_than_the_weighted_majority(ballots: list[tuple[str | None, float | None]]) -> None:
    keys, weights = [key for key, _ in ballots], [weight for _, weight in ballots]
    sums: Counter[str] = Counter()
    for key, weight in ballots:
        if key is not None and weight is not None:
            sums[key] += weight  # type: ignore[assignment]
    chosen = weighted_majority(keys, weights)
    if chosen is None:
        assert not sums
    else:
        key, weight = ballots[chosen]
        assert sums[key or ""] == max(sums.values())
        assert weight == max(other for name, other in ballots if name == key and other is not None)


@given(keys)
def test_equal_weights_are_no_weights(keys: list[str | None]) -> None:
    assert weighted_majority(keys, [0.5] * len(keys)) == majority(keys)


@pytest.mark.parametrize("weight", [-0.001, -inf, inf, nan])
def test_a_weight_must_be_finite_and_not_negative(weight: float) -> None:
    with pytest.raises(WeightError, match=f"cannot have the weight {weight}"):
        weighted_majority(["a", "b"], [1.0, weight])
    assert weighted_majority(["a", None], [1.0, weight]) == 0


def test_keys_and_weights_go_together() -> None:
    with pytest.raises(ValueError, match="shorter"):
        weighted_majority(["a", "b"], [1.0])


@pytest.mark.parametrize(
    ("values", "chosen"),
    [
        ([1.0], 0),
        ([1.0, 3.0, 2.0], 1),
        ([2.0, 2.0], 0),
        ([None, -5.0, None], 1),
        ([None, None], 0),
        ([-inf, inf], 1),
        ([None, -inf], 1),
    ],
)
def test_the_best_is_the_first_of_the_highest(values: list[float | None], chosen: int) -> None:
    assert best(values) == chosen


@given(st.lists(st.none() | st.floats(allow_nan=False), min_size=1))
def test_nothing_is_better_than_the_best(values: list[float | None]) -> None:
    chosen = values[best(values)]
    assert all(value is None or (chosen is not None and value <= chosen) for value in values)


@pytest.mark.parametrize(
    ("reply", "broke"),
    [
        (Candidate(("The answer is 7.",), cut=True), False),
        (Candidate(("Seven and then",), cut=True), True),
        (Candidate((), open=True), True),
        (Candidate(("I do not know.",)), False),
    ],
)
def test_a_reply_broke_off_if_it_was_cut_before_its_answer(reply: Candidate, broke: bool) -> None:
    assert broke_off(Problem("p", "?"), reply) is broke
