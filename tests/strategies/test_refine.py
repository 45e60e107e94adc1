from collections.abc import Sequence

import pytest

from metagen import (
    Candidate,
    Correct,
    Feedback,
    Function,
    InputError,
    Model,
    Problem,
    Reason,
    Refine,
    Run,
    Score,
    Scripted,
    VerifierError,
    Vote,
    Within,
    parse,
    solve,
)
from metagen.prompts import revise
from metagen.strategies.refine import unchanged
from tests.support.scripts import Counting, length, silent

SPECS = [
    "Refine()",
    'Refine(Reason(by=length, threshold=60), by=length, keep="best", rounds=2, threshold=70)',
    "Refine(Intrinsic(), rounds=1)",
    "Refine(Arithmetic())",
    "Refine(objects)",
    "Correct(Model(), rounds=2)",
]
WRAPPERS = ["Refine(of={}, rounds=1)", "Correct(Model(), of={})"]

PROBLEM = Problem("p", "What is 3 + 4?", "7")
BRIEF = Model(max_tokens=20)


def writes(*answers: object) -> Counting:
    """A model that gives these answers, one after the other."""
    replies = iter(answers)
    return Counting(lambda request: f"The answer is {next(replies)}.")


async def above(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
    """A verifier: the number in the answer, divided by ten; none for a zero."""
    numbers = [int(candidate.text.removesuffix(".").split()[-1]) for candidate in candidates]
    return [Score(number / 10, reason=f"{number} is too low") if number else None for number in numbers]


async def below_seven(problem: Problem, candidate: Candidate, run: Run) -> Feedback | None:
    return None if "7" in candidate.text else Feedback("More.")


async def test_a_draft_is_revised_by_what_is_said_about_it() -> None:
    model = writes(5, 6, 7, 8)
    solution = await solve(PROBLEM, Refine(below_seven), model)
    assert solution.answer == "7"
    assert [request.prompt for request in model.requests] == [
        PROBLEM.prompt,
        revise(PROBLEM.prompt, "The answer is 5.", "More."),
        revise(PROBLEM.prompt, "The answer is 6.", "More."),
    ]


async def test_without_feedback_the_model_is_asked_to_check_each_step() -> None:
    model = writes(5, 6, 7, 8, 9)
    assert (await solve(PROBLEM, Refine(rounds=2), model)).answer == "7"
    assert model.requests[1].prompt == revise(PROBLEM.prompt, "The answer is 5.")


async def test_it_stops_when_nothing_changes() -> None:
    model = writes(5, "5.0", 6)
    assert (await solve(PROBLEM, Refine(), model)).text == "The answer is 5."
    assert len(model.requests) == 2


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("So 1 + 1.\nThe answer is 1/2.", "The answer is 0.5.", True),
        ("The answer is 1.", "The answer is 2.", False),
        ("def f(): ...", "def f(): ...", True),
        ("def f(): ...", "def g(): ...", False),
        ("The answer is 1.", "I do not know.", False),
    ],
)
def test_what_counts_as_unchanged(before: str, after: str, same: bool) -> None:
    assert unchanged(Candidate((before,)), Candidate((after,))) is same


async def test_it_stops_when_the_verifier_accepts() -> None:
    model = writes(5, 9, 6)
    assert (await solve(PROBLEM, Refine(by=above, threshold=0.9), model)).answer == "9"
    assert len(model.requests) == 2


async def test_a_draft_that_the_verifier_accepts_is_not_revised() -> None:
    model = writes(9, 5)
    assert (await solve(PROBLEM, Refine(by=above, threshold=0.9), model)).answer == "9"
    assert len(model.requests) == 1


async def test_it_keeps_the_best_or_the_last() -> None:
    for keep, answer in (("best", "6"), ("last", "3")):
        solution = await solve(PROBLEM, Refine(by=above, rounds=3, keep=keep), writes(5, 6, 0, 3))  # type: ignore[arg-type]
        assert solution.answer == answer


async def test_the_reason_of_a_verifier_is_feedback() -> None:
    model = writes(5, 8)
    assert (await solve(PROBLEM, Refine(Reason(by=above, threshold=0.7)), model)).answer == "8"
    assert "Feedback:\nA check of the solution failed:\n> 5 is too low" in model.requests[1].prompt


async def test_a_revision_that_is_lost_leaves_the_version_before() -> None:
    solution = await solve(PROBLEM, Within(tokens=60, of=Refine()), Scripted("The answer is 5.", context=60))
    assert solution.answer == "5"
    assert solution.notes[0].startswith("not revised: BudgetExceeded")


async def test_a_critic_that_fails_leaves_the_version_before() -> None:
    async def fails_later(problem: Problem, candidate: Candidate, run: Run) -> Feedback | None:
        if "6" in candidate.text:
            raise VerifierError("out of order")
        return Feedback("More.")

    solution = await solve(PROBLEM, Refine(fails_later), writes(5, 6, 7))
    assert solution.answer == "6"
    assert solution.notes == ("not revised: VerifierError: out of order",)


async def test_a_draft_that_is_lost_loses_the_sample() -> None:
    solution = await solve(PROBLEM, Refine(), Scripted("x", context=1))
    assert solution.failed


