from pathlib import Path
from random import Random

import pytest
import torch

from metagen.train.rewards import MARK, ProcessRewardModel, tokenizer_of
from recipes.reading import Batch, Reader, Reading, batches, grown, rate_at, reading
from tests.support.bases import write_base


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize(
    ("reply", "right", "good"),
    [([1, 2, 3], [1, 2, 3], 3), ([1, 5, 3], [1, 2, 3], 1), ([1, 2], [1, 2, 3], 1), ([1, 2, 3, 4], [1, 2, 3], 3)],
)
def test_tokens_are_good_up_to_the_first_that_differs_and_an_early_end_is_wrong(
    reply: list[int], right: list[int], good: int
) -> None:
    assert Reading([9, 9], reply, right).good == good


def test_each_step_of_a_reading_ends_in_a_mark(base: Path) -> None:
    tokenizer = tokenizer_of(base, marked=True)
    item = reading(tokenizer, Random(0))
    text = tokenizer.decode(item.right)
    assert "\n" not in text
    assert text.endswith(f".{MARK}")
    assert f"{MARK}The answer is " in text


def test_after_a_mistake_only_the_marks_are_asked_about() -> None:
    mark = 7
    batch = Batch.of([Reading([7, 1], [2, mark, 3, mark, 4, mark], [2, mark, 5, mark, 4, mark])], mark)
    assert batch.targets.tolist() == [[-100, 2, mark, 5, -100, -100, -100, -100]]
    assert batch.right.tolist() == [[0, 0, 1, 1, 0, 0, 0, 0]]
    assert batch.weights.tolist() == [[0, 0, 1, 3, 4, 3, 0, 3]]
    assert batch.near.tolist() == [[False, False, True, True, True, False, False, False]]


def test_a_new_layer_looks_at_the_token_before(base: Path) -> None:
    decoder = grown(base, kept=1)
    decoder.config._attn_implementation = "eager"
    ids = torch.randint(5, 600, (2, 40), generator=torch.Generator().manual_seed(0))
    seen = decoder(input_ids=ids, output_attentions=True).attentions[1]
    assert seen.diagonal(-1, 2, 3).min() > 0.9


def test_losses_fall_and_what_is_saved_is_taken_up_with_its_head(base: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = tokenizer_of(base, marked=True)
    reader = Reader(base, tokenizer, kept=1)
    batch = next(batches(tokenizer, 2048))
    optimizer = torch.optim.Adam(reader.parameters(), 3e-3)
    losses = []
    for _ in range(12):
        loss = sum(reader.losses(batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 2
    reader.reward.save(tmp_path, tokenizer)
    again = ProcessRewardModel.over(tmp_path, tokenizer_of(tmp_path, marked=True))
    for name, weight in reader.reward.state_dict().items():
        assert torch.allclose(again.state_dict()[name], weight, atol=2e-3), name


def test_the_rate_rises_then_falls() -> None:
    rates = [rate_at(step, 2000, 1.0) for step in (1, 50, 1000, 1500, 2000)]
    assert rates == [0.02, 1.0, 1.0, 0.5, 0.05]
