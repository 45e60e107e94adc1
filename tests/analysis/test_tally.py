from math import isnan

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metagen import Solution, Usage
from metagen.analysis.share import Share
from metagen.analysis.tally import Tally, silence

shares = st.integers(1, 10**6).flatmap(lambda total: st.builds(Share, st.integers(0, total), st.just(total)))


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [
        (8, 10, 0.4902, 0.9433),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (1, 1, 0.2065, 1.0),
        (50, 100, 0.4038, 0.5962),
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (1, 29, 0.0061, 0.1718),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilsons_interval_is_the_published_one(count: int, total: int, low: float, high: float) -> None:
    assert Share(count, total).interval() == pytest.approx((low, high), abs=6e-5)


@given(shares)
@example(Share(4, 4))
def test_an_interval_holds_its_share_and_stays_within_0_and_1(share: Share) -> None:
    low, high = share.interval()
    assert 0 <= low <= share.value <= high <= 1, "and rounding does not leave it out, as of 4 of 4"
    assert low < high


@given(shares)
def test_an_interval_is_mirrored_by_counting_the_others(share: Share) -> None:
    low, high = share.interval()
    assert Share(share.total - share.count, share.total).interval() == pytest.approx((1 - high, 1 - low))


@given(shares, st.integers(2, 50))
def test_more_of_the_same_narrows_an_interval(share: Share, times: int) -> None:
    (low, high), (lower, higher) = Share(share.count * times, share.total * times).interval(), share.interval()
    assert high - low < higher - lower


@given(shares)
def test_more_certainty_widens_an_interval(share: Share) -> None:
    (low, high), (lower, higher) = share.interval(), share.interval(z=2.575829)
    assert lower <= low + 1e-9
    assert high - 1e-9 <= higher
    assert high - low < higher - lower


def test_a_tally_adds_up_a_run() -> None:
    tally = Tally()
    for solution in [
        Solution("a", "7", correct=True, samples=4, samples_correct=3, lost=1, usage=Usage(calls=1, prompt_tokens=9)),
        Solution("b", "8", correct=False, samples=2, samples_correct=1, usage=Usage(completion_tokens=5)),
        Solution("c", "9", correct=False, samples=4),
        Solution("d", None, correct=False, error="NoCandidate: all 4 samples were lost", lost=4),
        Solution("e", "x", unjudged=True, samples=2, samples_correct=0),
        Solution("f", "no reference"),
    ]:
        tally.add(solution)
    assert (tally.problems, tally.failed, tally.judged, tally.unjudged, tally.lost) == (6, 1, 4, 1, 5)
    assert tally.accuracy == Share(1, 4)
    assert tally.coverage == Share(2, 4)
    assert tally.single == pytest.approx((3 / 4 + 1 / 2 + 0 + 0) / 4)
    assert tally.samples == 3
    assert tally.gained == pytest.approx(1 / 3 - (3 / 4 + 1 / 2 + 0) / 3)
    assert tally.usage == Usage(calls=1, prompt_tokens=9, completion_tokens=5)


def test_of_nothing_no_figure_is_known() -> None:
    tally = Tally()
    assert isnan(tally.accuracy.value)
    assert isnan(tally.single)
    assert isnan(tally.samples)
    assert tally.coverage.interval() == (0.0, 1.0)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((0, 160, 0), ""),
        ((74, 160, 74), "74 of 160, of them 74 cut: raise max_tokens"),
        ((3, 160, 0), "3 of 160, of them 0 cut: say in the prompt how to answer"),
        ((126, 1160, 74), "126 of 1,160, of them 74 cut: raise max_tokens; say in the prompt"),
        ((1, 1600, 0), "1 of 1,600, of them 0 cut"),
        ((1, 1600, 1), "1 of 1,600, of them 1 cut"),
        ((16, 1600, 0), "16 of 1,600, of them 0 cut: say in the prompt how to answer"),
    ],
)
def test_samples_without_an_answer_are_counted_with_a_hint(counts: tuple[int, int, int], said: str) -> None:
    assert silence(*counts).startswith(said)
    assert (":" in silence(*counts)) is (":" in said)


