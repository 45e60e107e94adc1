"""From a request to the token ids that the model reads, and to those that end what it writes."""

import asyncio
import json
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from functools import cached_property, lru_cache
from math import inf
from typing import Any

from metagen.backends.chat import Chat
from metagen.backends.thoughts import Marks
from metagen.messages import Turns
from metagen.request import Request, Sampling, options_of

LONG = 50_000
"""Characters of a conversation that are read in a thread, since all other requests would wait meanwhile."""
Key = tuple[Turns, str, str]
"""What is read at once: the conversation, the reply so far, and what the chat template reads beside them."""


class Prompts:
    """Renders and tokenises for one model; what many samples share is done once."""

    def __init__(self, tokenizer: Any, remembered: int = 4096, context: float = inf) -> None:
        self._tokenizer = tokenizer
        self._chat = Chat(tokenizer)
        self.marks: Marks | None = None
        """Of the model's thoughts, if it is known to think."""
        self._context = context
        self._remembered = remembered
        self._known: OrderedDict[Key, tuple[int, ...]] = OrderedDict()
        self._thread = ThreadPoolExecutor(1)
        self._encode_aside = lru_cache(1)(self._encode_long)  # requests of one problem come one after the other
        self._enders = lru_cache(remembered)(self._containing)

    def ids(self, request: Request) -> list[int]:
        """The conversation in the model's chat template, if it has one, then the reply as far as it is written.

        A reply given as token ids is appended as it is; one given as text is tokenised together with the turn. The text
        of a special token, in either, is text. Raises `UnfitRequest` where the template refuses the conversation.
        """
        key = self._key(request)
        return self._with_reply(request, self._recall(key) or self._keep(key, self._encode(self._chat, key)))

    async def read(self, request: Request) -> list[int]:
        """The same, while other requests continue: a long conversation is read in a thread."""
        key = self._key(request)
        if sum(len(turn.content) + len(turn.rest) for turn in request.turns) + sum(map(len, key[1:])) < LONG:
            return self.ids(request)
        if (ids := self._recall(key)) is None:
            ids = await asyncio.get_running_loop().run_in_executor(self._thread, self._encode_aside, key)
        return self._with_reply(request, self._keep(key, ids))

    def _key(self, request: Request) -> Key:
        apart = request.tokens or (self.marks and (request.thought or request.open))
        return request.turns, "" if apart else request.partial, options_of(request.sampling)

    def _with_reply(self, request: Request, ids: tuple[int, ...]) -> list[int]:
        if request.tokens:
            return [*ids, *request.tokens]
        if self.marks and (request.thought or request.open):
            return [*ids, *self._thought(self.marks, request)]
        return list(ids)

    def _recall(self, key: Key) -> tuple[int, ...] | None:
        if ids := self._known.get(key):
            self._known.move_to_end(key)
        return ids

    def _keep(self, key: Key, ids: tuple[int, ...]) -> tuple[int, ...]:
        """Remember the ids, unless they are more than the model reads: they will be refused."""
        if len(ids) < self._context:
            self._known[key] = ids
            if len(self._known) > self._remembered:
                self._known.popitem(last=False)
        return ids

    def _thought(self, marks: Marks, request: Request) -> list[int]:
        """The ids of a reply that begins with a thought; in both, the text of a mark is text."""
        text = self._chat.encode_text
        ids = [*marks.encode(marks.family.opening), *text(request.thought)]
        return ids if request.open else [*ids, *marks.encode(marks.family.closing), *text(request.partial)]

    @property
    def takes_system(self) -> bool:
        """Whether the model is shown a system turn as such."""
        return not self._chat.templated or self._chat.takes_system

    def _encode(self, chat: Chat, key: Key) -> tuple[int, ...]:
        turns, partial, options = key
        return tuple(chat.encode_conversation(turns, partial, json.loads(options or "{}")))

    def _encode_long(self, key: Key) -> tuple[int, ...]:
        return self._encode(self._chat_aside, key)

    @cached_property
    def _chat_aside(self) -> Chat:
        """The thread's own: a tokenizer holds how the text that it is reading is to be read."""
        return Chat(deepcopy(self._tokenizer))

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
