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
    assert solution.notes == ("1 of 3 verifications have no verdict for every step",)
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
