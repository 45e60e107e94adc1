from math import log

import pytest

from metagen import (
    BestOf,
    Candidate,
    Completion,
    GenerationError,
    InputError,
    Judge,
    Model,
    Pairwise,
    Problem,
    Request,
    Run,
    Score,
    Scripted,
    Verifier,
    parse,
    solve,
)
from metagen.verifiers.judge import graded, matches, preferred

PROBLEM = Problem("p", "What is 1 + 1?", "2")


async def judged(by: Verifier, judge: Scripted, *texts: str) -> list[float | None]:
    found: list[Score | None] = []

    async def strategy(problem: Problem, run: Run) -> Candidate:
        found.extend(await run.score(by, problem, [Candidate((text,)) for text in texts]))
        return Candidate(("done",))

    solution = await solve(PROBLEM, strategy, judge)
    assert not solution.failed, solution.error
    assert solution.usage.completion_tokens == 0, "all that a judge spends is the verifier's"
    assert solution.usage.verifier_tokens == solution.usage.tokens
    return [None if score is None else score.value for score in found]


def says(text: str, **first: float) -> Candidate:
    return Candidate((text,), first=tuple((token, log(chance)) for token, chance in first.items()))


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        (says("Yes", Yes=0.6, No=0.2, Maybe=0.2), 0.75),
        (says("No", Yes=0.25, yes=0.25, No=0.5), 0.5),
        (says("Yes", **{" Yes": 0.5, "**No": 0.5}), 0.5),
        (says("No.", No=0.9), 0.0),
        (says("The answer is no.", The=0.9), 0.0),
        (says("yes"), 1.0),
        (says("**Yes**, there is no slip."), 1.0),
        (says("No. It should be 2: yes, 2."), 0.0),
        (says("1 + 1 = 2. No doubt.\nThe answer is Yes."), 1.0),
        (says("It adds up.\n\nYes\n"), 1.0),
        (says("No step is missing.\n**Yes**"), 1.0),
        (says("Yes\nNo step is missing."), 1.0),
        (says("Yes it is right."), 1.0),
        (says("Yesterday it did."), None),
        (says("It adds up."), None),
        (says(""), None),
        (says("Perhaps", Perhaps=0.9), None),
        (says("The", The=0.6, Yes=0.3, No=0.1), 0.75),
        (says("**", **{"**": 0.6, "Yes": 0.3, "No": 0.1}), 0.75),
        (says("The solution says Yes and No.", The=0.6, Yes=0.3, No=0.1), None),
        (says("No errors found. The solution is correct."), None),
        (says("No mistakes: Yes"), 1.0),
        (says("It is wrong.\n**Verdict:** No."), 0.0),
        (says("No it is not."), 0.0),
        (says("No, there is a slip."), 0.0),
        (says("Yes, the solution is correct.\nErrors found: No"), 1.0),
        (says("No, step 2 is wrong.\nIs step 1 correct: yes"), 0.0),
        (says("No step 2 is wrong"), 0.0),
        (says("No Step 2 is wrong"), 0.0),
        (says("No after the sign flips it fails"), 0.0),
        (says("No 3*4 is 12 and not 13"), 0.0),
        (says("No step is wrong."), None),
        (says("No Errors found."), None),
        (says("NO ERRORS"), None),
        (says("No wrong step is left."), None),
        (says("No unfortunately, the sum is wrong."), 0.0),
        (says("No in step 2 the sum is wrong"), 0.0),
        (says("Yes, it is right.\nVerdict: No"), None),
        (says("It is right.\nErrors found: No"), None),
        (says("It adds up. My final verdict: **yes**"), 1.0),
        (says("Verdict: Yes\nErrors: No"), None),
        (says("Yes, except that the final answer is wrong, so no."), 0.0),
        (says("Yes? No."), None),
        (says("Is it correct? Yes."), 1.0),
        (says("Is there an error? No."), None),
        (says("Yes.\nIs there any error? No."), 1.0),
        (says("Yes, but the final answer is wrong."), None),
        (says("Yes, although it is long, the answer is right."), 1.0),
        (says("Yes. Wait, no: it is wrong.", Yes=0.9, No=0.1), None),
        (says("Yes... actually no."), None),
        (says("Yes, it's not correct."), None),
        (says("Yes, that is wrong."), None),
        (says("Yes and no."), None),
        (says("Yes. Actually no step is missing."), 1.0),
        (says("Yes, it is not long, and right."), 1.0),
        (says("Yes\n\nBut the final answer is wrong.\nVerdict: No"), None),
        (says("No mistakes here, so yes."), 1.0),
    ],
)
def test_how_a_reply_is_read(reply: Candidate, value: float | None) -> None:
    assert preferred(reply, "yes", "no") == (None if value is None else pytest.approx(value))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A quick check shows that the second is right.\nB", 0.0),
        ("A quick check shows that the second is right.", None),
        ("It depends.\nA bit.", None),
        ("A", 1.0),
        ("**A**: it is right.", 1.0),
        ("A is better.", 1.0),
        ("A has the correct answer.", 1.0),
        ("A wins.", 1.0),
        ("A gives the right result.", 1.0),
        ("A clearly fails.", None),
        ("A clearly holds.", 1.0),
        ("A\n\nB has a slip.", 1.0),
        ("Solution 1 errs.\nB is better.", 0.0),
        ("A is better.\nRunner-up: B", 1.0),
        ("B is better. The one with the slip: A", 0.0),
        ("A. The solution with the slip is: B", 1.0),
        ("Better: A\nWorse: B", None),
        ("Winner: A\nLoser: B", None),
        ("Solution A is better than solution: B", 1.0),
        ("Both are close.\nThe better one: B", 0.0),
        ("Both are close.\nNot the winner: A", None),
        ("Worse: A", None),
        ("A is tempting.\nWinner: B", None),
    ],
)
def test_an_article_is_no_verdict(text: str, value: float | None) -> None:
    assert preferred(says(text), "a", "b") == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A is incorrect because it adds instead of multiplying, while B is correct.", 0.0),
        ("A is wrong. B is right.", 0.0),
        ("A is wrong.\nB is right.", 0.0),
        ("A: incorrect. B: correct.", 0.0),
        ("A makes a mistake in step 2, so B is better.", 0.0),
        ("A is correct, but B is better.", 0.0),
        ("A is correct and B is correct.", None),
        ("A contains an error.", None),
        ("A is worse than B", None),
        ("A is not better.", None),
        ("A has no errors.", 1.0),
        ("A avoids the mistake of B.", 1.0),
        ("A is better than B because B errs.", 1.0),
        ("A is better at first sight.\nIn the end B is better.", 0.0),
        ("A is complete, so B", None),
        ("I do not think that B is better.", None),
        ("It is not true that A is better.", None),
        ("It is hard to say whether solution B is correct.", None),
        ("The vertices are A, B", None),
        ("A is flawless.", 1.0),
        ("B\n\nSolution A is right up to step 2.", 0.0),
        ("**A**. Both reach 5, and B is right too.", 1.0),
        ("A\n\nB is right.", None),
        ("A forgets the carry. B is correct.", None),
        ("A misses nothing.", 1.0),
        ("Neither A nor B is correct.", None),
        ("A is correct; B is better explained.", 1.0),
        ("B is as good as A", None),
        ("A is just as good as B.", None),
        ("A is the same as B", None),
        ("A is better. B is as good as nothing", 1.0),
    ],
)
def test_a_letter_that_is_called_wrong_is_not_the_verdict(text: str, value: float | None) -> None:
    assert preferred(says(text), "a", "b") == value


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        (says("Let me check. 3 + 4 is not 8.\nVerdict: No", Let=0.95, Yes=0.001), 0.0),
        (says("Let me check.", Let=0.95, Yes=0.001), None),
        (says("It fails.\nVerdict: No", It=0.3, Yes=0.6), 0.0),
        (says("It holds.\nVerdict: Yes", It=0.2, Yes=0.6, No=0.2), 0.75),
        (says("Maybe", Maybe=0.4, Yes=0.3, No=0.3), 0.5),
        (says("No errors found", No=0.9, Yes=0.1), None),
        (says("Yes, it is right.\nVerdict: No", Yes=0.9), None),
        (Candidate(("No",), thoughts=("Yes",), first=(("Yes", log(0.9)),)), 0.0),
    ],
)
def test_words_outrank_chances_that_contradict_them_or_weigh_little(reply: Candidate, value: float | None) -> None:
    assert preferred(reply, "yes", "no") == (None if value is None else pytest.approx(value))


