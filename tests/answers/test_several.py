from dataclasses import dataclass

import pytest

from metagen import (
    AnyOf,
    Candidate,
    InputError,
    MatchesReference,
    Maths,
    Number,
    Problem,
    Scripted,
    Text,
    VerifierError,
    Vote,
    parse_answers,
    solve,
)
from metagen.answers.protocol import Answers, at_once, verdicts
from metagen.answers.several import any_of, references_in


@dataclass(frozen=True)
class Odd:
    """Fails on one reference, and has no verdict on another."""

    asks: str = ""
    form: None = None

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        return text

    def key(self, answer: str) -> str:
        return answer

    async def equal(self, answer: str, reference: str) -> bool | None:
        if reference == "fails":
            raise RuntimeError("odd")
        return None if reference == "open" else answer == reference


@pytest.mark.parametrize(
    ("kind", "references", "answer", "right"),
    [
        (Text(), ["Bell", "A. G. Bell"], "the bell", True),
        (Text(), ["Bell", "A. G. Bell"], "Gray", False),
        (Maths(), ["x+y", "7"], "7.0", True),
        (Maths(), ["7", "(x+1)^2"], "x^2+2x+1", True),
        (Maths(), ["1", "2"], "1, 2", False),
        (Number(), ["1", "2"], "2.0", True),
        (Odd(), ["open", "a"], "a", True),
        (Odd(), ["open", "a"], "b", None),
        (Odd(), ["fails", "a"], "a", True),
        (Text(), ['["a", "b"]'], "a", False),
    ],
)
async def test_what_equals_any_reference_is_right(
    kind: Answers, references: list[str], answer: str, right: bool | None
) -> None:
    kind, reference = any_of(kind, references)
    assert (await verdicts(kind, [answer, None], reference))[0] == {answer: right, None: False}
    assert at_once(kind, [answer], reference)[answer] in (right, None)


async def test_a_comparison_that_fails_is_no_wrong_answer() -> None:
    kind, reference = any_of(Odd(), ["fails", "a"])
    found, failures = await verdicts(kind, ["a", "b"], reference)
    assert found == {"a": True, "b": None}
    assert "odd" in str(failures["b"])
    with pytest.raises(VerifierError, match="odd"):
        await kind.equal("b", reference)


@pytest.mark.parametrize("reference", ["a", '"a"', "[]", "[1]", '["a", 1]', '{"a": 1}', "[" * 10**5])
def test_what_is_no_list_of_texts_is_one_reference(reference: str) -> None:
    assert references_in(reference) == (reference,)


async def test_a_problem_takes_a_list_of_references() -> None:
    problem = Problem("1", "Who?", ["Bell", "A. G. Bell"], answers=Text())  # type: ignore[arg-type]
    assert (problem.answer, problem.answers) == ('["Bell", "A. G. Bell"]', AnyOf(of=Text()))
    assert problem.asking("Who was it?").answers == problem.answers
    assert problem.answers.asks == Text().asks
    assert Problem("1", "1 + 1?", ("2",)) == Problem("1", "1 + 1?", "2")  # type: ignore[arg-type]
    solution = await solve(problem, Vote(3), Scripted(lambda request: ["A G Bell", "Bell", "Bell"][request.draw]))
    assert (solution.answer, solution.correct, solution.verdicts) == ("Bell", True, (True, True, True))


async def test_the_oracle_limits_each_comparison() -> None:
    problem = Problem("1", "?", ["7", "8"])  # type: ignore[arg-type]
    reply = Candidate(("The answer is 9^{9^{9^9}}.",))

    async def strategy(problem: Problem, run: object) -> Candidate:
        return reply

    solution = await solve(problem, strategy, Scripted("?"), grade=MatchesReference(seconds=0.5))
    assert solution.correct is not True


def test_it_is_written_as_it_is_read() -> None:
    assert parse_answers(repr(AnyOf(of=Text()))) == AnyOf(of=Text())
    assert parse_answers("AnyOf()") == AnyOf(of=Maths())
    for wrong in ("AnyOf(of=AnyOf())", "AnyOf(of='x')", "AnyOf(of=Text)"):
        with pytest.raises(InputError):
            parse_answers(wrong)
