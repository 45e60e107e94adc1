"""vLLM behind HTTP, and any other server that speaks OpenAI's API."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self

from metagen.backends.http.books import Reserved, reserved
from metagen.backends.http.connection import Http, Refused, served
from metagen.backends.http.openai import Reply, asked, completion, counted, ended, joined, read
from metagen.errors import BudgetExceeded, GenerationError, InputError, TransientError
from metagen.request import Card, Completion, Meter, Request
from metagen.tasks import together

CONTEXT = 8192
"""Tokens, where the server does not tell and the caller does not know."""
SILENCE = 600.0
"""Seconds without a byte: a long generation that is not streamed says nothing until it is done."""
COMPLETIONS, CHATS = "/completions", "/chat/completions"
REMEMBERED = 4096
"""Prompts whose token ids are kept."""


class VLLMServer:
    """A model behind `url`, such as `http://localhost:8000/v1`: `vllm serve`, or any OpenAI-compatible server.

    What the server can do is found out when it is opened, and `lost` says what it cannot. vLLM is asked in chats, and
    by token ids where a partial reply is continued or the length is limited; the prompt's ids are then asked once. With
    `api="completions"` it is always asked by ids. From other servers ids are unknown: prompts are counted from above (a
    token a byte), and a partial reply cannot be continued.

    Samples that are all awaited (n > 1) come in one body. A single one, which may be cancelled, is streamed, so that it
    is counted as far as it came. Cancelling closes the connection, and vLLM then stops the request. Where no count came
    back, because a body was cut off or was awaited in vain, all that was reserved is counted, as an estimate.

    The key is read from the environment variable `key_env`. Connections are not capped. A reply may be silent for
    `silence` seconds. Failures that may pass are `TransientError`: wrap it in `Retrying` to ask again.
    """

    def __init__(
        self,
        url: str,
        model: str = "",
        *,
        name: str | None = None,
        api: Literal["auto", "completions", "chat"] = "auto",
        context: int | None = None,
        card: Card | None = None,
        key_env: str = "OPENAI_API_KEY",
        connect: float = 10.0,
        silence: float = SILENCE,
    ) -> None:
        if api not in {"auto", "completions", "chat"}:
            raise InputError(f"VLLMServer: api must be auto, completions or chat, not {api!r}")
        self._http = Http(url, key_env=key_env, connect=connect, silence=silence)
        self._model = model
        self._name = name
        self._api = api
        self._context = context
        self.card = card
        """What the model costs to run, if it was given: a server does not tell."""
        self._templated = False
        self._one_by_one = False
        self._ids: OrderedDict[tuple[str, str], tuple[int, ...]] = OrderedDict()
        self._asking: dict[tuple[str, str], asyncio.Lock] = {}
        self._ends: dict[int, str] = {}
        """The texts of tokens that ended steps; no more than there are in the vocabulary."""
        self.lost: tuple[str, ...] = ()
        """What this server cannot do, once it is open."""

    @property
    def name(self) -> str:
        return self._name or self._model or self._http.host

    @property
    def context(self) -> int:
        return self._context or CONTEXT

    async def generate(self, request: Request, spend: Meter) -> list[Completion]:
        if request.n > 1 and self._one_by_one:
            return await self._singly(request, spend)
        body, path, prompt = await self._body(request)
        with reserved(spend, prompt, request.n * request.limit(self.context - prompt)) as books:
            reply = await self._reply(path, body, books, streamed=request.n == 1)
        return await self._completions(reply, request)

    async def _singly(self, request: Request, spend: Meter) -> list[Completion]:
        """One request a sample. Each reads the prompt, which was reserved once: so under a budget each writes less."""
        prompt = await self.count(request)
        room = request.room and request.room - prompt
        if room is not None and room < 1:
            raise BudgetExceeded(f"{self.name} reads the prompt once a sample, and the budget leaves no room for that")
        samples: dict[int, Completion] = {}
        errors: list[TransientError] = []

        async def single(index: int) -> None:
            try:
                (samples[index],) = await self.generate(replace(request.part(index, 1), room=room), spend)
            except TransientError as error:
                errors.append(error)

        await together(single(index) for index in range(request.n))
        return self._whole(samples, request.n, errors)

    async def count(self, request: Request) -> int:
        return len(await self._prompt_ids(request)) if self._templated else _at_most(request)

    async def _body(self, request: Request) -> tuple[dict[str, Any], str, int]:
        """What is sent, where to, and how many prompt tokens it has at most."""
        if not self._templated:
            return self._plain(request)
        if self._api == "completions" or request.partial or (request.sampling.max_tokens and request.room is None):
            return await self._by_ids(request)
        # Without a length of its own, vLLM may render the prompt itself: that saves asking for its ids.
        body = asked(request, self._model, request.room and request.limit(request.room))
        known = self._ids.get((request.prompt, ""))
        prompt = min(len(known) if known else _at_most(request), self.context - 1)
        return body | {"messages": _turn(request.prompt), "return_token_ids": True} | _logprobs(request), CHATS, prompt

    async def _by_ids(self, request: Request) -> tuple[dict[str, Any], str, int]:
        ids = await self._prompt_ids(request)
        room = self.context - len(ids)
        if room < 1:
            raise GenerationError(f"the prompt has {len(ids)} tokens, and {self.name} has a context of {self.context}")
        body = asked(request, self._model, request.limit(room)) | {"return_token_ids": True}
        if request.sampling.logprobs or request.sampling.top_logprobs:
            body["logprobs"] = request.sampling.top_logprobs or 0
        return body | {"prompt": list(ids)}, COMPLETIONS, len(ids)

    def _plain(self, request: Request) -> tuple[dict[str, Any], str, int]:
        if request.partial:
            raise GenerationError(f"{self.name} cannot continue a partial reply: it takes no token ids")
        if request.sampling.keep_stop:
            raise GenerationError(f"{self.name} cannot step: it takes no token ids to go on from")
        prompt = min(_at_most(request), self.context - 1)
        limited = request.sampling.max_tokens or request.room
        body = asked(request, self._model, request.limit(self.context - prompt) if limited else None)
        if self._api == "completions":
            return body | {"prompt": request.prompt}, COMPLETIONS, prompt
        return body | {"messages": _turn(request.prompt)} | _logprobs(request), CHATS, prompt

    async def _prompt_ids(self, request: Request) -> tuple[int, ...]:
        if request.tokens:
            return (*await self._tokenized(request.prompt, ""), *request.tokens)
        return await self._tokenized(request.prompt, request.partial)

    async def _tokenized(self, prompt: str, partial: str) -> tuple[int, ...]:
        """The ids of the user's turn in the chat template of the server's model, and of the reply so far."""
        key = (prompt, partial)
        async with self._asking.setdefault(key, asyncio.Lock()):  # many samples of one prompt ask once
            if key not in self._ids:
                self._ids[key] = await self._tokenize(prompt, partial)
        self._asking.pop(key, None)
        self._ids.move_to_end(key)
        ids = self._ids[key]
        if len(self._ids) > REMEMBERED:
            self._ids.popitem(last=False)
        return ids

    async def _tokenize(self, prompt: str, partial: str) -> tuple[int, ...]:
        body = {"model": self._model, "messages": _turn(prompt, partial), "add_generation_prompt": not partial}
        if partial:
            body["continue_final_message"] = True
        reply = await self._http.post(f"{self._http.root}/tokenize", body)
        try:
            ids = tuple(map(int, reply["tokens"]))
        except (TypeError, KeyError, ValueError):
            ids = ()
        if not ids:  # some servers have a path of this name that wants something else
            raise GenerationError(f"{self.name} tells no token ids")
        return ids

    async def _reply(self, path: str, body: dict[str, Any], books: Reserved, *, streamed: bool) -> Reply:
        url = self._http.base + path
        if not streamed or not self._templated:
            reply = read(await self._http.post(url, body), self._http.host)
        else:
            options = {"include_usage": True, "continuous_usage_stats": True}
            chunks: list[bytes] = []
            try:
                async with aclosing(
                    self._http.stream(url, body | {"stream": True, "stream_options": options})
                ) as pieces:
                    async for piece in pieces:
                        chunks.append(piece)  # noqa: PERF401 (what came before an error is needed)
            except BaseException:
                books.settle_counts(counted(chunks))
                raise
            reply = joined(chunks, self._http.host)
        books.settle_counts(reply.usage)
        return reply

    async def _completions(self, reply: Reply, request: Request) -> list[Completion]:
        choices = [choice for choice in reply.choices if 0 <= choice.index < request.n and ended(choice)]
        top = request.sampling.top_logprobs
        samples = {each.index: await self._spelled(completion(each, top), each.token_ids, request) for each in choices}
        return self._whole(samples, request.n)

    def _whole(self, samples: dict[int, Completion], n: int, errors: Sequence[TransientError] = ()) -> list[Completion]:
        """All n, in order. Raises `TransientError`, with those that came, if some are missing."""
        if len(samples) == n:
            return [samples[index] for index in range(n)]
        error = errors[0] if errors else TransientError(f"{self.name} gave {len(samples)} of {n} samples")
        error.completions = samples
        raise error

    async def _spelled(self, one: Completion, ids: list[int] | None, request: Request) -> Completion:
        """A step keeps its ids only if they spell just its text: a stop string may end inside its last token.

        Nothing was cut off if the text ends with all of that token; else all ids are asked about.
        """
        if not (ids and one.stop and request.sampling.keep_stop):
            return one
        last = ids[-1]
        if last not in self._ends:
            self._ends[last] = await self._detokenized([last])
        whole = self._ends[last] and one.text.endswith(self._ends[last])
        return replace(one, tokens=tuple(ids)) if whole or await self._detokenized(ids) == one.text else one

    async def _detokenized(self, ids: list[int]) -> str:
        reply = await self._http.post(f"{self._http.root}/detokenize", {"model": self._model, "tokens": ids})
        return str(reply.get("prompt"))

    async def __aenter__(self) -> Self:
        await self._http.open()
        try:
            await self._explore()
        except BaseException as error:
            await self._http.close()
            if isinstance(error, Refused):
                hint = "" if self._http.base.endswith("/v1") else f"; is its address {self._http.base}/v1?"
                raise InputError(f"cannot use {self._http.base}: {error}{hint}") from None
            raise
        return self

    async def _explore(self) -> None:
        """Find out what the server serves and can do."""
        self._model, card = await served(self._http, self._model)
        self._context = self._context or card.get("max_model_len")
        lost = [] if self._context else [f"its context is unknown: {CONTEXT} tokens are assumed"]
        try:
            await self._tokenized("1 + 1?", "")
            self._templated = True
        except TransientError:
            raise
        except GenerationError:
            lost.append(
                "it tells no token ids, so partial replies cannot be continued and prompts are counted from above"
            )
            await self._explore_plain(lost)
        self._api = self._api if self._api != "auto" else "chat"
        self.lost = tuple(lost)

    async def _explore_plain(self, lost: list[str]) -> None:
        """Whether a server without vLLM's extras draws several samples a request, and whether it chats."""
        probe = {"model": self._model, "n": 2, "max_tokens": 1}
        try:
            if self._api == "completions":
                reply = await self._http.post(f"{self._http.base}/completions", probe | {"prompt": "1"})
            else:
                reply = await self._http.post(f"{self._http.base}/chat/completions", probe | {"messages": _turn("1")})
            self._one_by_one = len(read(reply, self._http.host).choices) < 2
        except Refused as refused:
            if refused.status == 404 and self._api == "auto":
                self._api = "completions"
                await self._explore_plain(lost)
                return
            self._one_by_one = True
        if self._one_by_one:
            lost.append("it draws one sample a request")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        await self._http.close()


def _turn(prompt: str, partial: str = "") -> list[dict[str, str]]:
    reply = [{"role": "assistant", "content": partial}] if partial else []
    return [{"role": "user", "content": prompt}, *reply]


def _logprobs(request: Request) -> dict[str, Any]:
    """As chats ask for them."""
    if top := request.sampling.top_logprobs:
        return {"logprobs": True, "top_logprobs": top}
    return {"logprobs": True} if request.sampling.logprobs else {}


def _at_most(request: Request) -> int:
    """A bound on the prompt's tokens, where its ids are unknown: a token a byte, and some for the chat template."""
    return len((request.prompt + request.partial).encode()) + 16
