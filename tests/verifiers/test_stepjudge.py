from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import (
    Beam,
    BestOf,
    InputError,
    Model,
    Problem,
    ProcessReward,
    Python,
    Request,
    Run,
    Scripted,
    ScriptedReward,
    StepJudge,
    ToolRefusal,
    Vote,
    parse,
    solve,
)
from metagen.analysis.processbench import Case, step_scores
from metagen.settings import WAITING
from metagen.verifiers.stepjudge import step_verdicts

PROBLEM = Problem("p", "What is 3 + 4?", "7")


@pytest.mark.parametrize(
    ("reply", "verdicts"),
    [
        ("Step 1: correct\nStep 2: correct\nStep 3: correct", (1.0, 1.0, 1.0)),
        ("Step 1: correct\nStep 2: incorrect\nStep 3: correct", (1.0, 0.0, 1.0)),
        ("Step 1: The sum is \\boxed{correct}\n**Step 2**: \\boxed{\\text{incorrect}}", (1.0, 0.0, 0.0)),
        ("step 1 is right. \nStep 2 is wrong.", (1.0, 0.0, 0.0)),
        ("Step 1 - not correct", (0.0, 0.0, 0.0)),
        ("Step 1: not wrong\nStep 2: valid\nStep 3: invalid", (1.0, 1.0, 0.0)),
        ("Step 1: incorrect? No: Step 1: correct\nStep 2: correct\nStep 3: correct", (1.0, 1.0, 1.0)),
        ("Step 1: correct\nStep 3: correct", None),
        ("Step 1: correct\nStep 2: correct", None),
        ("All is correct.", None),
        ("", None),
        ("Step 1: correctly done\nStep 2: correct\nStep 3: correct", None),
        ("Step 1 isn't correct", (0.0, 0.0, 0.0)),
        ("Step 1 isn’t wrong\nStep 2: never wrong\nStep 3: nothing is wrong", (1.0, 1.0, 1.0)),
        ("Step 1: not entirely correct", (0.0, 0.0, 0.0)),
        ("Step 1: can't be correct", (0.0, 0.0, 0.0)),
        ("Step 1: no longer valid", (0.0, 0.0, 0.0)),
        ("Step 1: not only correct but short\nStep 2: correct\nStep 3: correct", (1.0, 1.0, 1.0)),
        ("Step 1: correct? No. Incorrect", (0.0, 0.0, 0.0)),
        ("Step 1: correct? No.\nStep 2: correct\nStep 3: correct", None),
        ("Step 1: It is true that 2 + 2 = 4, but the conclusion is wrong", (0.0, 0.0, 0.0)),
        ("Step 1: The right side is not valid; incorrect", (0.0, 0.0, 0.0)),
        ("Step 1: wrong, the correct sum is right there", (0.0, 0.0, 0.0)),
        ("Step 1: incorrect. The right answer is 5.", (0.0, 0.0, 0.0)),
        ("Step 1: The sum is wrong, as the correct value is 5.", (0.0, 0.0, 0.0)),
        ("Step 1: wrong sign", (0.0, 0.0, 0.0)),
        ("Step 1: The right side is 5.\nStep 2: correct\nStep 3: correct", None),
        ("Step 1: no, this is partially correct\nStep 2: correct\nStep 3: correct", None),
        ("Step 1: not sure whether correct\nStep 2: correct\nStep 3: correct", None),
        ("Step 1: not entirely wrong\nStep 2: correct\nStep 3: correct", None),
        ("Step 1: correct\nStep 2: correct\nStep 3: it follows from step 2, so it is correct", (1.0, 1.0, 1.0)),
        ("Step 1: correct, Step 2: incorrect, Step 3: correct", (1.0, 0.0, 1.0)),
        ("Step 1: correct\nStep 2: correct\nStep 3: wrong, since step 2 is wrong", (1.0, 0.0, 0.0)),
    ],
)
def test_verdicts_are_read_by_their_steps(reply: str, verdicts: Sequence[float] | None) -> None:
    assert step_verdicts(reply, 3) == verdicts


