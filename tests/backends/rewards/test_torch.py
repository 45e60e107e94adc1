"""Reward models in torch: what each kind says, batches over problems, and what is counted."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from metagen import (
    BackendGone,
    BestOf,
    GenerationError,
    InputError,
    OutcomeReward,
    Problem,
    ProcessReward,
    Reading,
    Scripted,
    TorchReward,
    Usage,
    solve_all,
)
from metagen.card.card import ModelCard
from metagen.models import SMALL
from metagen.solve import Models
from tests.support.tiny_rewards import CONTEXT, MARK, make

torch = pytest.importorskip("torch", reason="needs torch")
Scorer: Any = pytest.importorskip("metagen.backends.rewards.scorer", reason="needs torch").Scorer

READING = Reading("p", "1 + 2 + 3?", ("1 + 2 = 3\n", "3 + 3 = 6\n", "The answer is 6."))
PROCESS = ["Qwen2ForProcessRewardModel", "Qwen2ForTokenClassification", "Skywork", "Qwen2ForCausalLM"]
OUTCOME = ["Qwen2ForSequenceClassification", "Qwen2ForRewardModel"]
NAMES = {"Skywork": "Skywork-o1-Open-PRM-tiny", "Qwen2ForCausalLM": "Llama3.1-8B-PRM-tiny"}
"""Kinds that are known by their names."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Where the model of an architecture is, made when it is first asked for."""
    made: dict[str, Path] = {}
    models = tmp_path_factory.mktemp("models")

    def of(architecture: str) -> Path:
        if architecture not in made:
            made[architecture] = make(models / NAMES.get(architecture, architecture), architecture, SMALL)
        return made[architecture]

    return of


@asynccontextmanager
async def opened(folder: Path, **settings: Any) -> AsyncIterator[TorchReward]:
    async with TorchReward(folder, **settings) as reward:
        yield reward


async def rated(reward: TorchReward, reading: Reading = READING) -> tuple[tuple[float, ...], Usage]:
    spent: list[Usage] = []
    scores = await reward.rate(reading, spent.append)
    (usage,) = spent
    return scores, usage


@pytest.mark.parametrize("architecture", PROCESS)
async def test_a_prefix_scores_as_in_the_whole_and_a_batch_as_each_alone(
    folder: Callable[[str], Path], architecture: str
) -> None:
    async with opened(folder(architecture), batch=5) as reward:
        whole, usage = await rated(reward)
        parts = [Reading("p", READING.prompt, READING.steps[:t]) for t in (1, 2, 3)]
        batched = await asyncio.gather(*(rated(reward, part) for part in parts * 4))
        assert usage == Usage(calls=1, prompt_tokens=await reward.count(READING))
        assert reward.process
    assert len(set(whole)) == 3
    assert all(0 < score < 1 for score in whole)
    for number, (scores, _) in enumerate(batched):
        assert scores == pytest.approx(whole[: number % 3 + 1], abs=1e-5)


@pytest.mark.parametrize("architecture", OUTCOME)
async def test_an_outcome_is_one_number(folder: Callable[[str], Path], architecture: str) -> None:
    async with opened(folder(architecture)) as reward:
        alone, _ = await rated(reward)
        longer = Reading("q", READING.prompt * 3, READING.steps)
        (again, _), (other, _) = await asyncio.gather(rated(reward), rated(reward, longer))
        assert not reward.process
    assert len(alone) == 1
    assert again == pytest.approx(alone, rel=1e-4)
    assert other != pytest.approx(alone, rel=1e-3)


async def test_a_sequence_is_classified_as_transformers_does(folder: Callable[[str], Path]) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    path = folder("Qwen2ForSequenceClassification")
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModelForSequenceClassification.from_pretrained(path)
    turns = [{"role": "user", "content": READING.prompt}, {"role": "assistant", "content": "".join(READING.steps)}]
    ids = tokenizer.encode(tokenizer.apply_chat_template(turns, tokenize=False), add_special_tokens=False)
    with torch.no_grad():
        expected = float(model(input_ids=torch.tensor([ids])).logits[0, 0])
    async with opened(path) as reward:
        assert (await rated(reward))[0] == pytest.approx((expected,), abs=1e-5)


