from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from metagen import Candidate, InputError, Problem


def test_a_step_is_a_text_or_a_number_of_tokens() -> None:
    problem = Problem("p", "Count.")
    assert problem.stepping("\n") == Problem("p", "Count.", step="\n")
    assert problem.stepping(64).step == 64
    for nonsense in ("", 0, -1, True, None, 1.5):
        with pytest.raises(InputError, match=r"^a step ends with a text, such as a newline, or after so many tokens"):
            problem.stepping(nonsense)  # type: ignore[arg-type]


def test_what_is_sent_may_change_and_the_question_stays() -> None:
    begun = Problem("p", "x?", "7").continuing(Candidate(("Well, ",), finished=False))
    assert begun.text == "x?"
    assert begun.partial == Candidate(("Well, ",), finished=False)
    other = begun.asking("y?")
    assert (other.prompt, other.text, other.partial, other.answer) == ("x?", "y?", None, "7")
    assert other.asking("").text == ""


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (7, "7"),
        (-7.0, "-7"),
        (0.5, "0.5"),
        (1e-7, "0.0000001"),
        (Decimal("1E+2"), "100"),
        (Decimal("0.10"), "0.10"),
        (Fraction(7, 2), "7/2"),
        (Fraction(8, 2), "4"),
        (np.int64(3), "3"),
        (np.float32(0.1), "0.1"),
        (np.float64(2.0), "2"),
        ("7.0", "7.0"),
        (None, None),
    ],
)
def test_a_number_as_the_answer_is_kept_as_text(answer: object, text: str | None) -> None:
    assert Problem("1", "?", answer).answer == text  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", [True, [7], {"x": 7}, float("nan"), float("inf"), Decimal("NaN"), 1j, np.bool_(1)])
def test_what_is_neither_text_nor_number_is_no_answer(answer: object) -> None:
    with pytest.raises(InputError, match=r"^problem '1': answer must be a text or a number, not "):
        Problem("1", "?", answer)  # type: ignore[arg-type]


def test_ids_and_prompts_are_checked() -> None:
    assert Problem(4, "?").id == "4"  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^a problem's id must be a text or a number, not None$"):
        Problem(None, "?")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^problem 'p': prompt must be a text, not 7$"):
        Problem("p", 7)  # type: ignore[arg-type]
