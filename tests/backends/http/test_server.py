"""A model behind HTTP: what is sent, what comes back, what it costs, and what can go wrong."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from metagen import (
    BackendGone,
    Completion,
    GenerationError,
    InputError,
    MatchesReference,
    Model,
    OpenAIServer,
    Problem,
    Refine,
    Request,
    Retrying,
    Sampling,
    ServerBusy,
    TransientError,
    UnfitRequest,
    Until,
    Usage,
    VLLMServer,
    Vote,
    solve,
    solve_all,
)
from metagen.backends.http.connection import read_seconds
from metagen.backends.http.openai import join, last_counts, read
from tests.support.fake_server import Arrivals, FakeServer, reserved_port, text_of
from tests.support.outcomes import completed
from tests.support.scripts import Counting
from tests.support.timing import until

ASKED = Request("p", "3 + 4?", n=3, seed=5)
PROMPT = len("<user>3 + 4?<reply>")


@asynccontextmanager
async def serving(fake: FakeServer, **settings: object) -> AsyncIterator[VLLMServer]:
    async with fake.running(), VLLMServer(fake.url, **settings) as server:  # type: ignore[arg-type]
        yield server


async def drawn(server: OpenAIServer, request: Request) -> tuple[list[Completion], Usage]:
    books: list[Usage] = []
    completions = completed(await server.generate(request, books.append))
    return completions, sum(books, Usage())


async def test_a_proxy_that_cannot_be_reached_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with reserved_port() as port:
        monkeypatch.setenv("http_proxy", f"http://user:p@ss@127.0.0.1:{port}")
        with pytest.raises(TransientError, match=rf"models\.invalid through the proxy 127\.0\.0\.1:{port}: ") as raised:
            async with OpenAIServer("http://models.invalid/v1"):
                pass
    assert "ss@" not in str(raised.value)


async def test_requests_go_through_the_proxy_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeServer()
    async with fake.running():
        monkeypatch.setenv("http_proxy", fake.url.removesuffix("/v1"))
        async with VLLMServer("http://models.invalid/v1") as server:
            completions, _ = await drawn(server, ASKED)
        monkeypatch.setenv("no_proxy", "models.invalid")
        with pytest.raises(TransientError, match=r"models\.invalid"):
            await VLLMServer("http://models.invalid/v1").__aenter__()
    assert len(completions) == 3


async def test_a_proxy_for_all_addresses_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeServer()
    async with fake.running():
        monkeypatch.setenv("all_proxy", fake.url.removesuffix("/v1"))
        async with VLLMServer("http://models.invalid/v1") as server:
            completions, _ = await drawn(server, ASKED)
    assert len(completions) == 3


@pytest.mark.parametrize("ranges", ["10.0.0.0/8, 127.0.0.0/8", "127.0.0.1/8"])
async def test_addresses_in_a_range_without_a_proxy_are_asked_themselves(
    monkeypatch: pytest.MonkeyPatch, ranges: str
) -> None:
    fake = FakeServer()
    async with fake.running():
        monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
        monkeypatch.setenv("no_proxy", ranges)
        async with VLLMServer(fake.url) as server:
            completions, _ = await drawn(server, ASKED)
        monkeypatch.setenv("no_proxy", "10.0.0.0/8, nonsense/9")
        with pytest.raises(TransientError, match=r"through the proxy http://proxy\.invalid:3128"):
            await VLLMServer(fake.url).__aenter__()
    assert len(completions) == 3


async def test_a_text_of_another_kind_is_sent_as_it_is() -> None:
    class Foreign(str):
        __slots__ = ()

    fake = FakeServer()
    async with serving(fake, api="chat") as server:
        await drawn(server, Request("p", Foreign("3 + 4?")))
    assert fake.bodies[-1]["messages"] == [{"role": "user", "content": "3 + 4?"}]


async def test_samples_come_in_order_with_ids_and_are_counted_by_the_server() -> None:
    fake = FakeServer()
    async with serving(fake) as server:
        completions, usage = await drawn(server, ASKED)
        assert (server.name, server.context, server.missing) == ("mock", 2000, ())
        assert await server.count(ASKED) == PROMPT
    assert [one.text for one in completions] == [f"{seed}. The answer is 7." for seed in (5, 6, 7)]
    assert all("".join(map(chr, one.tokens)) == one.text for one in completions)
    assert usage == Usage(calls=1, prompt_tokens=PROMPT, completion_tokens=fake.written)
    (body,) = fake.bodies
    assert (body["n"], body["seed"], "max_tokens" in body, "stream" in body) == (3, 5, False, False)


@pytest.mark.parametrize(
    ("settings", "sampling", "asked"),
    [({}, Sampling(), 1), ({}, Sampling(max_tokens=9), 2), ({"api": "completions"}, Sampling(), 2)],
)
async def test_a_prompts_ids_are_asked_once_and_only_where_they_are_needed(
    settings: dict[str, str], sampling: Sampling, asked: int
) -> None:
    fake = FakeServer()
    async with serving(fake, **settings) as server:
        await asyncio.gather(*(drawn(server, replace(ASKED, sampling=sampling)) for _ in range(5)))
    assert fake.seen["tokenize"] == asked, "one of them to find out whether it can"


@pytest.mark.parametrize("api", ["completions", "chat"])
async def test_a_single_sample_is_streamed_and_comes_out_the_same(api: str) -> None:
    fake = FakeServer()
    async with serving(fake, api=api) as server:
        (one,), usage = await drawn(server, Request("p", "3 + 4?", seed=5, sampling=Sampling(logprobs=False)))
    assert fake.bodies[0]["stream"]
    assert one == Completion("5. The answer is 7.", tuple(map(ord, one.text)), "eos", "", (), len(one.text))
    assert usage == Usage(calls=1, prompt_tokens=PROMPT, completion_tokens=len(one.text))


async def test_a_partial_reply_is_continued_from_its_ids_or_its_text() -> None:
    fake = FakeServer()
    async with serving(fake) as server:
        ids = tuple(map(ord, "5. The"))
        (from_ids,), _ = await drawn(server, Request("p", "3 + 4?", partial="5. The", tokens=ids, seed=5))
        (from_text,), _ = await drawn(server, Request("p", "3 + 4?", partial="5. The", seed=5))
    assert from_ids.text == from_text.text == " answer is 7."
    assert text_of(fake.bodies[0]) == text_of(fake.bodies[1]) == "<user>3 + 4?<reply>5. The"


@pytest.mark.parametrize("n", [1, 2])
async def test_the_ids_that_a_chats_first_step_tells_are_not_asked_for_again(n: int) -> None:
    fake = FakeServer()
    step = Request("p", "3 + 4?", n=n, seed=5, sampling=Sampling(stop=(".",), keep_stop=True))
    async with serving(fake) as server:
        (first, *_), _ = await drawn(server, step)
        (rest, *_), _ = await drawn(server, replace(step, n=1, partial=first.text, tokens=first.tokens))
    assert first.text + rest.text == "5. The answer is 7."
    assert text_of(fake.bodies[1]) == "<user>3 + 4?<reply>5."
    assert fake.seen["tokenize"] == 1, "to find out whether it can"


@pytest.mark.parametrize("told", [[1, 2], [], None, "none", [None], {"of": 3}])
async def test_ids_of_a_prompt_that_are_not_as_many_as_were_counted_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, told: Any
) -> None:
    monkeypatch.setattr(FakeServer, "_told", lambda *_: {"prompt_token_ids": told})
    fake = FakeServer()
    step = Request("p", "3 + 4?", n=2, seed=5, sampling=Sampling(stop=(".",), keep_stop=True))
    async with serving(fake) as server:
        (first, *_), _ = await drawn(server, step)
        await drawn(server, replace(step, partial=first.text, tokens=first.tokens))
    assert text_of(fake.bodies[1]) == "<user>3 + 4?<reply>5."


@pytest.mark.parametrize("api", ["completions", "chat"])
async def test_settings_are_sent_in_the_servers_words(api: str) -> None:
    fake = FakeServer()
    sampling = Sampling(temperature=0.5, top_p=0.9, top_k=5, min_p=0.1, max_tokens=30, stop=("x",), logprobs=True)
    async with serving(fake, api=api) as server:
        (one, _), _ = await drawn(server, Request("p", "?", n=2, sampling=sampling))
    wanted = {"temperature": 0.5, "top_p": 0.9, "top_k": 5, "min_p": 0.1, "max_tokens": 30, "stop": ["x"]}
    assert wanted.items() <= fake.bodies[0].items()
    assert one.logprobs == (-0.5,) * len(one.text)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("api", ["completions", "chat"])
async def test_how_sure_the_model_was_comes_back_whole_and_streamed(api: str, n: int) -> None:
    async with serving(FakeServer(), api=api) as server:
        (one, *_), _ = await drawn(server, Request("p", "?", n=n, sampling=Sampling(top_logprobs=2)))
        (bare, *_), _ = await drawn(server, Request("p", "?", n=n, sampling=Sampling(logprobs=True)))
    assert one.first == (("Yes", -0.25), ("?", -0.5))
    assert one.confidences == (0.375,) * len(one.text)
    assert one.logprobs == bare.logprobs == (-0.5,) * len(one.text)
    assert (bare.first, bare.confidences) == ((), ())


async def test_a_step_keeps_its_stop_string_and_its_ids() -> None:
    async with serving(FakeServer()) as server:
        step = Request("p", "?", n=2, seed=1, sampling=Sampling(stop=(".",), keep_stop=True))
        (one, _), _ = await drawn(server, step)
        (bare, _), _ = await drawn(server, Request("p", "?", n=2, seed=1, sampling=Sampling(stop=(".",))))
    assert (one.text, one.end, one.stop, one.tokens) == ("1.", "stop", ".", (ord("1"), ord(".")))
    assert (bare.text, bare.tokens, bare.length) == ("1", (), 2)


async def test_a_step_whose_last_token_says_more_than_its_text_has_no_ids() -> None:
    class Beyond(FakeServer):
        def _choice(self, body: dict[str, Any], prompt: str, index: int) -> dict[str, Any]:
            choice = super()._choice(body, prompt, index)
            return choice | {"token_ids": [*choice["token_ids"], ord("!")]}

    async with serving(Beyond()) as server:
        step = Request("p", "?", n=2, seed=1, sampling=Sampling(stop=(".",), keep_stop=True))
        (one, _), _ = await drawn(server, step)
    assert (one.text, one.tokens) == ("1.", ())


async def test_what_the_length_cuts_is_not_finished() -> None:
    async with serving(FakeServer()) as server:
        solution = await solve(Problem("p", "?"), Vote(2, of=Model(max_tokens=4)), server)
    assert solution.answer is None
    assert solution.usage.completion_tokens == 8


async def test_another_server_is_asked_in_chats_and_says_what_is_lost() -> None:
    fake = FakeServer(vllm=False)
    async with serving(fake) as server:
        completions, usage = await drawn(server, ASKED)
        assert len(server.missing) == 2
        assert server.context == 8192
        assert await server.count(ASKED) >= PROMPT - 13
        for request in (
            Request("p", "?", partial="x"),
            Request("p", "?", sampling=Sampling(stop=(".",), keep_stop=True)),
            Request("p", "?", sampling=Sampling(max_tokens=8, keep_stop=True)),
        ):
            with pytest.raises(GenerationError, match="cannot"):
                await drawn(server, request)
    assert [one.tokens for one in completions] == [()] * 3
    assert (usage.calls, usage.estimated_tokens) == (1, 0)


async def test_where_chats_are_missing_completions_serve() -> None:
    fake = FakeServer(vllm=False, chat=False)
    async with serving(fake) as server:
        completions, _ = await drawn(server, ASKED)
    assert len(completions) == 3
    assert fake.bodies[-1]["prompt"] == "3 + 4?"


async def test_a_server_that_draws_one_sample_a_request_is_asked_singly() -> None:
    fake = FakeServer(vllm=False, several=False)
    async with serving(fake) as server:
        assert "it draws one sample per request" in server.missing
        completions, usage = await drawn(server, ASKED)
    assert [one.text for one in completions] == [f"{seed}. The answer is 7." for seed in (5, 6, 7)]
    assert usage.calls == 3


async def test_a_cancelled_stream_is_counted_as_far_as_it_came_and_frees_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake, arrivals = FakeServer(lambda prompt, seed: "x" * 500, hold=40), Arrivals(monkeypatch)
    async with serving(fake) as server:
        books: list[Usage] = []
        task = asyncio.create_task(server.generate(Request("p", "3 + 4?"), books.append))
        await until(lambda: arrivals.streams == [40])
        task.cancel()
        await asyncio.wait([task])
        await until(lambda: fake.in_flight == 0)
        assert fake.aborted == 1
    assert books == [Usage(calls=1, prompt_tokens=PROMPT, completion_tokens=40)]
    assert fake.written == 40


async def test_a_cancelled_body_of_which_no_byte_came_counts_its_prompt_as_an_estimate() -> None:
    fake = FakeServer(together=2)
    async with serving(fake) as server:
        books: list[Usage] = []
        request = Request("p", "3 + 4?", n=2, sampling=Sampling(max_tokens=10))
        task = asyncio.create_task(server.generate(request, books.append))
        await until(lambda: fake.in_flight)
        task.cancel()
        await asyncio.wait([task])
    assert books == [Usage(calls=1, prompt_tokens=PROMPT, estimated_tokens=PROMPT)]


@pytest.mark.parametrize(
    ("fault", "said", "estimated"),
    [
        ("429", "answered 429: fault 429", False),
        ("500", "answered 500: fault 500", False),
        ("reset", "broke off", True),
        ("truncated", "broke off", True),
        ("malformed", "not JSON", True),
        ("hang", "broke off", True),
    ],
)
async def test_what_may_pass_is_a_transient_error(fault: str, said: str, estimated: bool) -> None:
    fake = FakeServer()
    async with serving(fake, silence=60) as server:
        fake.faults = [fault]
        books: list[Usage] = []
        with pytest.raises(TransientError, match=said) as raised:
            await server.generate(ASKED, books.append)
    assert raised.value.retry_after == (0.05 if fault == "429" else None)
    assert len(books) == 1
    assert bool(books[0].estimated_tokens) is estimated


async def test_what_cannot_be_read_is_neither_an_answer_nor_a_crash() -> None:
    fake = FakeServer()
    async with serving(fake) as server:
        assert last_counts([b'{"choices": [], "usage": 7}'], server.name) is None
        assert last_counts([b'{"choices": 3}'], server.name) is None
        with pytest.raises(TransientError, match="cannot be read"):
            join([b'{"choices": 3}'], server.name)
        replies: list[object] = [[], {"choices": [{"index": "x"}]}, {"choices": [{"index": "\ud800"}]}, 3]
        for reply in replies:
            with pytest.raises(TransientError, match="cannot be read"):
                read(reply, server.name)


async def test_what_is_no_such_server_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeServer()
    bodies: list[object] = [[], {"data": 3}, {"models": []}]
    for listed in bodies:
        with monkeypatch.context() as patch:
            patch.setattr(FakeServer, "_models", answering(listed))
            with pytest.raises(InputError, match="does not list its models"):
                async with serving(fake):
                    pass


@pytest.mark.parametrize("page", [b"<!doctype html><html></html>", b"\n <HTML>", b"<?xml version='1.0'?><html/>"])
async def test_a_web_page_at_the_opening_is_a_wrong_address_and_is_not_asked_again(
    monkeypatch: pytest.MonkeyPatch, page: bytes
) -> None:
    asked: list[str] = []

    async def show(self: FakeServer, request: web.Request, *_: object) -> web.Response:
        asked.append(request.path)
        return web.Response(body=page, content_type="text/html")

    monkeypatch.setattr(FakeServer, "_models", show)
    async with FakeServer().running() as fake:
        with pytest.raises(InputError, match=r"sent a web page, which is not JSON; is this the address of its API\?"):
            async with Retrying(OpenAIServer(fake.url), wait=0, longest=0):
                pass
        assert len(asked) == 1
        async with OpenAIServer(fake.url, "mock") as server:  # as one that lists no models and is named
            assert server.name == "mock"
        monkeypatch.setattr(FakeServer, "_answer", show)
        with pytest.raises(InputError, match="sent a web page"):
            async with Retrying(OpenAIServer(fake.url, "mock", dialect="openai"), wait=0, longest=0):
                pass
        assert asked.count("/v1/chat/completions") == 1


async def test_a_server_that_answers_is_not_asked_whether_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeServer, "_models", answering({"error": {"message": "Loading model"}}, status=503))
    async with FakeServer().running() as fake:
        with pytest.raises(InputError, match=r"answered 503: Loading model$"):
            async with Retrying(OpenAIServer(fake.url), attempts=2, wait=0, longest=0):
                pass


async def test_a_fault_at_the_opening_does_not_make_it_another_server(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeServer()
    with monkeypatch.context() as patch:
        patch.setattr(FakeServer, "_tokenize", answering({"error": "busy"}, status=503))
        with pytest.raises(TransientError, match="answered 503: busy"):
            async with serving(fake):
                pass
        patch.setattr(FakeServer, "_tokenize", answering({"ids": []}))
        async with serving(fake) as server:
            assert server.missing


def answering(body: object, status: int = 200) -> Any:
    async def answer(self: FakeServer, request: web.Request) -> web.Response:
        return web.json_response(body, status=status)

    return answer


async def test_an_event_of_a_stream_may_be_of_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    long = "word " * 200_000
    body = json.dumps({"choices": [{"text": long, "finish_reason": "stop", "token_ids": [1]}], "usage": {}})
    with monkeypatch.context() as patch:
        patch.setattr(FakeServer, "_answer", streaming(f"data: {body}\r\n\r\ndata: [DONE]\r\n\r\n".encode()))
        async with serving(FakeServer(), api="completions") as server:
            (one,), _ = await drawn(server, Request("p", "?"))
    assert one.text == long


async def test_the_last_line_of_a_stream_may_lack_its_newline(monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps({"choices": [{"text": "7", "finish_reason": "stop", "token_ids": [55]}], "usage": {}})
    with monkeypatch.context() as patch:
        patch.setattr(FakeServer, "_answer", streaming(f"data: {body}\n\ndata: [DONE]".encode()))
        async with serving(FakeServer(), api="completions") as server:
            (one,), _ = await drawn(server, Request("p", "?"))
    assert one.text == "7"


async def test_an_error_within_a_reply_is_transient(monkeypatch: pytest.MonkeyPatch) -> None:
    event = b'data: {"error": {"message": "out of memory", "code": 500}}\n\ndata: [DONE]\n\n'
    with monkeypatch.context() as patch:
        patch.setattr(FakeServer, "_answer", streaming(event))
        async with serving(FakeServer()) as server:
            with pytest.raises(TransientError, match="broke off: out of memory"):
                await drawn(server, Request("p", "?"))
    with monkeypatch.context() as patch:
        patch.setattr(FakeServer, "_generate", answering({"error": "overloaded", "choices": []}))
        async with serving(FakeServer()) as server:
            with pytest.raises(TransientError, match="broke off: overloaded"):
                await drawn(server, ASKED)


@pytest.mark.parametrize("reason", ["abort", "error", None])
async def test_a_sample_that_the_server_gave_up_is_missing(reason: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    choices = [{"index": index, "text": "7", "finish_reason": reason if index == 1 else "stop"} for index in range(3)]
    with monkeypatch.context() as patch:
        patch.setattr(FakeServer, "_generate", answering({"choices": choices, "usage": {"completion_tokens": 3}}))
        async with serving(FakeServer()) as server:
            first, lost, last = await server.generate(ASKED, lambda _: None)
    assert isinstance(first, Completion)
    assert isinstance(last, Completion)
    assert isinstance(lost, TransientError)


@pytest.mark.parametrize("path", ["", "/v1/chat/completions"])
async def test_a_server_whose_address_does_not_end_in_v1_is_told_so(path: str) -> None:
    fake = FakeServer()
    async with fake.running():
        with pytest.raises(InputError, match=r"answered 404.*is its address http://127\.0\.0\.1:\d+/v1\?"):
            await VLLMServer(fake.url.removesuffix("/v1") + path).__aenter__()


async def test_a_server_that_has_no_model_yet_is_not_said_to_have_several() -> None:
    with pytest.raises(InputError, match="serves no model yet: name one that it can load, as in URL#MODEL"):
        async with serving(FakeServer(models=())):
            pass


def streaming(data: bytes) -> Any:
    async def answer(self: FakeServer, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(data)
        return response

    return answer


async def test_the_requests_of_a_problem_carry_one_session_whole_and_streamed() -> None:
    fake = FakeServer()
    async with serving(fake) as server:
        for text in ("3 + 4?", "3 + 5?"):
            await solve(Problem("p", text), Refine(of=Vote(2), rounds=1), server)
        assert len(fake.sessions) > 2
        assert "" not in fake.sessions
        assert len(set(fake.sessions)) == 2, "one for each question, although both are called p"
    silent = FakeServer()
    async with silent.running(), VLLMServer(silent.url, session="") as server:
        await solve(Problem("p", "3 + 4?"), Vote(2), server)
    assert set(silent.sessions) == {""}


async def test_of_fewer_samples_than_asked_those_that_came_are_kept() -> None:
    fake = FakeServer()
    async with serving(fake) as server:
        fake.faults = ["fewer"]
        lost, *came = await server.generate(ASKED, lambda _: None)
    assert isinstance(lost, TransientError)
    assert "gave 2 of 3 samples" in str(lost)
    assert [one.text[0] for one in completed(came)] == ["6", "7"]


async def test_what_will_not_change_is_not_transient() -> None:
    fake = FakeServer(context=60)
    async with serving(fake) as server:
        with pytest.raises(GenerationError, match="answered 400: maximum context length"):
            await drawn(server, Request("p", "x" * 100))
        with pytest.raises(UnfitRequest, match="the prompt has 113 tokens, and mock has a context of 60"):
            await drawn(server, Request("p", "x" * 100, sampling=Sampling(max_tokens=5)))
        fake.faults = ["400"]
        with pytest.raises(GenerationError, match="answered 400") as raised:
            await drawn(server, ASKED)
        assert not isinstance(raised.value, TransientError)
        fake.faults = ["403", "403"]
        with pytest.raises(BackendGone, match="answered 403"):
            await drawn(server, ASKED)


@pytest.mark.parametrize("vllm", [True, False])
async def test_a_request_that_moderation_turns_away_costs_no_other(vllm: bool) -> None:
    class Moderated(FakeServer):
        async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            if "DROP TABLE" in text_of(body):
                return web.json_response({"error": {"message": "your input was flagged"}}, status=403)
            return await super()._answer(request, body)

    async with Moderated(vllm=vllm).running() as fake, Retrying(OpenAIServer(fake.url)) as server:
        questions = ["3 + 4?", "What does DROP TABLE do?", "5 + 2?"]
        solutions = {each.problem: each async for each in solve_all(questions, Vote(2), server)}
    assert [solutions[name].answer for name in "123"] == ["7", None, "7"]
    assert "answered 403: your input was flagged" in solutions["2"].why_lost
    assert solutions["2"].failed


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "ftp://x/v1",
        "http://",
        "http://me:secret@localhost/v1",
        "http://localhost:port/v1",
        "http://localhost:99999/v1",
        "http://localhost:0/v1",
        "http://[::1/v1",
        "http://localhost/v1?key=secret",
        "http://localhost/v1#secret",
    ],
)
def test_an_address_that_is_none_is_refused_and_not_repeated_with_its_password(url: str) -> None:
    with pytest.raises(InputError) as raised:
        VLLMServer(url)
    assert "secret" not in str(raised.value)


def everything(thing: object) -> str:
    """What an object of metagen's, and all that it is made of, prints as."""
    ours = type(thing).__module__.startswith("metagen")
    parts = getattr(thing, "__dict__", {}).values() if ours else ()
    return repr(thing) + "".join(map(everything, parts))


