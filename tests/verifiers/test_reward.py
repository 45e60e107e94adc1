import asyncio
from collections.abc import Sequence
from dataclasses import replace
from math import nan
from typing import Any

import pytest

from metagen import (
    Account,
    BestOf,
    Budget,
    Candidate,
    InputError,
    ModelCard,
    OutcomeReward,
    Problem,
    ProcessReward,
    Reading,
    Request,
    Run,
    Score,
    Scripted,
    ScriptedReward,
    Solution,
    Vote,
    WeightError,
    Within,
    parse,
    solve,
    solve_all,
)
from metagen.budget import Hold
from metagen.models import SMALL
from metagen.solve import Models

PROBLEM = Problem("p", "1 + 2 + 3?", "6")
TEXT = "1 + 2 = 3\n3 + 3 = 6\nThe answer is 6."


def judged(reading: Reading) -> list[float]:
    """A step with a 7 is bad."""
    return [0.25 if "7" in step else 0.5 for step in reading.steps]


async def verdicts(
    verifier: Any, reward: ScriptedReward, *texts: str, budget: Budget | None = None
) -> tuple[list[Score | None], Solution]:
    found: list[Score | None] = []

    async def strategy(problem: Problem, run: Run) -> Candidate:
        found.extend(await run.score(verifier, problem, [Candidate((text,)) for text in texts]))
        return Candidate(("",))

    models: Models = {"model": Scripted(""), "prm": reward}
    solution = await solve(PROBLEM, strategy, models, budget=budget)
    return found, solution


@pytest.mark.parametrize(
    ("aggregate", "value"), [("min", 0.25), ("prod", 0.5 * 0.25 * 0.25), ("mean", 1 / 3), ("last", 0.25)]
)
async def test_a_score_for_each_step_and_one_for_all(aggregate: Any, value: float) -> None:
    (score,), _ = await verdicts(
        ProcessReward("prm", aggregate=aggregate), ScriptedReward(judged), TEXT.replace("6", "7")
    )
    assert score
    assert score.steps == (0.5, 0.25, 0.25)
    assert score.value == pytest.approx(value)


async def test_steps_are_what_the_verifier_says_they_are() -> None:
    seen: list[Reading] = []

    def script(reading: Reading) -> Sequence[float]:
        seen.append(reading)
        return judged(reading)

    await verdicts(ProcessReward("prm", step=";"), ScriptedReward(script), "a; b;\nc")
    assert seen[0].steps == ("a;", " b;", "\nc")
    assert seen[0].prompt == PROBLEM.prompt


async def test_equal_answers_are_read_once_and_nothing_is_no_verdict() -> None:
    scores, solution = await verdicts(ProcessReward("prm"), ScriptedReward(judged), TEXT, "", TEXT)
    assert [score and score.value for score in scores] == [0.5, None, 0.5]
    assert solution.usage.verifier_calls == 1
    assert solution.usage.verifier_tokens == len(PROBLEM.prompt) + len(TEXT)
    assert solution.usage.calls == 0


async def test_what_cannot_be_read_has_no_verdict_and_a_note_says_so() -> None:
    reward = ScriptedReward(judged, context=len(PROBLEM.prompt) + 10)
    scores, solution = await verdicts(ProcessReward("prm"), reward, "short", "x" * 100)
    assert [score and score.value for score in scores] == [0.5, None]
    assert "no score for 1 of 2 candidates; the first: question and answer have" in solution.notes[0]


@pytest.mark.parametrize("verifier", [ProcessReward("prm"), OutcomeReward("prm")])
async def test_a_score_that_is_no_number_costs_no_other_candidate(verifier: Any) -> None:
    reward = ScriptedReward(
        lambda reading: [nan if "odd" in reading.steps[0] else 0.5], process=isinstance(verifier, ProcessReward)
    )
    scores, solution = await verdicts(verifier, reward, "plain", "odd", "fine")
    assert [score is None for score in scores] == [False, True, False]
    assert not solution.error
    assert solution.notes[0].endswith("candidates; the first: scripted-reward gave a score that is no number")
    assert solution.usage.verifier_calls == 3