@pytest.mark.parametrize("text", ["!", "_", ", ", ": ", "so ", "A ", "A is ", "A is better ", "a", "yes but "])
def test_a_long_row_of_anything_is_read_at_once(text: str) -> None:
    """100,000 characters: what is quadratic would not end."""
    row = text * (100_000 // len(text))
    assert preferred(says(row), "yes", "no") in {0.0, 1.0, None}
    assert {preferred(says(start + row), "a", "b") for start in ("", "A is ")} <= {0.0, 1.0, None}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The grade is 7.", 0.7),
        ("It is fine.\nThe answer is 8.", 0.8),
        ("It is fine, so \\boxed{8}", 0.8),
        ("The grade is \\boxed{8}.", 0.8),
        ("I give it a grade, and the grade is an 8.", 0.8),
        ("The answer is 12.", None),
        ("8\n\nThe answer is 7, which is right.", 0.8),
        ("It is right, the answer is 7.\n**8**", 0.8),
        ("Grade: 6. To score a 10, it must be complete.", 0.6),
        ("7", 0.7),
        ("7/10", 0.7),
        ("Grade: 3. No, better: the grade is **8.5**", 0.85),
        ("score 10", 1.0),
        ("The grade is 11.", None),
        ("Grade (0-10): 8", 0.8),
        ("Score from 0 to 10: 6", 0.6),
        ("**Grade**: 9/10", 0.9),
        ("1. First step right.\n2. Second step wrong.\nSo 4 out of 10.", 0.4),
        ("2. The second step is wrong, 3 of 5 are right. Rating: 4/5", 0.8),
        ("It is clear.\n\n**8**", 0.8),
        ("8\n\nAll 3 steps are right.", 0.8),
        ("1. First step right.\n2. Second step right.", None),
        ("3 out of 4 steps are right.", None),
        ("The score depends on 3 things.", None),
        ("Grade: 80%", None),
        ("Grade: 7-8", None),
        ("It has 7 lines.", None),
        ("", None),
        ("Grade: 8 (from a possible grade of 10)", 0.8),
        ("The grade is 10. (A grade of 0 would be for nonsense)", 1.0),
        ("The maximum grade is 10. I give it a grade of 7.", 0.7),
        ("A grade of 3, no: a grade of 4", 0.4),
        ("Grade: -3", None),
        ("-3", None),
        ("Grade - 8", 0.8),
        ("Minus 13/10: −13/10", None),
        ("7-8/10", None),
        ("The grade is 1e1", None),
        ("The grade is 8,5", None),
        ("The grade is .5", None),
        ("A full solution's grade is 10. I give this a grade of 4.", 0.4),
        ("The rubric: score = 10 for a complete proof. This deserves a score of 2.", 0.2),
        ("Correctness score: 5\nClarity score: 5\nOverall I award a score of 9", 0.9),
        ("The grade is 5. A grade of 9 would need a proof.", 0.5),
        ("The grade is 5. I would not give it a grade of 9.", 0.5),
        ("It is not worth a grade of 9.", None),
        ("The grade is 5, not a score of 9.", 0.5),
        ("The grade would be 8.", 0.8),
        ("The full solution's grade is 10. It is not complete so I would give it a grade of 7.5 for the idea.", 0.75),
        ("The best grade: 10. My grade would be 4.", 0.4),
        ("The grade is 5. A score of 9 could stand only with a proof.", 0.5),
    ],
)
def test_how_a_grade_is_read(text: str, value: float | None) -> None:
    assert graded(says(text), 10) == value


