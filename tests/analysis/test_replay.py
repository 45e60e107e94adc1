"""Replays of strategies over recorded samples, against the plain definitions."""

import tracemalloc
from collections.abc import Hashable, Sequence
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import BetaStop, ExactStop, PredictiveStop
from metagen.analysis import replay
from metagen.analysis.curve import Samples
from metagen.analysis.replay import Prefixes, accepted, grown, largest, prefixes, stopped, until_right
from metagen.analysis.rules import majority_vote
from metagen.strategies.choosing import majority
from metagen.strategies.parallel.stopping import Stop, counted, stays_ahead

KEYS = st.lists(st.sampled_from([-1, 0, 1, 2]), min_size=1, max_size=7)


def one(keys: list[int], tokens: list[int] | None = None) -> Samples:
    """One problem whose answer 0 is right."""
    groups = np.array([keys])
    return Samples(groups, groups == 0, tokens=np.array([tokens or [1] * len(keys)]))


def in_order(keys: list[int], tokens: list[int] | None = None) -> Prefixes:
    """The votes over the samples as they stand."""
    whole = prefixes(one(keys, tokens), orders=5000)
    rows = [number for number in range(5000) if whole.tokens[0, number].tolist() == (tokens or [1] * len(keys))]
    pick = np.array(rows[:1])
    return Prefixes(*(getattr(whole, name)[:, pick] for name in ("right", "first", "second", "tied", "tokens")))


@given(KEYS)
def test_each_prefix_is_the_vote_that_a_strategy_takes(keys: list[int]) -> None:
    names = [number + 1 for number in range(len(keys))]  # tokens tell which order it is
    whole = prefixes(one(keys, names), orders=3)
    for order in range(3):
        drawn = [keys[number - 1] for number in whole.tokens[0, order]]
        for size in range(1, len(keys) + 1):
            votes = [None if key < 0 else key for key in drawn[:size]]
            chosen = majority(votes)
            counts = [*sorted((votes.count(key) for key in set(votes) - {None}), reverse=True), 0, 0]
            assert whole.right[0, order, size - 1] == (drawn[chosen or 0] == 0)
            assert [whole.first[0, order, size - 1], whole.second[0, order, size - 1]] == counts[:2]
            state = (*(int(each[0, order, size - 1]) for each in (whole.first, whole.second)), size)
            shown = counted(*state, tied=bool(whole.tied[0, order, size - 1]))
            for left in range(3):
                assert stays_ahead(shown, left) == stays_ahead(votes, left)


def test_votes_agree_with_the_exact_curve() -> None:
    rng = np.random.default_rng(1)
    groups = rng.integers(-1, 3, size=(300, 8))
    samples = Samples(groups, groups == 0)
    exact = majority_vote(samples, [1, 4, 8]).means
    assert prefixes(samples, orders=40).right.mean((0, 1))[[0, 3, 7]] == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize(
    ("rule", "window", "samples", "written", "depth"),
    [
        (ExactStop(), 1, 4, 1 + 3 + 2 + 5, 11),  # a a b a settles 6
        (ExactStop(), 2, 5, 1 + 3 + 2 + 5 + 4, 8),  # the fifth began at 3 and is finished at 7
        (ExactStop(), 6, 6, 1 + 3 + 2 + 5 + 4 + 5, 5),
        (PredictiveStop(0.6), 1, 1, 1, 1),
    ],
)
def test_a_vote_that_stops_pays_what_is_in_flight(
    rule: Stop, window: int, samples: int, written: int, depth: int
) -> None:
    votes = in_order([0, 0, 1, 0, 2, 0], [1, 3, 2, 5, 4, 6])
    played = stopped(votes, 6, rule, window)
    assert (played.samples[0], played.written[0], played.depth[0]) == (samples, written, depth)
    assert played.right[0] == 1


def test_the_next_sample_begins_when_one_is_judged_and_not_when_one_is_done() -> None:
    # The second is done at 1 and waits for the first, which is done at 5. Then the third and the fourth begin.
    played = stopped(in_order([0, 0, 0, 0, 1, 2], [5, 1, 1, 4, 3, 2]), 6, ExactStop(), 2)
    assert (played.samples[0], played.written[0], played.depth[0]) == (4, 5 + 1 + 1 + 1, 6)


@pytest.mark.parametrize(
    ("first", "rounds", "samples", "requests", "depth"),
    [(2, 1, 2, 1, 3), (2, 2, 6, 2, 3 + 6), (3, 2, 6, 2, 3 + 6), (6, 3, 6, 1, 6), (4, 3, 6, 2, 5 + 6)],
)
def test_a_vote_in_rounds_pays_for_its_longest_samples_in_a_row(
    first: int, rounds: int, samples: int, requests: int, depth: int
) -> None:
    votes = in_order([0, 1, 0, 0, 0, 2], [1, 3, 2, 5, 4, 6])
    played = grown(votes, 6, BetaStop(0.85), first, rounds)
    assert (played.samples[0], played.requests[0], played.depth[0]) == (samples, requests, depth)


def test_sampling_until_one_is_right_is_exact() -> None:
    samples = one([0, 1, 1, 1], [10, 20, 20, 20])
    for limit in (1, 2, 4):
        orders = list(permutations(range(4)))
        drawn = [min(order.index(0) + 1, limit) for order in orders]
        found = [order.index(0) < limit for order in orders]
        written = [20 * count - 10 * hit for count, hit in zip(drawn, found, strict=True)]
        played = until_right(samples, samples.right, limit)
        assert played.right[0] == pytest.approx(np.mean(found))
        assert played.samples[0] == pytest.approx(np.mean(drawn))
        assert played.written[0] == pytest.approx(np.mean(written))


def test_a_vote_is_accepted_where_the_rule_finds_it_settled() -> None:
    clear, open_ = (
        accepted(prefixes(one([0, 0, 0, 0])), 4, BetaStop(0.9)),
        accepted(prefixes(one([0, 1, 0, 1])), 4, BetaStop(0.9)),
    )
    assert (clear[0].right[0], clear[1][0]) == (1, 0)
    assert (open_[0].right[0], open_[1][0]) == (0, 1)
    assert open_[0].samples[0] == 4


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data())
def test_the_largest_of_k_is_the_mean_over_all_draws(tokens: list[int], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(tokens)))
    expected = np.mean([max(order[:k]) for order in permutations(tokens)])
    assert largest(np.array([tokens]), k)[0] == pytest.approx(expected)


def test_a_rule_judges_a_state_only_while_the_vote_goes_on() -> None:
    asked: list[int] = []

    def third(keys: Sequence[Hashable | None], weights: Sequence[float], left: int) -> bool:
        asked.append(len(keys))
        return len(keys) == 3

    found = stopped(prefixes(one([0, 1, 0, 1, 0, 1, 0])), 7, third)
    assert found.samples == 3
    assert set(asked) == {1, 2, 3}


def test_groups_are_numbered_in_little_memory() -> None:
    groups = np.tile(np.arange(3000), (2, 1)) * 10**9
    tracemalloc.start()
    numbers = replay._numbered(groups)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (numbers.min(), numbers.max()) == (0, 2999)
    assert peak < 3000 * 3000  # a byte for each two samples of a problem
