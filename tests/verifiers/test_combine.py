from collections.abc import Sequence
from math import exp, inf, prod
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import (
    BestOf,
    BudgetExceeded,
    Cached,
    Candidate,
    Cascade,
    InputError,
    Lowest,
    Mean,
    Problem,
    Product,
    Run,
    Score,
    Scripted,
    Sigmoid,
    Threshold,
    Verifier,
    VerifierError,
    parse,
    solve,
)
from metagen.verifiers.combine import joined, sigmoid, weighted_mean

SPECS = [
    "Vote(3, by=Cascade(Lowest(Cached(length), Product(length)), Mean(OnText(vowels), Threshold(length)), high=60))"
]

PROBLEM = Problem("p", "?")


class Known:
    """A verifier that knows its verdicts by text, and keeps the batches that it was asked."""

    def __init__(self, **verdicts: float | Score | None) -> None:
        self.verdicts = verdicts
        self.asked: list[list[str]] = []

    async def __call__(self, problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        self.asked.append([candidate.text for candidate in candidates])
        found = [self.verdicts[candidate.text] for candidate in candidates]
        return [Score(verdict) if isinstance(verdict, int | float) else verdict for verdict in found]


async def judged(by: Verifier, *batches: str) -> list[list[Score | None]]:
    """The verdicts that one node of a strategy gets, batch by batch; each character is a candidate."""
    verdicts: list[list[Score | None]] = []

    async def strategy(problem: Problem, run: Run) -> Candidate:
        verdicts.extend([await run.score(by, problem, [Candidate((text,)) for text in batch]) for batch in batches])
        return Candidate(("done",))

    solution = await solve(PROBLEM, strategy)
    assert not solution.failed, solution.error
    return verdicts


def values(scores: Sequence[Score | None]) -> list[float | None]:
    return [None if score is None else score.value for score in scores]


@pytest.mark.parametrize(
    ("logit", "value"),
    [
        (0, 0.5),
        (1, 0.731058578630),
        (-1, 0.268941421370),
        (6.1, 0.997762151),
        (-4.3, 0.013387),
        (1e6, 1.0),
        (-1e6, 0.0),
    ],
)
def test_sigmoid(logit: float, value: float) -> None:
    assert sigmoid(logit) == pytest.approx(value, abs=1e-9, rel=1e-5)


@given(st.floats(-30, 30))
def test_sigmoid_is_its_definition_and_symmetric(logit: float) -> None:
    assert sigmoid(logit) == pytest.approx(1 / (1 + exp(-logit)))
    assert sigmoid(logit) + sigmoid(-logit) == pytest.approx(1)


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_sigmoid_keeps_order_within_0_and_1(first: float, second: float) -> None:
    low, high = sorted((first, second))
    assert 0 <= sigmoid(low) <= sigmoid(high) <= 1


async def test_verdicts_become_probabilities_and_no_verdict_stays_none() -> None:
    given = [Score(0.0, (1e6, 0.0), "why"), None, Score(-1e6)]
    seen: list[list[Score | None]] = []

    async def logits(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        return given

    async def spy(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        seen.append(await Sigmoid(logits)(problem, candidates, run))
        return seen[0]

    await solve("?", BestOf(3, by=spy), Scripted("x"))
    assert seen == [[Score(0.5, (1.0, 0.5), "why"), None, Score(0.0)]]


def test_what_is_no_verifier_is_refused() -> None:
    with pytest.raises(InputError, match="Sigmoid: by=Sigmoid is a class"):
        Sigmoid(Sigmoid)  # type: ignore[arg-type]


@pytest.mark.parametrize("by", [None, 3])
def test_a_verifier_is_needed(by: object) -> None:
    with pytest.raises(InputError, match="Sigmoid: "):
        Sigmoid(by)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("combine", "verdicts"),
    [
        (Mean, [0.5, None, None, 2.5]),
        (lambda *of: Mean(*of, weights=(3, 1)), [0.25, None, None, 2.25]),
        (Lowest, [0.0, None, None, 2.0]),
        (Product, [0.0, None, None, 6.0]),
    ],
)
async def test_a_combination_has_a_verdict_where_all_have_one(combine: Any, verdicts: list[float | None]) -> None:
    one, other = Known(a=0.0, b=None, c=1.0, d=2.0), Known(a=1.0, b=1.0, c=None, d=3.0)
    (scores,) = await judged(combine(one, other), "abcd")
    assert values(scores) == verdicts
    assert one.asked == other.asked == [list("abcd")], "each is asked once, about all"


def test_steps_are_combined_where_all_score_the_same_ones() -> None:
    one, other = Score(0.2, (0.2, 0.4), "slow"), Score(0.5, (1.0, 0.5))
    assert joined(min, [one, other]) == Score(0.2, (0.2, 0.4), "slow")
    assert joined(prod, [one, other]) == Score(0.1, (0.2, 0.2), "slow")
    assert joined(min, [one, Score(0.1, (0.1,), "short")]) == Score(0.1, (), "slow; short")
    assert joined(min, [one, Score(0.1)]) == Score(0.1, (), "slow")
    assert joined(min, [one, None]) is None


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0.01, 100)), min_size=1))
def test_a_mean_lies_between_its_values(pairs: list[tuple[float, float]]) -> None:
    numbers, weights = zip(*pairs, strict=True)
    mean = weighted_mean(numbers, weights)
    assert min(numbers) - 1e-6 <= mean <= max(numbers) + 1e-6
    assert weighted_mean(numbers, [2 * weight for weight in weights]) == pytest.approx(mean)


