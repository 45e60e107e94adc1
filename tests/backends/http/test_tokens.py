"""The token ids that a server tells, and what is kept of them."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from metagen import Completion, Request, Sampling, TransientError, UnfitRequest, VLLMServer
from metagen.backends.http.connection import Refused
from metagen.backends.http.dialects import Chat
from metagen.backends.http.tokens import Tokens
from metagen.messages import Message
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


class Letters:
    """A dialect of a model whose tokens are letters, but for token 1, which is a semicolon with a line end.

    Its chat template shows system turns, leaves them out, or refuses them.
    """

    returns_ids = True

    def __init__(self, system: str = "shows") -> None:
        self.system = system
        self.asked: list[Any] = []

    async def tokenize(self, _post: object, _model: str, chat: Chat) -> tuple[int, ...]:
        self.asked.append(chat)
        roles = {turn["role"] for turn in chat.messages}
        if self.system == "refuses" and "system" in roles:
            raise Refused(400, "no system turns")
        shown = [turn for turn in chat.messages if self.system == "shows" or turn["role"] != "system"]
        return tuple(ord(letter) for turn in shown for letter in turn["content"])

    async def encode(self, _post: object, _model: str, text: str) -> tuple[int, ...]:
        self.asked.append(text)
        return tuple(map(ord, text))

    async def detokenize(self, _post: object, _model: str, ids: list[int]) -> str:
        self.asked.append(ids)
        return "".join(";\n" if each == 1 else chr(each) for each in ids)


def over(letters: Any) -> Tokens:
    http: Any = None
    return Tokens(http, letters, "mock", 1000)


def ids(text: str) -> tuple[int, ...]:
    return tuple(map(ord, text))


@pytest.mark.parametrize(
    ("text", "told", "kept", "asked"),
    [
        ("ab\n", ids("ab\n"), True, [[10]]),  # all of the last token is there
        ("ab;\n", (*ids("ab"), 1), True, [[1]]),
        ("ab;", (*ids("ab"), 1), False, [[1], [97, 98, 1]]),  # the stop string ended inside of the last token
        ("ab", (*ids("ab"), 0xDC80), False, [[0xDC80], [97, 98, 0xDC80]]),
    ],
)
async def test_a_step_keeps_its_ids_if_they_spell_just_its_text(
    text: str, told: tuple[int, ...], kept: bool, asked: list[list[int]]
) -> None:
    letters = Letters()
    tokens = over(letters)
    step = Completion(text, length=len(told), end="stop", stop="\n")
    assert (await tokens.spell(step, told)).tokens == (told if kept else ())
    assert letters.asked == asked
    await tokens.spell(step, told)
    assert letters.asked == [*asked, *asked[1:]], "what a token spells is asked for once"


async def test_a_reply_that_no_stop_string_ended_is_asked_nothing_about() -> None:
    letters = Letters()
    whole = Completion("ab", length=2, end="stop")
    assert await over(letters).spell(whole, ids("ab")) == whole
    assert await over(letters).spell(replace(whole, stop="\n"), None) == replace(whole, stop="\n")
    assert not letters.asked


async def test_texts_and_ids_are_asked_about_once() -> None:
    letters = Letters()
    tokens = over(letters)
    assert [await tokens.encode(text) for text in ("", "ab", "ab")] == [(), ids("ab"), ids("ab")]
    assert [await tokens.spelled(97, 1) for _ in range(2)] == ["a;\n"] * 2
    assert letters.asked == ["ab", [97, 1]]


@pytest.mark.parametrize(("system", "merges"), [("shows", False), ("leaves out", True), ("refuses", True)])
async def test_a_system_turn_that_the_template_does_not_show_is_put_before_the_question(
    system: str, merges: bool
) -> None:
    letters = Letters(system)
    tokens = over(letters)
    await tokens.check_system(Request("p", "3 + 4?"))
    assert not letters.asked, "without a system turn nobody asks"
    briefed = Request("p", "3 + 4?", before=(Message("system", "Be brief."),))
    await asyncio.gather(*(tokens.check_system(briefed) for _ in range(3)))
    assert tokens.merges is merges
    told = len(letters.asked)
    assert 1 <= told <= 2
    await tokens.check_system(briefed)
    assert len(letters.asked) == told, "it is found out once"
