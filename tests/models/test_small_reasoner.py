"""The folder of the model that thinks: its size, its markers, its template, its replies, and vLLM's parsers."""

import json
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from metagen.models import SMALL_REASONER
from recipes.problems.arithmetic import answer_of
from recipes.reasoner import make_tokenizer
from recipes.thoughts import CLOSE, EMPTY, OPEN

QUESTION = "Tom has 12 apples. Ann gives Tom 7 apples. How many apples does Tom have now?"
THOUGHT, ANSWER = "\nTom has 12 + 7 = 19 apples.\nThat gives 19.\n", "\n\nThe answer is 19."


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(SMALL_REASONER)


def replies(tokenizer: PreTrainedTokenizerFast, *, thinking: bool) -> list[str]:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(SMALL_REASONER, dtype=torch.float32)
    turn = [{"role": "user", "content": QUESTION}]
    ids = tokenizer.apply_chat_template(
        [turn] * 2, add_generation_prompt=True, enable_thinking=thinking, return_tensors="pt", return_dict=False
    )
    made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=1024)
    decoded: list[str] = tokenizer.batch_decode(made[:, ids.shape[1] :], skip_special_tokens=True)
    return decoded


def test_the_folder_is_small() -> None:
    assert sum(file.stat().st_size for file in SMALL_REASONER.rglob("*") if file.is_file()) <= 8 * 1024 * 1024


def test_it_is_a_mixture_of_experts() -> None:
    config = json.loads((SMALL_REASONER / "config.json").read_text())
    assert config["architectures"] == ["Qwen3MoeForCausalLM"]
    assert config["num_experts_per_tok"] < config["num_local_experts"]
    for layer in json.loads((SMALL_REASONER / "report.json").read_text())["expert_loads"]["evaluation"]:
        assert sum(layer) == pytest.approx(1, abs=1e-3)
        assert min(layer) > 0.02


def test_the_tokenizer_is_the_recipes(tokenizer: PreTrainedTokenizerFast) -> None:
    made = make_tokenizer()
    assert tokenizer.get_vocab() == made.get_vocab()
    assert tokenizer.chat_template == made.chat_template
    text = f"{OPEN}{THOUGHT}{CLOSE}{ANSWER}"
    assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True) == text


def test_it_thinks_first_and_answers_in_one_line(tokenizer: PreTrainedTokenizerFast) -> None:
    for reply in replies(tokenizer, thinking=True):
        thought, closed, text = reply.partition(CLOSE)
        assert thought.startswith(f"{OPEN}\n")
        assert closed
        assert "Wait, " in thought
        assert text == f"\n\nThe answer is {answer_of(text)}."


def test_it_answers_without_thinking_where_the_thought_is_empty(tokenizer: PreTrainedTokenizerFast) -> None:
    for reply in replies(tokenizer, thinking=False):
        assert OPEN not in reply
        assert answer_of(reply) is not None


@pytest.mark.parametrize("name", ["qwen3", "deepseek_r1"])
def test_vllms_parsers_take_its_thoughts_apart(tokenizer: PreTrainedTokenizerFast, name: str) -> None:
    reasoning: Any = pytest.importorskip("vllm.reasoning", reason="needs vLLM")
    requests: Any = pytest.importorskip("vllm.entrypoints.openai.chat_completion.protocol", reason="needs vLLM")
    made = reasoning.ReasoningParserManager.get_reasoning_parser(name)
    request = requests.ChatCompletionRequest(messages=[], model="small-reasoner")
    assert made(tokenizer).extract_reasoning(f"{OPEN}{THOUGHT}{CLOSE}{ANSWER}", request) == (THOUGHT, ANSWER)
    assert made(tokenizer).extract_reasoning(f"{OPEN}{THOUGHT}", request) == (THOUGHT, None)
    ended = [made(tokenizer).is_reasoning_end(tokenizer.encode(text)) for text in (EMPTY, f"{OPEN}{THOUGHT}")]
    assert ended == [True, False]


def test_the_qwen3_parser_takes_all_as_text_where_thinking_is_off(tokenizer: PreTrainedTokenizerFast) -> None:
    reasoning: Any = pytest.importorskip("vllm.reasoning", reason="needs vLLM")
    parser = reasoning.ReasoningParserManager.get_reasoning_parser("qwen3")
    off = parser(tokenizer, chat_template_kwargs={"enable_thinking": False})
    assert off.extract_reasoning("The answer is 19.", None) == (None, "The answer is 19.")
