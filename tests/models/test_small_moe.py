"""The shipped model's folder: its size, its tokenizer, its defaults, its routing."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from metagen.models import SMALL
from recipes.problems.arithmetic import answer_of
from recipes.tokenizer import SPECIAL
from recipes.validation import sample

PATIENT = settings(deadline=None)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(SMALL)


def test_the_folder_is_small() -> None:
    assert sum(file.stat().st_size for file in SMALL.rglob("*") if file.is_file()) <= 8 * 1024 * 1024


@PATIENT
@given(text=st.text())
def test_any_text_comes_back(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    if not any(token in text for token in SPECIAL):
        assert tokenizer.decode(tokenizer.encode(text)) == text


@PATIENT
@given(before=st.text(max_size=20), after=st.text(max_size=20))
def test_a_newline_is_one_token_of_its_own(tokenizer: PreTrainedTokenizerFast, before: str, after: str) -> None:
    (newline,) = tokenizer.encode("\n")
    text = f"{before}\n{after}"
    assert tokenizer.encode(text).count(newline) == text.count("\n")


def test_the_chat_template_marks_each_turn(tokenizer: PreTrainedTokenizerFast) -> None:
    turns = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "U"},
        {"role": "assistant", "content": "A"},
        {"role": "user", "content": "V"},
    ]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text == "<|system|>S<|end|><|user|>U<|end|><|assistant|>A<|end|><|user|>V<|end|><|assistant|>"
    ended = tokenizer.apply_chat_template(turns[:3], tokenize=False)
    assert ended == "<|system|>S<|end|><|user|>U<|end|><|assistant|>A<|end|>"


def test_the_router_is_a_softmax_of_the_top_k() -> None:
    config = json.loads((SMALL / "config.json").read_text())
    assert config["architectures"] == ["Qwen3MoeForCausalLM"]
    assert config["norm_topk_prob"] is True


def test_no_expert_is_idle() -> None:
    loads = json.loads((SMALL / "report.json").read_text())["expert_loads"]
    for layer in [*loads["training"], *loads["evaluation"]]:
        assert sum(layer) == pytest.approx(1, abs=1e-3)
        assert min(layer) > 0.02


def test_it_answers(tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(SMALL, dtype=torch.float32)
    replies = sample(
        model, tokenizer, ["Tom has 12 apples. Ann gives Tom 7 apples. How many apples does Tom have now?"] * 8
    )
    assert all(answer_of(reply) is not None for reply in replies)