@pytest.mark.parametrize(
    ("reply", "verdicts"),
    [
        ("Step 1 gives 4, which is correct. Step 2 gives 7, which is incorrect.", (1.0, 0.0)),
        ("Step 1 appears to be correct. Step 2 appears to be incorrect.", (1.0, 0.0)),
        ("Step 1's claim is correct. Step 2's claim is incorrect.", (1.0, 0.0)),
        ("Step 1 looks fine and correct. Step 2 contains an error and is incorrect.", (1.0, 0.0)),
        (
            "1. Step 1 sets x, which is correct.\n2. Step 2 is wrong: it contradicts step 1, which is correct.",
            (1.0, 0.0),
        ),
        ("step 1 correct, step 2 incorrect", (1.0, 0.0)),
        ("Step 1 (correct), Step 2 (incorrect)", (1.0, 0.0)),
        ("| Step 1 | correct | Step 2 | incorrect |", (1.0, 0.0)),
        ("Step 1 \\boxed{correct} Step 2 \\boxed{incorrect}", (1.0, 0.0)),
        ("Step 1 → correct, Step 2 → incorrect", (1.0, 0.0)),
        ("Step 1: correct\nStep 2: the rounding is correct to two decimals.", (1.0, 1.0)),
        ("Step 1: correct\nStep 2: The substitution is correct at this point.", (1.0, 1.0)),
        ("Step 1: correct\nStep 2: The claim is true when x=2.", (1.0, 1.0)),
        ("Step 1: correct\nStep 2: The division leads to a wrong result.", (1.0, 0.0)),
        ("Step 1: correct\nStep 2: Uses the wrong formula.", (1.0, 0.0)),
        ("Step 1: correct\nStep 2: The sum is incorrect in its arithmetic.", (1.0, 0.0)),
        ("Step 2 is wrong.\nStep 1: correct. In my view step 2 contains no error and is correct.", (1.0, 0.0)),
        ("Step 1: correct\nStep 2: it uses step 1 and is correct.", (1.0, 1.0)),
        ("Step 1: correct\nStep 2: It uses step 1: that is wrong.", (1.0, 0.0)),
        ("Step 1: correct\nStep 2: contradicts step 1 — incorrect.", (1.0, 0.0)),
        ("Step 1: correct\nStep 2: It follows from step 1. Correct.", (1.0, 1.0)),
        ("Step 1: correct\nStep 2: wrong, if step 1 is correct", (1.0, 0.0)),
        ("Step 1: incorrect\nStep 2: wrong, whether step 1 is correct or not", (0.0, 0.0)),
        ("Step 1: correct\nStep 2: uses the value from step 1, which is correct, but the sum is incorrect", (1.0, 0.0)),
        ("Step 1: correct\nStep 2: the value of step 1 is wrong", None),
        ("Step 1 is correct; in my view step 2 contains an error and is incorrect.", (1.0, 0.0)),
        ("Step 1: correct\nStep 2: uses the correct step 1 result", None),
        ("Step 1: correct\nStep 2: is correct only if x > 0", (1.0, 1.0)),
        ("Step 1: correct\nStep 2: The sum is correct if x > 0", None),
        ("Step 1: correct\nStep 2: This avoids the wrong sign.", None),
        ("Step 1: correct\nStep 2: There is no wrong sign.", None),
        ("Step 1: correct\nStep 2: The right formula is used.", None),
        ("Step 1: correct Step 2: The sum is wrong", (1.0, 0.0)),
        ("Step 1: correct\nStep 2: The sum isn't correct to two decimals", (1.0, 0.0)),
        ("Step 1: correct\nStep 2: As step 1 is correct, it is wrong to divide here", (1.0, 0.0)),
        ("Step 1 is correct, but in step 2 the sum is wrong", (1.0, 0.0)),
        ("Step 1: The sum is correct, but in step 2 the product is wrong", None),
        ("Step 1: correct, Step 2: incorrect. It contradicts step 1, which is correct.", (1.0, 0.0)),
        ("Step 1 is correct. As for step 2, it is wrong.", (1.0, 0.0)),
        ("Step 1 is correct and Step 2 is incorrect.", (1.0, 0.0)),
        ("Step 1 is correct while step 2 isn't correct.", (1.0, 0.0)),
        ("Step 1 is correct, whereas step 2 makes a slip and is incorrect.", (1.0, 0.0)),
        ("Step 1: correct\nStep 2: Using step 1, we get 5, which is incorrect.", (1.0, 0.0)),
        ("Step 1: correct\nStep 2: Using step 1 we get 5, which is incorrect.", (1.0, 0.0)),
        ("Step 1: correct\nStep 2: Unlike step 1, wrong.", (1.0, 0.0)),
        ("Step 1: correct\nStep 2: contradicts step 1's result; incorrect", (1.0, 0.0)),
        ("Step 1: correct\nStep 2: (see step 1) incorrect", (1.0, 0.0)),
        ("Step 1: correct\nStep 2: follows from step 1 (correct)", None),
        ("Step 1: incorrect\nStep 2: since step 1 is wrong, this is wrong too", (0.0, 0.0)),
        ("Step 1: correct\nStep 2: since step 1 is correct, this is correct too", (1.0, 1.0)),
        ("Step 1: correct\nStep 2: correct, since step 1 is correct", (1.0, 1.0)),
        ("Step 1: correct\nStep 2: this is correct because step 1 is correct", (1.0, 1.0)),
        ("Step 1: The sum is correct.\nStep 2: The sum is correct as in step 1. But the sign is wrong.", (1.0, 0.0)),
        ("Step 1: correct\nStep 2: Adding step 1's 4 gives 7. Correct.", (1.0, 1.0)),
        ("Step 1: correct\nStep 2: Since step 1 gave 4, adding 3 gives 7. Correct.", (1.0, 1.0)),
        ("Step 1: correct\nStep 2: The 4 that step 1 gives is used here, correct.", (1.0, 1.0)),
        ("Step 1: correct\nStep 2: Substituting step 1 into step 2 gives 7, correct.", (1.0, 1.0)),
        ("Step 1: correct\nStep 2: combines step 1 and step 2, so it is incorrect.", (1.0, 0.0)),
        ("Step 1: the answer is right, and so step 2: incorrect", (1.0, 0.0)),
        ("Step 1: We add. The sum is right. Step 2: We subtract. The difference is wrong.", (1.0, 0.0)),
        ("Step 1: correct. Step 2 repeats step 1, so it is correct.", (1.0, 1.0)),
        ("Step 1 is correct. Step 2 follows directly from step 1 and is correct.", (1.0, 1.0)),
        ("- Step 1: correct\n- Step 2 (which uses step 1): incorrect", (1.0, 0.0)),
        ("Step 1: Correct\nStep 2: Using the result from step 1 (x = 4), we compute 7. Incorrect", (1.0, 0.0)),
        ("Step 1: Correct\nStep 2: Based on step 1, this is correct.", (1.0, 1.0)),
        ("Step 1: Correct\nStep 2: In step 1 we found 4, so this is incorrect.", (1.0, 0.0)),
        ("Step 1: Correct\nStep 2: We add. In step 1 we found 4, so this is incorrect.", (1.0, 0.0)),
        ("Step 1: Correct\nStep 2: Correct. It is consistent with step 1.", (1.0, 1.0)),
        ("Step 1: Correct\nStep 2: this step uses the equation in step 1 correctly. Verdict: correct", (1.0, 1.0)),
        ("Step 1: Correct\nStep 2: The step is incorrect. Step 1 gives 4, not 5, which is correct.", (1.0, 0.0)),
        ("Step 1: Correct\nStep 2: The step copies the wrong number from step 1.", (1.0, 0.0)),
        ("Step 1: Correct\nStep 2: From step 1: x = 4, so it is incorrect.", (1.0, 0.0)),
        ("Step 1: Correct\nStep 2: Step 1 says x = 4, so this is incorrect.", (1.0, 0.0)),
        ("Step 1: Correct\nStep 2: This does not follow. Step 1 says x = 4, so this is incorrect.", (1.0, 0.0)),
        ("Step 1: Correct\nStep 2: The sum is correct, but step 1 gave 4, so this is incorrect.", (1.0, 0.0)),
        ("Step 1: Correct\nStep 2: The sum is wrong, as step 1 gave 4, which is correct.", (1.0, 0.0)),
        ("Step 1: We add, which is fine. Step 2 contains an error and is incorrect.", None),
        ("Step 2: wrong. Step 1: correct", (1.0, 0.0)),
        ("Step 1: Correct\nStep 2: uses step 1's result; it is incorrect", (1.0, 0.0)),
        ("I checked step 1 and it is correct. I checked step 2 and it is wrong.", (1.0, 0.0)),
        ("Looking at step 1, the sum is correct. Moving on to step 2, the sum is wrong.", (1.0, 0.0)),
        ("After checking step 1, I find it correct. After checking step 2, I find it wrong.", (1.0, 0.0)),
        ("For step 1, correct. For step 2, incorrect.", (1.0, 0.0)),
        ("In step 1, the setup is correct. In step 2, the sign is wrong.", (1.0, 0.0)),
        ("The setup in step 1 is correct. The sum in step 2 is wrong.", (1.0, 0.0)),
        ("Step 1: correct\nStep 2: Since step 1 is wrong, this is wrong", (1.0, 0.0)),
        ("Step 1: correct\nStep 2: Since step 1 is correct, this is correct", (1.0, 1.0)),
        ("Step 1: correct\nStep 2: Although step 1 is correct, this step is wrong.", (1.0, 0.0)),
        ("Step 1: correct\nStep 2: It uses that step 1 is correct. It is wrong.", (1.0, 0.0)),
        ("Step 1: correct\nStep 2: I don't think this is correct", (1.0, 0.0)),
        ("Step 1: correct\nStep 2: We cannot say that this is correct.", (1.0, 0.0)),
        ("Step 1: This is a correct application of the theorem.\nStep 2: an incorrect application of it.", (1.0, 0.0)),
        ("Step 1: a correct simplification.\nStep 2: an incorrect simplification.", (1.0, 0.0)),
    ],
)
def test_a_verdict_belongs_to_the_step_that_it_is_about(reply: str, verdicts: Sequence[float] | None) -> None:
    assert step_verdicts(reply, 2) == verdicts


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.text())
def test_what_is_said_plainly_is_read(right: list[bool], before: str) -> None:
    lines = [f"Step {number}: {'' if each else 'in'}correct" for number, each in enumerate(right, 1)]
    assert step_verdicts("\n".join([before, *lines]), len(right)) == tuple(map(float, right))