def test_a_tally_adds_up_the_samples_without_an_answer() -> None:
    tally = Tally()
    for solution in [
        Solution("a", "7", compared=4, unanswered=3, cut=1),
        Solution("b", None, compared=1, unanswered=1),
        Solution("c", "7", compared=4),
    ]:
        tally.add(solution)
    assert (tally.compared, tally.unanswered, tally.cut) == (9, 4, 1)
    assert tally.silence().startswith("4 of 9, of them 1 cut: raise max_tokens; ")


def test_the_reason_that_most_failures_share_is_told() -> None:
    tally = Tally()
    for number, error in enumerate(["no room", "refused", "refused", ""]):
        tally.add(Solution(str(number), None, error=error))
    assert tally.reason() == ("refused", 2)
    assert Tally().reason() == ("", 0)


def test_a_tally_adds_up_the_verdicts_that_were_not_given() -> None:
    tally = Tally()
    for why in ("Judge: it replied 'Good.'", "Judge: refused", "Judge: refused", ""):
        tally.add(Solution("a", "7", scored=4, unscored=4 if why else 0, why_unscored=why))
    assert tally.without_verdict() == "12 of 16 (Judge: refused)"
    assert Tally().without_verdict() == ""


def test_a_tally_adds_up_the_answers_that_were_not_graded() -> None:
    tally = Tally()
    for notes in (
        ("not graded: away",),
        ("settled", "not graded: a\nb", "not graded: away"),
        ("not graded: away",),
        (),
    ):
        tally.add(Solution("a", "7", unjudged=True, notes=notes))
    tally.add(Solution("a", "7", correct=True, notes=("not graded: a sample",)))
    assert tally.without_grade() == "4 answers that the grader could not judge (away)"
    assert tally.ungraded == {"away": 2, "a b": 1}
    assert Tally().without_grade() == ""


def test_a_tally_adds_up_the_problems_that_were_not_revised() -> None:
    tally = Tally()
    for notes in (("not revised: ToolError: away",) * 3, ("settled",), ("not revised: a\nb", "not revised: c"), ()):
        tally.add(Solution("a", "7", notes=notes))
    assert tally.without_revision() == "in 2 of 4 problems (ToolError: away)"
    assert tally.unrevised == {"ToolError: away": 1, "a b": 1}
    assert Tally().without_revision() == ""


def test_a_problem_without_a_verdict_takes_nothing_from_what_is_gained() -> None:
    tally = Tally()
    tally.add(Solution("a", "7", correct=True, samples=4, samples_correct=3))
    tally.add(Solution("b", "8", correct=None, unjudged=True, samples=3, samples_correct=2))
    assert tally.gained == pytest.approx(1 / 4)
    assert tally.accuracy == Share(1, 1)
    only = Tally()
    only.add(Solution("b", "8", correct=None, unjudged=True, samples=3, samples_correct=2))
    assert isnan(only.gained)


def test_a_failed_problem_takes_nothing_from_what_is_gained() -> None:
    tally = Tally()
    tally.add(Solution("a", "7", correct=True, samples=4, samples_correct=3))
    tally.add(Solution("b", None, correct=False, error="NoCandidate: all 4 samples were lost"))
    assert tally.gained == pytest.approx(1 / 4)
    assert tally.accuracy == Share(1, 2)


def test_what_a_budget_cut_short_is_counted_apart_and_is_no_answer() -> None:
    tally = Tally()
    tally.add(Solution("a", "7", correct=True, compared=1))
    tally.add(
        Solution("b", None, correct=False, compared=1, unanswered=1, cut=1, unfinished=True, usage=Usage(calls=1))
    )
    tally.add(Solution("c", None, correct=False, error="BudgetExceeded: spent", unfinished=True))
    tally.add(Solution("d", None, correct=False, error="GenerationError: lost"))
    assert (tally.problems, tally.solved, tally.failed, tally.unfinished) == (4, 1, 1, 2)
    assert tally.reason() == ("GenerationError: lost", 1)
    assert (tally.accuracy.count, tally.accuracy.total, tally.silence()) == (1, 2, "")
    assert tally.usage.calls == 1
