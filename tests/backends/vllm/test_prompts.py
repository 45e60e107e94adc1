"""What the model reads, and which tokens end what it writes."""

from typing import Any

import pytest

from metagen.backends.thoughts import Marks
from metagen.backends.vllm.prompts import Prompts
from metagen.models import SMALL
from metagen.request import Sampling
from metagen.thinking import FAMILIES


class Words:
    """A tokenizer of these tokens; the first is special."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.decoded = 0

    def __len__(self) -> int:
        return len(self.words)

    def batch_decode(self, every: list[list[int]], *, skip_special_tokens: bool) -> list[str]:
        self.decoded += 1
        return ["".join(self.words[number] for number in ids if number or not skip_special_tokens) for ids in every]


def test_enders_are_the_tokens_that_hold_a_whole_stop_string() -> None:
    prompts = Prompts(Words("\n", "a", "\n", ".\n", "\n\n", "\n b", " "))
    assert prompts.enders(("\n",)) == [2, 3, 4, 5]
    assert prompts.enders(("\n\n",)) == [4]
    assert prompts.enders(("a", "\n\n")) == [1, 4]
    assert prompts.enders(("absent",)) == []


def test_a_token_whose_text_waits_for_the_next_one_ends_nothing() -> None:
    assert Prompts(Words("", "\n\ufffd", "\ufffd\n")).enders(("\n",)) == [2]


def test_the_vocabulary_is_decoded_once() -> None:
    words = Words("", "a", "\n")
    prompts = Prompts(words)
    assert prompts.enders(("\n",)) == prompts.enders(("\n", "b")) == [2]
    assert words.decoded == 1


@pytest.mark.parametrize(("family", "hidden"), [("gpt-oss", True), ("granite", False), ("qwen3", False)])
def test_a_mark_of_several_special_tokens_must_be_shown_to_end_a_thought(family: str, hidden: bool) -> None:
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(SMALL)
    special = ["<|channel|>", "<|message|>", "<|end|>", "<|start|>", "<think>", "</think>"]
    tokenizer.add_tokens(special, special_tokens=True)
    prompts = Prompts(tokenizer)
    assert not prompts.shows_marks(Sampling(thought_only=True))
    prompts.marks = Marks(tokenizer, FAMILIES[family])
    assert prompts.shows_marks(Sampling(thought_only=True)) is hidden
    assert not prompts.shows_marks(Sampling(stop=("x",)))
