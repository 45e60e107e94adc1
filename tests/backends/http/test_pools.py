"""Pools that are recorded over servers: the lengths of samples without ids, and of which server they are."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from metagen import (
    Balanced,
    Budget,
    InputError,
    Model,
    OpenAIServer,
    Problem,
    Recorded,
    Request,
    Retrying,
    Sampling,
    Solution,
    Usage,
    Vote,
    solve,
)
from metagen.backends.http.openai import shares
from metagen.messages import Message
from tests.backends.http.test_dialects import LlamaServer, SGLangServer
from tests.backends.http.test_long_prompts import Wordy
from tests.backends.http.test_oddities import Saying, opened
from tests.backends.test_recorded import WRAPS
from tests.support.fake_server import FakeServer
from tests.support.outcomes import completed

PROBLEM = Problem("p", "3 + 4?", "7")
SERVERS = [FakeServer(vllm=False), FakeServer(vllm=False, several=False), SGLangServer(), LlamaServer(), FakeServer()]


def row(line: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(line)
    return read


async def recorded(path: Path, fake: FakeServer, **settings: Any) -> Solution:
    async with opened(fake) as server, Recorded(path, server) as pool:
        return await solve(PROBLEM, Vote(4), pool, seed=5, **settings)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("fake", SERVERS)
async def test_samples_have_the_lengths_that_were_paid_for(fake: FakeServer, n: int, streamed: bool) -> None:
    books: list[Usage] = []
    request = Request("p", "3 + 4?", n=n, seed=5, passing=streamed and n == 1)
    async with opened(fake) as server:
        outcomes = completed(await server.generate(request, books.append))
    assert [one.length for one in outcomes] == [len(one.text) for one in outcomes]  # a token is a character
    assert sum(one.length for one in outcomes) == sum(books, Usage()).completion_tokens


@pytest.mark.parametrize("fake", SERVERS)
async def test_a_pool_of_any_server_is_played_at_what_it_cost(tmp_path: Path, fake: FakeServer) -> None:
    path = tmp_path / "pool.jsonl"
    live = await recorded(path, fake)
    async with Recorded(path) as pool:
        played = await solve(PROBLEM, Vote(4), pool, seed=5)
        poor = await solve(PROBLEM, Vote(4), pool, seed=5, budget=Budget(tokens=25))
    assert played.answer == live.answer == "7"
    assert played.usage.completion_tokens == live.usage.completion_tokens > 0
    assert poor.usage.tokens <= 25
    assert poor.answer is None


@pytest.mark.parametrize(("vllm", "several"), [(True, True), (False, True), (False, False)])
async def test_a_sample_that_a_budget_cut_is_not_recorded(tmp_path: Path, vllm: bool, several: bool) -> None:
    path = tmp_path / "pool.jsonl"
    async with opened(FakeServer(vllm=vllm, several=several)) as server, Recorded(path, server) as pool:
        for n in (1, 2):
            cut = completed(await pool.generate(Request("p", "3 + 4?", n=n, room=30 if n > 1 else 5), lambda _: None))
            assert {one.end for one in cut if len(one.text) < 19} <= {"length"}
        lines = [row(line) for line in path.read_text().splitlines()]
        assert all(line.get("end", "eos") == "eos" for line in lines)


@pytest.mark.parametrize("fake", SERVERS)
async def test_a_sample_that_its_own_limit_cut_is_recorded(tmp_path: Path, fake: FakeServer) -> None:
    path, request = tmp_path / "pool.jsonl", Request("p", "3 + 4?", n=2, seed=5, sampling=Sampling(max_tokens=4))
    async with opened(fake) as server, Recorded(path, server) as pool:
        await pool.generate(request, lambda _: None)
        before = len(fake.bodies)
        again = completed(await pool.generate(request, lambda _: None))
        assert len(fake.bodies) == before
    assert [(one.text, one.end, one.length) for one in again] == [("5. T", "length", 4), ("6. T", "length", 4)]


async def test_samples_share_a_count_by_their_bytes_and_none_passes_its_limit() -> None:
    def uneven(reply: dict[str, Any]) -> dict[str, Any]:
        for choice, text in zip(reply["choices"], ["a" * 99, "a" * 9, "", "a" * 29], strict=True):
            choice["message"]["content"] = text
        return reply | {"usage": {"prompt_tokens": 9, "completion_tokens": 70}}

    for limit, lengths in ((None, [50, 5, 0, 15]), (40, [40, 5, 0, 15])):
        fake = Saying(uneven, vllm=False)
        async with opened(fake) as server:
            fake.odd = True
            request = Request("p", "3 + 4?", n=4, sampling=Sampling(max_tokens=limit))
            outcomes = completed(await server.generate(request, lambda _: None))
        assert [one.length for one in outcomes] == pytest.approx(lengths, abs=1)


async def test_a_lost_sample_keeps_its_share() -> None:
    def lost(reply: dict[str, Any]) -> dict[str, Any]:
        reply["choices"][1]["finish_reason"] = "content_filter"
        return reply

    fake, books = Saying(lost, vllm=False), list[Usage]()
    async with opened(fake) as server:
        fake.odd = True
        outcomes = await server.generate(Request("p", "3 + 4?", n=4, seed=5), books.append)
    assert [one.length for one in outcomes if hasattr(one, "length")] == [19, 19, 19]
    assert sum(books, Usage()).completion_tokens == 4 * 19


async def test_what_nobody_counted_has_the_estimate_for_its_length(tmp_path: Path) -> None:
    fake = Saying(lambda reply: reply | {"usage": None}, vllm=False)
    async with opened(fake) as server, Recorded(tmp_path / "pool.jsonl", server) as pool:
        fake.odd = True
        live = await solve(PROBLEM, Model(), pool, seed=5)
    async with Recorded(tmp_path / "pool.jsonl") as played:
        again = await solve(PROBLEM, Model(), played, seed=5)
    assert again.usage.completion_tokens == live.usage.completion_tokens == len(live.text)


async def test_the_tokens_of_a_thought_are_kept_too(tmp_path: Path) -> None:
    def telling(reply: dict[str, Any]) -> dict[str, Any]:
        counts = {"prompt_tokens": 9, "completion_tokens": 30, "completion_tokens_details": {"reasoning_tokens": 12}}
        message = reply["choices"][0]["message"] | {"reasoning": "hm"}
        return {"choices": [reply["choices"][0] | {"message": message}], "usage": counts}

    fake = Saying(telling, vllm=False)
    async with opened(fake) as server, Recorded(tmp_path / "pool.jsonl", server) as pool:
        fake.odd = True
        live = await solve(PROBLEM, Model(), pool, seed=5)
    async with Recorded(tmp_path / "pool.jsonl") as played:
        again = await solve(PROBLEM, Model(), played, seed=5)
    assert (again.usage.completion_tokens, again.usage.thought_tokens) == (30, 12)
    assert live.usage.thought_tokens == 12


async def test_a_server_whose_only_model_was_not_named_records_again(tmp_path: Path) -> None:
    path, fake = tmp_path / "pool.jsonl", FakeServer()
    async with fake.running():
        for _ in range(2):
            async with Recorded(path, Retrying(OpenAIServer(fake.url))) as pool:
                await solve(PROBLEM, Model(), pool)
    assert len(fake.bodies) == 1
    assert row(path.read_text())["model"] == "mock"


COLD, HOT = {"temperature": 0}, {"temperature": 1.5}


async def drawn(path: Path, fake: FakeServer, wrap: Any, extra: dict[str, Any] | None, problem: str = "p") -> None:
    async with Recorded(path, wrap(OpenAIServer(fake.url, extra=extra))) as pool:
        completed(await pool.generate(Request(problem, "3 + 4?"), lambda _: None))


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
@pytest.mark.parametrize(("first", "other"), [(COLD, HOT), (HOT, None), (None, COLD), ({"a": [1, 2]}, {"a": [1]})])
async def test_a_pool_of_a_server_with_other_fields_is_refused(
    tmp_path: Path, first: dict[str, Any] | None, other: dict[str, Any] | None, wrap: Any
) -> None:
    path, fake = tmp_path / "pool.jsonl", FakeServer()
    async with fake.running():
        await drawn(path, fake, wrap, first)
        before = path.read_bytes()
        with pytest.raises(InputError, match=r"pool.jsonl, line 1: was drawn with extra=\{.*give another pool"):
            await drawn(path, fake, wrap, other)
        assert path.read_bytes() == before
        await drawn(path, fake, wrap, first)
        await drawn(path, fake, wrap, first, "another")
        assert len(fake.bodies) == 2
    async with Recorded(path) as played:
        completed(await played.generate(Request("p", "3 + 4?"), lambda _: None))


@pytest.mark.parametrize(("first", "other"), [({"a": 1.0}, {"a": 1}), ({"a": (1, 2)}, {"a": [1, 2]}), ({}, None)])
async def test_equal_fields_are_the_same_however_they_are_written(tmp_path: Path, first: Any, other: Any) -> None:
    path, fake = tmp_path / "pool.jsonl", FakeServer()
    async with fake.running():
        await drawn(path, fake, Retrying, first)
        await drawn(path, fake, Retrying, other)
        assert len(fake.bodies) == 1


async def test_a_pool_of_which_the_fields_are_not_known_is_taken_as_it_is(tmp_path: Path) -> None:
    """As pools were drawn before, or elsewhere."""
    path, fake = tmp_path / "pool.jsonl", FakeServer()
    path.write_text('{"model":"mock","problem":"p","prompt":"3 + 4?","sampling":{},"draw":0,"text":"It is 7."}\n')
    async with fake.running():
        await drawn(path, fake, Retrying, HOT)
    assert not fake.bodies


async def test_servers_with_other_fields_together_are_no_single_one(tmp_path: Path) -> None:
    path, fake = tmp_path / "pool.jsonl", FakeServer()
    async with fake.running():

        def beside(of: OpenAIServer) -> Balanced:
            return Balanced(of, OpenAIServer(fake.url, extra=HOT))

        await drawn(path, fake, beside, COLD)
        with pytest.raises(InputError, match=r"was drawn with extra=.*balanced"):
            await drawn(path, fake, Retrying, COLD)
        await drawn(path, fake, beside, COLD)


async def test_a_pool_without_lengths_is_still_played(tmp_path: Path) -> None:
    path = tmp_path / "pool.jsonl"
    path.write_text('{"model":"mock","problem":"p","prompt":"3 + 4?","sampling":{},"draw":0,"text":"It is 7."}\n')
    async with Recorded(path) as pool:
        (one,) = completed(await pool.generate(Request("p", "3 + 4?"), lambda _: None))
    assert (one.text, one.length) == ("It is 7.", 0)


@pytest.mark.parametrize(("total", "sizes"), [(0, [1, 1]), (7, [1, 1, 1]), (1, [5, 1]), (100, [1, 99, 3, 0])])
def test_shares_sum_to_the_total(total: int, sizes: list[int]) -> None:
    parts = shares(total, sizes)
    assert sum(parts) == total
    assert len(parts) == len(sizes)
    assert min(parts) >= 0


async def test_extras_whose_names_are_no_texts_are_those_of_the_pool(tmp_path: Path) -> None:
    fake, path = FakeServer(vllm=False), tmp_path / "pool.jsonl"
    async with fake.running():
        for _ in range(2):
            server = OpenAIServer(fake.url, extra={"logit_bias": {42: -100}, "api_key": "secret"})
            async with Recorded(path, server) as pool:
                await solve(PROBLEM, Vote(2), pool)
    assert "secret" not in path.read_text()


async def test_a_thought_of_less_than_nothing_is_none(tmp_path: Path) -> None:
    class Absurd(FakeServer):
        async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            reply = await super()._answer(request, body)
            assert isinstance(reply, web.Response)
            told = json.loads(reply.body)  # type: ignore[arg-type]
            told["usage"]["completion_tokens_details"] = {"reasoning_tokens": -5}
            return web.json_response(told)

    path = tmp_path / "pool.jsonl"
    await recorded(path, Absurd(vllm=False))
    assert not [line for line in path.read_text().splitlines() if row(line).get("thought_tokens", 0) < 0]


@pytest.mark.parametrize("fake", SERVERS)
async def test_a_pool_holds_the_servers_own_count_of_a_prompt(tmp_path: Path, fake: FakeServer) -> None:
    drawn = await recorded(tmp_path / "pool.jsonl", fake)
    paid = drawn.usage.prompt_tokens // drawn.usage.calls
    lines = (tmp_path / "pool.jsonl").read_text().splitlines()
    assert {row(line)["prompt_tokens"] for line in lines} == {paid}


async def test_a_prompt_that_was_counted_once_is_not_reckoned_by_its_bytes_again() -> None:
    request = Request("p", "word " * 3_000)
    async with opened(Wordy("sglang", 32768)) as server:
        books: list[Usage] = []
        assert await server.count(request) > 15_000
        await server.generate(request, books.append)
        assert await server.count(request) == sum(books, Usage()).prompt_tokens < 3_010
        assert await server.count(Request("p", "word " * 3_001)) > 15_000
        assert await server.count(replace(request, before=(Message("system", "Be brief."),))) > 15_000


async def test_a_wrong_count_of_a_prompt_is_not_remembered() -> None:
    class Absurd(Wordy):
        async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            choices = [{"index": 0, "message": {"content": "7."}, "finish_reason": "stop"}]
            return web.json_response({"choices": choices, "usage": {"prompt_tokens": 0, "completion_tokens": 2}})

    async with opened(Absurd("sglang", 32768)) as server:
        before = await server.count(Request("p", "3 + 4?"))
        await server.generate(Request("p", "3 + 4?"), lambda _: None)
        assert await server.count(Request("p", "3 + 4?")) == before
