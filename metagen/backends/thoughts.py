"""The thought of a reply, found by the ids of its marks: what merely looks like a mark is text."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from metagen.thinking import Family, Reply, join, split

TAIL = 16
"""Tokens at the end of a prompt among which a chat template opens a thought."""


class Marks:
    """The marks of one family in one tokenizer of Hugging Face's interface."""

    def __init__(self, tokenizer: Any, family: Family) -> None:
        self._tokenizer = tokenizer
        self.opens, self.closes = self._single(family.open), self._single(family.close)
        """The ids of the marks; `None` for a mark that is more than one token, which is found in the text."""
        self.family = family
        self._shown = self.closes is not None and self._decode([self.closes]) == family.close
        """Whether texts show the marks, since they are no special tokens."""

    @property
    def hidden(self) -> bool:
        """Whether the mark that ends a thought is more than one token, of which texts do not show the special ones."""
        return self.closes is None and self._decode(self.encode(self.family.close)) != self.family.close

    def known_from(self, prompt: Sequence[int]) -> "Marks":
        """The same, once it is known from a rendered prompt whether the chat template opens the thought."""
        return Marks(self._tokenizer, replace(self.family, opened=self.is_open(prompt)))

    def is_open(self, prompt: Sequence[int]) -> bool:
        """Whether a prompt ends inside a thought."""
        marks = [token for token in prompt[-TAIL:] if token in (self.opens, self.closes)]
        return bool(marks) and marks[-1] == self.opens

    def encode(self, text: str) -> list[int]:
        """The ids of a text in which marks are marks."""
        return list(self._tokenizer.encode(text, add_special_tokens=False)) if text else []

    def split(self, ids: Sequence[int], text: str, *, opened: bool) -> tuple[Reply, int]:
        """The thought and the text of a completion, and how many tokens the thought has, without its last mark."""
        if self.closes is None:
            reply = split(self._with_marks(ids, text), self.family, opened=opened)
            return reply, len(ids) if reply.open else 0
        if not opened and self.opens not in ids and self.closes not in ids:
            return Reply("", text), 0
        if self._shown and self._alone(ids, text):
            reply = split(text, self.family, opened=opened)
            return reply, len(ids) if reply.open else _last(ids, self.closes)
        thoughts: list[str] = []
        texts: list[str] = []
        thinking = opened
        last = 0
        for begin, end, thinking in self._pieces(ids, opened=opened):
            (thoughts if thinking else texts).append(self._decode(ids[begin:end]))
            last = end if thinking else last
        if texts and not thinking and (excess := len(self._decode(ids)) - len(text)) > 0:
            texts[-1] = texts[-1][: -excess or None]  # a stop string was cut off
        return join(thoughts, texts, opened=opened, is_open=thinking), last

    def _alone(self, ids: Sequence[int], text: str) -> bool:
        """Whether nothing in a text looks like a mark and is none: then it need not be decoded again."""
        pairs = ((self.family.open, self.opens), (self.family.close, self.closes))
        return all(text.count(mark) == sum(token == number for token in ids) for mark, number in pairs)

    def _pieces(self, ids: Sequence[int], *, opened: bool) -> Iterator[tuple[int, int, bool]]:
        """Where thoughts and texts begin and end, in turn, and which each is."""
        thinking, begin = opened, 0
        for place, token in enumerate(ids):
            is_mark = token == (self.closes if thinking else self.opens)
            unannounced = token == self.closes and not begin and not thinking  # the prompt had opened it
            if is_mark or unannounced:
                if place > begin or thinking or unannounced:
                    yield begin, place, thinking or unannounced
                thinking, begin = not thinking and not unannounced, place + 1
        yield begin, len(ids), thinking

    def _with_marks(self, ids: Sequence[int], text: str) -> str:
        """The text in which special tokens are shown, where a mark may be one."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=False)) if "<|" in self.family.open else text

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    def _single(self, mark: str) -> int | None:
        ids = self.encode(mark)
        return ids[0] if len(ids) == 1 else None


def _last(ids: Sequence[int], mark: int) -> int:
    """The place of the last mark; 0 where there is none."""
    return max((place for place, token in enumerate(ids) if token == mark), default=0)
