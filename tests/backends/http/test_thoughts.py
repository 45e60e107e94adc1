"""Thoughts behind servers of all kinds: in the text, between marks, or parted by the server, whole and in streams."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from metagen import (
    Candidate,
    InputError,
    Model,
    OpenAIServer,
    Problem,
    Request,
    Run,
    Sampling,
    UnfitRequest,
    Vote,
    solve,
)
from metagen.request import Hearing
from metagen.thinking import FAMILIES, Reply
from tests.backends.http.test_dialects import LlamaServer, SGLangServer
from tests.support.fake_server import FakeServer, text_of
from tests.support.outcomes import completed

FORMS = [
    ("<think>Is it 5?</think>\n\nThe answer is 7.", Reply("Is it 5?", "The answer is 7.")),
    ("<think>\n\n</think>\n\nThe answer is 7.", Reply("", "The answer is 7.")),
    ("<think>Is it 5?", Reply("Is it 5?", "", open=True)),
    ("<think>a</think>One. <think>b</think>Two.", Reply("a\nb", "One. Two.")),
    ("<think>a</think>Write `<think>`.", Reply("a", "Write `<think>`.")),
    ("Is it 5?</think>The answer is 7.", Reply("Is it 5?", "The answer is 7.")),
    ("The answer is 7.", Reply("", "The answer is 7.")),
]


class Parting(FakeServer):
    """A server with a reasoning parser: what stands before the first closing mark is the thought."""

    def __init__(self, field: str, raw: str, **settings: Any) -> None:
        super().__init__(lambda prompt, seed: raw, **settings)
        self.field = field

    def parted(self, text: str) -> dict[str, str | None]:
        thought, closed, said = text.removeprefix("<think>").partition("</think>")
        if not closed and not text.startswith("<think>"):
            return {"content": text}
        return {self.field: thought, "content": said or None}

    async def _whole(
        self, request: web.Request, prompt: str, choices: list[dict[str, Any]], fault: str
    ) -> web.StreamResponse:
        parted = [each | {"message": self.parted(each["message"]["content"])} for each in choices]
        return await super()._whole(request, prompt, parted, fault)

    async def _stream(
        self, request: web.Request, body: dict[str, Any], prompt: str, choice: dict[str, Any], fault: str
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        said = [
            {name: letter} for name, text in self.parted(choice["message"]["content"]).items() for letter in text or ""
        ]
        for place, delta in enumerate(said, 1):
            end = {"finish_reason": choice["finish_reason"]} if place == len(said) else {}
            piece = {"choices": [{"index": 0, "delta": delta} | end]}
            await response.write(b"data: " + json.dumps(piece).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response


@asynccontextmanager
async def opened(fake: FakeServer, thinking: str | None) -> AsyncIterator[OpenAIServer]:
    async with fake.running(), OpenAIServer(fake.url, thinking=thinking) as server:
        yield server


def of_kind(kind: str, raw: str) -> FakeServer:
    if kind in ("reasoning", "reasoning_content"):
        return Parting(kind, raw)
    plain = {"sglang": SGLangServer, "llama.cpp": LlamaServer}
    fake: FakeServer = plain[kind]() if kind in plain else FakeServer(vllm=kind == "vllm")
    fake.script = lambda prompt, seed: raw
    return fake


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("thinking", [None, "think"])
@pytest.mark.parametrize("kind", ["vllm", "openai", "sglang", "llama.cpp", "reasoning", "reasoning_content"])
@pytest.mark.parametrize(("raw", "reply"), FORMS)
async def test_a_reply_is_parted(raw: str, reply: Reply, kind: str, thinking: str | None, streamed: bool) -> None:
    async with opened(of_kind(kind, raw), thinking) as server:
        (one,) = completed(await server.generate(Request("p", "?", passing=streamed), lambda _: None))
    assert Reply(one.thought, one.text, one.open) == reply


async def test_a_server_tells_how_much_was_thought() -> None:
    class Telling(FakeServer):
        async def _whole(
            self, request: web.Request, prompt: str, choices: list[dict[str, Any]], fault: str
        ) -> web.StreamResponse:
            response = await super()._whole(request, prompt, choices, fault)
            assert isinstance(response, web.Response)
            assert isinstance(response.body, bytes)
            body = json.loads(response.body)
            body["usage"]["completion_tokens_details"] = {"reasoning_tokens": 5}
            return web.json_response(body)

    async with opened(Telling(lambda prompt, seed: "The answer is 7.", vllm=False), None) as server:
        solution = await solve("?", Model(), server)
    assert solution.usage.thought_tokens == 5


async def test_a_thought_is_drawn_alone_and_ended_by_ids() -> None:
    """The fake's tokens are characters, so the marks are many, and are found in the text."""

    def script(prompt: str, seed: int) -> str:
        return "<think>\nIs it 5? Is it 6?\n</think>\n\nThe answer is 7."

    fake = FakeServer(script)
    async with opened(fake, "qwen3") as server:
        solution = await solve("?", Model(thinking=100), server)
        assert solution.text == "The answer is 7."
        first, second = fake.bodies[-2:]
        assert first["stop"] == ["</think>"]
        assert first["skip_special_tokens"] is False
        assert "".join(map(chr, second["prompt"])).endswith("Is it 6?\n</think>\n\n")


