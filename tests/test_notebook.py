import numpy as np
import pytest

from metagen import Solution
from metagen.analysis.curve import Curve
from metagen.analysis.sheet import Sheet
from metagen.notebook import html_table, html_tree
from metagen.trace import SHOWN, Span, Written
from tests.support.injections import PAGE_INJECTIONS


@pytest.mark.parametrize("shown", [
    Solution("p", "7", "It is 7.", True, reference="7", answers=("7", "8", "7", None))._repr_html_(),
    Curve("majority", (1, 2), np.array([[0.5, 1.0], [0.0, 1.0]]), np.zeros((2, 2)))._repr_html_(),
    Sheet("Accuracy", ("k", "right"), (("1", "25.0%"),))._repr_html_(),
])  # fmt: skip
def test_a_notebook_shows_a_table(shown: str) -> None:
    assert shown.startswith("<table><caption>")
    assert any(value in shown for value in ("7: 2, 8: 1", ">25.0%<"))


def test_nothing_that_a_model_wrote_becomes_markup() -> None:
    plain = html_table("x", ("x",), [("x", "x")])
    for text in PAGE_INJECTIONS:
        table = html_table(text, (text,), [(text, text)])
        assert table.count("<") == plain.count("<")
        assert table.count(">") == plain.count(">")
        assert Solution(text, text, text, notes=(text,), error=text)._repr_html_().count("<script") == 0


def test_answers_that_vote_together_are_counted_together() -> None:
    shown = Solution("1", "7", "", answers=("7", None, "8", "7.0"), groups=(0, -1, 1, 0))._repr_html_()
    assert ">7: 2, 8: 1, no answer: 1<" in shown


def test_equal_notes_are_shown_once() -> None:
    assert ">cut (2 times)\nodd<" in Solution("1", None, "", notes=("cut", "odd", "cut"))._repr_html_()


def test_a_trace_shows_itself_as_a_tree() -> None:
    drawn = Span("Model", (0, 0), status="ok", completions=[Written("It is 7.", 4)])
    judged = Span("ProcessReward", (0, 1), status="ok", verdicts=[0.5, None])
    shown = Span("solve", children=[Span("Vote", (0,), status="ok", children=[drawn, judged])])._repr_html_()
    assert shown.count("<details") == shown.count("</details>") == 4
    assert shown.startswith("<details open><summary>solve: open, 0 tokens, 0.00 s</summary>")
    assert "It is 7." in shown
    assert "verdicts: 0.5, none" in shown
    many = Span("solve", children=[Span("Model", (place,)) for place in range(SHOWN + 1)])._repr_html_()
    assert many.count("<summary>") == SHOWN + 1
    assert f"the first {SHOWN} of {SHOWN + 1} parts" in many


def test_nothing_in_a_trace_becomes_markup() -> None:
    plain = html_tree("x", ["x"], [])
    for text in PAGE_INJECTIONS:
        assert html_tree(text, [text], []).count("<") == plain.count("<")
