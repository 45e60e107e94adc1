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
