"""From a request to the token ids that the model reads, and to those that end what it writes."""

import json
from functools import cached_property, lru_cache
from typing import Any

from metagen.backends.chat import Chat
from metagen.backends.thoughts import Marks
from metagen.messages import Turns
from metagen.request import Request, Sampling, options_of


class Prompts:
    """Renders and tokenises for one model; what many samples share is done once."""

    def __init__(self, tokenizer: Any, remembered: int = 4096) -> None:
        self._tokenizer = tokenizer
        self._chat = Chat(tokenizer)
        self.marks: Marks | None = None
        """Of the model's thoughts, if it is known to think."""
        self._ids = lru_cache(remembered)(self._encode)
        self._enders = lru_cache(remembered)(self._containing)

    def ids(self, request: Request) -> list[int]:
        """The conversation in the model's chat template, if it has one, then the reply as far as it is written.

        A reply given as token ids is appended as it is; one given as text is tokenised together with the turn. The text
        of a special token, in either, is text. Raises `GenerationError` where the template refuses the conversation.
        """
        options = options_of(request.sampling)
        if request.tokens:
            return [*self._ids(request.turns, "", options), *request.tokens]
        if self.marks and (request.thought or request.open):
            return [*self._ids(request.turns, "", options), *self._thought(self.marks, request)]
        return list(self._ids(request.turns, request.partial, options))

    def _thought(self, marks: Marks, request: Request) -> list[int]:
        """The ids of a reply that begins with a thought; in both, the text of a mark is text."""
        text = self._chat.encode_text
        ids = [*marks.encode(marks.family.opening), *text(request.thought)]
        return ids if request.open else [*ids, *marks.encode(marks.family.closing), *text(request.partial)]

    @property
    def takes_system(self) -> bool:
        """Whether the model is shown a system turn as such."""
        return not self._chat.templated or self._chat.takes_system

    def _encode(self, turns: Turns, partial: str, options: str) -> tuple[int, ...]:
        return tuple(self._chat.encode_conversation(turns, partial, json.loads(options or "{}")))

    def enders(self, stop: tuple[str, ...]) -> list[int]:
        """The tokens that contain a whole stop string: by them the engine itself can end a sample.

        A stop string as such is found in this process, when the engine is already computing the token after it.
        """
        return list(self._enders(stop)) if stop else []

    def ends(self, sampling: Sampling) -> list[int]:
        """The tokens that end a sample."""
        if not sampling.thought_only:
            return [*sampling.stop_token_ids, *self.enders(sampling.stop)]
        closes = self.marks.closes if self.marks else None
        return [*sampling.stop_token_ids, *([] if closes is None else [closes])]

    def stops(self, sampling: Sampling) -> list[str]:
        """The texts that end a sample: its stop strings, or the mark of a thought that is more than one token."""
        if sampling.thought_only:
            return [self.marks.family.close] if self.marks and self.marks.closes is None else []
        return list(sampling.stop)

    def shows_marks(self, sampling: Sampling) -> bool:
        """Whether the text must show special tokens: the mark that ends a thought is several of them."""
        return sampling.thought_only and self.marks is not None and self.marks.hidden

    def encode(self, text: str) -> list[int]:
        """The ids of a text inside a reply, in which the marks of its thought are marks."""
        return self.marks.encode(text) if self.marks else self._chat.encode_text(text)

    def _containing(self, stop: tuple[str, ...]) -> tuple[int, ...]:
        return tuple(
            number
            for number, text in enumerate(self._vocabulary)
            if any(end in text for end in stop) and not text.endswith("\ufffd")  # its text waits for the next token
        )

    @cached_property
    def _vocabulary(self) -> list[str]:
        """What each token decodes to by itself; special ones to nothing, as in a completion."""
        ids = [[number] for number in range(len(self._tokenizer))]
        return list(self._tokenizer.batch_decode(ids, skip_special_tokens=True))

    def spells(self, tokens: tuple[int, ...], text: str) -> bool:
        """Whether the ids decode to just this text."""
        return bool(self._tokenizer.decode(tokens, skip_special_tokens=True) == text)
