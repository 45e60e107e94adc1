import json

from metagen import Solution, Usage
from metagen.solution import LATER
from metagen.trace import Span


def test_a_row_holds_all_but_the_trace() -> None:
    solution = Solution("p", "7", "It is 7.", correct=True, samples=4, notes=("a",), usage=Usage(calls=2), seconds=0.5)
    assert json.loads(json.dumps(solution.row())) == {
        "problem": "p",
        "answer": "7",
        "text": "It is 7.",
        "correct": True,
        "unjudged": False,
        "samples": 4,
        "samples_correct": 0,
        "compared": 0,
        "unanswered": 0,
        "cut": 0,
        "scored": 0,
        "unscored": 0,
        "why_unscored": "",
        "lost": 0,
        "why_lost": "",
        "notes": ["a"],
        "error": "",
        "usage": {"calls": 2},
        "seconds": 0.5,
    }


def test_what_the_answer_was_chosen_among_is_written_where_there_is_something() -> None:
    solution = Solution("p", "7", prompt="?", reference="7", tags={"level": "1"}, answers=("7", None), groups=(0, -1))
    row = solution.row()
    assert {name: row[name] for name in LATER if name in row} == {
        "prompt": "?",
        "reference": "7",
        "tags": {"level": "1"},
        "answers": ("7", None),
        "groups": (0, -1),
    }


def test_what_has_an_error_has_failed() -> None:
    assert Solution("p", None, error="NoCandidate: all were lost").failed
    assert not Solution("p", None).failed


def test_solutions_are_equal_by_what_they_say_not_by_how_they_came_about() -> None:
    assert Solution("p", "7", trace=Span("a")) == Solution("p", "7", trace=Span("b"))
    assert Solution("p", "7") != Solution("p", "7", lost=1)
