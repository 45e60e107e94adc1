"""From turns and texts to token ids in which only the chat template's own tokens are special.

A question, a passage or a candidate may hold the text of a special token, such as `<|im_end|>`. A template puts it into
the prompt, and a tokenizer that reads the whole prompt makes it a control token. Here such contents are tokenised apart
from the template, as text. Where no content holds one, the ids are exactly those of the whole rendering.
"""

import json
import re
from array import array
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property, lru_cache
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

from metagen.errors import UnfitRequest
from metagen.messages import Turns, merged, plain

NO_SYSTEM = "its chat template takes no system turn: what one says is put before the first question"

PIECES = 1024
"""Pieces of texts whose ids are kept."""
TAKING_MORE = ("normalized", "lstrip", "rstrip", "single_word")
"""Settings with which an added token takes blanks beside it, or is found elsewhere than where its text stands."""
PLAIN_PARTS = {"NFC", "Split", "ByteLevel", "Digits"}
"""Parts of tokenizers for which a piece between added tokens is like a text of its own."""

Turn = Mapping[str, Any]
"""A message of a chat: its `role`, its `content`, and what else its template reads."""


class Chat:
    """Renders and tokenises for one tokenizer of Hugging Face's interface.

    Tokens that steer are its special tokens, those that its chat template names, such as `<think>`, with their
    counterparts (`</think>`), and those that are written `<|…|>`. Other added tokens are words.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.templated = bool(getattr(tokenizer, "chat_template", None))
        self._remembered = lru_cache(PIECES)(self._encode_piece)

    def encode_text(self, text: str, *, begins: bool = False) -> list[int]:
        """The ids of a text in which nothing is special; `begins` puts the tokenizer's own first token before it."""
        if not self._steers(text):
            return self._encode(text, begins=begins)
        first = self._encode("", begins=True)[:1] if begins else []
        ids = self._encode_split(text)
        if not self._steering.keys().isdisjoint(ids):  # the tokenizer splits only tokens that are marked as special
            ids = [token for piece in self._pull_apart(text) for token in self._encode_split(piece)]
        return [*first, *ids]

    def encode_conversation(
        self, turns: Turns, partial: str = "", options: Mapping[str, Any] | None = None
    ) -> list[int]:
        """The ids of a conversation, of the opening of the assistant's turn, and of the `partial` reply after it.

        `options` are what the chat template reads beside the turns, such as `enable_thinking`. Without a template the
        contents are read one after the other. Raises `UnfitRequest` where the template refuses the conversation.
        """
        if not self.templated:  # a template writes the special tokens itself; a bare text needs the tokenizer's own
            return self.encode_text(plain(turns) + partial, begins=True)
        if not self.takes_system:
            turns = merged(turns)
        fields = [turn.fields() for turn in turns]
        if (objects := [*map(_with_objects, fields)]) != fields:
            with suppress(UnfitRequest):  # some templates join the arguments as a text
                return self.encode_turns(objects, prompting=True, partial=partial, options=options or {})
        return self.encode_turns(fields, prompting=True, partial=partial, options=options or {})

    @cached_property
    def takes_system(self) -> bool:
        """Whether the chat template shows a system turn to the model; some refuse it, and some leave it out."""
        turns = [{"role": "system", "content": "\N{SNOWMAN}"}, {"role": "user", "content": "?"}]
        try:
            return "\N{SNOWMAN}" in self._render(turns, True, {})
        except UnfitRequest:
            return False

    def encode_turns(
        self,
        turns: Sequence[Turn],
        *,
        prompting: bool,
        partial: str = "",
        mark: str = "",
        options: Mapping[str, Any] = MappingProxyType({}),
    ) -> list[int]:
        """The ids of a chat, and of the `partial` reply after it.

        `prompting` ends it with the opening of the assistant's turn. `mark` is a token that stays special in what the
        assistant says: the caller put it there.
        """
        rendered = self._render(turns, prompting, options)
        contents = [_pieces(turn, mark) for turn in turns]
        if not any(self._steers(text) for text in (*(piece for each in contents for piece in each), partial)):
            return self._encode_between(rendered, mark) if mark and not partial else self._encode(rendered + partial)
        ids = self._encode_apart(turns, prompting, mark, options, rendered)
        return [*ids, *(self.encode_text(partial) if partial else ())]

    def _encode_apart(
        self, turns: Sequence[Turn], prompting: bool, mark: str, options: Mapping[str, Any], rendered: str
    ) -> list[int]:
        """The template's parts as the template wrote them, and between them the contents as text."""
        parts = self._split(turns, prompting, options)
        trimmed = [{**turn, "content": turn["content"].strip()} for turn in turns]
        filled = "".join(trimmed[int(part)]["content"] if at % 2 else part for at, part in enumerate(parts))
        contents = trimmed if filled == rendered else turns
        ids: list[int] = []
        for at, part in enumerate(parts):
            ids += self._encode_content(contents[int(part)], mark) if at % 2 else self._encode(part) if part else []
        return ids

    def _encode_content(self, turn: Turn, mark: str) -> list[int]:
        first, *others = (self.encode_text(piece) if piece else [] for piece in _pieces(turn, mark))
        between = self._encode(mark) if others else []
        return [*first, *(token for other in others for token in (*between, *other))]

    def _split(self, turns: Sequence[Turn], prompting: bool, options: Mapping[str, Any]) -> list[str]:
        """The rendering cut at its contents: template, number of a turn, template, ..., template."""
        slot = blake2b(repr(turns).encode(errors="replace"), digest_size=16).hexdigest()  # occurs in no content
        empty = [{**turn, "content": f"{slot}-{number}."} for number, turn in enumerate(turns)]
        return re.split(rf"{slot}-(\d+)\.", self._render(empty, prompting, options))

    def _render(self, turns: Sequence[Turn], prompting: bool, options: Mapping[str, Any]) -> str:
        render = self._tokenizer.apply_chat_template
        try:
            return str(render(turns, tokenize=False, add_generation_prompt=prompting, **options))
        except Exception as error:  # a template may raise anything
            raise UnfitRequest(f"the chat template refuses this conversation: {error}") from error

    def _encode(self, text: str, *, begins: bool = False) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=begins))

    def _encode_between(self, text: str, mark: str) -> list[int]:
        """The same ids, those between marks from memory: most steps of a reading were in another one before."""
        number = self._cutting.get(mark)
        if number is None:
            return self._encode(text)
        first, *others = text.split(mark)
        return [*self._remembered(first), *(token for other in others for token in (number, *self._remembered(other)))]

    def _encode_piece(self, text: str) -> "array[int]":
        return array("I", self._encode(text))

    @cached_property
    def _cutting(self) -> dict[str, int]:
        """The added tokens, with their ids, at which the tokenizer cuts a text before it looks at the rest.

        Only where it then reads each piece as it would read it alone: others write a blank before a text, or none.
        """
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is None or getattr(self._tokenizer, "split_special_tokens", False):
            return {}
        told = json.loads(backend.to_str())
        parts = [*_parts_of(told["normalizer"]), *_parts_of(told["pre_tokenizer"])]
        if not all(part["type"] in PLAIN_PARTS and not part.get("add_prefix_space") for part in parts):
            return {}
        ids = {each["content"]: each["id"] for each in told["added_tokens"]}
        odd = {each["content"] for each in told["added_tokens"] if any(each[name] for name in TAKING_MORE)}
        odd |= {token for token in ids for other in ids if token in other and token != other}
        return {token: number for token, number in ids.items() if token not in odd}

    def _encode_split(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))

    def _pull_apart(self, text: str) -> list[str]:
        """The text, cut after the first character of each steering token, so that none is whole."""
        cuts = [found.start() + 1 for found in self._pattern.finditer(text)]
        return [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    def _steers(self, text: str) -> bool:
        return bool(self._steering) and self._pattern.search(text) is not None

    @cached_property
    def _steering(self) -> dict[int, str]:
        """The texts of the tokens that steer, by their ids; one character alone, such as a newline, never does."""
        template = str(getattr(self._tokenizer, "chat_template", None) or "")
        added: Mapping[int, Any] = getattr(self._tokenizer, "added_tokens_decoder", {})
        return {
            number: token.content
            for number, token in added.items()
            if len(token.content.strip()) > 1 and (token.special or _is_control(token.content, template))
        }

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """Where a steering token begins; found also inside another."""
        return re.compile(f"(?={'|'.join(map(re.escape, self._steering.values()))})")


def _parts_of(part: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The parts of a normalizer or of a pre-tokenizer, as the file of a tokenizer has them."""
    if part is None:
        return []
    return part.get("normalizers") or part.get("pretokenizers") or [part]


def _with_objects(turn: dict[str, Any]) -> Turn:
    """The turn with the arguments of its calls as objects, which templates read; OpenAI's API has them as texts."""
    return turn | {"tool_calls": [_called(call) for call in turn["tool_calls"]]} if turn.get("tool_calls") else turn


def _called(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return call
    try:
        arguments = json.loads(function["arguments"] or "{}")
    except (ValueError, RecursionError):
        return call
    return call | {"function": function | {"arguments": arguments}} if isinstance(arguments, dict) else call


def _is_control(token: str, template: str) -> bool:
    """Whether a token that is not marked as special steers nevertheless."""
    named = token in template or token.replace("</", "<") in template
    return (named and token[0] in "<[") or (token[:2], token[-2:]) == ("<|", "|>")


def _pieces(turn: Turn, mark: str) -> list[str]:
    """The content of a turn between the marks that the caller put into it."""
    return turn["content"].split(mark) if mark and turn["role"] == "assistant" else [turn["content"]]
