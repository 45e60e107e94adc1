"""When a vote is settled: the rules against literals, integrals and each other, and the vote that follows them."""

from collections.abc import Hashable, Sequence
from fractions import Fraction
from itertools import product
from math import comb
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import (
    BetaStop,
    Candidate,
    ConsensusStop,
    DirichletStop,
    ExactStop,
    InputError,
    PredictiveStop,
    Problem,
    Run,
    Score,
    Scripted,
    Vote,
    WindowStop,
    parse,
    solve,
)
from metagen.strategies.choosing import majority
from metagen.strategies.parallel.stopping import Stop, beats, leads, stays, stays_ahead

SPECS = [
    "Vote(6, until=BetaStop(0.9), window=2)",
    "Vote(6, until=DirichletStop(0.9))",
    "Vote(8, until=WindowStop(2), window=2)",
    "Vote(7, until=ExactStop(), window=3)",
    "Vote(9, until=PredictiveStop(0.9), window=2)",
    "Vote(6, by=length, until=ConsensusStop(0.9, least=2), window=2)",
]
WRAPPERS = ["Vote(5, of={}, until=WindowStop(2), window=3)"]

PROBLEM = Problem("p", "What is 3 + 4?", "7")
some_keys = st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=12)


def ones(keys: Sequence[object]) -> list[float]:
    return [1.0] * len(keys)


def stops(rule: Stop, keys: Sequence[Hashable | None], left: int = 9) -> bool:
    return rule(keys, ones(keys), left)


@pytest.mark.parametrize(
    ("first", "second", "chance"),
    [(0, 0, 0.5), (1, 0, 0.75), (3, 0, 0.9375), (4, 0, 0.96875), (1, 1, 0.5), (2, 1, 0.6875)],
)
def test_the_chance_that_the_leader_is_ahead(first: int, second: int, chance: float) -> None:
    assert beats(first, second) == chance


@given(st.integers(0, 60), st.integers(0, 60))
def test_of_two_answers_dirichlet_says_what_beta_says(first: int, second: int) -> None:
    assert leads((first, second)) == pytest.approx(beats(first, second), abs=2e-3)


@pytest.mark.parametrize("counts", [(3, 2, 1), (5, 1, 1, 1), (2, 2, 2), (40, 20, 30), (800, 790), (2000, 1990)])
def test_of_many_answers_dirichlet_says_what_sampling_says(counts: tuple[int, ...]) -> None:
    shares = np.random.default_rng(0).dirichlet(np.array(counts) + 1, 200_000)
    assert leads(counts) == pytest.approx((shares.argmax(1) == 0).mean(), abs=0.005)


def test_beta_needs_four_that_agree() -> None:
    rule = BetaStop(0.95)
    assert [stops(rule, "a" * n) for n in range(6)] == [False] * 4 + [True] * 2
    assert not stops(rule, "aaaab")
    assert stops(rule, "aabaaaa")
    assert stops(rule, [None, "a", "a", None, "a", "a"])
    assert not stops(rule, [None] * 9)
    assert stops(DirichletStop(0.95), "aaaa")
    assert not stops(DirichletStop(0.95), "aaa")
    assert not stops(DirichletStop(0.95), [None] * 9)


def test_a_window_must_agree_whole() -> None:
    rule = WindowStop(3)
    assert [stops(rule, keys) for keys in ("aaa", "aab", "baaa", "abbbbb", "abcddd")] == [
        True,
        False,
        False,
        True,
        True,
    ]
    assert not stops(rule, [None] * 3)
    assert not stops(rule, [])


@given(some_keys, st.integers(0, 4))
def test_the_exact_rule_stops_just_where_nothing_can_change(keys: list[str | None], left: int) -> None:
    """Against all continuations, with answers seen and new."""
    now = majority(keys)
    ends = [majority([*keys, *more]) for more in product(["a", "b", "c", "new", None], repeat=left)]
    chosen = {None if end is None else [*keys, *["?"] * left][end] for end in ends}
    unchanged = now is not None and chosen == {keys[now]}
    assert stops(ExactStop(), keys, left) is unchanged


@given(st.lists(st.sampled_from("abcd"), min_size=16, max_size=16), st.integers(1, 6))
async def test_a_vote_with_the_exact_rule_answers_as_the_whole_vote(answers: list[str], window: int) -> None:
    model = Scripted(lambda request: f"The answer is {answers[request.draw]}.")
    whole = await solve(PROBLEM, Vote(16), model)
    early = await solve(PROBLEM, Vote(16, until=ExactStop(), window=window), model)
    assert early.answer == whole.answer
    assert early.samples <= whole.samples == 16


@pytest.mark.parametrize(
    ("first", "second", "others", "left"), [(3, 1, 2, 6), (1, 0, 0, 15), (5, 4, 0, 7), (2, 2, 9, 20)]
)
def test_the_chance_to_stay_ahead_is_that_of_drawing_on(first: int, second: int, others: int, left: int) -> None:
    rng = np.random.default_rng(0)
    urns = np.tile(np.array([first, second, others], float) + 1, (50_000, 1))
    for _ in range(left):
        drawn = (rng.random(len(urns))[:, None] * urns.sum(1, keepdims=True) > urns.cumsum(1)).sum(1)
        urns[np.arange(len(urns)), drawn] += 1
    assert stays(first, second, others, left) == pytest.approx((urns[:, 0] >= urns[:, 1]).mean(), abs=0.01)


