"""The tokenizer and the template of the model that thinks, and its first step from the small model's weights."""

from dataclasses import replace
from random import Random

import pytest
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from metagen.models import SMALL
from recipes.batches import encode
from recipes.problems.words import draw_any
from recipes.reasoner import PLAN, WORDS, make_tokenizer, make_trainer
from recipes.thoughts import CLOSE, EMPTY, OPEN, Thinking
from recipes.tokenizer import ASSISTANT, END, USER

TURNS = [
    {"role": "user", "content": "U"},
    {"role": "assistant", "content": f"{OPEN}\nT\n{CLOSE}\n\nA"},
    {"role": "user", "content": "V"},
]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


def test_old_text_keeps_its_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    old, rng = AutoTokenizer.from_pretrained(SMALL), Random(0)
    for _ in range(50):
        problem = draw_any(rng, "training", 1 / 3)
        text = f"{problem.text}\n{problem.right.text}"
        assert tokenizer.encode(text) == old.encode(text)


def test_words_of_thoughts_are_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    for word in ("Wait", " let", " me", " check", " each", " step", " read", " question", "That", " gives", " and"):
        assert word in WORDS
        assert len(tokenizer.encode(word)) == 1


def test_markers_are_tokens_that_a_decoder_keeps(tokenizer: PreTrainedTokenizerFast) -> None:
    for marker in (OPEN, CLOSE):
        assert tokenizer.encode(f"a{marker}b")[1:-1] == [tokenizer.convert_tokens_to_ids(marker)]
        assert tokenizer.decode(tokenizer.encode(marker), skip_special_tokens=True) == marker


def test_thinking_is_on_unless_it_is_switched_off(tokenizer: PreTrainedTokenizerFast) -> None:
    def opened(**kwargs: bool) -> str:
        turn = TURNS[:1]
        text: str = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True, **kwargs)
        return text

    asked = f"{USER}U{END}{ASSISTANT}"
    assert opened() == opened(enable_thinking=True) == asked
    assert opened(enable_thinking=False) == f"{asked}{EMPTY}"


def test_thoughts_of_earlier_turns_are_left_out(tokenizer: PreTrainedTokenizerFast) -> None:
    text = tokenizer.apply_chat_template(TURNS, tokenize=False, add_generation_prompt=True)
    assert text == f"{USER}U{END}{ASSISTANT}A{END}{USER}V{END}{ASSISTANT}"
    last = tokenizer.apply_chat_template(TURNS[:2], tokenize=False)
    assert last == f"{USER}U{END}{ASSISTANT}{TURNS[1]['content']}{END}"


def test_training_sees_the_template(tokenizer: PreTrainedTokenizerFast) -> None:
    rng, recipe = Random(1), Thinking()
    exchanges = [recipe.exchange(rng) for _ in range(20)]
    for made, encoded in zip(exchanges, encode(tokenizer, exchanges), strict=True):
        turn = [{"role": "user", "content": made.prompt}]
        text = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        assert tokenizer.decode(encoded.ids[: encoded.reply]) == f"{text}{made.opening}"
        assert encoded.ids == tokenizer.encode(f"{text}{made.opening}{made.reply}{END}")


def test_training_begins_from_the_small_model() -> None:
    trainer, small = make_trainer(replace(PLAN, steps=1)), AutoTokenizer.from_pretrained(SMALL)
    assert trainer.model.get_input_embeddings().weight.shape[0] == len(trainer.tokenizer) > len(small)
    (ids,) = trainer.tokenizer([f"{USER}Tom has 3 pens.{END}{ASSISTANT}"], return_tensors="pt").input_ids
    with torch.no_grad():
        steps = trainer.model(input_ids=ids[None]).logits[0, -1]
    assert trainer.tokenizer.decode(steps.argmax()) == "Tom"
    assert next(trainer.train()).text.item() > 1