def script(*verdicts: str) -> Scripted:
    """Two steps, and a judge that says these in turn."""

    def reply(request: Request) -> str:
        if "Check the solution" not in request.prompt:
            return "3 + 4 is 7.\nThe answer is 7.".removeprefix(request.partial)
        return verdicts[request.draw % len(verdicts)]

    return Scripted(reply)


async def scored(judge: StepJudge, backend: Scripted) -> Any:
    solution = await solve(PROBLEM, BestOf(1, by=judge), backend)
    return next(span.verdicts for span in solution.trace.walk() if span.verdicts is not None), solution


async def test_several_verifications_vote_on_each_step() -> None:
    backend = script("Step 1: correct\nStep 2: correct", "Step 1: correct\nStep 2: incorrect", "I cannot say.")
    verdicts, solution = await scored(StepJudge(n=3), backend)
    assert verdicts == [0.5]
    assert solution.notes == ("no verdict for every step in 1 of 3 verifications",)
    assert solution.usage.verifier_calls == 1


async def test_a_thought_is_not_a_verdict() -> None:
    backend = script("<think>Step 1: incorrect</think>Step 1: correct\nStep 2: correct")
    assert (await scored(StepJudge(), backend))[0] == [1.0]
    backend = script("<think>Step 1: correct\nStep 2: correct")
    assert (await scored(StepJudge(), backend))[0] == [None]


