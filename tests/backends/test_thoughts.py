"""Thoughts by the ids of their marks, in a tokenizer that has them as tokens, special or not."""

from typing import Any

import pytest

from metagen.models import SMALL
from metagen.thinking import FAMILIES, Reply

transformers = pytest.importorskip("transformers", reason="needs transformers")

from metagen.backends.thoughts import Marks  # noqa: E402 (after the check)


@pytest.fixture(scope="module", params=[True, False], ids=["special", "added"])
def marks(request: pytest.FixtureRequest) -> Marks:
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(SMALL)
    tokenizer.add_tokens(["<think>", "</think>"], special_tokens=request.param)
    return Marks(tokenizer, FAMILIES["qwen3"])


def parted(marks: Marks, raw: str, *, opened: bool = False, cut: int = 0) -> tuple[Reply, int]:
    ids = marks.encode(raw)
    text = marks._decode(ids)
    return marks.split(ids, text[: len(text) - cut], opened=opened)


@pytest.mark.parametrize(
    ("raw", "reply"),
    [
        ("The answer is 7.", Reply("", "The answer is 7.")),
        ("<think>\nIs it 5?\n</think>\n\nThe answer is 7.", Reply("Is it 5?", "The answer is 7.")),
        ("<think>\n\n</think>\n\nThe answer is 7.", Reply("", "The answer is 7.")),
        ("<think>\nIs it", Reply("Is it", "", open=True)),
        ("<think>a</think>One. <think>b</think>Two.", Reply("a\nb", "One. Two.")),
        ("Is it 5?</think>The answer is 7.", Reply("Is it 5?", "The answer is 7.")),
    ],
)
def test_a_reply_is_parted_by_ids(marks: Marks, raw: str, reply: Reply) -> None:
    assert parted(marks, raw)[0] == reply


def test_a_thought_that_the_prompt_opened_ends_with_its_mark(marks: Marks) -> None:
    assert parted(marks, "Is it 5?</think>7.", opened=True)[0] == Reply("Is it 5?", "7.")
    assert parted(marks, "Is it 5?", opened=True) == (Reply("Is it 5?", "", open=True), len(marks.encode("Is it 5?")))


def test_what_looks_like_a_mark_is_text(marks: Marks) -> None:
    """A mark that is spelt by other tokens than its own, as a model does that quotes one."""
    ids = [*marks.encode("<think>Write <"), *marks.encode("/think> now."), *marks.encode("</think>7.")]
    assert marks.split(ids, marks._decode(ids), opened=False)[0] == Reply("Write </think> now.", "7.")
    ids = [*marks.encode("<think>Write <"), *marks.encode("think> and <"), *marks.encode("/think>.</think>7.")]
    assert marks.split(ids, marks._decode(ids), opened=False)[0] == Reply("Write <think> and </think>.", "7.")


def test_the_tokens_of_a_thought_are_counted_without_its_last_mark(marks: Marks) -> None:
    _, tokens = parted(marks, "<think>\nIs it 5?\n</think>\n\n7.")
    assert tokens == len(marks.encode("<think>\nIs it 5?\n"))


def test_a_stop_string_that_was_cut_off_stays_off(marks: Marks) -> None:
    assert parted(marks, "<think>a</think>One. Stop", cut=len(" Stop"))[0] == Reply("a", "One.")


def test_a_prompt_shows_whether_it_opens_a_thought(marks: Marks) -> None:
    assert marks.is_open(marks.encode("<|user|>?<|end|><|assistant|><think>\n"))
    assert not marks.is_open(marks.encode("<|user|>?<|end|><|assistant|><think>\n\n</think>\n\n"))
    assert not marks.is_open(marks.encode("<|user|>?<|end|><|assistant|>"))
    assert marks.known_from(marks.encode("<|assistant|><think>\n")).family.opening == ""
