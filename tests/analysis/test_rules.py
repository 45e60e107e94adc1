import json
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metagen import Price, Request, Scripted, Shortest, solve
from metagen.analysis import votes
from metagen.analysis.curve import Curve, Samples, intervals
from metagen.analysis.intervals import percentiles, resampled_means
from metagen.analysis.rules import (
    all_rules,
    best_of,
    coverage,
    curves,
    first_k,
    majority_vote,
    pass_at_k,
    powers_of_two,
    shortest,
    weighted_vote,
)
from metagen.answers.canonical import canonical
from metagen.answers.grade import grade
from metagen.errors import InputError, WeightError
from metagen.strategies.choosing import best, majority, weighted_majority

POOL = Path(__file__).parents[3] / "shared/data/pools/gsm8k_200x16.jsonl"


NAN = float("nan")

verdicts = st.one_of(st.none(), st.sampled_from([0.0, 0.25, 0.5, 1.0]))


members = st.tuples(st.sampled_from([-1, -1, 0, 1, 2]), verdicts, st.booleans())
"""The group and the score of a sample, and whether it is right: few values, so that there are ties of all kinds."""


@st.composite
def few_samples(draw: st.DrawFn) -> Samples:
    """Two problems with 1 to 5 samples; in some, the members of a group are graded differently."""
    n = draw(st.integers(1, 5))
    rows = [draw(st.lists(members, min_size=n, max_size=n)) for _ in range(2)]
    alike = draw(st.booleans())
    return Samples(
        np.array([[group for group, *_ in row] for row in rows]),
        np.array([[group == 0 if alike else right for group, _, right in row] for row in rows]),
        np.array([[NAN if score is None else score for _, score, _ in row] for row in rows]),
    )


Choice = Callable[[list[int | None], list[float | None]], int]


def chosen_by_majority(keys: list[int | None], scores: list[float | None]) -> int:
    return majority(keys) or 0


def chosen_by_weight(keys: list[int | None], scores: list[float | None]) -> int:
    chosen = weighted_majority(keys, scores)
    return (majority(keys) if chosen is None else chosen) or 0


def chosen_by_score(keys: list[int | None], scores: list[float | None]) -> int:
    return best(scores)


def expected(samples: Samples, k: int, choose: Choice) -> list[float]:
    """What the strategies' own functions choose, over all draws in all orders."""
    assert samples.scores is not None
    values = []
    for groups, right, scores in zip(samples.groups, samples.right, samples.scores, strict=True):
        keys = [None if group < 0 else int(group) for group in groups]
        given = [None if np.isnan(score) else float(score) for score in scores]
        orders = list(permutations(range(samples.n), k))
        chosen = [order[choose([keys[i] for i in order], [given[i] for i in order])] for order in orders]
        values.append(float(np.mean([right[i] for i in chosen])))
    return values


@pytest.mark.parametrize(
    ("rule", "choose"),
    [(majority_vote, chosen_by_majority), (weighted_vote, chosen_by_weight), (best_of, chosen_by_score)],
)
@settings(deadline=None, max_examples=60)
@given(samples=few_samples())
def test_a_rule_expects_what_the_strategies_choose(
    rule: Callable[..., Curve], choose: Choice, samples: Samples
) -> None:
    curve = rule(samples, range(1, samples.n + 1))
    assert not curve.errors.any()
    for k in curve.ks:
        assert curve.at(k) == pytest.approx(expected(samples, k, choose)), k


def test_a_verdict_on_no_answer_does_not_keep_the_majority_from_deciding() -> None:
    scores = np.array([[NAN, NAN, 0.9]])
    samples = Samples(np.array([[0, 0, -1]]), np.array([[True, True, False]]), scores)
    assert weighted_vote(samples, [3]).means == [1.0]


def test_where_every_sample_is_right_the_best_of_k_has_an_interval_too() -> None:
    scores = np.random.default_rng(0).random((50, 12))
    right = np.ones(scores.shape, bool)
    curve = best_of(Samples(np.zeros(scores.shape, int), right, scores), powers_of_two(12))
    assert curve.means == pytest.approx(1.0)
    assert np.all(curve.interval()[0] < 0.95)


@given(few_samples())
def test_coverage_is_unbiased_pass_at_k(samples: Samples) -> None:
    curve = coverage(samples, range(1, samples.n + 1))
    for k in curve.ks:
        assert curve.at(k) == pytest.approx([pass_at_k(int(row.sum()), samples.n, k) for row in samples.right])


