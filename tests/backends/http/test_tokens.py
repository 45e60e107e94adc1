"""The token ids that a server tells, and what is kept of them."""

import asyncio
from dataclasses import replace

import pytest
from aiohttp import web

from metagen import Request, Sampling, TransientError, UnfitRequest, VLLMServer
from tests.support.fake_server import FakeServer
from tests.support.timing import forever, until


class Tokenizing(FakeServer):
    """Tokenises as `mood` says."""

    mood = "well"

    async def _tokenize(self, request: web.Request) -> web.Response:
        reply = await super()._tokenize(request)
        if self.mood == "silent":
            await forever()
        return web.json_response({}, status=500) if self.mood == "ill" else reply


async def test_nothing_is_kept_of_conversations_whose_ids_did_not_come() -> None:
    fake = Tokenizing()
    async with fake.running(), VLLMServer(fake.url) as server:
        tokens = server._words.tokens
        fake.mood = "ill"
        asked = await asyncio.gather(*(server.count(Request("p", "3 + 4?")) for _ in range(3)), return_exceptions=True)
        assert all(isinstance(each, TransientError) for each in asked)
        assert not tokens._asking
        fake.mood, told = "silent", fake.seen["tokenize"]
        tasks = [asyncio.create_task(server.count(Request("p", "3 + 5?"))) for _ in range(3)]
        await until(lambda: fake.seen["tokenize"] == told + 1)
        for task in reversed(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not tokens._asking


async def test_one_that_gives_up_leaves_the_question_of_the_others_as_it_is() -> None:
    fake = Tokenizing()
    async with fake.running(), VLLMServer(fake.url) as server:
        fake.mood, told = "silent", fake.seen["tokenize"]
        first, second = (asyncio.create_task(server.count(Request("p", "3 + 4?"))) for _ in range(2))
        await until(lambda: fake.seen["tokenize"] == told + 1)
        second.cancel()
        third = asyncio.create_task(server.count(Request("p", "3 + 4?")))
        with pytest.raises(asyncio.CancelledError):
            await second
        fake.mood = "well"
        first.cancel()
        assert await third == len("<user>3 + 4?<reply>")
        assert fake.seen["tokenize"] == told + 2


async def test_a_conversation_that_is_longer_than_the_context_is_not_kept() -> None:
    fake = FakeServer(context=60)
    async with fake.running(), VLLMServer(fake.url) as server:
        long, short = (Request("p", "?" * length) for length in (100, 10))
        assert (await server.count(long), await server.count(short)) == (113, 23)
        tokens = server._words.tokens
        assert (tokens.known(long), tokens.known(short)) == (None, 23)
        with pytest.raises(UnfitRequest, match="the prompt has 113 tokens, and mock has a context of 60"):
            await server.generate(replace(long, sampling=Sampling(max_tokens=5)), lambda _: None)
