from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from metagen import AnyOf, Candidate, Choice, Code, Function, InputError, Maths, Number, Problem
from metagen.answers.protocol import Answers


def test_a_step_is_a_text_or_a_number_of_tokens() -> None:
    problem = Problem("p", "Count.")
    assert problem.stepping("\n") == Problem("p", "Count.", step="\n")
    assert problem.stepping(64).step == 64
    for nonsense in ("", 0, -1, True, None, 1.5):
        with pytest.raises(
            InputError, match=r"^give what ends a step: a text, such as a newline, or a number of tokens"
        ):
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


def test_of_a_list_of_numbers_any_is_right() -> None:
    problem = Problem("1", "?", [7.0, "8", np.int64(9)])  # type: ignore[arg-type]
    assert (problem.answer, problem.answers) == ('["7", "8", "9"]', AnyOf())
    assert Problem("1", "?", (7,)).answer == "7"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "answer", [True, [[7]], [7, True], [], {"x": 7}, float("nan"), float("inf"), Decimal("NaN"), 1j, np.bool_(1)]
)
def test_what_is_neither_text_nor_number_is_no_answer(answer: object) -> None:
    with pytest.raises(InputError, match=r"^problem '1': answer must be a text or a number, not "):
        Problem("1", "?", answer)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (10**400, "1" + "0" * 400),
        (-(10**4000), "-1" + "0" * 4000),
        (Fraction(10**400, 3), f"1{'0' * 400}/3"),
        (Decimal("1E+400"), "1" + "0" * 400),
        (Decimal("1E-400"), "0." + "0" * 399 + "1"),
        (1e300, str(int(1e300))),
        (np.uint64(2**64 - 1), "18446744073709551615"),
    ],
)
def test_numbers_of_any_size_are_answers(answer: object, text: str) -> None:
    assert Problem("1", "?", answer).answer == text  # type: ignore[arg-type]
    assert Problem(answer, "?").id == text  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "answer",
    [
        10**5000,
        Fraction(1, 10**5000),
        Fraction(10**5000, 3),
        Decimal("1E+999999999"),
        Decimal("1E-999999999"),
        Decimal("sNaN"),
        Decimal("-Infinity"),
    ],
    ids=["whole", "small", "large", "power", "fraction", "signalling", "infinite"],
)
def test_but_for_those_that_python_does_not_print(answer: object) -> None:
    with pytest.raises(InputError, match=r"^problem '1': answer must be a text or a number"):
        Problem("1", "?", answer)  # type: ignore[arg-type]


class Move:
    """A kind of answers of one's own, as the documentation has it."""

    asks, form = "End with: My move is X.", None

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        return text or None

    def key(self, answer: str) -> str:
        return answer

    async def equal(self, answer: str, reference: str) -> bool | None:
        return answer == reference


@pytest.mark.parametrize("answers", [Number(), Choice("AB"), Function(str.upper), Move(), Code("python"), Maths()])
def test_every_kind_of_answers_is_taken(answers: Answers) -> None:
    assert Problem("1", "?", answers=answers).answers is answers


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (Number, r"Number is a class: write Number\(\.\.\.\)"),
        (Move, r"Move is a class"),
        ("Number()", r"not 'Number\(\)'"),
        (None, "not None"),
        (str.upper, "not <method"),
        (object(), "not <object"),
    ],
)
def test_what_is_no_kind_of_answers_is_refused(answers: object, said: str) -> None:
    with pytest.raises(InputError, match=rf"^problem '1': answers.*{said}"):
        Problem("1", "?", "7", answers=answers)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=rf"^problem '1': answers.*{said}"):
        Problem("1", "?", tests="assert f()", answers=answers)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("partial", "So", "problem '1': partial must be a Candidate, not 'So'"),
        ("partial", Candidate, "problem '1': partial must be a Candidate, not <class"),
        ("asked", 5, "problem '1': asked must be a text, not 5"),
        ("tags", None, "problem '1': tags must be texts by name, such as {'level': '1'}, not None"),
        ("tags", ["easy"], "problem '1': tags must be texts by name"),
        ("tags", {"hard": True}, "problem '1': tags must be a text or a number, not True"),
        ("step", 0, "give what ends a step: a text, such as a newline, or a number of tokens, not 0"),
        ("step", "", "give what ends a step"),
        ("step", True, "give what ends a step"),
        ("step", 1.5, "give what ends a step"),
    ],
)
def test_the_other_fields_are_checked(field: str, value: object, said: str) -> None:
    with pytest.raises(InputError) as error:
        Problem("1", "?", **{field: value})  # type: ignore[arg-type]
    assert str(error.value).startswith(said)


def test_and_may_be_given() -> None:
    begun = Candidate(("So",), finished=False)
    problem = Problem("1", "?", asked="", partial=begun, step=3, tags={})
    assert (problem.asked, problem.partial, problem.step, problem.tags) == ("", begun, 3, {})


def test_a_tag_that_is_a_number_is_kept_as_text() -> None:
    assert Problem("1", "?", tags={"level": 3}).tags == {"level": "3"}  # type: ignore[dict-item]


def test_ids_and_prompts_are_checked() -> None:
    assert Problem(4, "?").id == "4"  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^a problem's id must be a text or a number, not None$"):
        Problem(None, "?")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^problem 'p': prompt must be a text, not 7$"):
        Problem("p", 7)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [lambda: Problem("What is 3 + 4?"), lambda: Problem("1", " \n")])
def test_a_problem_without_a_question_is_refused(make: Callable[[], Problem]) -> None:
    with pytest.raises(InputError, match=r"has no question: write Problem\(id, question\)"):
        make()


def test_a_conversation_may_end_with_an_empty_turn() -> None:
    turns = [{"role": "system", "content": "Say something."}, {"role": "user", "content": ""}]
    assert Problem("1", messages=turns).prompt == ""
