import re
from collections.abc import Sequence
from typing import Any

import pytest

from metagen import (
    Arithmetic,
    BestOf,
    Candidate,
    Critic,
    Feedback,
    InputError,
    Intrinsic,
    LowestStep,
    Problem,
    Reason,
    Refine,
    Request,
    Run,
    Score,
    Scripted,
    Solution,
    parse,
    solve,
)
from metagen.verifiers.critics import false_equations

PROBLEM = Problem("p", "What is 3 + 4?")


def gives(score: Score | None) -> "Fixed":
    return Fixed(score)


class Fixed:
    """A verifier with one verdict for all."""

    def __init__(self, score: Score | None) -> None:
        self.score = score

    async def __call__(self, problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        return [self.score] * len(candidates)


async def no_critic(problem: Problem, candidate: Candidate, run: Run) -> Any:
    return "wrong"


async def heard(critic: Critic, text: str, *replies: str) -> tuple[Feedback | None, Solution]:
    """What a critic says about a text; a model that it asks gives the replies."""
    said: list[Feedback | None] = []

    async def listens(problem: Problem, run: Run) -> Candidate:
        said.append(await run.criticise(critic, problem, Candidate((text,))))
        return Candidate((text,))

    replying = iter(replies)
    solution = await solve(PROBLEM, listens, Scripted(lambda request: next(replying)))
    return said[0] if said else None, solution


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("Zoe has 14 + 9 = 24 beads.", [("14 + 9", "24", "23")]),
        ("Zoe has 14 + 9 = 23 beads.", []),
        ("So 2 × (3 + 4) = 15, and 6 ÷ 2 = 3.", [("2 × (3 + 4)", "15", "14")]),
        ("1,000 + 1 = 1,002", [("1,000 + 1", "1,002", "1001")]),
        ("That is $5 + $3 = $9.", [("$5 + $3", "$9", "8")]),
        ("10 / 3 = 3.33", []),
        ("10 / 3 = 3.43", [("10 / 3", "3.43", "10/3")]),
        ("10 / 3 = 3", [("10 / 3", "3", "10/3")]),
        ("6 = 2 + 5", [("6", "2 + 5", "6")]),
        ("2 + 3 = 5 = 6 - 2", [("5", "6 - 2", "5")]),
        ("x + 3 + 4 = 10", []),
        ("2x + 3 = 7", []),
        ("n = 7", []),
        ("20% of 50 + 1 = 11", []),
        ("1 / 0 = 0", []),
        ("no sum", []),
        ("2. Then (3 + 4 = 8), so 1 + 1 = 2, 2 + 2 = 5.", [("3 + 4", "8", "7"), ("2 + 2", "5", "4")]),
        ("-3 + 5 = 3", [("-3 + 5", "3", "2")]),
        (r"2 \cdot 3 + 4 = 10", []),
        (r"\frac{1}{2} \cdot 6 + 1 = 4", []),
        (r"\sqrt{9} 2 + 1 = 7", []),
        ("2 x 3 + 4 = 10", []),
        ("2 times 3 + 4 = 10", []),
        ("sqrt 9 + 1 = 4", []),
        ("f(3 + 4) = 50", []),
        ("3 / 4 = 75%", []),
        (r"3 / 4 = 75\%", []),
        ("So 1/2 = 50 percent", []),
        ("17 / 5 = 3 remainder 2", []),
        ("3 + 4 = 8 (apples)", [("3 + 4", "8", "7")]),
        ("3 + 4 = 8 (since each has 4)", [("3 + 4", "8", "7")]),
        ("17 / 5 = 3, with a remainder of 2", []),
        ("17 / 5 = 3 R2", []),
        ("17 / 5 = 3 r 2", []),
        ("7 / 2 = 3 and 1/2", []),
        ("150 / 60 = 2 hours 30 minutes", []),
        ("150 / 60 = 2 hours and 30 minutes.", []),
        (r"150 / 60 = 2 \text{ hours } 30 \text{ minutes}", []),
        (r"150 / 60 = 2\text{ hours and }30\text{ minutes}", []),
        ("66 / 12 = 5 feet, 6 inches", []),
        ("9 / 2 = 4 dollars and 50 cents", []),
        ("3 + 4 = 8 apples 5 + 2 = 7", [("3 + 4", "8", "7")]),
        ("3 + 4 = 8 and 5 + 2 = 7", [("3 + 4", "8", "7")]),
        ("3 + 4 = 8 in 3 days", [("3 + 4", "8", "7")]),
        ("3 + 4 = 8 apples and 2 pears", [("3 + 4", "8", "7")]),
        ("3 + 4 = 8, hence 8 apples", [("3 + 4", "8", "7")]),
        ("3 + 4 = 8 per 2", [("3 + 4", "8", "7")]),
        ("7 / 2 = 3 (rounded down)", []),
        ("3 + 5 = 1 (mod 7)", []),
        ("30 + 30 = 5 dozen", []),
        ("2 + 4 = 3x", []),
        ("2 + 6 = 2^3", []),
        (r"2 + 4 = 2 \cdot 3", []),
        ("2 + 4 = 2 x 3", []),
        ("1 + 1 = 10_2", []),
        (r"\text{Total} = 3 + 4 = 8 \text{ apples}", [("3 + 4", "8", "7")]),
        (r"3 / 4 = 75 \text{ percent}", []),
        (r"2 \times 17 + 36 = 34 + 36 = 71", [("34 + 36", "71", "70")]),
        ("On Day 2 = 7 + 7 = 14", []),
        ("On Day 2 = 7 + 7 = 15", [("7 + 7", "15", "14")]),
        ("It is $1000 / 12 = $83.33$", []),
        ("2 * 5280 = 10, 560 feet", []),
        ("3 + 4 = 8 = 2x", [("3 + 4", "8", "7")]),
        ("Then \\(3 + 4 = 8\\).", [("3 + 4", "8", "7")]),
        ("\\[ 3 + 4 = 8 \\]", [("3 + 4", "8", "7")]),
        ("Great! 3 + 4 = 8 apples, and 1 + 1 = 3.", [("3 + 4", "8", "7"), ("1 + 1", "3", "2")]),
        ("1. 3 + 4 = 8 remaining rounds", [("3 + 4", "8", "7")]),
        ("1. 3 + 4 = 8 are here", [("3 + 4", "8", "7")]),
        ("⇒ 2*4=9", [("2*4", "9", "8")]),
        ("∴ 2*4=9", [("2*4", "9", "8")]),
        ("So we get ⟹ 2*4=9", [("2*4", "9", "8")]),
        ("a) 2*4=9", [("2*4", "9", "8")]),
        ("(b) 2*4=9", [("2*4", "9", "8")]),
        ("iv) 2*4=9", [("2*4", "9", "8")]),
        ("\\text{so } 2*4=9", [("2*4", "9", "8")]),
        ("\\mathrm{Then, } 2*4=9", [("2*4", "9", "8")]),
        ("That's 2*4=9", [("2*4", "9", "8")]),
        ("That’s 2*4=9", [("2*4", "9", "8")]),
        ("I'm sure it's 2*4=9", [("2*4", "9", "8")]),
        ("Tom's 2*4=9", [("2*4", "9", "8")]),
        ("So $\\Rightarrow 2*4=9", [("2*4", "9", "8")]),
        ("\\implies 2*4=9", [("2*4", "9", "8")]),
        ("\\therefore 2*4=9", [("2*4", "9", "8")]),
        ("\\text{half of } 10 + 2 = 7", []),
        ("\\sin 2*4=9", []),
        ("\\alpha 2*4=9", []),
        ("f(x) 2*4=9", []),
        ("g) + 2*4=9", []),
        ("\\text{x} 2*4=9", []),
    ],
)
def test_each_sum_is_computed_anew(line: str, found: list[tuple[str, str, str]]) -> None:
    assert list(false_equations(line)) == found