@pytest.mark.parametrize("values", [(inf, -inf), (1.7e308, 1.7e308)])
async def test_what_has_no_mean_costs_its_own_candidate_alone(values: tuple[float, float]) -> None:
    one, other = (Known(a=value, b=1.0) for value in values)
    (scores,) = await judged(Mean(one, other), "ab")
    assert scores == [None, Score(1.0)]


async def test_a_threshold_says_yes_from_its_number_on() -> None:
    known = Known(a=0.4, b=0.5, c=None, d=Score(0.1, (0.9, 0.1), "why"))
    (scores,) = await judged(Threshold(known), "abcd")
    assert scores == [Score(0.0), Score(1.0), None, Score(0.0, (1.0, 0.0), "why")]


async def test_a_dear_verifier_sees_only_what_a_cheap_one_leaves_open() -> None:
    cheap = Known(a=0.05, b=0.5, c=0.95, d=None, e=0.1)
    middle, dear = Known(b=0.6, d=0.9), Known(b=None, d=0.3)
    (scores,) = await judged(Cascade(cheap, middle, dear), "abcde")
    assert values(scores) == [0.05, None, 0.95, 0.9, 0.1]
    assert (cheap.asked, middle.asked, dear.asked) == ([list("abcde")], [["b", "d"]], [["b"]])
    (scores,) = await judged(Cascade(cheap, dear), "ac")
    assert dear.asked == [["b"]], "what is settled is not asked again"


async def test_equal_candidates_are_judged_once_by_a_node_and_no_verdict_is_asked_again() -> None:
    known = Known(a=1.0, b=2.0, c=None)
    verdicts = await judged(Cached(known), "aba", "bac", "c")
    assert list(map(values, verdicts)) == [[1.0, 2.0, 1.0], [2.0, 1.0, None], [None]]
    assert known.asked == [["a", "b"], ["c"], ["c"]]


async def test_caches_of_one_node_keep_their_verdicts_apart() -> None:
    async def strategy(problem: Problem, run: Run) -> Candidate:
        for value in map(float, range(5)):  # each cache is gone before the next is made, perhaps in its place
            assert values(await run.score(Cached(Known(a=value)), problem, [Candidate(("a",))])) == [value]
        return Candidate(("done",))

    assert not (await solve(PROBLEM, strategy)).failed