@given(few_samples())
def test_no_rule_passes_coverage_and_one_sample_is_one_sample(samples: Samples) -> None:
    curves = all_rules(samples, powers_of_two(samples.n))
    assert list(curves) == ["coverage", "majority", "weighted vote", "best-of"]
    for curve in curves.values():
        assert np.all(curve.values <= curves["coverage"].values + 1e-12)
        assert curve.at(1) == pytest.approx(samples.right.mean(1))


def curve_of(values: Any) -> Curve:
    values = np.asarray(values, dtype=float)
    return Curve("best-of", tuple(1 << column for column in range(values.shape[1])), values, np.zeros_like(values))


def many(problems: int = 40, n: int = 40, seed: int = 0) -> Samples:
    """Samples as models give them: the right answer is one of several, and its share differs between problems."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet([1.0, 0.6, 0.6, 0.3, 0.3, 0.3], problems)
    groups = np.stack([rng.choice(6, n, p=share) for share in shares])
    right = groups == 0
    scores = np.asarray(rng.random(groups.shape) + 0.3 * right, dtype=np.float64)
    scores[rng.random(groups.shape) < 0.1] = NAN
    groups[rng.random(groups.shape) < 0.1] = -1
    return Samples(groups, right, scores)


def enumerated(samples: Samples, k: int, rule: Callable[..., Curve], monkeypatch: pytest.MonkeyPatch) -> Curve:
    with monkeypatch.context() as patch:
        patch.setattr("metagen.analysis.votes.SUBSETS", 10**9)
        patch.setattr("metagen.analysis.votes.WORK", 1e12)
        return rule(samples, [k])


@pytest.mark.parametrize("rule", [majority_vote, weighted_vote])
def test_a_monte_carlo_mean_is_within_its_stated_error(
    rule: Callable[..., Curve], monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = many(n=24)
    exact = enumerated(samples, 4, rule, monkeypatch)
    monkeypatch.setattr("metagen.analysis.votes.SUBSETS", 0)
    estimates = [rule(samples, [4], seed=seed, error=0.01) for seed in range(100)]
    errors = np.array([float(curve.errors[0]) for curve in estimates])
    misses = np.array([float(curve.means[0] - exact.means[0]) for curve in estimates])
    assert not exact.errors.any()
    assert errors.min() > 0.004
    assert errors.max() <= 0.01
    assert 0.7 < np.sqrt(np.mean((misses / errors) ** 2)) < 1.2


def test_samples_that_are_sorted_alike_do_not_add_up_their_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    # All problems are the same, with the right half first. A draw shared by all would err alike for all.
    samples = Samples(np.tile(np.repeat([0, 1], 12), (200, 1)), np.tile(np.repeat([True, False], 12), (200, 1)))
    monkeypatch.setattr("metagen.analysis.votes.SUBSETS", 0)
    estimates = [majority_vote(samples, [3], seed=seed, error=0.01) for seed in range(60)]
    misses = np.array([float(curve.means[0]) - 0.5 for curve in estimates])
    assert np.sqrt(np.mean(misses**2)) < 1.3 * float(estimates[0].errors[0])


def test_a_rare_outcome_is_not_taken_for_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metagen.analysis.votes.SUBSETS", 0)
    samples = Samples(np.array([[0, *[1] * 99]]), np.array([[True, *[False] * 99]]))
    curve = majority_vote(samples, [1])
    assert curve.means[0] == pytest.approx(0.01, abs=0.003)
    assert 0 < curve.errors[0] <= 0.001


def test_blocks_of_memory_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = many(problems=7, n=12)
    whole = weighted_vote(samples, [1, 5, 12])
    monkeypatch.setattr("metagen.analysis.votes.BLOCK", 50)
    assert weighted_vote(samples, [1, 5, 12]).values == pytest.approx(whole.values)
    assert resampled_means(whole.values, 100).shape == (100, 3)


def test_a_group_that_was_graded_differently_is_right_by_its_share() -> None:
    samples = Samples(np.array([[0, 0, 0, 1]]), np.array([[True, False, False, True]]))
    assert majority_vote(samples, [4]).means == pytest.approx([1 / 3])


def test_groups_may_have_any_numbers() -> None:
    samples = Samples(np.array([[10**12, -1, 5, 10**12]]), np.array([[True, False, False, True]]))
    assert majority_vote(samples, [1, 4]).means == pytest.approx([0.5, 1.0])


def test_many_samples_are_exact_where_a_formula_is() -> None:
    samples = Samples(
        np.zeros((1, 10_000), dtype=int), np.arange(10_000)[None] == 7, np.arange(10_000.0, dtype=np.float64)[None]
    )
    assert coverage(samples, [1, 5_000, 10_000]).means == pytest.approx([1e-4, 0.5, 1.0])
    assert best_of(samples, [1, 2, 10_000]).means == pytest.approx([1e-4, 7 / (10_000 * 9_999 / 2), 0.0])


@given(st.lists(st.sampled_from([5, 20, 21, 40, 41]), min_size=1, max_size=3), st.integers(1, 3))
async def test_the_shortest_of_k_is_what_the_strategy_returns_and_writes(lengths: list[int], k: int) -> None:
    limit, k = 40, min(k, len(lengths))
    replies = [f"{place}{'a' * (length - 1)}" for place, length in enumerate(lengths)]
    tokens, groups = np.array([lengths]), np.arange(len(lengths))[None]
    samples = Samples(groups, groups == 0, tokens=np.minimum(tokens, limit), done=tokens <= limit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metagen.analysis.rules.EVERY", 10)
        curve = shortest(samples, [k])
    right, written = [], []
    for order in permutations(replies, k):

        def script(request: Request, order: tuple[str, ...] = order) -> str:
            whole = next((each for each in order if request.partial.startswith(each[0])), order[request.draw])
            return whole[len(request.partial) :]

        solution = await solve("?", Shortest(1, n=k, every=10), Scripted(script, context=limit + 1))
        right.append(solution.text.startswith("0"))
        written.append(solution.usage.completion_tokens)
    assert curve.at(k) == pytest.approx(np.mean(right))
    assert curve.costs == pytest.approx(np.mean(written))


def test_the_shortest_saves_what_the_others_would_have_written() -> None:
    tokens = np.array([[100, 300, 900]])
    samples = Samples(
        np.zeros((1, 3), int), np.array([[True, False, True]]), tokens=tokens, flops=2.0 * tokens,
        prompt_flops=np.array([7.0]), price=Price(0, 1e6), done=tokens < 900,
    )  # fmt: skip
    curve = all_rules(samples, [1, 2, 3])["shortest"]
    written = [1300 / 3, (2 * (100 + 256) + 300 + 512) / 3, 100 + 2 * 256]
    assert curve.means == pytest.approx([2 / 3, 2 / 3, 1])
    assert curve.costs == pytest.approx(np.array([written]))
    assert curve.money == pytest.approx(np.array([written]))
    assert curve.flops == pytest.approx(2 * np.array([written]) + 7)
    for less in (replace(samples, done=None), replace(samples, tokens=0 * tokens), replace(samples, tokens=None)):
        assert "shortest" not in all_rules(less, [1])
        with pytest.raises(InputError, match="no lengths or no thoughts"):
            shortest(less, [1])


def test_costs_are_the_tokens_of_k_samples() -> None:
    samples = replace(many(problems=2, n=2), tokens=np.array([[10, 20], [1, 3]]))
    for curve in all_rules(samples, [1, 2]).values():
        assert curve.costs == pytest.approx(np.array([[15, 30], [2, 4]]))
    assert coverage(many(), [1]).costs is None


@pytest.mark.parametrize(("n", "ks"), [(1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8))])
def test_powers_of_two_end_with_all(n: int, ks: tuple[int, ...]) -> None:
    assert powers_of_two(n) == ks


PAIR: dict[str, Any] = {"groups": np.array([[0, 1]]), "right": np.array([[True, False]])}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"groups": np.array([0, 1])}, "problems by samples"),
        ({"groups": np.zeros((0, 4), dtype=int)}, "one of each or more"),
        ({"groups": np.array([[0, -2]])}, "-1 for no answer, not -2"),
        ({"right": np.array([[True]])}, r"right must have the shape \(1, 2\) of groups, not \(1, 1\)"),
        ({"scores": np.zeros((2, 2))}, "scores must have the shape"),
        ({"tokens": np.zeros((2, 2))}, "tokens must have the shape"),
        ({"labels": {"level": ["1", "2"]}}, "label 'level' must have a value for each of 1 problem, not 2"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Samples(**(PAIR | change))


@pytest.mark.parametrize("ks", [[], [0], [3], [2, 1], [1, 1]])
@pytest.mark.parametrize("rule", [coverage, majority_vote, weighted_vote, best_of, all_rules])
def test_a_k_that_cannot_be_is_refused(rule: Callable[..., Curve], ks: list[int]) -> None:
    with pytest.raises(InputError, match="k must go up from 1 to at most 2"):
        rule(Samples(**PAIR, scores=np.zeros((1, 2))), ks)


def test_without_scores_nothing_is_chosen_by_them() -> None:
    assert list(all_rules(Samples(**PAIR), [1])) == ["coverage", "majority"]
    for rule in (weighted_vote, best_of):
        with pytest.raises(InputError, match="have no scores"):
            rule(Samples(**PAIR), [1])


@pytest.mark.parametrize("score", [-1.0, float("inf")])
def test_what_cannot_weigh_a_vote_is_refused(score: float) -> None:
    with pytest.raises(WeightError, match="turn logits into weights"):
        weighted_vote(Samples(**PAIR, scores=np.array([[score, 1.0]])), [1])


def test_an_interval_is_as_wide_as_the_theory_says() -> None:
    values = np.random.default_rng(0).random((400, 1))
    low, high = percentiles(resampled_means(values, 4000))
    width = 2 * 1.96 * values.std() / 20
    assert high - low == pytest.approx([width], rel=0.05)
    assert (low + high) / 2 == pytest.approx(values.mean(0), abs=0.05 * width)


def test_where_all_are_right_or_none_is_the_interval_is_wilsons() -> None:
    low, high = curve_of([[0.0, 1.0, 1.0]] * 9 + [[0.0, 1.0, 0.0]]).interval()
    assert low[:2] == pytest.approx([0, 0.7225], abs=6e-5)
    assert high[:2] == pytest.approx([0.2775, 1.0], abs=6e-5)
    assert (low[2], high[2]) == pytest.approx((0.5437, 0.9855), abs=6e-5)


@pytest.mark.parametrize("problems", [1, 2, 3, 5, 10, 19])
def test_intervals_of_few_problems_hold_the_truth(problems: int) -> None:
    rng = np.random.default_rng(problems)
    trials = [curve_of((rng.random((problems, 8)) < rng.random((problems, 1))).mean(1)[:, None]) for _ in range(300)]
    ends = [each.interval() for each in trials]
    assert np.mean([low[0] <= 0.5 <= high[0] for low, high in ends]) > 0.95 - 2 * np.sqrt(0.05 * 0.95 / 300)


def test_intervals_of_twenty_problems_are_the_bootstraps() -> None:
    curve = curve_of(np.random.default_rng(0).random((20, 2)))
    low, high = percentiles(resampled_means(curve.values))
    assert np.array_equal(curve.interval(), (low, high))


def test_several_curves_have_the_intervals_that_each_has_alone() -> None:
    rng = np.random.default_rng(0)
    curves = [curve_of(rng.random((problems, 3)).tolist()) for problems in (40, 30, 40)]
    for curve, found in zip(curves, intervals(curves), strict=True):
        assert np.array_equal(found, curve.interval())
    assert intervals([]) == []


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_votes_are_counted_alike_by_a_product_of_matrices_and_one_by_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(-1, 4, (5, 30))
    scores = np.where(rng.random(groups.shape) < 0.3, NAN, rng.integers(0, 4, groups.shape) / 4)
    samples = Samples(groups, rng.random(groups.shape) < 0.5, scores)
    found = []
    for product in (0, 10**9):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("metagen.analysis.votes.PRODUCT", product)
            found.append([rule(samples, [2, 7, 29, 30]) for rule in (majority_vote, weighted_vote)])
    for one, other in zip(*found, strict=True):
        assert one.values == pytest.approx(other.values)
        assert one.variances == pytest.approx(other.variances)


def test_the_same_seed_resamples_the_same_problems() -> None:
    values = np.random.default_rng(0).random((30, 2))
    assert resampled_means(values + 0.25) == pytest.approx(resampled_means(values) + 0.25)
    assert not np.allclose(resampled_means(values, seed=1), resampled_means(values))


async def real_samples() -> Samples:
    if not POOL.exists():
        pytest.skip("needs the published pool")
    groups, right = [], []
    for line in POOL.read_text().splitlines():
        row = json.loads(line)
        answers = [sample["answer"] or None for sample in row["trajectories"]]
        keys = [None if answer is None else canonical(answer) for answer in answers]
        names = {key: number for number, key in enumerate(dict.fromkeys(key for key in keys if key))}
        groups.append([-1 if key is None else names[key] for key in keys])
        right.append([await grade(answer, row["gold"]) is True for answer in answers])
    return Samples(np.array(groups), np.array(right))


async def test_a_published_pool_gives_its_published_curve() -> None:
    samples = await real_samples()
    assert samples.groups.shape == (200, 16)
    assert (samples.groups == -1).mean() == pytest.approx(0.287, abs=0.0005)
    curves = all_rules(samples, [1, 2, 4, 8, 16])
    assert 100 * curves["coverage"].means == pytest.approx([36.1, 47.2, 57.3, 66.8, 74.5], abs=0.3)
    assert 100 * curves["majority"].means == pytest.approx([36.1, 40.6, 47.1, 52.8, 54.8], abs=1.0)
    assert not curves["majority"].errors.any()


@pytest.mark.parametrize(("n", "right"), [(n, right) for n in range(1, 8) for right in range(n + 1)])
def test_pass_at_k_is_the_share_of_the_draws_that_hold_a_right_one(n: int, right: int) -> None:
    samples = [True] * right + [False] * (n - right)
    for k in range(1, n + 1):
        draws = list(combinations(samples, k))
        assert pass_at_k(right, n, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_pass_at_k_is_exact_for_many_samples() -> None:
    assert pass_at_k(1, 10_000, 5_000) == pytest.approx(0.5)
    assert pass_at_k(3, 10_000, 9_998) == 1.0


@pytest.mark.parametrize("right", [-1, 6])
def test_no_more_are_right_than_there_are(right: int) -> None:
    with pytest.raises(ValueError, match=f"right must be from 0 to 5, not {right}"):
        pass_at_k(right, 5, 2)


@pytest.mark.parametrize("k", [0, 5, -1])
def test_no_more_can_be_drawn_than_there_are(k: int) -> None:
    with pytest.raises(ValueError, match=f"k must be from 1 to 4, not {k}"):
        pass_at_k(2, 4, k)


LOGITS = Samples(np.array([[0, 1, 1]]), np.array([[True, False, False]]), np.array([[2.0, 3.0, -1.0]]))


def test_scores_that_weigh_no_votes_still_rank() -> None:
    assert list(all_rules(LOGITS, [1, 2])) == ["coverage", "majority", "best-of"]
    assert list(first_k(LOGITS)) == ["coverage", "majority", "best-of"]  # the first two alone would weigh votes
    assert list(curves([[True, False]], scores=[[-1.0, 2.0]])) == ["coverage", "best-of"]
    assert list(curves([[True, False]], [["a", "b"]], [[-1.0, 2.0]])) == ["coverage", "majority", "best-of"]


def test_samples_without_an_answer_do_not_vote() -> None:
    """Else they would be a majority of their own, or join another."""
    found = curves([[True, False, False, False]], [["a", "b", None, None]])
    assert found["majority"].at(4) == found["majority"].at(1) + 0.25 == 0.5


@pytest.mark.parametrize(
    ("right", "given", "said"),
    [
        ([[True] * 2] * 2, {"answers": [["a", "b"], ["a"]]}, "answers must hold a list per problem, as long as those"),
        ([[True] * 2] * 2, {"scores": [[1.0, 2.0], [1.0]]}, "scores must hold a list per problem, as long as those"),
        ([[True] * 2] * 2, {"tokens": [[1, 2]]}, "tokens must hold a list per problem, as long as those of right"),
        ([[True]], {"scores": [["x"]]}, "scores must be numbers"),
        ([[True, False]], {"tokens": [[1, None]]}, "tokens must be numbers"),
        ([["no", "no"]], {}, "right must say True or False of each sample, not 'no'"),
        ([[True, None]], {}, "not None, which is no verdict"),
    ],
)
def test_samples_that_do_not_fit_are_refused(right: Any, given: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        curves(right, **given)


def test_a_curve_says_which_k_it_has() -> None:
    with pytest.raises(InputError, match="the curve of coverage has no k = 3: it has 1, 2"):
        curves([[True, False]])["coverage"].at(3)


def test_a_vote_takes_no_more_draws_than_few_problems_are_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    outcomes = votes._outcomes

    def count(ballots: Any, draws: Any) -> Any:
        drawn.append(len(draws))
        return outcomes(ballots, draws)

    monkeypatch.setattr(votes, "_outcomes", count)
    groups = np.arange(64)[None, :] % 7
    assert 0 < majority_vote(Samples(groups, groups == 0), [16]).errors[0] < 0.005
    assert sum(drawn) == votes.MOST


def test_a_smaller_error_takes_more_draws() -> None:
    right = np.random.default_rng(0).random((60, 32)) < 0.5
    samples = Samples(right.astype(int), right)
    assert majority_vote(samples, [16], error=0.0002).errors[0] <= 0.0002


def test_the_costs_of_the_first_samples_are_known_at_every_k_or_at_none() -> None:
    groups, right = np.zeros((2, 4), int), np.array([[True, False, True, True]] * 2)
    found = first_k(Samples(groups, right, tokens=np.array([[0, 3, 3, 3]] * 2)))
    assert found["coverage"].costs is None
    found = first_k(Samples(groups, right, tokens=np.array([[3, 3, 3, 3]] * 2)))
    assert found["coverage"].costs == pytest.approx(np.array([[3, 6, 12]] * 2))
