import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen.run.telling import settled

MARKS_OR_BLANKS = re.compile(r"(?:\s|<[^<\n]{0,24})*\Z")
"""What is taken off, said in another way: it takes for ever on some texts."""


@given(st.text(alphabet="ab<> \n\t", max_size=12), st.integers(0, 28))
def test_marks_that_may_come_and_blanks_are_waited_for(text: str, length: int) -> None:
    for each in (text, f"{text}<{'x' * length}", f"{text}<{'x' * length} "):
        assert settled(each) == MARKS_OR_BLANKS.sub("", each)


@pytest.mark.parametrize("many", ["<td>1</td> ", "< ", "a < b ", "<\n", "<<"])
def test_a_row_of_marks_is_read_at_once(many: str) -> None:
    assert settled(many * 5000 + "\nSo the answer is 7.") == many * 5000 + "\nSo the answer is 7."
    assert settled("7" + " <" * 5000) == "7"
