from collections.abc import Callable

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel, PreTrainedModel

from metagen.models import SMALL
from metagen.prompts import revise
from metagen.train.corrections import Pair, encode, loss, nearest, pairs

GRADED = {
    "easy?": [("a\nright", True), ("b\nright", True), ("b\nwrong", False)],
    "hard?": [("wrong", False)],
}


def test_a_wrong_candidate_is_paired_with_the_right_one_that_begins_like_it() -> None:
    assert list(pairs(GRADED, keep=0.0)) == [Pair("easy?", "b\nwrong", "b\nright")]


def test_right_candidates_are_left_as_they_are_in_their_share() -> None:
    kept = [pair for pair in pairs(GRADED, keep=1.0) if pair.worse == pair.better]
    assert [pair.better for pair in kept] == ["a\nright", "b\nright"]


@pytest.mark.parametrize(
    ("text", "others", "found"),
    [("abc", ["xbc", "abx"], "abx"), ("abc", ["x", "y"], "x"), ("ab", ["a", "abc"], "abc")],
)
def test_the_nearest_has_the_longest_common_beginning(text: str, others: list[str], found: str) -> None:
    assert nearest(text, others) == found


def shipped() -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(SMALL, dtype=torch.float32)


def of_another_layout() -> PreTrainedModel:
    """Its decoder and its head have names of their own."""
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=650, n_embd=32, n_layer=1, n_head=2, n_positions=256)).eval()


@pytest.mark.parametrize("make", [shipped, of_another_layout])
def test_only_the_better_candidate_is_learned(make: Callable[[], PreTrainedModel]) -> None:
    tokenizer, model = AutoTokenizer.from_pretrained(SMALL), make()
    items = [encode(tokenizer, Pair("1 + 1?", "The answer is 3.", "The answer is 2.")) for _ in range(2)]
    encoded = items[0]
    assert tokenizer.decode(encoded.ids[encoded.reply :]) == "The answer is 2.<|end|>"
    assert revise("1 + 1?", "The answer is 3.") in tokenizer.decode(encoded.ids[: encoded.reply])
    longer = encode(tokenizer, Pair("1 + 1?", "The answer is 3. " * 9, "The answer is 2."))
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([encoded.ids])).logits[0, encoded.reply - 1 : -1]
        alone = torch.nn.functional.cross_entropy(logits, torch.tensor(encoded.ids[encoded.reply :]))
        assert loss(model, [encoded]).item() == pytest.approx(alone.item(), rel=1e-4)
        both = (loss(model, [encoded]) + loss(model, [longer])) / 2
        assert loss(model, [encoded, longer]).item() == pytest.approx(both.item(), rel=1e-4)