async def test_a_key_is_sent_and_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sesame")
    async with serving(FakeServer(key="sesame"), key_env="MY_KEY") as server:
        assert "sesame" not in everything(server)
    with pytest.raises(InputError, match=r"answered 401: wrong key Bearer \*\*\*"):
        async with serving(FakeServer(key="open"), key_env="MY_KEY"):
            pass


async def test_a_key_that_is_none_is_refused_without_being_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", " sesame\n")
    async with serving(FakeServer(key="sesame"), key_env="MY_KEY"):
        pass
    monkeypatch.setenv("MY_KEY", "sesame\nopen")
    with pytest.raises(InputError, match="MY_KEY holds no key: it has control characters"):
        async with serving(FakeServer(key="sesame"), key_env="MY_KEY"):
            pass


@pytest.mark.parametrize(
    ("settings", "said"), [({}, "serves several models: name one of a, b"), ({"model": "c"}, "does not serve 'c'")]
)
async def test_a_model_that_is_not_served_is_named(settings: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        async with serving(FakeServer(models=("a", "b")), **settings):
            pass
    async with serving(FakeServer(models=("a", "b")), model="b") as server:
        assert server.name == "b"


async def test_2000_requests_are_in_flight_at_once() -> None:
    fake = FakeServer(lambda prompt, seed: "x", together=2000)
    async with serving(fake) as server:
        books: list[Usage] = []
        await asyncio.gather(*(server.generate(Request("p", "?", n=2), books.append) for _ in range(2000)))
    assert fake.peak == 2000
    assert sum(books, Usage()).completion_tokens == 4000


async def test_an_accepted_sample_cancels_its_siblings_at_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, strategy = Problem("p", "3 + 4?", "7"), Until(MatchesReference(), limit=8, window=4)
    seeds = Counting(lambda _: "The answer is 7.")
    await solve(problem, strategy, seeds, seed=1)
    first = seeds.requests[0].seed
    fake = FakeServer(lambda prompt, seed: "The answer is 7." if seed == first else "x" * 900, hold=30)
    arrivals = Arrivals(monkeypatch)
    async with serving(fake) as server:
        solution = await solve(problem, strategy, server, seed=1)
        assert solution.correct
        await until(lambda: fake.in_flight == 0)
    assert solution.usage.estimated_tokens == 0
    assert solution.usage.completion_tokens == sum(arrivals.streams) <= fake.written


@pytest.mark.parametrize(
    ("header", "seconds"), [("3", 3.0), ("-1", 0.0), ("soon", None), ("", None), ("inf", None), ("nan", None)]
)
def test_how_long_to_wait(header: str, seconds: float | None) -> None:
    assert read_seconds(header) == seconds
    assert read_seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0


async def test_a_server_that_is_opened_again_is_explored_anew() -> None:
    fake = FakeServer()
    async with fake.running():
        server = VLLMServer(fake.url)
        for name, context in (("another", 500), ("mock", 2000)):
            fake.models, fake.context = (name,), context
            async with server:
                assert (server.name, server.context) == (name, context)


@pytest.mark.parametrize("status", ["408", "409", "424", "425", "429", "500", "502", "503", "504", "529"])
async def test_after_a_status_that_may_pass_the_request_is_sent_again(status: str) -> None:
    fake = FakeServer()
    async with fake.running(), Retrying(VLLMServer(fake.url), wait=0, longest=0) as server:
        fake.faults = [status, status]
        assert len(completed(await server.generate(ASKED, lambda _: None))) == 3
    assert len(fake.bodies) == 3


@pytest.mark.parametrize("status", ["400", "413", "422", "418"])
async def test_a_refusal_of_what_a_request_holds_is_told_apart(status: str) -> None:
    fake = FakeServer()
    async with serving(fake) as server:
        fake.faults = [status]
        with pytest.raises(GenerationError, match=f"answered {status}") as raised:
            await drawn(server, ASKED)
    assert isinstance(raised.value, UnfitRequest) == (status != "418")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "3"}, 3.0),
        ({"Retry-After": "3", "retry-after-ms": "250"}, 0.25),
        ({"Retry-After": "3", "Retry-After-Ms": "soon"}, 3.0),
        ({}, None),
    ],
)
async def test_the_finer_of_two_times_to_wait_counts(headers: dict[str, str], seconds: float | None) -> None:
    async with refusing(429, {"message": "too many requests"}, headers) as server:
        with pytest.raises(TransientError) as raised:
            await drawn(server, ASKED)
    assert raised.value.retry_after == seconds


