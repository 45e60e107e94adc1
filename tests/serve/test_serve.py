"""Our server, called by OpenAI's own client over a real connection."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest
from aiohttp import web
from openai import AsyncOpenAI, OpenAI

from metagen import (
    Ask,
    BackendGone,
    Budget,
    Chain,
    GenerationError,
    InputError,
    OpenAIServer,
    Price,
    Priced,
    ProgramOfThought,
    Python,
    Refine,
    Request,
    Retrying,
    Scripted,
    Solution,
    UnfitRequest,
    Vote,
    solve,
)
from metagen.disk.runs import read_solutions
from metagen.run import Generator
from metagen.serve import Key, Limits, app
from metagen.serve.application import _header
from metagen.serve.keys import hashed
from metagen.serve.names import Served
from metagen.serve.service import Folders, Latest, _without_tokens
from metagen.serve.streaming import ChatTeller
from tests.support.fake_server import FakeServer
from tests.support.serving import serving
from tests.support.timing import forever, outlast, turns

QUESTION: list[Any] = [{"role": "user", "content": "What is 3 + 4?"}]
LONG = "We add them one after the other, which is easy, and the answer is 7."


def numbered(request: Request) -> str:
    return f"The answer is {(7, 7, 8, 7)[request.draw % 4]}."


def client_of(url: str, key: str = "none") -> AsyncOpenAI:
    return AsyncOpenAI(base_url=url, api_key=key, max_retries=0)


@pytest.fixture(scope="module")
async def url() -> AsyncIterator[str]:
    """A server of votes and chains over a model that is a function."""
    models = {"small": Scripted(numbered, name="small"), "long": Scripted(LONG, name="long")}
    aliases: dict[str, Generator | str] = {
        "math": Vote(4),
        "chain": Chain(Ask("{question} Plan."), Ask("{1} Now?")),
        "refined": Refine(rounds=1),
    }
    async with serving(app(models, aliases)) as address:
        yield address


@pytest.fixture(scope="module")
async def client(url: str) -> AsyncIterator[AsyncOpenAI]:
    async with client_of(url) as opened:
        yield opened


async def test_an_alias_answers_with_its_strategy(client: AsyncOpenAI) -> None:
    reply = await client.chat.completions.create(model="math", messages=QUESTION)
    assert reply.object == "chat.completion"
    assert reply.choices[0].message.content == "The answer is 7."
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens == 14 + 4 * 16
    own = (reply.model_extra or {})["metagen"]
    assert own["strategy"] == "Vote(4)"
    assert (own["samples"], own["answers"]) == (4, ["7"])


async def test_the_models_are_listed_with_what_they_are(client: AsyncOpenAI) -> None:
    listed = {model.id: model async for model in client.models.list()}
    assert {"math", "chain", "refined", "small", "long"} == set(listed)
    assert listed["math"].owned_by == "metagen"
    assert (listed["math"].model_extra or {})["strategy"] == "Vote(4)"
    assert listed["math"].created > 1_600_000_000
    assert (await client.models.retrieve("small")).owned_by == "model"


async def test_a_served_model_passes_through_with_its_settings(client: AsyncOpenAI) -> None:
    reply = await client.chat.completions.create(model="long", messages=QUESTION, max_completion_tokens=6)
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == (LONG[:6], "length")
    reply = await client.chat.completions.create(model="long", messages=QUESTION, stop=[", which"])
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == (LONG[:31], "stop")


async def test_a_spec_is_a_name_and_so_is_one_in_the_fields_of_its_own(client: AsyncOpenAI) -> None:
    reply = await client.chat.completions.create(model="Vote(2, of=CoT())", messages=QUESTION)
    assert (reply.model_extra or {})["metagen"]["samples"] == 2
    own = {"metagen": {"strategy": "Vote(3)", "budget": {"tokens": 500}, "seed": 3}}
    raw = await client.chat.completions.with_raw_response.create(model="small", messages=QUESTION, extra_body=own)
    assert raw.headers["x-metagen-strategy"] == "Vote(3)"
    assert raw.headers["x-metagen-trace"] == raw.parse().id
    headers = {"X-Metagen-Strategy": "Vote(2)", "X-Metagen-Budget": "tokens=60"}
    reply = await client.chat.completions.create(model="small", messages=QUESTION, extra_headers=headers)
    assert reply.usage
    assert reply.usage.total_tokens <= 60


async def test_a_strategy_draws_from_the_model_that_was_asked(client: AsyncOpenAI) -> None:
    own = {"metagen": {"strategy": "BestOf(2, by=Judge())"}}
    raw = await client.chat.completions.with_raw_response.create(model="long", messages=QUESTION, extra_body=own)
    assert raw.parse().choices[0].message.content == LONG
    rows = (await client.get(f"/traces/{raw.parse().id}", cast_to=httpx.Response)).json()["data"]
    assert {row["request"]["model"] for row in rows if row.get("request")} == {"long"}, "the judge, too"
    header = {"X-Metagen-Strategy": "Vote(2)"}
    reply = await client.chat.completions.create(
        model="long", messages=QUESTION, max_tokens=6, temperature=0.5, extra_headers=header
    )
    assert reply.choices[0].message.content == LONG[:6]
    stream = await client.chat.completions.create(model="long", messages=QUESTION, extra_body=own, stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]) == LONG


async def test_a_strategy_beside_an_unknown_model_is_refused(client: AsyncOpenAI) -> None:
    for model in ("nothing", "Vote"):
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(
                model=model, messages=QUESTION, extra_body={"metagen": {"strategy": "Vote(2)"}}
            )


async def test_settings_that_reach_no_answer_are_refused() -> None:
    aliases: dict[str, Generator | str] = {
        "judged": 'BestOf(2, of=Model("m"), by=Judge())',
        "critic": 'Refine(Intrinsic(), of=Model("m"))',
        "chain": 'Chain(Ask("{question} Plan."), CoT(of=Model("m")))',
        "select": 'Select(2, of=Model("m"))',
        "attention": 'System2Attention(of=Model("m"))',
        "program": ProgramOfThought(Python()),
        "open": 'Chain(Ask("{question} Plan.", of=Model("m")), Vote(2, by=Judge(of=Model("m"))))',
        "fused": 'Fuse(2, of=Model("m"))',
    }
    async with serving(app({"m": Scripted("The answer is 7.", name="m")}, aliases)) as url, client_of(url) as client:
        for name in aliases:
            if name in ("open", "fused"):
                reply = await client.chat.completions.create(model=name, messages=QUESTION, max_tokens=3)
                assert reply.choices[0].message.content == "The"
                continue
            with pytest.raises(openai.BadRequestError, match="sets itself how its models draw") as refused:
                await client.chat.completions.create(model=name, messages=QUESTION, max_tokens=3)
            assert refused.value.param == "max_tokens"


async def test_several_choices_are_solved_apart(client: AsyncOpenAI) -> None:
    reply = await client.chat.completions.create(model="math", messages=QUESTION, n=3)
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert reply.usage
    assert reply.usage.completion_tokens == 3 * 4 * 16


async def test_a_choice_that_fails_costs_no_other() -> None:
    def failing(request: Request) -> str:
        if request.problem == "2" or "all" in request.prompt:
            raise GenerationError("no power")
        return "The answer is 7."

    async with serving(app(Scripted(failing, name="m"))) as url, client_of(url) as client:
        reply = await client.chat.completions.create(model="m", messages=QUESTION, n=3)
        assert [choice.index for choice in reply.choices] == [0, 2]
        assert (reply.model_extra or {})["metagen"]["notes"] == ["choice 1 failed: GenerationError: no power"]
        stream = await client.chat.completions.create(model="m", messages=QUESTION, n=3, stream=True)
        chunks = [chunk async for chunk in stream]
        assert [each.index for chunk in chunks for each in chunk.choices if each.finish_reason] == [0, 2]
        assert {each.index for chunk in chunks for each in chunk.choices} == {0, 2}
        assert (chunks[-1].model_extra or {})["metagen"]["notes"] == ["choice 1 failed: GenerationError: no power"]
        with pytest.raises(openai.InternalServerError, match="no power"):
            await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "all"}], n=3)


@pytest.mark.parametrize(
    ("ends", "said"),
    [("gone", "The model cannot be reached: no route"), ("slow", "No answer within 600 s")],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_choice_that_was_answered_is_not_lost_where_the_next_one_ends_the_request(
    ends: str, said: str, stream: bool
) -> None:
    answered = asyncio.Event()

    async def dying(request: Request) -> str:
        if request.problem != "2":
            asyncio.get_running_loop().call_soon(answered.set)
            return "The answer is 7."
        await answered.wait()
        await turns(1000)
        if ends == "slow":
            await outlast()
        raise BackendGone("no route")

    async with serving(app(Scripted(dying, name="m"))) as url, client_of(url) as client:
        wanted: Any = {"model": "m", "messages": QUESTION, "n": 2, "timeout": None}
        if stream:
            *chunks, last = [each async for each in await client.chat.completions.create(**wanted, stream=True)]
            assert [each.index for chunk in chunks for each in chunk.choices if each.finish_reason] == [0]
        else:
            last = await client.chat.completions.create(**wanted)
            assert [(each.index, each.message.content) for each in last.choices] == [(0, "The answer is 7.")]
        assert (last.model_extra or {})["metagen"]["notes"] == [f"choice 1 failed: {said}"]


async def test_half_of_a_surrogate_pair_is_written_as_an_escape() -> None:
    async with serving(app(Scripted("It is \ud83d. The answer is 7.", name="m"))) as url, client_of(url) as client:
        reply = await client.chat.completions.create(model="m", messages=QUESTION)
        assert reply.choices[0].message.content == r"It is \ud83d. The answer is 7."
        stream = await client.chat.completions.create(model="m", messages=QUESTION, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
        assert text == r"It is \ud83d. The answer is 7."


@pytest.mark.parametrize("method", ["end", "heard"])
async def test_a_stream_ends_whatever_goes_wrong_in_it(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(ChatTeller, method, broken)
    async with serving(app(Scripted("7", name="m"))) as url, client_of(url) as client:
        stream = await client.chat.completions.create(model="m", messages=QUESTION, stream=True)
        with pytest.raises(openai.APIError, match="its log says where"):
            [chunk async for chunk in stream]


async def test_a_vote_streams_its_progress_and_then_its_winner(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="math", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert len({chunk.id for chunk in chunks}) == 1
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    thought = "".join((delta.model_extra or {}).get("reasoning", "") for delta in deltas)
    assert "3 of 4 samples, 2 agree on 7\n" in thought
    assert "The answer is 7." not in thought
    assert "".join(delta.content or "" for delta in deltas) == "The answer is 7."
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "stop"
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == 64


@pytest.mark.parametrize("model", ["long", "chain"])
async def test_the_last_stage_streams_piece_by_piece(client: AsyncOpenAI, model: str) -> None:
    spec = {"metagen": {"strategy": 'Chain(Ask("{question} Plan.", of=Model("long")), Ask("{1}", of=Model("long")))'}}
    stream = await client.chat.completions.create(
        model=model, messages=QUESTION, stream=True, extra_body=spec if model == "chain" else None
    )
    pieces = [chunk.choices[0].delta.content async for chunk in stream if chunk.choices]
    assert "".join(filter(None, pieces)) == LONG
    assert len(list(filter(None, pieces))) > 2


async def test_a_completion_answers_and_streams(client: AsyncOpenAI) -> None:
    reply = await client.completions.create(model="math", prompt="What is 3 + 4?")
    assert (reply.choices[0].text, reply.object) == ("The answer is 7.", "text_completion")
    stream = await client.completions.create(model="math", prompt="What is 3 + 4?", stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream]) == "The answer is 7."


async def test_a_response_answers_and_is_kept(client: AsyncOpenAI) -> None:
    reply = await client.responses.create(model="math", input="What is 3 + 4?", instructions="Be brief.")
    assert (reply.output_text, reply.status) == ("The answer is 7.", "completed")
    assert reply.usage
    assert reply.usage.output_tokens == 64
    assert (await client.responses.retrieve(reply.id)).output_text == "The answer is 7."


async def test_a_response_streams_typed_events(client: AsyncOpenAI) -> None:
    stream = await client.responses.create(model="math", input="What is 3 + 4?", stream=True)
    events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert "response.reasoning_text.delta" in kinds
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == "The answer is 7."
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == text


@pytest.mark.parametrize("model", ["m", "Vote(3)"])
async def test_a_response_without_a_text_has_a_message_nevertheless(model: str) -> None:
    async with serving(app(Scripted("", name="m"))) as url, client_of(url) as client:
        events = [each async for each in await client.responses.create(model=model, input="?", stream=True)]
    ids = [getattr(each, "item_id", "") or getattr(getattr(each, "item", None), "id", "") for each in events]
    assert [each.type for each, item in zip(events, ids, strict=True) if item.startswith("msg")] == [
        *("response.output_item.added", "response.content_part.added"),
        *("response.output_text.done", "response.content_part.done", "response.output_item.done"),
    ]


async def test_a_streamed_response_is_kept_too(client: AsyncOpenAI) -> None:
    for store in (True, False):
        stream = await client.responses.create(
            model="math", input="What is 3 + 4?", instructions="Be brief.", stream=True, store=store
        )
        (last,) = [event async for event in stream if event.type == "response.completed"]
        assert last.response.instructions == "Be brief."
        if store:
            kept = await client.responses.retrieve(last.response.id)
            assert kept.model_dump() == last.response.model_dump()
            continue
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(last.response.id)


async def test_a_whole_response_holds_what_was_thought() -> None:
    thinker = Scripted("<think>Four more than 3.</think>The answer is 7.", name="m")
    async with serving(app(thinker)) as url, client_of(url) as client:
        reply = await client.responses.create(model="m", input="What is 3 + 4?")
        assert [item.type for item in reply.output] == ["reasoning", "message"]
        assert reply.output_text == "The answer is 7."
        assert reply.output[0].to_dict()["content"] == [{"type": "reasoning_text", "text": "Four more than 3."}]
        streamed = [event async for event in await client.responses.create(model="m", input="?", stream=True)]
        assert streamed[-1].type == "response.completed"
        assert [item.type for item in streamed[-1].response.output] == ["reasoning", "message"]


async def test_a_response_in_the_background_is_fetched_or_cancelled() -> None:
    gate = asyncio.Event()

    async def waiting(request: Request) -> str:
        if "wait" in request.prompt:
            await gate.wait()
            return "The answer is 7."
        await forever()
        return ""

    async with serving(app(Scripted(waiting, name="m"), {"math": Vote(2)})) as url, client_of(url) as client:
        begun = await client.responses.create(model="math", input="wait", background=True)
        assert begun.status == "queued"
        assert (await client.responses.retrieve(begun.id)).status == "in_progress"
        gate.set()
        done = await client.responses.retrieve(begun.id)
        while done.status == "in_progress":
            done = await client.responses.retrieve(begun.id)
        assert (done.status, done.output_text) == ("completed", "The answer is 7.")
        hanging = await client.responses.create(model="math", input="hang", background=True)
        assert (await client.responses.cancel(hanging.id)).status == "cancelled"


async def test_what_is_under_way_is_kept_however_much_comes_after_it() -> None:
    async def waiting(request: Request) -> str:
        if "wait" in request.prompt:
            await forever()
        return "The answer is 7."

    limits = Limits(kept=2)
    async with serving(app(Scripted(waiting, name="m"), limits=limits)) as url, client_of(url) as client:
        begun = await client.responses.create(model="m", input="wait", background=True)
        done = [await client.responses.create(model="m", input="?") for _ in range(3)]
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(done[0].id)
        assert (await client.responses.retrieve(done[1].id)).output_text == "The answer is 7."
        assert (await client.responses.cancel(begun.id)).status == "cancelled"


def test_the_replies_of_one_key_push_out_none_of_another() -> None:
    latest: Latest[int] = Latest(2)
    mine, other = Key("mine"), Key("other")
    latest.keep("a", mine, 1)
    for number in range(9):
        latest.keep(f"other {number}", other, number)
    assert (latest.find("a", mine), latest.find("a", other)) == (1, None)
    assert list(latest.of(other)) == ["other 7", "other 8"]


async def test_what_is_not_to_be_stored_is_not(client: AsyncOpenAI) -> None:
    reply = await client.responses.create(model="math", input="What is 3 + 4?", store=False)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(reply.id)


def test_the_synchronous_client_works_too() -> None:
    async def main() -> str:
        async with serving(app(Scripted(numbered, name="m"), {"math": "Vote(4)"})) as url:
            return await asyncio.to_thread(call, url)

    def call(url: str) -> str:
        with OpenAI(base_url=url, api_key="none") as client:
            return client.chat.completions.create(model="math", messages=QUESTION).choices[0].message.content or ""

    assert asyncio.run(main()) == "The answer is 7."


async def test_the_text_may_be_an_object_of_a_schema() -> None:
    seen: list[Any] = []

    def formed(request: Request) -> str:
        seen.append(request.sampling.form)
        return '{"answer": 7}'

    schema: Any = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}
    async with serving(app(Scripted(formed, name="m"), {"math": Vote(2)})) as url, client_of(url) as client:
        reply = await client.chat.completions.create(
            model="math",
            messages=QUESTION,
            response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": schema}},
        )
        assert json.loads(reply.choices[0].message.content or "") == {"answer": 7}
        assert (reply.model_extra or {})["metagen"]["answers"] == ['{"answer": 7}']
        assert seen[0].schema == schema


async def test_errors_are_those_that_the_client_knows(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        await client.chat.completions.create(model="nothing", messages=QUESTION)
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as wrong:
        await client.chat.completions.create(model="math", messages=QUESTION, logprobs=True)
    assert wrong.value.param == "logprobs"
    with pytest.raises(openai.BadRequestError) as cold:
        await client.chat.completions.create(model="math", messages=QUESTION, temperature=0)
    assert cold.value.param == "temperature"
    with pytest.raises(openai.BadRequestError) as fixed:
        await client.chat.completions.create(model='Vote(2, of=Model("long"))', messages=QUESTION, top_p=0.5)
    assert fixed.value.param == "top_p"
    budget = {"metagen": {"budget": 5}}
    with pytest.raises(openai.BadRequestError) as poor:
        await client.chat.completions.create(model="math", messages=QUESTION, extra_body=budget)
    assert poor.value.code == "budget_exceeded"


async def test_what_no_model_can_take_is_a_mistake_of_the_client() -> None:
    def refusing(request: Request) -> str:
        raise UnfitRequest("the chat template refuses this conversation: roles must alternate")

    models = {"short": Scripted(numbered, name="short", context=200), "strict": Scripted(refusing, name="strict")}
    strategies = {
        "votes": 'Vote(4, of=Model("short"))',
        "stages": 'Vote(2, of=Chain(Ask("{question}"), CoT(of=Model("short"))))',
    }
    long: list[Any] = [{"role": "user", "content": "?" * 300}]
    async with serving(app(models, strategies)) as url, client_of(url) as client:
        for name in ("short", "votes", "stages"):
            with pytest.raises(openai.BadRequestError, match="has a context of 200") as large:
                await client.chat.completions.create(model=name, messages=long)
            assert large.value.code == "context_length_exceeded"
        for name in ("strict", 'Vote(2, of=Model("strict"))'):
            with pytest.raises(openai.BadRequestError, match="roles must alternate") as odd:
                await client.chat.completions.create(model=name, messages=QUESTION)
            assert odd.value.code == "invalid_value"


@pytest.mark.parametrize("status", ["429", "503", "529"])
@pytest.mark.parametrize("patience", [120.0, 0.0])  # without any, a server that fails five times is given up
async def test_a_client_is_told_to_wait_where_the_model_itself_is_busy(status: str, patience: float) -> None:
    async with FakeServer().running() as busy:
        model = Retrying(OpenAIServer(busy.url), attempts=5, wait=0, longest=0, patience=patience)
        async with serving(app(model)) as url, client_of(url) as client:
            for name in ("mock", "Vote(2)"):
                busy.faults = [status] * 10
                with pytest.raises(openai.RateLimitError, match=f"answered {status}: fault {status}") as told:
                    await client.chat.completions.create(model=name, messages=QUESTION)
                assert told.value.code == "rate_limit_exceeded"
                assert int(told.value.response.headers["Retry-After"]) > 1
                busy.faults = []


async def test_where_the_model_fails_otherwise_the_server_is_a_bad_gateway() -> None:
    async with FakeServer().running() as broken:
        model = Retrying(OpenAIServer(broken.url), attempts=2, wait=0, longest=0)
        async with serving(app(model)) as url, client_of(url) as client:
            broken.faults = ["500"] * 2
            with pytest.raises(openai.InternalServerError, match="fault 500") as told:
                await client.chat.completions.create(model="mock", messages=QUESTION)
            assert told.value.status_code == 502


async def test_an_error_in_a_stream_is_told_in_the_stream() -> None:
    def failing(request: Request) -> str:
        raise GenerationError("no power")

    async with serving(app(Scripted(failing, name="m"), {"math": Vote(2)})) as url, client_of(url) as client:
        stream = await client.chat.completions.create(model="math", messages=QUESTION, stream=True)
        with pytest.raises(openai.APIError, match="no power"):
            [chunk async for chunk in stream]
        with pytest.raises(openai.InternalServerError, match="no power"):
            await client.chat.completions.create(model="math", messages=QUESTION)
        events = [event async for event in await client.responses.create(model="math", input="?", stream=True)]
        assert events[-1].type == "response.failed"


async def test_a_mistake_of_ours_tells_nothing_of_the_request(caplog: pytest.LogCaptureFixture) -> None:
    def broken(request: Request) -> str:
        raise ZeroDivisionError(request.prompt)

    async with serving(app(Scripted(broken, name="m"))) as url, client_of(url) as client:
        with pytest.raises(openai.InternalServerError, match="its log says where"):
            await client.chat.completions.create(model="m", messages=QUESTION)
    assert "ZeroDivisionError" in caplog.text
    assert "What is 3 + 4?" not in caplog.text


async def test_silence_is_broken_by_pings() -> None:
    gate = asyncio.Event()

    async def slow(request: Request) -> str:
        await gate.wait()
        return "The answer is 7."

    application = app(Scripted(slow, name="m"), limits=Limits(ping=0.01))
    async with serving(application) as url, httpx.AsyncClient(timeout=None) as client:
        body = {"model": "m", "messages": QUESTION, "stream": True}
        async with client.stream("POST", f"{url}/chat/completions", json=body) as reply:
            lines: list[str] = []
            async for line in reply.aiter_lines():
                lines.append(line)
                if line.startswith(": ping"):
                    gate.set()
    assert lines.count(": ping") >= 1
    assert "data: [DONE]" in lines


async def test_a_client_that_leaves_frees_its_requests() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def hanging(request: Request) -> str:
        begun.set()
        try:
            await forever()
        finally:
            ended.set()
        return ""

    for streams in (True, False):
        async with serving(app(Scripted(hanging, name="m"), {"math": Vote(8)})) as url, client_of(url) as client:
            begun.clear()
            ended.clear()
            asking: asyncio.Task[Any] = asyncio.ensure_future(
                client.chat.completions.create(model="math", messages=QUESTION, stream=streams)
            )
            await begun.wait()
            if streams:
                await (await asking).close()
            asking.cancel()
            await ended.wait()
            while "metagen_requests_at_work 0.0" not in await metrics_of(url):
                pass


async def metrics_of(url: str) -> str:
    async with httpx.AsyncClient() as client:
        return (await client.get(url.removesuffix("/v1") + "/metrics")).text


async def test_answers_are_kept_as_runs_and_traces_are_told_to_their_key(tmp_path: Path) -> None:
    keys = [Key("a", hashed("secret-a")), Key("b", hashed("secret-b"))]
    application = app(Scripted(numbered, name="m"), {"math": Vote(4)}, keys=keys, out=tmp_path)
    async with serving(application) as url, client_of(url, "secret-a") as client:
        reply = await client.chat.completions.create(model="math", messages=QUESTION, user="u")
        async with httpx.AsyncClient(base_url=url) as bare:
            trace = await bare.get(f"/traces/{reply.id}", headers={"Authorization": "Bearer secret-a"})
            assert [row["name"] for row in trace.json()["data"]] == ["solve", "Vote", "Model"]
            other = await bare.get(f"/traces/{reply.id}", headers={"Authorization": "Bearer secret-b"})
            assert other.status_code == 404
            assert (await bare.get("/models")).status_code == 401
    (folder,) = tmp_path.iterdir()  # noqa: ASYNC240 (a folder of the test)
    assert [(each.problem, each.answer) for each in read_solutions(folder)] == [(f"{reply.id}-1", "7")]


async def test_what_a_server_is_not_asked_is_said() -> None:
    class Fixed(FakeServer):
        async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            if "temperature" in body:
                return web.json_response({"error": {"message": "this model takes no temperature"}}, status=400)
            return await super()._answer(request, body)

    fake = Fixed(vllm=False)
    async with fake.running(), serving(app(OpenAIServer(fake.url))) as url, client_of(url) as client:
        reply = await client.chat.completions.create(model="mock", messages=QUESTION, temperature=0.2)
    notes = (reply.model_extra or {})["metagen"]["notes"]
    assert "mock: it refuses temperature, which is left out" in notes


async def test_what_is_kept_holds_no_ids_of_tokens() -> None:
    """Those of long replies would fill the memory."""
    solution = await solve("What is 3 + 4?", Vote(4), Scripted(numbered))
    kept = _without_tokens(solution)
    held = [kept.candidate, *(each for span in kept.trace.walk() for each in span.samples)]
    assert len(held) > 4
    assert all(each and not each.tokens and each.text for each in held)
    assert any(each is kept.candidate for each in held[1:])
    assert (kept.answer, kept.text) == ("7", solution.text)


async def test_an_answer_that_cannot_be_kept_is_returned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with (
        serving(app(Scripted(numbered, name="m"), {"math": Vote(4)}, out=tmp_path)) as first,
        serving(app(Scripted(numbered, name="m"), {"math": Vote(4)}, out=tmp_path)) as second,
        client_of(first) as one,
        client_of(second) as other,
    ):
        kept = await one.chat.completions.create(model="math", messages=QUESTION)
        assert (kept.model_extra or {})["metagen"]["notes"] == []
        lost = await other.chat.completions.create(model="math", messages=QUESTION)
        assert lost.choices[0].message.content == "The answer is 7."
        (note,) = (lost.model_extra or {})["metagen"]["notes"]
        assert "could not keep this answer" in note
        assert str(tmp_path) not in note
        stream = await other.chat.completions.create(model="math", messages=QUESTION, stream=True)
        assert [chunk async for chunk in stream]
    assert "another process is writing to this run" in caplog.text


def test_a_place_where_no_runs_can_be_kept_is_refused_before_a_request_comes(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    for place, said in ((tmp_path, "is the folder of a run"), (tmp_path / "run.json", "it is no folder")):
        with pytest.raises(InputError, match=said):
            app(Scripted(numbered, name="m"), out=place)


async def test_as_many_strategies_as_clients_name_leave_few_files_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metagen.serve.service.OPEN", 2)
    application = app(Scripted(numbered, name="m"), out=tmp_path)
    async with serving(application) as url, client_of(url) as client:
        for n in (1, 2, 3, 1, 2):
            await client.chat.completions.create(model=f"Vote({n})", messages=QUESTION)
        held = [each for each in psutil.Process().open_files() if each.path.startswith(str(tmp_path))]
        assert len(held) == 2 * 3
    folders = [each for each in tmp_path.iterdir() if each.is_dir()]  # noqa: ASYNC240 (a folder of the test)
    assert sorted(len(list(read_solutions(each))) for each in folders) == [1, 2, 2]


def test_an_answer_that_a_budget_cut_short_is_kept_when_the_server_starts_again(tmp_path: Path) -> None:
    """Nobody asks for the rest of it, as the same command asks for that of a run."""
    for number in ("1", "2"):
        folders = Folders(tmp_path)
        folders.add(Served("math", Vote(4), "metagen", "math"), Solution(number, "7", unfinished=True))
        folders.close()
    (folder,) = tmp_path.iterdir()
    assert [each.problem for each in read_solutions(folder)] == ["1", "2"]


def test_a_header_holds_no_blank_at_its_end() -> None:
    assert _header("é" + " " * 600 + "x") == r"\xe9"
    assert _header("a\x00b\nc") == "a b c"


async def test_the_small_pages(url: str) -> None:
    async with httpx.AsyncClient(base_url=url.removesuffix("/v1")) as client:
        assert (await client.get("/health")).json() == {"status": "ok"}
        assert set((await client.get("/version")).json()) == {"version"}
        assert "metagen_requests_total" in (await client.get("/metrics")).text
        assert (await client.get("/nothing")).json()["error"]["code"] == "not_found"
        wrong = await client.get("/v1/chat/completions")
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
        assert (
            "access-control-allow-origin" not in (await client.get("/health", headers={"Origin": "http://a.b"})).headers
        )


@pytest.mark.parametrize(("status", "health"), [(200, 200), (429, 200), (401, 200), (500, 503)])
async def test_a_model_whose_server_is_busy_is_healthy(status: int, health: int) -> None:
    class Server(FakeServer):
        status = 200

        async def _models(self, request: web.Request) -> web.Response:
            return await super()._models(request) if self.status == 200 else web.json_response({}, status=self.status)

    fake = Server()
    async with fake.running(), serving(app(Retrying(OpenAIServer(fake.url)))) as url:
        fake.status = status
        async with httpx.AsyncClient(base_url=url.removesuffix("/v1")) as client:
            assert (await client.get("/health")).status_code == health


def test_an_alias_that_cannot_be_is_refused_before_anything_is_opened() -> None:
    with pytest.raises(InputError, match="names a model 'other'"):
        app(Scripted("7"), {"math": 'Vote(2, of=Model("other"))'})


def test_a_limit_of_money_needs_the_price_of_each_model() -> None:
    free, priced = Scripted("7", name="free"), Priced(Scripted("7", name="priced"), Price(1, 1))
    money = Budget(money=5)
    of_key = [Key("a", request=money)]
    for limits, keys in ((Limits(server=money), ()), (Limits(request=money), ()), (Limits(), of_key)):
        with pytest.raises(InputError, match="needs the price of free"):
            app({"a": priced, "b": free}, limits=limits, keys=keys)
        app({"a": priced}, limits=limits, keys=keys)
    with pytest.raises(InputError, match="needs the price of free"):
        app(free, {"math": "Within(money=5, of=Vote(2))"})


async def test_without_keys_only_bodies_that_no_page_elsewhere_may_send_are_read() -> None:
    body = json.dumps({"model": "m", "messages": QUESTION})
    for keys, status in (((), 415), ([Key("a", hashed("k"))], 200)):
        async with serving(app(Scripted("7", name="m"), keys=keys)) as url, httpx.AsyncClient() as client:
            for kind in ("text/plain", "text/plain; application/json", "application/x-www-form-urlencoded", ""):
                headers = {"Content-Type": kind, "Authorization": "Bearer k"}
                reply = await client.post(f"{url}/chat/completions", content=body, headers=headers)
                assert reply.status_code == status
            headers = {"Content-Type": "application/json; charset=utf-8", "Authorization": "Bearer k"}
            assert (await client.post(f"{url}/chat/completions", content=body, headers=headers)).status_code == 200


async def test_where_only_this_machine_may_call_another_name_is_refused() -> None:
    async with httpx.AsyncClient() as client:
        for local, status in ((True, 403), (False, 200)):
            async with serving(app(Scripted("7", name="m"), local=local)) as url:
                site = url.removesuffix("/v1")
                for host in ("evil.example:8000", "localhost.evil.example", "localhost@evil.example", "[", ""):
                    for path in ("/runs", "/v1/models", "/health", "/"):
                        assert (await client.get(site + path, headers={"Host": host})).status_code == status
                for host in ("127.0.0.1:8000", "localhost", "LOCALHOST:1", "[::1]:8000"):
                    assert (await client.get(f"{site}/runs", headers={"Host": host})).status_code == 200


async def test_a_model_that_has_no_hash_and_tells_nothing_is_served() -> None:
    @dataclass
    class Mine:
        of: Scripted

        def __getattr__(self, name: str) -> Any:
            if name == "missing":
                raise AttributeError(name)
            return getattr(self.of, name)

        async def __aenter__(self) -> "Mine":
            return self

        async def __aexit__(self, *_: object) -> None:
            return None

    model: Any = Mine(Scripted("The answer is 7.", name="m"))
    async with serving(app(model)) as url, client_of(url) as client:
        reply = await client.chat.completions.create(model="m", messages=QUESTION)
    assert reply.choices[0].message.content == "The answer is 7."
