from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import Candidate, Usage
from metagen.trace import Expansion, Span, Written


def span(*path: int | str, tokens: int = 0, n: int = 1, below: list[Span] | None = None, **more: Any) -> Span:
    usage, expansion = Usage(completion_tokens=tokens), Expansion(n)
    return Span("x", path, **{"status": "ok", **more}, usage=usage, expansion=expansion, children=below or [])


TREE = span(
    below=[
        span(1, tokens=1, below=[span(1, 10, notes=["third"]), span(1, 2, tokens=5, notes=["second"])]),
        span(0, tokens=2, notes=["first"]),
        span("b", tokens=3),
    ]
)


def test_a_tree_is_walked_by_path_whatever_came_first() -> None:
    assert [each.path for each in TREE.walk()] == [(), (0,), (1,), (1, 2), (1, 10), ("b",)]


def test_a_total_is_what_all_spent() -> None:
    assert TREE.total() == Usage(completion_tokens=11)
    assert TREE.children[0].total() == Usage(completion_tokens=6)


def test_notes_are_told_in_order() -> None:
    assert TREE.all_notes() == ["first", "second", "third"]


def test_compared_are_the_samples_of_the_outermost_that_compares() -> None:
    outer, inner = Candidate(("outer",)), Candidate(("inner",))
    vote = span(0, 0, below=[span(0, 0, 0)])
    vote.samples, vote.children[0].samples = [outer, inner], [inner]
    assert span(below=[span(0, below=[vote])]).comparing(inner) is vote
    assert TREE.comparing(outer) is None


def test_samples_that_the_answer_was_not_chosen_from_are_not_compared() -> None:
    first, second, judge = Candidate(("small",)), Candidate(("large",)), Candidate(("judge",))
    small, large, verifier = span(0, 0), span(0, 1), span(0, 2)
    small.samples, large.samples, verifier.samples = [first], [second], [judge]
    verifier.verifying = True
    tree = span(below=[span(0, below=[small, large, verifier])])
    assert tree.comparing(second) is large
    assert tree.comparing(Candidate(("large",))) is None
    assert tree.comparing(judge) is None


def test_a_lost_sample_is_counted_once_where_it_was_lost_first() -> None:
    assert span(status="lost", n=4).count_lost() == 4
    assert span(status="lost").count_lost() == 1
    assert span(status="lost", n=4, below=[span(0, status="lost"), span(1)]).count_lost() == 1
    assert span(status="cancelled", below=[span(0, status="failed")]).count_lost() == 0


def test_what_was_cancelled_neither_loses_nor_says_anything() -> None:
    late = span(0, status="cancelled", notes=["too late"], below=[span(0, 0, status="lost", notes=["lost"])])
    tree = span(below=[late, span(1, notes=["in time"])])
    assert tree.count_lost() == 0
    assert tree.all_notes() == ["in time"]
    assert [each.path for each in tree.counted()] == [(), (1,)]


def test_what_a_verifier_loses_is_no_sample_of_the_answer() -> None:
    judge = span(0, below=[span(0, 0, status="lost")])
    judge.verifying = True
    assert span(below=[judge]).count_lost() == 0


def test_what_a_verifier_loses_does_not_say_why_samples_were_lost() -> None:
    judge = span(0, verifying=True, below=[span(0, 0, verifying=True, status="lost", error="judge")])
    sample = span(1, status="lost", error="sample")
    assert span(below=[judge]).why_lost() == ""
    assert span(below=[judge, sample]).why_lost() == "sample"
    assert judge.why_lost() == "judge"


def test_a_stage_that_its_caller_does_without_is_no_lost_sample() -> None:
    critic = span(0, status="lost", stage=True, below=[span(0, 0, status="lost")])
    assert span(below=[critic]).count_lost() == 0
    assert span(status="lost", below=[critic]).count_lost() == 1
    votes = span(0, stage=True, below=[span(0, 0, status="lost"), span(0, 1)])
    assert span(below=[votes]).count_lost() == 1


def test_the_first_error_says_why_samples_were_lost() -> None:
    errors = [Span("x", (n,), status="lost", error=f"error {n}") for n in (1, 0)]
    cancelled = span("a", status="cancelled", below=[Span("x", ("a", 0), status="lost", error="cancelled")])
    assert span(below=[*errors, cancelled]).why_lost() == "error 0"
    assert TREE.why_lost() == ""


@given(st.permutations(range(12)))
def test_numbers_come_in_the_order_of_numbers(order: list[int]) -> None:
    assert [each.path[0] for each in span(below=[span(n) for n in order]).walk() if each.path] == list(range(12))


def test_only_the_outermost_verifiers_count() -> None:
    inner = span(0, 0, 1, verifying=True, verdicts=[None])
    outer = span(0, 0, verifying=True, verdicts=[None, 1.0], below=[inner])
    left = span(1, status="cancelled", below=[span(1, 0, verifying=True, verdicts=[None])])
    assert list(span(below=[span(0, below=[outer]), left]).verified()) == [outer]
    assert outer.unscored == 1


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        (span(error="the budget is spent", notes=["a note"]), "x: the budget is spent"),
        (span(below=[span(0, status="lost", error="refused")], notes=["a note"]), "x: refused"),
        (span(below=[span(0, notes=["a note"], completions=[Written("Good.")])]), "x: a note"),
        (span(below=[span(0, completions=[Written("Good." + 90 * "!")])]), "x: it replied 'Good." + 55 * "!" + "'"),
        (span(below=[span(0, status="cancelled", completions=[Written("Good.")])]), "x: it does not say why"),
    ],
)
def test_why_there_is_no_verdict_is_told_as_far_as_the_span_knows(judge: Span, said: str) -> None:
    assert judge.why_unscored() == said