def test_a_long_line_takes_no_long_time() -> None:
    assert not list(false_equations("1 + " * 20_000))
    assert not list(false_equations("1=" * 20_000))


async def test_arithmetic_names_the_first_line_that_is_wrong() -> None:
    feedback, solution = await heard(Arithmetic(), "1 + 1 = 2\n\n2 + 2 = 5\n3 + 3 = 7")
    assert feedback == Feedback("Step 2 is wrong.\n2 + 2 is 4, not 5.")
    assert (await heard(Arithmetic(), "1 + 1 = 2\nThe answer is 2."))[0] is None
    (critic,) = solution.trace.children[0].children
    assert (critic.name, critic.feedback) == ("Arithmetic", feedback)


async def test_what_the_model_says_of_itself_is_an_opinion() -> None:
    feedback, solution = await heard(Intrinsic(), "It is 8.", "Step 1 is wrong: 3 + 4 is 7.")
    assert feedback == Feedback("Step 1 is wrong: 3 + 4 is 7.", opinion=True)
    (critic,) = solution.trace.children[0].children
    assert critic.feedback == feedback
    assert (asked := critic.children[0].request)
    assert "It is 8." in asked.prompt
    assert (await heard(Intrinsic(), "It is 7.", "nothing is wrong"))[0] is None
    assert (await heard(Intrinsic(), "It is 7.", " "))[0] is None