async def test_a_judge_gives_the_probability_of_yes() -> None:
    chances = {"It is 2.": 0.8, "It is 3.": 0.4}

    def judge(request: Request) -> Completion:
        chance = next(chance for text, chance in chances.items() if text in request.prompt)
        return Completion("Yes", first=(("Yes", log(chance)), ("No", log(0.2))))

    by = Judge(of=Model(top_logprobs=20, max_tokens=1))
    assert await judged(by, Scripted(judge), *chances) == pytest.approx([0.8, 2 / 3])


async def test_a_judge_is_asked_about_the_question_and_never_sees_the_reference() -> None:
    seen: list[Request] = []

    def judge(request: Request) -> str:
        seen.append(request)
        return "Yes"

    assert await judged(Judge(n=2), Scripted(judge), "It is 3.") == [1.0]
    (prompt,) = {request.prompt for request in seen}
    assert prompt == "Question:\nWhat is 1 + 1?\n\nSolution:\nIt is 3.\n\nIs the solution correct? Answer Yes or No."
    assert [request.draw for request in seen] == [0, 1]
    with pytest.raises(InputError, match="has no reference answer"):
        await judged(Judge(of=parse("BestOf(2, by=MatchesReference())")), Scripted("Yes"), "It is 3.")


async def test_the_mean_is_over_the_replies_that_can_be_read() -> None:
    def judge(request: Request) -> str:
        if request.draw == 1:
            raise GenerationError("lost")
        return ["Yes", "", "Hm", "No"][request.draw]

    class OneByOne:
        """A generator that is asked for its samples one by one, so that one can be lost."""

        async def __call__(self, problem: Problem, run: Run) -> Candidate:
            return await run.ask(None, problem)

    assert await judged(Judge(of=OneByOne(), n=4), Scripted(judge), "x") == [0.5]
    assert await judged(Judge(of=OneByOne(), n=1), Scripted("Hm"), "x") == [None]