@pytest.mark.parametrize(("status", "said", "again"), [(500, "false", False), (400, "true", True), (429, "?", True)])
async def test_a_server_that_says_whether_to_ask_again_is_believed(status: int, said: str, again: bool) -> None:
    async with refusing(status, {"message": "no"}, {"x-should-retry": said}) as server:
        with pytest.raises(GenerationError, match=f"answered {status}: no") as raised:
            await drawn(server, ASKED)
    assert isinstance(raised.value, TransientError) == again


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (429, {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": None}),
        (429, {"message": "You exceeded your current quota", "code": "insufficient_quota"}),
        (402, {"message": "You exceeded your current quota"}),
        (402, "You exceeded your current quota"),
    ],
)
async def test_an_account_that_is_spent_ends_the_run_at_once(status: int, error: object) -> None:
    async with refusing(status, error) as server:
        asked = len(server.asked)
        with pytest.raises(BackendGone, match=f"answered {status}: You exceeded your current quota"):
            await Retrying(server, attempts=2, wait=0, longest=0).generate(ASKED, lambda _: None)
        assert len(server.asked) == asked + 1


async def test_a_rate_that_is_limited_is_told_apart_from_a_request_that_no_rate_allows() -> None:
    async with refusing(429, {"message": "Rate limit reached for requests"}) as server:
        with pytest.raises(ServerBusy):
            await drawn(server, ASKED)
    said = "Request too large for gpt-4 on tokens per min (TPM): Limit 10000, Requested 15000."
    async with refusing(429, {"message": said, "type": "tokens", "code": "rate_limit_exceeded"}) as server:
        with pytest.raises(UnfitRequest, match="answered 429: Request too large"):
            await drawn(server, ASKED)


