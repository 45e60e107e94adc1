"""The token ids of prompts and of steps, asked from a server once each."""

import asyncio
import json
from collections import OrderedDict
from typing import Any

from metagen.backends.http.connection import Http, Refused, final
from metagen.backends.http.dialects import Chat, Dialect, Messages
from metagen.errors import GenerationError, TransientError
from metagen.messages import Message, Turns, merged
from metagen.request import Completion, Request, amended, options_of
from metagen.thinking import USUAL, Family

REMEMBERED = 4096
"""Prompts whose token ids are kept."""
PROBE = "1 + 1?"
Key = tuple[Turns, str, str]
"""What is tokenised: the conversation, the reply so far, and what the chat template reads beside them."""


class Tokens:
    """Asks one server, in its dialect, for token ids and for what they spell, and remembers the answers."""

    def __init__(self, http: Http, dialect: Dialect, model: str, room: int) -> None:
        self._http = http
        self._dialect = dialect
        self._model = model
        self._room = room
        self._ids: OrderedDict[Key, tuple[int, ...]] = OrderedDict()
        self._asking: dict[Key, asyncio.Lock] = {}
        self.merges = False
        """Whether a system turn is put before the first question, because the chat template takes none."""
        self._texts: OrderedDict[str, tuple[int, ...]] = OrderedDict()
        self._spelt: dict[tuple[int, ...], str] = {}
        """Of ends of replies and of one prompt: no more than there are special tokens."""
        self._looked = False
        self._looking = asyncio.Lock()
        self._ends: dict[int, str] = {}
        """The texts of tokens that ended steps; no more than there are in the vocabulary."""

    async def of(self, request: Request, family: Family | None = None) -> tuple[int, ...]:
        """The ids of the conversation in the chat template of the server's model, and of the reply so far.

        The reply so far may begin with a thought, in the marks of the `family`, or in the usual ones.
        """
        if request.tokens and self._dialect.returns_ids:
            return (*await self._tokenized(_key(request)), *request.tokens)
        if request.thought or request.open:
            written = written_so_far(request, family)
            return (*await self._tokenized(_key(request)), *await self.encode(written))
        return await self._tokenized(_key(request, request.partial))

    async def encode(self, text: str) -> tuple[int, ...]:
        """The ids of a text inside a reply, asked for once."""
        if not text:
            return ()
        if text not in self._texts:
            try:
                self._texts[text] = await self._dialect.encode(self._post, self._model, text)
            except Refused as refused:
                raise final(refused) from None
            if len(self._texts) > REMEMBERED:
                self._texts.popitem(last=False)
        return self._texts[text]

    async def spelled(self, *ids: int) -> str:
        """What ids spell, special tokens too, asked for once."""
        if ids not in self._spelt:
            self._spelt[ids] = await self._detokenize(list(ids))
        return self._spelt[ids]

    def known(self, request: Request) -> int | None:
        """How many ids the prompt has, if they were asked for before."""
        ids = self._ids.get(_key(request))
        return None if ids is None else len(ids)

    def learn(self, request: Request, ids: tuple[int, ...]) -> None:
        """Remember the ids of a conversation, which the server told with a reply to it."""
        self._keep(_key(request), ids)

    def messages(self, request: Request, begun: str) -> Messages:
        """The conversation as it is sent, and a reply that is begun, if one is."""
        reply = [{"role": "assistant", "content": begun}] if begun else []
        return [*self._spelled(request.turns), *reply]

    def _spelled(self, turns: Turns) -> Messages:
        return [turn.fields() for turn in (merged(turns) if self.merges else turns)]

    async def check_system(self, request: Request) -> None:
        """With the first system turn, find out whether the chat template shows it to the model, where ids are told."""
        if self._looked or not any(turn.role == "system" for turn in (*request.before, *request.after)):
            return
        async with self._looking:
            if not self._looked:
                self.merges = not await self._shows_system()
                self._looked = True

    async def _shows_system(self) -> bool:
        question = Message("user", PROBE)
        try:
            seen = await self._tokenize((Message("system", PROBE), question), "", "")
        except TransientError:
            raise
        except GenerationError:
            return False
        return seen != await self._tokenize((question,), "", "")

    async def explore(self) -> None:
        """Find out whether the server tells ids. Raises `GenerationError` if it does not."""
        turns = (Message("user", PROBE),)
        chat = Chat(self._spelled(turns))
        self._ids[turns, "", ""] = await self._dialect.tokenize(self._post, self._model, chat)

    async def _tokenized(self, key: Key) -> tuple[int, ...]:
        if known := self._ids.get(key):
            self._ids.move_to_end(key)
            return known
        lock = self._asking.setdefault(key, asyncio.Lock())
        try:
            async with lock:  # many samples of one prompt ask once
                ids = self._ids.get(key) or await self._tokenize(*key)
        finally:
            if not lock.locked():  # else one that asks still takes it away
                self._asking.pop(key, None)
        self._keep(key, ids)
        return ids

    def _keep(self, key: Key, ids: tuple[int, ...]) -> None:
        if len(ids) < self._room:  # else it will be refused
            self._ids[key] = ids
            self._ids.move_to_end(key)
        if len(self._ids) > REMEMBERED:
            self._ids.popitem(last=False)

    async def _tokenize(self, turns: Turns, partial: str, options: str) -> tuple[int, ...]:
        chat = Chat(self._spelled(turns), partial, json.loads(options or "{}"))
        try:
            return await self._dialect.tokenize(self._post, self._model, chat)
        except Refused as refused:
            raise final(refused) from None
        except TransientError:
            raise
        except GenerationError as error:  # it told ids when it was opened: so this may pass
            raise TransientError(str(error), sent=True) from None

    async def spell(self, step: Completion, ids: tuple[int, ...] | None) -> Completion:
        """A step with its ids, if they spell just its text: a stop string may end inside its last token.

        Nothing was cut off if the text ends with all of that token; else all ids are asked about.
        """
        if not (ids and step.stop):
            return step
        last = ids[-1]
        if last not in self._ends:
            self._ends[last] = await self._detokenize([last])
        whole = self._ends[last] and step.text.endswith(self._ends[last])
        return amended(step, tokens=ids) if whole or await self._detokenize(list(ids)) == step.text else step

    async def _detokenize(self, ids: list[int]) -> str:
        try:
            return await self._dialect.detokenize(self._post, self._model, ids)
        except Refused as refused:
            raise final(refused) from None

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        return await self._http.post(self._http.root + path, body)


def written_so_far(request: Request, family: Family | None) -> str:
    """The reply so far, with its thought as the model writes it; in the usual marks where its family is not known."""
    return (family or USUAL).written(request.thought, request.partial, is_open=request.open)


def _key(request: Request, partial: str = "") -> Key:
    return request.turns, partial, options_of(request.sampling)
