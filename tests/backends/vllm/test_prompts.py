"""What the model reads, and which tokens end what it writes."""

import asyncio
import threading
from typing import Any

import pytest

from metagen.backends.thoughts import Marks
from metagen.backends.vllm.prompts import LONG, Prompts
from metagen.models import SMALL
from metagen.request import Request, Sampling
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


class Letters:
    """A tokenizer of one token a character, which says in which threads it was used. Copies are apart."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    def encode(self, text: str, **_: object) -> list[int]:
        self.threads.append(threading.get_ident())
        return list(map(ord, text))

    def __deepcopy__(self, _: object) -> "Letters":
        copied.append(Letters())
        return copied[-1]


copied: list[Letters] = []


async def test_a_long_conversation_is_read_in_a_thread_by_a_tokenizer_of_its_own() -> None:
    copied.clear()
    letters = Letters()
    prompts = Prompts(letters)
    short, long = Request("p", "3 + 4?"), Request("p", "?" * LONG, tokens=(1, 2))
    assert await prompts.read(short) == prompts.ids(short)
    assert letters.threads == [threading.get_ident()]
    ids = await asyncio.gather(*(prompts.read(long) for _ in range(3)))
    assert ids == [[ord("?")] * LONG + [1, 2]] * 3
    (own,) = copied
    assert len(own.threads) == 1
    assert threading.get_ident() not in own.threads
    assert prompts.ids(long) == ids[0]
    assert letters.threads == [threading.get_ident()], "what is known is read nowhere"


async def test_what_is_longer_than_the_context_is_not_kept() -> None:
    letters = Letters()
    prompts = Prompts(letters, context=20)
    for _ in range(3):
        assert len(prompts.ids(Request("p", "?" * 19))) == 19
    assert len(letters.threads) == 1
    for _ in range(3):
        assert len(prompts.ids(Request("p", "?" * 20))) == 20
    assert len(letters.threads) == 4


def test_as_many_conversations_are_kept_as_was_said() -> None:
    letters = Letters()
    prompts = Prompts(letters, remembered=2)
    for prompt in ("a", "b", "a", "c", "a", "b"):
        prompts.ids(Request("p", prompt))
    assert len(letters.threads) == 4, "b was used least when c came"


async def test_the_tokenizer_of_the_engine_can_be_copied() -> None:
    hf = pytest.importorskip("vllm.tokenizers.hf", reason="needs vLLM")
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    prompts = Prompts(hf.get_cached_tokenizer(transformers.AutoTokenizer.from_pretrained(SMALL)))
    request = Request("p", "<|im_end|> How many? " * (LONG // 10))
    assert await prompts.read(request) == Prompts(prompts._tokenizer).ids(request)