@pytest.mark.parametrize("fake", [FakeServer(vllm=False), LlamaServer(), SGLangServer()])
async def test_thoughts_are_not_limited_where_nothing_can_be_continued(fake: FakeServer) -> None:
    async with opened(fake, "qwen3") as server:
        with pytest.raises(InputError, match="continues no reply from token ids, so its thoughts cannot be ended"):
            await solve("?", Model(thinking=100), server)
        await server.generate(
            Request("p", "?", sampling=Sampling(chat_template_kwargs={"enable_thinking": False})), lambda _: None
        )


async def test_a_thought_of_which_no_ids_are_known_is_continued_and_not_begun_anew() -> None:
    """As a pool has it, which keeps no ids."""
    fake = FakeServer(lambda prompt, seed: FAMILIES["qwen3"].written("Is it 7?", "The answer is 7.", is_open=False))
    async with opened(fake, "qwen3") as server:
        asked = Request("p", "3 + 4?", thought="Is it 7?")
        (one,) = completed(await server.generate(asked, lambda _: None))
        assert (one.text, one.thought) == ("The answer is 7.", "")
    assert "Is it 7?" in "".join(map(chr, fake.bodies[0]["prompt"]))


OPENED = ["Qwen3-4B-Thinking-2507", "deepseek-r1:8b", "QwQ-32B"]


class Ending(FakeServer):
    """Ends every reply so."""

    def __init__(self, model: str, raw: str, **end: Any) -> None:
        super().__init__(lambda prompt, seed: raw, vllm=False, models=(model,))
        self.end = end

    def _choice(self, body: dict[str, Any], prompt: str, index: int) -> dict[str, Any]:
        return super()._choice(body, prompt, index) | self.end


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", OPENED)
@pytest.mark.parametrize(
    ("raw", "end", "reply"),
    [
        ("Is it 5? It", {"finish_reason": "length"}, Reply("Is it 5? It", "", open=True)),
        ("<think>\nIs it 5?", {"finish_reason": "length"}, Reply("Is it 5?", "", open=True)),
        ("Is it 5?\n", {"finish_reason": "stop", "stop_reason": "\n"}, Reply("Is it 5?\n", "", open=True)),
        ("The answer is 7.", {"finish_reason": "stop"}, Reply("", "The answer is 7.")),
        ("Is it 5?\n</think>\n\nIt is 7.", {"finish_reason": "stop"}, Reply("Is it 5?", "It is 7.")),
        ("Is it 5?\n</think>\n\nIt is 7", {"finish_reason": "length"}, Reply("Is it 5?", "It is 7")),
        ("<think>\nIs it 5?\n</think>\n\nIt is 7.", {"finish_reason": "stop"}, Reply("Is it 5?", "It is 7.")),
    ],
)
async def test_what_a_template_opens_is_known_by_how_a_reply_ended(
    raw: str, end: dict[str, Any], reply: Reply, model: str, streamed: bool
) -> None:
    heard: list[tuple[str, str]] = []
    hearing = Hearing(lambda number, text, whole: None, lambda thought, text: heard.append((thought, text)))
    async with opened(Ending(model, raw, **end), None) as server:
        request = Request("p", "?", passing=streamed, hearing=hearing if streamed else None)
        (one,) = completed(await server.generate(request, lambda _: None))
    assert Reply(one.thought, one.text, one.open) == reply
    assert not heard or heard[-1] == (reply.thought, reply.text)


@pytest.mark.parametrize(("told", "open_"), [(None, True), (2, False)])
async def test_where_a_stop_string_may_have_ended_a_thought_it_is_open(told: int | None, open_: bool) -> None:
    """`told` is the id of the token that ended it, where a server says that."""
    fake = Ending("deepseek-r1:8b", "Is it 5?", finish_reason="stop", matched_stop=told)
    async with opened(fake, None) as server:
        asked = Request("p", "?", sampling=Sampling(stop=("!",)))
        (one,) = completed(await server.generate(asked, lambda _: None))
    assert one.open == open_


async def test_where_ids_show_that_a_thought_is_open_it_is_however_it_ended() -> None:
    def rendered(prompt: str, seed: int) -> str:
        return "Is it 5?"

    class Opening(FakeServer):
        async def _tokenize(self, request: web.Request) -> web.Response:
            body = await request.json()
            text = text_of(body) + ("<think>\n" if "messages" in body else "")
            return web.json_response({"tokens": list(map(ord, text))})

    async with opened(Opening(rendered, models=("deepseek-r1",)), None) as server:
        (one,) = completed(await server.generate(Request("p", "?"), lambda _: None))
    assert (one.thought, one.text, one.open) == ("Is it 5?", "", True)