class Watched(OpenAIServer):
    """A server, and what it was asked."""

    asked: list[dict[str, Any]]


@asynccontextmanager
async def refusing(status: int, error: object, headers: dict[str, str] | None = None) -> AsyncIterator[Watched]:
    """An open server that answers every request so."""

    class Refusing(FakeServer):
        async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            return web.json_response({"error": error}, status=status, headers=headers)

    fake = Refusing()
    async with fake.running(), Watched(fake.url, dialect="vllm") as server:
        server.asked = fake.bodies
        yield server


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_key_that_may_list_models_and_not_ask_is_refused_at_the_opening(status: int) -> None:
    class Public(FakeServer):
        async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            return web.json_response({"error": {"message": "no credentials"}}, status=status)

    with pytest.raises(InputError, match=rf"cannot use .*answered {status}: no credentials"):
        async with serving(Public(vllm=False)):
            pass


async def test_where_no_key_was_sent_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(InputError, match=r"answered 401: wrong key \(no key was sent: MY_KEY is not set\)"):
        async with serving(FakeServer(key="sesame"), key_env="MY_KEY"):
            pass


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
async def test_a_key_that_is_given_as_a_header_goes_in_place_of_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "of-somebody-else")
    seen: list[tuple[str, str]] = []

    class Looking(FakeServer):
        async def _models(self, request: web.Request) -> web.Response:
            seen.extend(request.headers.items())
            return await super()._models(request)

        async def _generate(self, request: web.Request) -> web.StreamResponse:
            seen.extend(request.headers.items())
            return await super()._generate(request)

    headers = {name: "Bearer sesame", "content-type": "application/json"}
    async with serving(Looking(key="sesame"), headers=headers) as server:
        await drawn(server, ASKED)
    assert {value for key, value in seen if key.lower() == "authorization"} == {"Bearer sesame"}
    assert [value for key, value in seen if key.lower() == "content-type"] == ["application/json"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"error": null, "message": "no power"}', "no power"),
        ('[{"error": {"code": 400, "message": "no power", "status": "INVALID_ARGUMENT"}}]', "no power"),
        ('{"error": {"message": null, "code": "no_power"}}', "{'message': None, 'code': 'no_power'}"),
        ('{"error": "no power"}', "no power"),
        ("no power", "no power"),
        ("[]", "Bad Request"),
    ],
)
async def test_what_a_refusal_says_is_found(body: str, said: str) -> None:
    class Refusing(FakeServer):
        async def _answer(self, request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
            return web.Response(text=body, status=400)

    async with serving(Refusing()) as server:
        with pytest.raises(UnfitRequest, match=re.escape(f"answered 400: {said}") + "$"):
            await drawn(server, ASKED)


class Gateway(FakeServer):
    """Passes on the models `behind` it, of which it lists others; a name that it does not know gets `unknown`."""

    def __init__(self, *behind: str, unknown: int = 404, reasons: bool = False) -> None:
        super().__init__(vllm=False, models=("a", "b"))
        self.behind, self.unknown, self.reasons = behind, unknown, reasons

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if body["model"] not in self.behind:
            said = {"error": {"message": f"{body['model']} is no model that can be asked"}}
            return web.json_response(said, status=self.unknown)
        if self.reasons and "max_tokens" in body:
            said = {"error": {"message": "'max_tokens' is not supported: use 'max_completion_tokens' instead"}}
            return web.json_response(said, status=400)
        return await super()._answer(request, body)


@pytest.mark.parametrize("unknown", [400, 403, 404, 422, 503])
@pytest.mark.parametrize("reasons", [True, False])
async def test_a_model_that_a_gateway_does_not_list_is_used_if_it_answers(unknown: int, reasons: bool) -> None:
    fake = Gateway("my-deployment", unknown=unknown, reasons=reasons)
    async with fake.running(), OpenAIServer(fake.url, "my-deployment") as server:
        assert server.name == "my-deployment"
        assert len((await drawn(server, ASKED))[0]) == 3


@pytest.mark.parametrize("unknown", [400, 404, 422])
async def test_a_model_that_a_gateway_neither_lists_nor_has_is_refused(unknown: int) -> None:
    fake = Gateway("my-deployment", unknown=unknown)
    async with fake.running():
        with pytest.raises(InputError, match="does not serve 'my-deplyment': name one of a, b"):
            await OpenAIServer(fake.url, "my-deplyment").__aenter__()


@pytest.mark.parametrize("status", [401, 402])
async def test_a_key_that_may_not_ask_for_a_model_that_is_not_listed_is_told_so(status: int) -> None:
    fake = Gateway(unknown=status)
    async with fake.running():
        with pytest.raises(InputError, match=f"answered {status}: c is no model that can be asked"):
            await OpenAIServer(fake.url, "c").__aenter__()
