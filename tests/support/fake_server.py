"""An OpenAI-compatible server without a model, inside the test: what it serves, how it fails, what it saw."""

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any

import pytest
from aiohttp import web

from metagen.backends.http.connection import Http
from tests.support.timing import advance, forever

USER, REPLY = "<user>", "<reply>"


class FakeServer:
    """Replies with `script(prompt, seed)`; a token is a character. `faults` are used up, one a request.

    With `vllm`, it tells and takes token ids. With `together`, no whole reply is sent before so many requests are in
    flight. A streamed reply stops after `hold` tokens. A request that hangs has outlasted every time-out as soon as
    only such requests are in flight: the event loop's clock is put forward. `_whole`, `_stream` and `_make_odd` say
    which faults there are besides statuses.
    """

    def __init__(
        self,
        script: Callable[[str, int], str] = lambda prompt, seed: f"{seed}. The answer is 7.",
        *,
        vllm: bool = True,
        several: bool = True,
        chat: bool = True,
        key: str = "",
        models: tuple[str, ...] = ("mock",),
        context: int = 2000,
        together: int = 0,
        hold: int | None = None,
        version: str = "",
        metrics: str = "",
    ) -> None:
        self.script, self.vllm, self.several, self.chat, self.key = script, vllm, several, chat, key
        self.models, self.context, self.hold = models, context, hold
        self.together, self._crowd = together, asyncio.Event()
        self.version, self.metrics = version, metrics
        self.faults: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.sessions: list[str] = []
        """What each request said that it belongs to."""
        self.seen: Counter[str] = Counter()
        self.in_flight = self.hanging = self.peak = self.written = self.read = self.aborted = 0
        self.url = ""

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator["FakeServer"]:
        runner = web.AppRunner(self._app(), handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port, backlog=4096)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        try:
            yield self
        finally:
            await runner.cleanup()

    def _app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/completions", self._generate)
        if self.chat:
            app.router.add_post("/v1/chat/completions", self._generate)
        if self.version:
            app.router.add_get("/version", self._version)
        if self.metrics:
            app.router.add_get("/metrics", self._metrics)
        if self.vllm:
            app.router.add_post("/tokenize", self._tokenize)
            app.router.add_post("/detokenize", self._detokenize)
        return app

    async def _models(self, request: web.Request) -> web.Response:
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            got = request.headers.get("Authorization", "")
            return web.json_response({"error": {"message": f"wrong key {got}"}}, status=401)
        length = {"max_model_len": self.context} if self.vllm else {}
        return web.json_response({"data": [{"id": name} | length for name in self.models]})

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": self.version})

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=self.metrics)

    async def _tokenize(self, request: web.Request) -> web.Response:
        self.seen["tokenize"] += 1
        body = await request.json()
        return web.json_response({"tokens": list(map(ord, text_of(body)))})

    async def _detokenize(self, request: web.Request) -> web.Response:
        return web.json_response({"prompt": "".join(map(chr, (await request.json())["tokens"]))})

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.sessions.append(request.headers.get("X-Session-ID", ""))
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        if self.in_flight >= self.together:
            self._crowd.set()
        try:
            return await self._answer(request, body)
        except asyncio.CancelledError:
            self.aborted += 1
            raise
        finally:
            self.in_flight -= 1
            self._pass_time()

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        fault = self.faults.pop(0) if self.faults else ""
        if fault.isdigit():
            headers = {"Retry-After": "0.05"} if fault == "429" else {}
            return web.json_response({"error": {"message": f"fault {fault}"}}, status=int(fault), headers=headers)
        if fault == "crash":
            said = "EngineCore encountered an issue. See stack trace (above) for the root cause."
            return web.json_response({"error": {"message": said}}, status=500)
        if fault == "hang":
            await self._hang()
        prompt = text_of(body)
        if len(prompt) >= self.context:
            return web.json_response({"error": {"message": "maximum context length"}}, status=400)
        self.read += len(prompt)
        choices = [self._choice(body, prompt, index) for index in range(body.get("n", 1) if self.several else 1)]
        if body.get("stream"):
            return await self._stream(request, body, prompt, choices[0], fault)
        await self._crowd.wait()
        return await self._whole(request, prompt, choices, fault)

    def _told(self, prompt: str, choice: dict[str, Any]) -> dict[str, Any]:
        """The ids of a chat's prompt, as vLLM tells them."""
        return {"prompt_token_ids": list(map(ord, prompt))} if self.vllm and "text" not in choice else {}

    async def _hang(self) -> None:
        self.hanging += 1
        self._pass_time()
        try:
            await forever()
        finally:
            self.hanging -= 1

    def _pass_time(self) -> None:
        if self.hanging and self.hanging == self.in_flight:
            advance(3600)

    def _choice(self, body: dict[str, Any], prompt: str, index: int) -> dict[str, Any]:
        question, _, partial = prompt.partition(REPLY)
        text = self.script(question, body.get("seed", 0) + index)[len(partial) :]
        limit = body.get("max_tokens") or self.context
        stops = [stop for stop in body.get("stop", ()) if stop in text[:limit]]
        stop = min(stops, key=text.index) if stops else None
        kept = text if stop is None else text[: text.index(stop) + len(stop)]
        finish = "length" if stop is None and len(kept) > limit else "stop"
        ids = list(map(ord, kept[:limit]))
        shown = kept[:limit] if stop is None or body.get("include_stop_str_in_output") else kept[: -len(stop)]
        said = {"message": {"content": shown}} if "messages" in body else {"text": shown}
        extra = {"token_ids": ids, "stop_reason": stop} if self.vllm else {}
        if "logprobs" in body:
            extra["logprobs"] = _logprobs(kept[:limit], body)
        return {"index": index, "finish_reason": finish} | said | extra | {"_length": len(ids)}

    async def _whole(
        self, request: web.Request, prompt: str, choices: list[dict[str, Any]], fault: str
    ) -> web.StreamResponse:
        written = sum(choice.pop("_length") for choice in choices)
        self.written += written
        if fault == "fewer":
            del choices[0]
        for choice in choices[:1]:
            self._make_odd(choice, fault)
        usage = {"prompt_tokens": len(prompt), "completion_tokens": written, "prompt_tokens_details": None}
        counted = {"usage": None if fault == "uncounted" else usage}
        told = self._told(prompt, choices[0]) if choices else {}
        data = json.dumps({"choices": choices} | counted | told).encode()
        if fault == "malformed":
            return web.Response(body=data[: len(data) // 2], content_type="application/json")
        if fault in {"truncated", "reset"}:
            response = web.StreamResponse(headers={"Content-Length": str(len(data))})
            assert request.transport
            if fault == "truncated":
                await response.prepare(request)
                await response.write(data[: len(data) // 2])
            request.transport.abort()
            return response
        return web.Response(body=data, content_type="application/json")

    def _make_odd(self, choice: dict[str, Any], fault: str) -> None:
        """What servers do to one sample: an end that nobody knows, one that they make again, one that is unreadable."""
        if fault in {"because", "abort"}:
            choice |= {"finish_reason": fault, "stop_reason": None}
        if fault == "unreadable":
            choice["logprobs"] = "none"

    async def _stream(
        self, request: web.Request, body: dict[str, Any], prompt: str, choice: dict[str, Any], fault: str
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        text = choice["message"]["content"] if "messages" in body else choice["text"]
        del choice["_length"]
        self._make_odd(choice, fault)
        for number, character in enumerate(text, 1):
            await (asyncio.sleep(0) if self.hold is None or number <= self.hold else forever())
            self.written += 1
            last = number == len(text)
            said = {"delta": {"content": character}} if "messages" in body else {"text": character}
            end = {"finish_reason": choice["finish_reason"], "stop_reason": choice.get("stop_reason")} if last else {}
            ids = {"token_ids": [ord(character)]} if self.vllm else {}
            logprobs: dict[str, Any] = {"logprobs": _logprobs(character, body)} if "logprobs" in body else {}
            logprobs |= {"logprobs": "none"} if fault == "unreadable" and last else {}
            if fault == "keepalive":
                await response.write(b": alive\n\ndata:\n\ndata: ping\n\n")
            piece = {"index": 0} | said | end | ids | logprobs
            usage = {"prompt_tokens": len(prompt), "completion_tokens": number}
            counted = {} if fault == "uncounted" else {"usage": usage}
            told = self._told(prompt, said) if number == 1 else {}
            await response.write(b"data: " + json.dumps({"choices": [piece], **counted, **told}).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port where nobody listens but a server that is told of it: no other process is given it meanwhile."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def rendered(body: dict[str, Any]) -> str:
    turns = list(body["messages"])
    partial = turns.pop()["content"] if turns[-1]["role"] == "assistant" else ""
    return "".join(f"<{turn['role']}>{turn['content']}" for turn in turns) + REPLY + partial


def _logprobs(text: str, body: dict[str, Any]) -> dict[str, Any]:
    """Each token was the second choice. As vLLM does, a completion lists it beside the most probable ones."""
    if "messages" in body:
        tops = [{"token": "Yes", "logprob": -0.25}, {"token": "?", "logprob": -0.5}, {"token": "No", "logprob": -1.75}]
        wanted = tops[: body.get("top_logprobs", 0)]
        return {"content": [{"logprob": -0.5, "top_logprobs": wanted} for _ in text]}
    known = {"?": -0.5, "Yes": -0.25, "No": -1.75}
    shown = dict(list(known.items())[: body["logprobs"] + 1])
    return {"token_logprobs": [-0.5] * len(text), "top_logprobs": [shown] * len(text)}


def text_of(body: dict[str, Any]) -> str:
    if "messages" in body:
        return rendered(body)
    prompt = body["prompt"]
    return prompt if isinstance(prompt, str) else "".join(map(chr, prompt))


class Arrivals:
    """What clients have read of each stream so far, by the number of the stream."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.streams: list[int] = []
        stream = Http.stream

        async def counted(http: Http, url: str, *rest: Any) -> AsyncGenerator[bytes, None]:
            number = len(self.streams)
            self.streams.append(0)
            async with aclosing(stream(http, url, *rest)) as pieces:
                async for piece in pieces:
                    self.streams[number] += 1
                    yield piece

        monkeypatch.setattr(Http, "stream", counted)