async def test_a_program_of_the_verification_is_run() -> None:
    called: list[str] = []

    async def interpreter(text: str) -> str:
        called.append(text)
        if len(called) > 1:
            raise ToolRefusal("not again")
        return "7"

    def reply(request: Request) -> str:
        if "Printed:\n7" in request.prompt or "Printed:\nnot again" in request.prompt:
            return "Step 1: correct\nStep 2: correct"
        if "Check the solution" in request.prompt:
            return "```python\nprint(3 + 4)\n```"
        return "3 + 4 is 7.\nThe answer is 7."

    for _ in range(2):
        assert (await scored(StepJudge(interpreter=interpreter), Scripted(reply)))[0] == [1.0]
    assert len(called) == 2


async def test_a_program_has_time_to_wait_for_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    async def call(run: Run, tool: Any, text: str, *, seconds: float = 0.0) -> str:
        given.append(seconds)
        return "7"

    monkeypatch.setattr(Run, "call", call)
    await scored(StepJudge(interpreter=Python()), script("```python\nprint(7)\n```"))
    assert given == [WAITING]


async def test_it_is_a_process_reward_like_the_others() -> None:
    backend = script("Step 1: correct\nStep 2: correct\nStep 3: correct")
    for strategy in (Vote(3, by=StepJudge()), Beam(2, 2, by=StepJudge(aggregate="mean"))):
        assert (await solve(PROBLEM, strategy, backend)).correct
    cases = [Case(id="c", problem=PROBLEM.prompt, steps=("3 + 4 is 8.", "The answer is 8."), label=0)]
    scores = await step_scores(StepJudge(step="\n\n"), cases, script("Step 1: incorrect"))
    assert scores == [(0.0, 0.0)]


async def test_a_reward_model_reads_the_thought_where_it_is_asked_to() -> None:
    generator = Scripted("<think>a\nb\nc</think>One.\nThe answer is 7.")
    read: list[tuple[str, ...]] = []

    def rate(reading: Any) -> list[float]:
        read.append(reading.steps)
        return [0.5] * len(reading.steps)

    for by in (ProcessReward(), ProcessReward(thought=True)):
        await solve(PROBLEM, BestOf(1, by=by), {"m": generator, "r": ScriptedReward(rate)})
    assert read == [("One.\n", "The answer is 7."), ("a\n", "b\n", "c")]


def test_the_repr_is_the_spec() -> None:
    spec = 'StepJudge(of=Model("judge"), n=4, aggregate="prod", step="\\n\\n", thought=True)'
    assert repr(parse(f"BestOf(2, by={spec})")) == f"BestOf(2, by={spec})"
    assert StepJudge(of=Model()) != StepJudge()


@pytest.mark.parametrize("settings", [{"n": 0}, {"aggregate": "max"}, {"step": ""}, {"of": 7}])
def test_nonsense_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"^StepJudge: "):
        StepJudge(**settings)
