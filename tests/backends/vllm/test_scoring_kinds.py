"""Each kind of reward model that vLLM serves, small and random, on real vLLM: its scores are torch's."""

import asyncio
from pathlib import Path

import pytest

from metagen import Reading, TorchReward, Usage, VLLMReward
from metagen.models import SMALL
from tests.support.tiny_rewards import make

pytestmark = pytest.mark.engine

QUESTION = "Tom has 3 apples. Ann gives Tom 4 apples. Tom buys 5 apples. How many apples does Tom have now?"
READINGS = [
    Reading("p", QUESTION, ("Tom has 3 + 4 = 7 apples.\n", "Tom has 7 + 5 = 12 apples.\n", "The answer is 12.")),
    Reading("p", QUESTION, ("Tom has 3 + 4 = 8 apples.\n", "The answer is 8.")),
    Reading("q", "1 + 2?", ("The answer is 3.",)),
]
KINDS = [
    ("Llama3.1-8B-PRM-tiny", "Qwen2ForCausalLM", 3),
    ("classifier", "Qwen2ForSequenceClassification", 1),
    ("marked", "Qwen2ForProcessRewardModel", 0),
    ("valued", "Qwen2ForRewardModel", 1),
]
"""Called so, of this architecture, and how many calls an answer of three steps takes that was read before."""


async def rated(reward: VLLMReward | TorchReward, reading: Reading) -> tuple[tuple[float, ...], Usage]:
    spent: list[Usage] = []
    scores = await reward.rate(reading, spent.append)
    return scores, sum(spent, Usage())


@pytest.mark.parametrize(("name", "architecture", "calls"), KINDS)
async def test_its_scores_are_torchs_and_its_books_are_honest(
    tmp_path: Path, name: str, architecture: str, calls: int
) -> None:
    folder = make(tmp_path / name, architecture, SMALL)
    async with TorchReward(folder) as reward:
        expected = [(await rated(reward, reading))[0] for reading in READINGS]
    async with VLLMReward(folder, kv_cache_memory_bytes=1 << 26, max_num_seqs=4) as served:
        first, again = [await asyncio.gather(*(rated(served, reading) for reading in READINGS)) for _ in range(2)]
        sizes = [await served.count(reading) for reading in READINGS]
    for done in (first, again):
        for (scores, _), wanted in zip(done, expected, strict=True):
            assert scores == pytest.approx(wanted, rel=1e-3, abs=1e-3)
    assert [usage.tokens for _, usage in first] == sizes
    assert again[0][1].calls == calls
    assert bool(again[0][1].cached_tokens) == bool(calls)
    assert sum(usage.estimated_tokens for _, usage in [*first, *again]) == 0
