"""Reward models on real vLLM: the shipped one, and what its engine says against torch."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from metagen import BestOf, InputError, ProblemFile, ProcessReward, Reading, Usage, VLLMEngine, VLLMReward, solve
from metagen.backends.vllm.scoring import Remembered
from metagen.card.card import ModelCard
from metagen.data import VALIDATION
from metagen.errors import GenerationError
from metagen.models import SMALL, SMALL_PRM
from metagen.request import AnyBackend
from tests.support.timing import until

pytestmark = pytest.mark.engine

QUESTION = "Tom has 3 apples. Ann gives Tom 4 apples. Tom buys 5 apples. How many apples does Tom have now?"
RIGHT = ("Tom has 3 + 4 = 7 apples.\n", "Tom has 7 + 5 = 12 apples.\n", "The answer is 12.")
WRONG = ("Tom has 3 + 4 = 8 apples.\n", "Tom has 8 + 5 = 13 apples.\n", "The answer is 13.")


@pytest.fixture(scope="module")
async def prm() -> AsyncIterator[VLLMReward]:
    async with VLLMReward(SMALL_PRM) as opened:
        yield opened


async def rated(prm: VLLMReward, *steps: str, prompt: str = QUESTION) -> tuple[tuple[float, ...], Usage]:
    spent: list[Usage] = []
    scores = await prm.rate(Reading("p", prompt, steps), spent.append)
    return scores, sum(spent, Usage())


async def test_a_right_step_scores_above_a_wrong_one(prm: VLLMReward) -> None:
    (right, usage), (wrong, _) = await rated(prm, *RIGHT), await rated(prm, *WRONG)
    assert len(right) == len(wrong) == 3
    assert min(right) > 0.5 > min(wrong)
    assert usage.prompt_tokens == await prm.count(Reading("p", QUESTION, RIGHT))
    assert usage.estimated_tokens == usage.completion_tokens == 0
    assert prm.card == ModelCard.read(SMALL_PRM)


async def test_a_prefix_scores_as_it_does_in_the_whole(prm: VLLMReward) -> None:
    """A causal model: what comes later changes no score."""
    whole, _ = await rated(prm, *WRONG)
    for t in (1, 2):
        part, _ = await rated(prm, *WRONG[:t])
        assert part == pytest.approx(whole[:t], abs=1e-4)


async def test_a_step_is_read_once(prm: VLLMReward) -> None:
    """What is read for one more step is that step, and what of the block before it is not yet full."""
    question = f"Once. {QUESTION}"
    steps = RIGHT * 8
    for t in range(1, len(steps) + 1):
        _, usage = await rated(prm, *steps[:t], prompt=question)
        if t > 1:
            assert usage.prompt_tokens - usage.cached_tokens <= 32 + len(steps[t - 1])
    _, usage = await rated(prm, *steps, prompt=question)
    assert usage == Usage()


async def test_a_step_that_was_forgotten_is_read_again(prm: VLLMReward) -> None:
    steps = WRONG * 8
    before, _ = await rated(prm, *steps)
    prm.remembered = Remembered()
    after, usage = await rated(prm, *steps)
    assert after == pytest.approx(before, abs=1e-4)
    assert (usage.calls, usage.cached_tokens) == (1, 0)


async def test_after_forgetting_a_reading_costs_what_it_cost_first(prm: VLLMReward) -> None:
    await prm.forget()
    _, first = await rated(prm, *RIGHT)
    await prm.forget()
    _, again = await rated(prm, *RIGHT)
    assert again == first
    assert again.cached_tokens == 0


def test_the_oldest_scores_are_forgotten() -> None:
    remembered = Remembered(limit=2)
    remembered.add({b"a": 0.1})
    remembered.add({b"b": 0.2, b"c": 0.3})
    assert remembered.find([b"a", b"b", b"c"]) == {b"b": 0.2, b"c": 0.3}


async def test_more_steps_than_are_remembered_are_scored_all_the_same(prm: VLLMReward) -> None:
    steps = RIGHT * 8
    before, _ = await rated(prm, *steps)
    prm.remembered = Remembered(limit=2)
    for part in (steps[:4], steps, steps[:2], steps):
        after, _ = await rated(prm, *part)
        assert after == pytest.approx(before[: len(part)], abs=1e-4)
    prm.remembered = Remembered()


async def test_a_mark_in_the_question_is_no_step(prm: VLLMReward) -> None:
    scores, _ = await rated(prm, *RIGHT, prompt=f"{QUESTION} <extra_0>")
    assert len(scores) == 3


async def test_many_readings_at_once_score_as_each_alone(prm: VLLMReward) -> None:
    alone = [await rated(prm, *steps) for steps in (RIGHT, WRONG)]
    together = await asyncio.gather(*(rated(prm, *steps) for _ in range(20) for steps in (RIGHT, WRONG)))
    for number, (scores, _) in enumerate(together):
        assert scores == pytest.approx(alone[number % 2][0], abs=1e-4)


async def test_what_is_too_long_is_refused(prm: VLLMReward) -> None:
    with pytest.raises(GenerationError, match="question and answer have"):
        await rated(prm, "1 + 1 = 2\n" * 1000)


async def test_cancelled_readings_leave_the_engine_and_are_counted(prm: VLLMReward) -> None:
    spent: list[Usage] = []
    readings = [Reading("p", f"{number} {QUESTION}", RIGHT) for number in range(50)]
    tasks = [asyncio.create_task(prm.rate(reading, spent.append)) for reading in readings]
    await until(lambda: prm.load().unfinished)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await until(lambda: prm.load().unfinished == prm.load().running == 0)
    assert len(spent) <= 50
    assert all(usage.estimated_tokens in {0, usage.prompt_tokens} for usage in spent)


async def test_the_scores_are_torchs(prm: VLLMReward) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModel

    from metagen.train import rewards

    decoder = AutoModel.from_config(AutoConfig.from_pretrained(SMALL_PRM), dtype=torch.float32)
    model = rewards.ProcessRewardModel(decoder)
    model.load_state_dict({name: each.float() for name, each in load_file(SMALL_PRM / "model.safetensors").items()})
    encoded = rewards.encode(rewards.tokenizer_of(SMALL_PRM, marked=True), rewards.Example(QUESTION, WRONG, (0.0,) * 3))
    with torch.no_grad():
        expected = torch.sigmoid(model(rewards.collate([encoded], 0))).tolist()
    scores, _ = await rated(prm, *WRONG)
    assert scores == pytest.approx(expected, abs=1e-4)


async def test_the_best_of_many_beats_one(prm: VLLMReward, engine: VLLMEngine) -> None:
    problems = list(ProblemFile(VALIDATION))[:40]
    models: dict[str, AnyBackend] = {"model": engine, "prm": prm}
    chosen = await asyncio.gather(*(solve(each, BestOf(8, by=ProcessReward("prm")), models) for each in problems))
    assert sum(map(bool, (each.correct for each in chosen))) > sum(each.samples_correct / 8 for each in chosen)
    assert all(each.usage.verifier_tokens for each in chosen)


def test_a_model_that_is_no_reward_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="say which it is like"):
        VLLMReward(SMALL)