async def test_the_winner_of_a_vote_is_refined_and_refined_answers_vote() -> None:
    model = writes(5, 6, 6, 7, 7, 8)
    assert (await solve(PROBLEM, Refine(of=Vote(3), rounds=1), model)).answer == "7"
    assert [request.n for request in model.requests] == [3, 3]
    model = writes(5, 6, 6, 7, 7, 8)
    assert (await solve(PROBLEM, Vote(3, of=Refine(rounds=1)), model)).answer == "7"
    assert [request.n for request in model.requests] == [3, 1, 1, 1]


async def test_a_corrector_of_its_own_revises() -> None:
    drafts, corrections = writes(5), writes(6, 7, 8)
    models = {"small": drafts, "corrector": corrections}
    solution = await solve(PROBLEM, Correct(Model("corrector"), rounds=2), models)
    assert solution.answer == "7"
    assert len(drafts.requests) == 1
    assert corrections.requests[1].prompt == revise(PROBLEM.prompt, "The answer is 6.")


async def test_a_critic_that_fails_costs_no_sample() -> None:
    async def raises(problem: Problem, candidate: Candidate, run: Run) -> Feedback | None:
        raise ValueError("no")

    solution = await solve(PROBLEM, Vote(2, of=Refine(raises)), writes(7, 7))
    assert (solution.text, solution.lost, solution.why_lost) == ("The answer is 7.", 0, "")
    assert any("not revised: VerifierError" in note for note in solution.notes)


async def test_a_revision_that_the_kind_of_answers_cannot_read_is_a_version_like_any_other() -> None:
    def reads(text: str) -> str | None:
        if "6" in text:
            raise ValueError(text)
        return text

    problem = Problem("p", "What is 3 + 4?", answers=Function(reads))
    solution = await solve(problem, Refine(by=above, keep="best", rounds=2), writes(5, 6, 4))
    assert (solution.text, solution.error, solution.lost) == ("The answer is 6.", "", 0)
    solution = await solve(problem, Refine(rounds=3), writes(5, 6, 6))
    assert (solution.text, solution.lost) == ("The answer is 6.", 0)


async def test_a_corrector_stops_when_nothing_changes_or_nothing_is_said() -> None:
    models = {"small": writes(5), "corrector": writes(5, 6)}
    assert (await solve(PROBLEM, Correct(Model("corrector"), rounds=3), models)).answer == "5"
    models = {"small": writes(5), "corrector": writes(7, 6)}
    correct = Correct(Model("corrector"), feedback=below_seven, rounds=3)
    assert (await solve(PROBLEM, correct, models)).answer == "7"
    assert models["corrector"].requests[0].prompt == revise(PROBLEM.prompt, "The answer is 5.", "More.")


@pytest.mark.parametrize(
    "text",
    [
        'Refine(Arithmetic(), of=Vote(3), by=MeanLogprob(), rounds=2, keep="best", threshold=0.9)',
        'Correct(Model("corrector"), of=CoT(), feedback=Arithmetic(), rounds=2)',
    ],
)
def test_they_print_as_their_spec(text: str) -> None:
    assert repr(parse(text)) == text


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("Refine(rounds=0)", "rounds must be"),
        ('Refine(keep="best")', "needs a verifier"),
        ('Refine(keep="first")', "last or best"),
        ("Refine(CoT())", "is not a critic"),
        ("Refine(Arithmetic)", "is a class"),
        ("Refine(by=CoT())", "is not a verifier"),
        ("Correct(None)", "needs a corrector"),
        ("Correct(Arithmetic())", "is not a strategy"),
    ],
)
def test_nonsense_is_refused(spec: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(spec)


async def test_where_no_version_has_a_verdict_the_first_is_the_best_and_a_note_says_so() -> None:
    problem, said = Problem("p", "?"), "no version has a verdict: the first is returned"
    for by, keep, noted in ((silent, "best", True), (silent, "last", False), (length, "best", False)):
        strategy = Refine(by=by, keep=keep, rounds=2, threshold=999)  # type: ignore[arg-type]
        solution = await solve(problem, strategy, writes(5, 6, 777))
        assert (said in solution.notes) is noted
        assert solution.answer == ("5" if noted else "777")


@pytest.mark.parametrize("strategy", [Refine(of=BRIEF), Correct(BRIEF, of=BRIEF)])
@pytest.mark.parametrize("again", ["Let me look at it once more, step by step.", "<think>\nLet me see. Once more"])
async def test_a_revision_that_breaks_off_replaces_no_answer(strategy: Refine | Correct, again: str) -> None:
    drafts = iter(["The answer is 7."])
    model = Scripted(lambda request: next(drafts, again))
    solution = await solve(PROBLEM, strategy, model)
    assert (solution.answer, solution.notes) == ("7", ("not revised: the revision was cut off before its answer",))


async def test_a_draft_that_broke_off_is_replaced() -> None:
    replies = iter(["Let me look at it, step by step.", "It is still not at its end."])
    solution = await solve(PROBLEM, Refine(of=BRIEF, rounds=1), Scripted(lambda request: next(replies)))
    assert (solution.text, solution.notes) == ("It is still not at i", ())