async def test_the_reason_of_a_verifier_is_quoted() -> None:
    reason = "NameError: x\nPrevious solution:"
    feedback, _ = await heard(Reason(by=gives(Score(0.0, reason=reason))), "?")
    assert feedback == Feedback("A check of the solution failed:\n> NameError: x\n> Previous solution:")
    opinion, _ = await heard(Reason(by=gives(Score(0.4)), threshold=0.5, opinion=True), "?")
    assert opinion == Feedback("A check of the solution failed.", opinion=True)
    assert (await heard(Reason(by=gives(Score(0.5)), threshold=0.5), "?"))[0] is None


@pytest.mark.parametrize("critic", [Reason(by=gives(None)), LowestStep(by=gives(None))])
async def test_without_a_verdict_there_is_nothing_to_say(critic: Critic) -> None:
    feedback, solution = await heard(critic, "?")
    assert feedback is None
    assert solution.notes == ("there is no verdict, so no feedback",)


async def test_the_lowest_step_is_named() -> None:
    feedback, _ = await heard(LowestStep(by=gives(Score(0.1, (0.9, 0.1, 0.2)))), "a\n\n<b>\nc")
    assert feedback == Feedback("Step 2 is wrong.\n> < b>")
    feedback, _ = await heard(LowestStep(by=gives(Score(0.1, (0.9, 0.1)))), "steps. of another. kind.")
    assert feedback == Feedback("Step 2 is wrong.")
    assert (await heard(LowestStep(by=gives(Score(0.5, (0.9, 0.5)))), "a\nb"))[0] is None


@pytest.mark.parametrize(
    ("critic", "error"),
    [
        (LowestStep(by=gives(Score(0.1))), "scores no steps"),
        (no_critic, r"no_critic gave 'wrong': a critic gives Feedback, or None: write Feedback\('wrong'\)$"),
        (Reason(by=gives(Score(float("nan")))), "a verdict is a Score with a number"),
    ],
)
async def test_a_critic_that_fails_costs_the_sample(critic: Critic, error: str) -> None:
    _, solution = await heard(critic, "a\nb")
    assert solution.error.startswith("VerifierError")
    assert re.search(error, solution.error)


async def test_a_critic_that_raises_is_no_silence() -> None:
    async def broken(problem: Problem, candidate: Candidate, run: Run) -> Feedback | None:
        raise KeyError("x")

    _, solution = await heard(broken, "a")
    assert solution.failed
    assert "broken raised KeyError: 'x'" in solution.error


@pytest.mark.parametrize(
    "text",
    ["Intrinsic(of=CoT())", "Reason(by=Judge(), threshold=0.5, opinion=True)", "LowestStep(by=length)", "Arithmetic()"],
)
def test_critics_print_as_their_spec(text: str) -> None:
    async def length(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        return [Score(1.0) for _ in candidates]

    assert repr(parse(f"Refine({text})", {"length": length})) == f"Refine({text})"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("Refine(Reason(by=None))", "needs a verifier"),
        ("Refine(LowestStep(by=CoT()))", "is not a verifier"),
        ('Refine(Reason(by=Judge(), threshold="a"))', "threshold must be a number"),
        ("Refine(Intrinsic(of=Arithmetic()))", "is not a strategy"),
    ],
)
def test_nonsense_is_refused(spec: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(spec)


async def test_criticism_reads_the_question_as_it_was_asked() -> None:
    seen: list[str] = []

    def knows(request: Request) -> str:
        seen.append(request.prompt)
        return "Nothing is wrong."

    problem = PROBLEM.asking("Sent in its place.")
    await solve(problem, Refine(Intrinsic(), rounds=1), Scripted(knows))
    assert seen[0] == "Sent in its place."
    assert seen[1].startswith(PROBLEM.prompt)


def test_a_critic_is_no_verifier() -> None:
    with pytest.raises(InputError, match=r"BestOf: by=Arithmetic\(\) is a critic, which says what is wrong"):
        parse("BestOf(8, by=Arithmetic())")


class FeedbackScore(float):
    """A score of a user's own, called by a word that critics use."""


async def scores_of_my_own(_problem: Problem, candidates: Sequence[Candidate], _run: Run) -> list[FeedbackScore]:
    return [FeedbackScore(1) for _ in candidates]


async def writes_feedback(_problem: Problem, _candidate: Candidate, _run: Run) -> "Feedback | None":
    return None


async def test_a_verifier_may_return_types_of_any_name() -> None:
    solution = await solve(PROBLEM, BestOf(2, by=scores_of_my_own), Scripted("7"))
    assert solution.text == "7"
    with pytest.raises(InputError, match="by=writes_feedback is a critic"):
        BestOf(2, by=writes_feedback)  # type: ignore[arg-type]
