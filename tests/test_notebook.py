import numpy as np
import pytest

from metagen import Solution
from metagen.analysis.curve import Curve
from metagen.analysis.sheet import Sheet
from metagen.notebook import html_table
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