async def test_a_thought_that_was_cut_off_has_no_vote() -> None:
    fake = Ending(OPENED[0], "Let me see. Perhaps the answer is 12. But wait", finish_reason="length")
    async with opened(fake, None) as server:
        assert (await solve("?", Vote(4), server)).answer is None
    async with opened(Ending(OPENED[1], "The answer is 42.", finish_reason="stop"), None) as server:
        assert (await solve("?", Vote(4), server)).answer == "42"


def reasoning(prompt: str, seed: int) -> str:
    return "<think>\nIs it 5?\n\nIs it 6?\n</think>\n\nSo.\n\nThe answer is 7."


class Reasoning(SGLangServer):
    """A thinking model, behind SGLang, without a reasoning parser; its template may open the thought."""

    def __init__(self, model: str, script: Callable[[str, int], str] = reasoning) -> None:
        super().__init__()
        self.model, self.script = model, script

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": self.model, "owned_by": "sglang", "max_model_len": 700}]})


@pytest.mark.parametrize("model", ["Qwen3-8B", "mock"])
async def test_sglang_continues_a_thought_and_what_is_said_after_it(model: str) -> None:
    fake, problem = Reasoning(model), Problem("p", "q?").stepping("\n\n")
    async with opened(fake, None) as server:
        fake.bodies.clear()

        async def steps(problem: Problem, run: Run) -> Candidate:
            candidate = await run.ask(None, problem)
            while not candidate.finished and len(fake.bodies) < 9:
                candidate = await run.ask(None, problem.continuing(candidate))
            return candidate

        solution = await solve(problem, steps, server)
    begun = [each["messages"][1:] for each in fake.bodies]
    assert begun == [
        [],
        [{"role": "assistant", "content": "<think>\nIs it 5?\n\n"}],
        [{"role": "assistant", "content": "<think>\nIs it 5?\n\nIs it 6?\n</think>\n\n"}],
        [{"role": "assistant", "content": "<think>\nIs it 5?\n\nIs it 6?\n</think>\n\nSo.\n\n"}],
    ]
    assert all(each.get("continue_final_message") for each in fake.bodies[1:])
    assert solution.text == "So.\n\nThe answer is 7."


@pytest.mark.parametrize("model", ["Qwen3-8B", "QwQ-32B", "mock"])
@pytest.mark.parametrize(
    ("request_", "sent"),
    [
        (Request("p", "?", thought="Is it 7?", partial="The answer"), "{}Is it 7?\n</think>\n\nThe answer"),
        (Request("p", "?", thought="Is it 7?"), "{}Is it 7?\n</think>\n\n"),
        (Request("p", "?", thought="Is it 7?", open=True), "{}Is it 7?"),
        (Request("p", "?", partial="The answer"), "The answer"),
        (Request("p", "?"), None),
    ],
)
async def test_sglang_is_sent_a_reply_as_its_model_writes_it(request_: Request, sent: str | None, model: str) -> None:
    fake = Reasoning(model, lambda prompt, seed: "x" * 60)
    async with opened(fake, None) as server:
        assert await server.count(request_) >= len(sent or "")
        await server.generate(request_, lambda _: None)
    turns = fake.bodies[-1]["messages"][1:]
    opening = "" if model == "QwQ-32B" else "<think>\n"
    assert turns == ([] if sent is None else [{"role": "assistant", "content": sent.format(opening)}])
    assert bool(fake.bodies[-1].get("continue_final_message")) == (sent is not None)


@pytest.mark.parametrize("begun", [{"thought": "Is it 7?"}, {"open": True}, {"thought": "Is", "open": True}])
async def test_a_server_that_continues_nothing_draws_no_thought_anew(begun: dict[str, Any]) -> None:
    fake = FakeServer(vllm=False)
    async with opened(fake, None) as server:
        before = len(fake.bodies)
        with pytest.raises(UnfitRequest, match="cannot continue a partial reply"):
            await server.generate(Request("p", "?", **begun), lambda _: None)
    assert len(fake.bodies) == before


async def test_a_thought_of_a_family_that_is_not_known_is_continued_by_ids() -> None:
    fake = FakeServer(lambda prompt, seed: "<think>\nIs it 7?\n</think>\n\nThe answer is 7.")
    async with opened(fake, None) as server:
        asked = Request("p", "3 + 4?", thought="Is it ", open=True)
        (one,) = completed(await server.generate(asked, lambda _: None))
    assert "".join(map(chr, fake.bodies[0]["prompt"])).endswith("<think>\nIs it ")
    assert (one.thought, one.text) == ("7?", "The answer is 7.")


async def test_a_family_that_there_is_not_is_refused() -> None:
    with pytest.raises(InputError, match=r"^thinking='quen': no family is called so"):
        OpenAIServer("http://localhost:1/v1", thinking="quen")