def by_pairs(first: int, second: int, others: int, left: int, *, tied: bool) -> Fraction:
    """The same by the sum over all outcomes, in fractions."""
    ways = 0
    for i, j in product(range(left + 1), repeat=2):
        if i + j <= left and first + i >= second + j + (not tied):
            ways += comb(first + i, i) * comb(second + j, j) * comb(others + left - i - j, others)
    return Fraction(ways, comb(first + second + others + left + 2, left))


small = st.integers(0, 12)


@given(small, small, small, st.integers(0, 20), st.booleans())
def test_the_walk_comes_to_the_sum_over_all_outcomes(
    first: int, second: int, others: int, left: int, tied: bool
) -> None:
    expected = float(by_pairs(first, second, others, left, tied=tied))
    assert stays(first, second, others, left, tied=tied) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("counts", [(300, 290, 20, 150), (2, 0, 300, 100), (40, 41, 0, 120), (0, 90, 5, 90)])
@pytest.mark.parametrize("tied", [True, False])
def test_so_does_a_long_one(counts: tuple[int, int, int, int], tied: bool) -> None:
    assert stays(*counts, tied=tied) == pytest.approx(float(by_pairs(*counts, tied=tied)), abs=1e-10)


@given(st.integers(0, 80), st.integers(0, 80))
def test_the_chance_of_two_answers_is_a_tail_of_the_binomial_distribution(first: int, second: int) -> None:
    n = first + second + 1
    assert beats(first, second) == sum(comb(n, k) for k in range(first + 1)) / 2**n


@pytest.mark.parametrize(
    ("keys", "left", "chance"),
    [
        ("baa", 1, 1 - 2 / 6),  # the next is b, which then wins the tie, with 2 of 6
        ("aab", 1, 1.0),
        ("aba", 1, 1.0),
        ("aab", 0, 1.0),
        ("baa", 0, 1.0),
        ("ba", 0, 1.0),  # b leads, as it was first
        ("cbaab", 0, 1.0),
        ("cbaaa", 1, 1.0),
        ("bcaab", 1, 1 - 3 / 8),  # b leads with 2 to 2, and a may pass it
        ("caabb", 1, 1 - 3 / 8),
        ("baac", 1, 1 - 2 / 7),
        ([], 3, 0.0),
        ([None, None], 3, 0.0),
        (["b", None, "a", "a", None], 1, 1 - 2 / 8),
    ],
)
def test_a_tie_goes_to_the_answer_that_was_drawn_first(keys: Sequence[Any], left: int, chance: float) -> None:
    assert stays_ahead(keys, left) == pytest.approx(chance)


def test_the_prediction_looks_at_what_is_left() -> None:
    rule = PredictiveStop(0.9)
    assert not stops(rule, "aab", 13)
    assert stops(rule, "aab", 1)
    assert stops(rule, ["a", "a", "a", None], 12)
    assert not stops(rule, [None] * 9, 1)
    assert stays(5, 5, 0, 0) == pytest.approx(1.0)
    assert stays(3, 1, 4, 2) == pytest.approx(1.0)
    assert stays(3, 1, 4, 3) == pytest.approx(1 - 2 * 3 * 4 / (11 * 12 * 13))


def test_consensus_reads_weights() -> None:
    rule = ConsensusStop(0.8, least=2)
    assert rule(["a", "b"], [4.0, 1.0], 5)
    assert not rule(["a", "b"], [3.0, 1.0], 5)
    assert not rule(["a"], [3.0], 5), "one is not yet a consensus"
    assert rule(["a", None], [3.0, 9.0], 5)
    assert not rule([None, None], [1.0, 1.0], 5)


async def test_no_more_are_drawn_than_needed() -> None:
    drawn = []

    def script(request: object) -> str:
        drawn.append(request)
        return "The answer is 7."

    solution = await solve(PROBLEM, Vote(40, until=BetaStop(0.95)), Scripted(script))
    assert (solution.correct, solution.samples, len(drawn)) == (True, 4, 4)
    assert solution.notes == ("settled after 4 of 40 samples",)


async def test_who_has_no_verdict_settles_nothing() -> None:
    async def judge(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        return [None if "8" in candidate.text else Score(1.0) for candidate in candidates]

    answers = ["8", "8", "8", "8", "7", "7", "9", "7"]
    model = Scripted(lambda request: f"The answer is {answers[request.draw]}.")
    solution = await solve(PROBLEM, Vote(8, by=judge, until=ConsensusStop(0.9, least=6)), model)
    assert (solution.answer, solution.samples) == ("7", 6)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("Vote(8, window=2)", "window needs until"),
        ("Vote(8, until=3)", "until=3 is not a rule"),
        ("Vote(8, until=BetaStop)", "is not a rule: write one such as"),
        ("Vote(8, until=CoT())", "is not a rule"),
        ("Vote(8, by=MatchesReference(), until=BetaStop(0.9))", "use until=ConsensusStop"),
        ("Vote(8, until=BetaStop(0.5))", "threshold must be above 0.5 and below 1, not 0.5"),
        ("Vote(8, until=DirichletStop(1))", "threshold must be above 0.5 and below 1, not 1"),
        ("Vote(8, until=ConsensusStop('x'))", "threshold must be above 0.5"),
        ("Vote(8, until=ConsensusStop(0.9, least='4'))", "least must be a whole number of 1 or more, not '4'"),
        ("Vote(8, until=WindowStop(1))", "size must be a whole number of 2 or more"),
        ("Vote(8, until=BetaStop(0.9), window=0)", "window must be a whole number of 1 or more"),
        ("BetaStop(0.9)", "is not a strategy"),
    ],
)
def test_nonsense_is_refused(spec: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(spec)