async def test_a_cache_inside_a_combination_lasts_as_long() -> None:
    known = Known(a=1.0, b=2.0)
    await judged(Mean(Cached(known), Cached(known)), "ab", "ab")
    assert known.asked == [["a", "b"], ["a", "b"]], "once each"


async def test_what_a_cache_knows_ends_with_the_node_that_asked() -> None:
    known = Known(a=1.0)
    by = Cached(known)

    async def twice(problem: Problem, run: Run) -> Candidate:
        await run.ask(BestOf(2, by=by), problem)
        return await run.ask(BestOf(2, by=by), problem)

    await solve(PROBLEM, twice, Scripted("a"))
    assert known.asked == [["a"], ["a"]]


@pytest.mark.parametrize("combine", [Mean, Lowest, Product])
async def test_a_verifier_that_fails_fails_the_whole(combine: Any) -> None:
    async def fails(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        raise KeyError("a")

    solution = await solve(PROBLEM, BestOf(2, by=combine(fails, Known(a=1.0))), Scripted("a"))
    assert solution.error.startswith(VerifierError.__name__)


@pytest.mark.parametrize("first", [Cached, lambda by: Cascade(Known(a=0.0, b=1.0, c=0.5), by)])
async def test_a_part_that_fails_on_some_candidates_costs_the_others_no_verdict(first: Any) -> None:
    class Fussy(Known):
        async def __call__(self, problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
            if any(candidate.text == "c" for candidate in candidates):
                raise VerifierError("out of order")
            return await super().__call__(problem, candidates, run)

    *_, verdicts = await judged(first(Fussy(a=0.0, b=1.0)), "ab", "abc")
    assert values(verdicts) == [0.0, 1.0, None]
    solution = await solve(PROBLEM, BestOf(1, by=first(Fussy())), Scripted("c"))
    assert solution.error == "VerifierError: out of order"


async def test_where_a_cheap_verifier_fails_the_expensive_one_is_asked() -> None:
    async def fails(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        raise KeyError("a")

    (verdicts,) = await judged(Cascade(fails, Known(a=0.4)), "a")
    assert values(verdicts) == [0.4]


async def test_where_the_budget_has_no_room_there_is_no_verdict() -> None:
    async def refused(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        raise BudgetExceeded("no room")

    (scores,) = await judged(Mean(Known(a=1.0), refused), "a")
    assert scores == [None]


@pytest.mark.parametrize(
    "spec",
    [
        "Mean(length, Threshold(length, 9.5), weights=(2, 1))",
        "Lowest(length, length)",
        "Product(length)",
        "Cascade(length, Cached(length), low=0.2)",
        "Threshold(Sigmoid(length))",
    ],
)
def test_they_print_as_their_spec(spec: str) -> None:
    async def length(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        return [Score(float(len(candidate.text))) for candidate in candidates]

    text = f"BestOf(2, by={spec})"
    assert repr(parse(text, {"length": length})) == text


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("Mean()", "Mean: needs verifiers, such as Mean"),
        ("Mean(MatchesReference(), None)", "Mean: None is not a verifier"),
        ("Mean(MatchesReference(), weights=(1, 2))", "Mean: needs a weight for each of 1 verifier, not 2"),
        ("Mean(MatchesReference(), weights=(0,))", "Mean: weights must be a tuple of numbers above 0"),
        ("Lowest(CoT())", "is not a verifier"),
        ("Threshold(MatchesReference(), '1')", "Threshold: at must be a number, not '1'"),
        ("Threshold(None)", "Threshold: needs a verifier"),
        ("Cascade(MatchesReference(), low=1, high=1)", "Cascade: low must be below high"),
        ("Cascade(MatchesReference(), low=True)", "Cascade: low must be a number, not True"),
        ("Cached(3)", "Cached: by=3 is not a verifier"),
    ],
)
def test_nonsense_is_refused(spec: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(f"BestOf(2, by={spec})")
