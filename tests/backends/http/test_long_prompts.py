"""Prompts whose bound, a token a byte, is past the context or near it, and whose tokens are far fewer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from metagen import (
    Balanced,
    Budget,
    Model,
    OpenAIServer,
    Problem,
    Request,
    Retrying,
    Sampling,
    UnfitRequest,
    Usage,
    Vote,
    solve,
)
from metagen.backends.http.server import COUNTS
from tests.support.fake_server import FakeServer, text_of
from tests.support.outcomes import completed


class Wordy(FakeServer):
    """A token is a word. It counts and limits so, and refuses a prompt and a limit that pass its context together."""

    def __init__(self, owner: str, context: int, *, told: bool = True, reply: int = 12, vllm: bool = False) -> None:
        super().__init__(vllm=vllm)
        self.owner, self.length, self.told, self.reply = owner, context, told, reply
        self.refused = 0

    async def _models(self, request: web.Request) -> web.Response:
        told = {"max_model_len": self.length} if self.told else {}
        return web.json_response({"data": [{"id": "mock", "owned_by": self.owner, **told}]})

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        prompt = len(text_of(body).split())
        if prompt + (body.get("max_tokens") or 1) > self.length:
            self.refused += 1
            said = f"This model's maximum context length is {self.length} tokens"
            return web.json_response({"error": {"message": said}}, status=400)
        n, limit = body.get("n", 1), body.get("max_tokens") or self.length - prompt
        written = min(self.reply, limit)
        text = " ".join([*(["hm"] * (self.reply - 4)), "The", "answer", "is", "7."][:written])
        end = "length" if written < self.reply else "stop"
        choices = [{"index": at, "message": {"content": text}, "finish_reason": end} for at in range(n)]
        usage = {"prompt_tokens": prompt, "completion_tokens": n * written}
        return web.json_response({"choices": choices, "usage": usage})


@asynccontextmanager
async def opened(fake: FakeServer, **settings: Any) -> AsyncIterator[OpenAIServer]:
    async with fake.running(), OpenAIServer(fake.url, **settings) as server:
        fake.bodies.clear()
        yield server


LONG = "word " * 7000
SERVERS = [("sglang", 32768, True), ("somebody", 128_000, False)]


@pytest.mark.parametrize("words", [1, 1600, 6000, 7000])
@pytest.mark.parametrize(("owner", "context", "told"), SERVERS)
async def test_a_limit_is_sent_as_it_was_given(owner: str, context: int, told: bool, words: int) -> None:
    fake = Wordy(owner, context, told=told)
    async with opened(fake) as server:
        solution = await solve(Problem("p", "word " * words), Vote(2), server, default=Model(max_tokens=500))
    assert {body.get("max_tokens") for body in fake.bodies} == {500}
    assert solution.answer == "7"
    assert solution.usage.estimated_tokens == 0


@pytest.mark.parametrize("words", [1, 1600, 6000, 7000])
@pytest.mark.parametrize(("owner", "context", "told"), SERVERS)
async def test_a_budget_leaves_a_long_prompt_a_whole_reply(owner: str, context: int, told: bool, words: int) -> None:
    fake = Wordy(owner, context, told=told, reply=3000)
    async with opened(fake) as server:
        solution = await solve(Problem("p", "word " * words), Vote(1), server, budget=Budget(tokens=100_000))
    assert solution.answer == "7"
    assert solution.usage.tokens <= 100_000


@pytest.mark.parametrize("wrap", [lambda of: of, Retrying, Balanced], ids=["bare", "retrying", "balanced"])
@pytest.mark.parametrize("length", [10, 300, 600, 3000])
async def test_a_server_that_draws_singly_cuts_no_reply_under_a_budget(length: int, wrap: Any) -> None:
    fake = FakeServer(vllm=False, several=False, context=5000)
    async with fake.running(), wrap(OpenAIServer(fake.url)) as server:
        fake.bodies.clear()
        vote = Vote(4, of=Model(max_tokens=500))
        solution = await solve(Problem("p", "w" * length), vote, server, budget=Budget(tokens=100_000))
    assert (solution.answer, solution.lost) == ("7", 0)
    assert [body["max_tokens"] for body in fake.bodies] == [500] * 4


@pytest.mark.parametrize("tokens", [50, 200, 700, 1_300, 3_000, 10_000])
@pytest.mark.parametrize("several", [True, False])
async def test_no_budget_is_passed_by_servers_that_draw_singly(several: bool, tokens: int) -> None:
    fake = FakeServer(vllm=False, several=several)
    async with fake.running(), OpenAIServer(fake.url) as server:
        for sampling in (Model(), Model(max_tokens=500)):
            problem = Problem("p", "w" * 600)
            solution = await solve(problem, Vote(4, of=sampling), server, budget=Budget(tokens=tokens))
            assert solution.usage.tokens <= tokens


@pytest.mark.parametrize("tokens", [2_000, 20_000, 36_000, 40_000, 60_000])
async def test_no_budget_is_passed_by_a_long_prompt(tokens: int) -> None:
    fake = Wordy("sglang", 32768, reply=30_000)
    async with opened(fake) as server:
        solution = await solve(Problem("p", LONG), Vote(4), server, budget=Budget(tokens=tokens))
    assert solution.usage.tokens <= tokens
    assert fake.bodies or solution.error


@pytest.mark.parametrize(("owner", "context", "told"), [*SERVERS, ("vllm", 32768, True)])
@pytest.mark.parametrize(("words", "reply"), [(7000, 12), (1, 9000), (7000, 20_000)])
async def test_a_sound_count_is_believed_however_long_the_prompt(
    owner: str, context: int, told: bool, words: int, reply: int
) -> None:
    books: list[Usage] = []
    fake = Wordy(owner, context, told=told, reply=reply, vllm=owner == "vllm")
    async with opened(fake, dialect="vllm" if owner == "vllm" else "auto") as server:
        request = Request("p", "word " * words, n=2)
        assert [len(one.text.split()) for one in completed(await server.generate(request, books.append))] == [reply] * 2
        assert COUNTS not in server.missing
    assert sum(books, Usage()).completion_tokens == 2 * reply
    assert sum(books, Usage()).estimated_tokens == 0


@pytest.mark.parametrize("counted", [{"completion_tokens": 10**12}, {"prompt_tokens": 10**12}, {"prompt_tokens": -1}])
@pytest.mark.parametrize(("owner", "context", "told"), SERVERS)
async def test_an_absurd_count_is_not_believed(owner: str, context: int, told: bool, counted: dict[str, int]) -> None:
    class Absurd(Wordy):
        async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            usage = {"prompt_tokens": 5, "completion_tokens": 2} | counted
            choices = [{"index": at, "message": {"content": "7."}, "finish_reason": "stop"} for at in range(2)]
            return web.json_response({"choices": choices, "usage": usage})

    async with opened(Absurd(owner, context, told=told)) as server:
        await server.generate(Request("p", "?", n=2), lambda _: None)
        assert COUNTS in server.missing


@pytest.mark.parametrize(
    ("words", "limit", "sent"),
    [
        (2, 32_767, [32_742]),  # the bound fits for certain
        (4000, 30_000, [16_384]),
        (20_000, 16_000, [16_000, 8_000]),
        (4000, 10**6, [16_384]),
    ],
)
async def test_a_limit_that_a_server_finds_too_long_is_lowered(words: int, limit: int, sent: list[int]) -> None:
    fake, books = Wordy("sglang", 32768), list[Usage]()
    async with opened(fake) as server:
        request = Request("p", "word " * words, sampling=Sampling(max_tokens=limit))
        completed(await server.generate(request, books.append))
    assert [body["max_tokens"] for body in fake.bodies] == sent
    assert sum(books, Usage()).calls == len(sent)


async def test_a_refusal_of_another_kind_lowers_no_limit() -> None:
    class Refusing(Wordy):
        async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            return web.json_response({"error": {"message": "no pictures, please"}}, status=400)

    fake = Refusing("somebody", 32768)
    async with opened(fake) as server:
        with pytest.raises(UnfitRequest, match="no pictures"):
            await server.generate(Request("p", "?", sampling=Sampling(max_tokens=9000)), lambda _: None)
    assert len(fake.bodies) == 1


@pytest.mark.parametrize(("words", "limit"), [(32_768, 500), (32_500, 500), (28_000, 5000), (40_000, None)])
async def test_what_does_not_fit_is_refused_and_not_cut(words: int, limit: int | None) -> None:
    fake, books = Wordy("sglang", 32768), list[Usage]()
    async with opened(fake) as server:
        request = Request("p", "word " * words, sampling=Sampling(max_tokens=limit))
        with pytest.raises(UnfitRequest, match="maximum context length"):
            await server.generate(request, books.append)
    assert sum(books, Usage()) == Usage(calls=1)
    assert fake.refused == 1