async def test_a_causal_models_score_is_the_share_of_its_plus(folder: Callable[[str], Path]) -> None:
    """RLHFlow's: the turn so far, and the token that the reply would begin with."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = folder("Qwen2ForCausalLM")
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModelForCausalLM.from_pretrained(path)
    turns = [{"role": "user", "content": f"{READING.prompt} {READING.steps[0].strip()}"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    plus, minus = (tokenizer.encode(sign, add_special_tokens=False)[-1] for sign in "+-")
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([tokenizer.encode(text, add_special_tokens=False)])).logits[0, -1]
    async with opened(path) as reward:
        scores, _ = await rated(reward)
    assert scores[0] == pytest.approx(float(logits[[plus, minus]].softmax(-1)[0]), abs=1e-5)


async def test_marks_in_the_question_are_no_steps(folder: Callable[[str], Path]) -> None:
    async with opened(folder("Qwen2ForProcessRewardModel")) as reward:
        scores, _ = await rated(reward, Reading("p", f"1 {MARK} 2?", READING.steps))
    assert len(scores) == 3


async def test_readings_of_many_problems_make_one_batch(
    folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    models: dict[str, Any] = {
        "model": Scripted("1 + 2 = 3\nThe answer is 3."),
        "prm": TorchReward(folder("Qwen2ForProcessRewardModel"), batch=8),
    }
    async with models["prm"]:
        score = Scorer.__call__

        def counting(scorer: Any, ids: list[list[int]], places: list[list[int]]) -> Any:
            batches.append(len(ids))
            return score(scorer, ids, places)

        monkeypatch.setattr(Scorer, "__call__", counting)
        problems = [Problem(str(number), f"{number} + 1?") for number in range(20)]
        solutions = [one async for one in solve_all(problems, BestOf(2, by=ProcessReward("prm")), models)]
    assert sum(batches) == 20, "equal samples are read once"
    assert max(batches) == 8
    assert len(batches) <= 5
    assert all(one.usage.verifier_calls == 1 and one.usage.verifier_tokens for one in solutions)


async def test_what_is_too_long_is_refused(folder: Callable[[str], Path]) -> None:
    async with opened(folder("Qwen2ForProcessRewardModel")) as reward:
        assert reward.context == CONTEXT
        with pytest.raises(GenerationError, match="question and answer have"):
            await rated(reward, Reading("p", "1 + 2?", ("1 + 1 = 2\n",) * 100))


async def test_cancelled_readings_cost_what_was_begun(folder: Callable[[str], Path]) -> None:
    spent: list[Usage] = []
    async with opened(folder("Qwen2ForProcessRewardModel"), batch=1) as reward:
        tasks = [asyncio.create_task(reward.rate(READING, spent.append)) for _ in range(50)]
        await tasks[0]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        again, _ = await rated(reward)
    assert len(again) == 3
    assert len(spent) == 50
    assert {usage.prompt_tokens for usage in spent[-10:]} == {0}, "the last had not begun"
    assert spent[0].prompt_tokens > 0


async def test_a_failure_of_torch_costs_its_batch_and_a_bug_is_a_bug(
    folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(error: Exception) -> Callable[..., None]:
        def scorer(self: object, ids: object, places: object) -> None:
            raise error

        return scorer

    async with opened(folder("Qwen2ForProcessRewardModel")) as reward:
        with monkeypatch.context() as patch:
            patch.setattr(Scorer, "__call__", failing(RuntimeError("no memory")))
            with pytest.raises(GenerationError, match="torch failed: no memory"):
                await rated(reward)
            patch.setattr(Scorer, "__call__", failing(KeyError("bug")))
            with pytest.raises(KeyError):
                await rated(reward)
        assert len((await rated(reward))[0]) == 3


async def test_who_waits_is_told_when_it_is_closed(folder: Callable[[str], Path]) -> None:
    async with opened(folder("Qwen2ForProcessRewardModel"), batch=1) as reward:
        tasks = [asyncio.create_task(rated(reward)) for _ in range(30)]
        await asyncio.sleep(0)
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(done[-1], BackendGone)
    with pytest.raises(RuntimeError, match="not open"):
        await rated(reward)


async def test_its_cost_is_its_cards(folder: Callable[[str], Path]) -> None:
    path = folder("Qwen2ForProcessRewardModel")
    async with opened(path) as reward:
        assert reward.card == ModelCard.read(path)
        models: Models = {"model": Scripted("The answer is 3."), "prm": reward}
        (solution,) = [one async for one in solve_all([Problem("p", "?")], BestOf(2, by=ProcessReward("prm")), models)]
    assert solution.usage.verifier_flops > 0


async def test_models_of_another_kind_are_refused(folder: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="say which it is like"):
        TorchReward(SMALL)
    with pytest.raises(InputError, match="no head of a reward model"):
        async with TorchReward(SMALL, like="skywork-prm"):
            pass
    with pytest.raises(InputError, match="batch must be a whole number"):
        TorchReward(folder("Skywork"), batch=0)
    (tmp_path / "config.json").write_text('{"architectures": ["Qwen2ForProcessRewardModel"]}')
    with pytest.raises(InputError, match="cannot open"):
        async with TorchReward(tmp_path):
            pass


async def test_an_outcome_reward_reads_it(folder: Callable[[str], Path]) -> None:
    async with opened(folder("Qwen2ForSequenceClassification")) as reward:
        models: Models = {"model": Scripted("The answer is 3."), "orm": reward}
        (solution,) = [one async for one in solve_all([Problem("p", "?")], BestOf(2, by=OutcomeReward("orm")), models)]
    assert solution.answer == "3"