async def test_grades_are_shares_and_a_lost_reply_is_no_verdict() -> None:
    def judge(request: Request) -> str:
        if "slip" in request.prompt:
            raise GenerationError("lost")
        return "The grade is 4." if "good" in request.prompt else "I cannot say."

    assert await judged(Judge(grades=5), Scripted(judge), "good", "slip", "odd") == [0.8, None, None]


async def test_a_thought_before_a_grade_asks_for_the_grade_alone() -> None:
    seen: list[str] = []

    def judge(request: Request) -> str:
        seen.append(request.prompt)
        return f"The grade is {[4, 2, 4][request.draw]}."

    assert await judged(Judge(of=parse("Vote(3, of=CoT())"), grades=5), Scripted(judge), "x") == [0.8]
    assert all(prompt.endswith("End with: The grade is N.\n\nLet's think step by step.") for prompt in seen)


async def test_a_judge_that_favours_a_place_decides_nothing() -> None:
    assert await judged(Pairwise(), Scripted("A"), "x", "y", "z") == [0.5, 0.5, 0.5]
    assert await judged(Pairwise(), Scripted("Neither"), "x", "y") == [None, None]
    assert await judged(Pairwise(), Scripted("A"), "x") == [None]


async def test_a_candidate_that_is_judged_alone_is_said_to_be() -> None:
    solution = await solve("?", parse("Until(Pairwise(), limit=2)"), Scripted("A"))
    assert "Pairwise compares candidates and was given only one" in solution.why_unscored


async def test_all_meet_all_in_both_orders() -> None:
    seen: list[str] = []

    def judge(request: Request) -> str:
        _, first, second = request.prompt.split("Solution ")[0:3]
        lengths = [len(part.splitlines()[1]) for part in (first, second)]
        seen.append(f"{lengths[0]} {lengths[1]}")
        return "A" if lengths[0] > lengths[1] else "B"

    assert await judged(Pairwise(), Scripted(judge), "x", "xxx", "xx") == [0.0, 1.0, 0.5]
    assert sorted(seen) == ["1 2", "1 3", "2 1", "2 3", "3 1", "3 2"]


def test_what_cannot_be_read_is_no_match() -> None:
    won = {(0, 1): 0.9, (1, 0): None, (0, 2): None, (2, 0): 0.3, (1, 2): 1.0, (2, 1): 0.0}
    assert [matches(won, number) for number in range(3)] == [
        [0.9, None, None, 0.7],
        [None, 1.0, pytest.approx(0.1), 1.0],
        [0.3, 0.0, None, 0.0],
    ]


async def test_a_weaker_model_judges_the_run_of_another() -> None:
    models = {
        "large": Scripted(lambda request: f"The answer is {request.draw}."),
        "judge": Scripted(lambda request: "Yes" if "is 2." in request.prompt else "No"),
    }
    strategy = parse("BestOf(4, by=Judge(of=Model('judge')))")
    assert repr(strategy) == 'BestOf(4, by=Judge(of=Model("judge")))'
    assert strategy == BestOf(4, by=Judge(of=Model("judge")))
    assert (await solve(PROBLEM, strategy, models)).answer == "2"


@pytest.mark.parametrize("spec", ["Judge(n=0)", "Judge(grades=-1)", "Judge(of=3)", "Pairwise(of=Judge())"])
def test_nonsense_is_refused(spec: str) -> None:
    with pytest.raises(InputError, match=r"(must be a whole number|is not a strategy)"):
        parse(f"BestOf(2, by={spec})")
