import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from metagen import InputError
from metagen.models import SMALL
from metagen.train.rewards import (
    MARK,
    Example,
    OutcomeRewardModel,
    ProcessRewardModel,
    collate,
    encode,
    encode_whole,
    loss,
    tokenizer_of,
)
from tests.support.bases import write_base

EXAMPLES = [
    Example("1 + 2 + 3?", ("1 + 2 = 3\n", "3 + 3 = 7\n", "The answer is 7."), (1.0, 0.0, 0.0)),
    Example("1 + 1?", ("The answer is 2.",), (1.0,)),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


def test_each_step_is_followed_by_its_mark(base: Path) -> None:
    tokenizer = tokenizer_of(base, marked=True)
    encoded = encode(tokenizer, EXAMPLES[0])
    mark = tokenizer.convert_tokens_to_ids(MARK)
    assert [encoded.ids[place] for place in encoded.places] == [mark] * 3
    text = tokenizer.decode(encoded.ids)
    assert text.endswith(f"1 + 2 = 3{MARK}3 + 3 = 7{MARK}The answer is 7.{MARK}")


def test_a_mark_in_the_question_is_no_step(base: Path) -> None:
    tokenizer = tokenizer_of(base, marked=True)
    encoded = encode(tokenizer, Example(f"What is {MARK}?", ("a", "b"), (1.0, 0.0)))
    assert len(encoded.places) == 2
    assert encoded.places[-1] == len(encoded.ids) - 1


def test_a_base_without_a_chat_template_is_refused(base: Path, tmp_path: Path) -> None:
    for path in base.iterdir():
        if path.name != "chat_template.jinja":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="no chat template"):
        tokenizer_of(tmp_path, marked=True)


def test_padding_changes_no_score(base: Path) -> None:
    tokenizer = tokenizer_of(base, marked=True)
    model = ProcessRewardModel.over(base, tokenizer)
    items = [encode(tokenizer, example) for example in EXAMPLES]
    with torch.no_grad():
        together = model(collate(items, 0))
        apart = torch.cat([model(collate([item], 0)) for item in items])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


def test_the_loss_is_that_of_a_coin_where_all_scores_are_even(base: Path) -> None:
    tokenizer = tokenizer_of(base, marked=True)
    model = ProcessRewardModel.over(base, tokenizer)
    with torch.no_grad():
        for parameter in model.score[2].parameters():
            parameter.zero_()
    batch = collate([encode(tokenizer, example) for example in EXAMPLES], 0)
    assert loss(model, batch).item() == pytest.approx(0.6931, abs=1e-3)


def test_a_process_reward_model_is_written_as_vllm_reads_it(base: Path, tmp_path: Path) -> None:
    tokenizer = tokenizer_of(base, marked=True)
    ProcessRewardModel.over(base, tokenizer).save(tmp_path, tokenizer)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["Qwen2ForProcessRewardModel"]
    assert config["vocab_size"] == len(tokenizer)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        names = set(file.keys())
    assert {"score.0.weight", "score.2.bias", "model.embed_tokens.weight"} <= names


def test_a_process_reward_model_needs_a_layout_that_vllm_serves(tmp_path: Path) -> None:
    tokenizer = tokenizer_of(SMALL, marked=True)
    with pytest.raises(InputError, match="over Qwen2 only"):
        ProcessRewardModel.over(SMALL, tokenizer).save(tmp_path, tokenizer)


def test_an_outcome_is_read_at_the_last_token(base: Path, tmp_path: Path) -> None:
    tokenizer = tokenizer_of(base, marked=False)
    model = OutcomeRewardModel.over(base, tokenizer)
    items = [encode_whole(tokenizer, Example(each.prompt, each.steps, (1.0,))) for each in EXAMPLES]
    assert all(item.places == [len(item.ids) - 1] for item in items)
    with torch.no_grad():
        together = model(collate(items, 0))
        apart = torch.cat([model(collate([item], 0)) for item in items])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)
    model.classifier.config.pad_token_id = items[1].ids[-1]  # the end of a reply may also pad
    with torch.no_grad():
        torch.testing.assert_close(model(collate(items, 0)), apart, rtol=1e-4, atol=1e-5)
    model.save(tmp_path, tokenizer)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["Qwen2ForSequenceClassification"]