async def test_an_outcome_is_a_logit_with_a_stated_transform() -> None:
    reward = ScriptedReward(lambda _: [-2.0], process=False)
    (score,), _ = await verdicts(OutcomeReward("prm"), reward, TEXT)
    assert score
    assert score.value == pytest.approx(0.1192, abs=1e-4)
    (score,), _ = await verdicts(OutcomeReward("prm", transform="none"), reward, TEXT)
    assert score == Score(-2.0)


async def test_a_vote_by_bare_logits_is_refused() -> None:
    models: Models = {"model": Scripted(TEXT), "prm": ScriptedReward(lambda _: [-2.0], process=False)}
    with pytest.raises(WeightError, match="Sigmoid"):
        await solve(PROBLEM, Vote(2, by=OutcomeReward("prm", transform="none")), models)


@pytest.mark.parametrize(
    ("verifier", "reward", "said"),
    [
        (ProcessReward("prm"), ScriptedReward(lambda _: [0.5], process=False), "for a model that scores the whole"),
        (OutcomeReward("prm"), ScriptedReward(lambda reading: [0.5, 0.5]), "the model scores steps"),
        (ProcessReward("model"), ScriptedReward(judged), "'model' generates and cannot score"),
        (ProcessReward("other"), ScriptedReward(judged), "no model is named 'other'"),
    ],
)
async def test_models_of_the_wrong_kind_are_refused(verifier: Any, reward: ScriptedReward, said: str) -> None:
    with pytest.raises(InputError, match=said):
        await verdicts(verifier, reward, TEXT)


async def test_a_reward_model_cannot_generate() -> None:
    with pytest.raises(InputError, match="no model: pass one"):
        await solve(PROBLEM, Vote(2), {"prm": ScriptedReward(judged)})
    with pytest.raises(InputError, match="this run has no reward model"):
        await solve(PROBLEM, BestOf(2, by=ProcessReward()), Scripted(TEXT))


async def test_a_strategy_with_an_unknown_reward_model_is_refused_before_anything_is_spent() -> None:
    with pytest.raises(InputError, match="names a model 'other'"):
        await solve(PROBLEM, BestOf(2, by=ProcessReward("other")), Scripted(TEXT))


async def test_the_best_is_found_and_the_unnamed_are_the_first_of_their_kind() -> None:
    replies = iter(["The answer is 7.", "The answer is 6."])
    models: Models = {"prm": ScriptedReward(judged), "model": Scripted(lambda _: next(replies))}
    solution = await solve(PROBLEM, BestOf(2, by=ProcessReward()), models)
    assert solution.answer == "6"


@pytest.mark.parametrize("room", [0, 1, 30, 60, 100, 1000])
async def test_no_budget_is_passed_by_reading(room: int) -> None:
    async def late(reading: Reading) -> list[float]:
        await asyncio.sleep(0)
        return judged(reading)

    def answer(request: Request) -> str:
        return TEXT

    card = ModelCard.read(SMALL)
    for limit in ({"tokens": 100 + room}, {"flops": card.flops(110 + room, 50)}):
        account = Account(Budget(**limit))
        models: Models = {"model": Scripted(answer, card=card), "prm": ScriptedReward(late, card=card)}
        strategy = Vote(2, of=Within(tokens=400, of=BestOf(3, by=ProcessReward("prm"))))
        async for _ in solve_all([PROBLEM, replace(PROBLEM, id="q")], strategy, models, account=account):
            pass
        assert account.spent.tokens <= limit.get("tokens", 10**9)
        assert account.spent.all_flops <= limit.get("flops", 10**18)
        assert account.in_flight == 0
        assert account.held == Hold()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("ProcessReward('prm', aggregate='median')", "aggregate must be one of min, prod, mean, last"),
        ("ProcessReward(7)", "name must be the name of a reward model"),
        ("ProcessReward(step='')", "step must be the text that ends a step"),
        ("OutcomeReward(transform='exp')", "transform must be sigmoid or none"),
    ],
)
def test_wrong_settings_are_refused(spec: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(f"BestOf(2, by={spec})")
