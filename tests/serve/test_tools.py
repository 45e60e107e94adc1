"""Tools of the client: strategies vote over calls and return one."""

import json
from typing import Any

import pytest
from openai import AsyncOpenAI

from metagen import Candidate, Request, Scripted, Vote
from metagen.backends.http.openai import join, settings_of
from metagen.request import Sampling
from metagen.serve import app
from metagen.serve.tools import Calls, without_calls
from metagen.strategies.choosing import key_of
from tests.serve.test_serve import client_of
from tests.support.serving import serving

WEATHER: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
ASK: list[Any] = [{"role": "user", "content": "Is it raining in Bern?"}]


def call_of(**arguments: object) -> str:
    return f"I look.\n<tool_call>{json.dumps({'name': 'weather', 'arguments': arguments})}</tool_call>"


def key(text: str, *compare: str) -> str | None:
    return key_of(Calls((WEATHER,), compare or None), Candidate((text,)))


def test_equal_calls_have_one_name_and_equal_arguments() -> None:
    assert key(call_of(city="Bern", unit="C")) == key(call_of(unit="C", city="Bern"))
    assert key(call_of(city="Bern")) != key(call_of(city="Basel"))
    assert key(call_of(city="Bern", unit="C"), "city") == key(call_of(city="Bern", unit="F"), "city")
    assert key(call_of(days=1)) == key(call_of(days=1.0)) != key(call_of(days=2))
    assert key("It rains.") != key(call_of(city="Bern"))
    assert key("") is None


def test_a_text_that_is_a_list_in_json_is_no_call() -> None:
    for one, other in (('[{"a": 1}]', '[{"a": 2}]'), ("[1, 2]", "[2, 1]"), ('[{"name": "a"}]', '[{"name": "b"}]')):
        assert key(one) == one
        assert key(one) != key(other)
    assert key('[{"name": "weather", "arguments": 7}]') == '[{"name": "weather", "arguments": 7}]'


async def test_lists_in_json_vote_as_they_are_where_tools_are_offered() -> None:
    def listed(request: Request) -> str:
        return ('[{"a": 1}]', '[{"a": 2}]', "[3]", '[{"a": 2}]')[request.draw % 4]

    async with serving(app(Scripted(listed, name="m"), {"math": Vote(4)})) as url, client_of(url) as client:
        reply = await client.chat.completions.create(model="math", messages=ASK, tools=[WEATHER])
        own = (reply.model_extra or {})["metagen"]
        assert (own["answers"], own["notes"]) == (['[{"a": 2}]'], [])


@pytest.mark.parametrize(
    "inside",
    ["", "[]", "{", '{"name": 7}', '{"name": "other", "arguments": {}}', '{"name": "weather", "arguments": 7}'],
)
def test_what_calls_no_tool_that_there_is_is_text(inside: str) -> None:
    assert Calls((WEATHER,)).calls(f"<tool_call>{inside}</tool_call>") == ()


def test_a_call_may_hold_its_arguments_as_a_text_and_lack_its_end() -> None:
    (call,) = Calls((WEATHER,)).calls('<tool_call>{"name": "weather", "arguments": "{\\"city\\": \\"Bern\\"}"}')
    assert call.arguments == {"city": "Bern"}
    assert without_calls(call_of(city="Bern")) == "I look."


def drawn(request: Request) -> str:
    """Three of four samples call for Bern; the model was told of the tool."""
    assert (request.sampling.chat_template_kwargs or {})["tools"] == [WEATHER]
    if request.after:
        return "It rains."
    return call_of(city=("Basel", "Bern", "Bern", "Bern")[request.draw])


def test_numbers_that_json_has_not_make_no_call() -> None:
    text = '<tool_call>{"name": "weather", "arguments": {"city": NaN}}</tool_call>'
    assert Calls((WEATHER,)).calls(text) == ()


def test_a_number_that_no_float_can_hold_is_handed_over_as_it_is_written() -> None:
    calls = Calls((WEATHER,))
    text = '<tool_call>{"name": "weather", "arguments": {"days": -1e999}}</tool_call>'
    assert calls.extract(text) == '[{"arguments": {"days": "-1e999"}, "name": "weather"}]'
    assert [dict(call.arguments) for call in calls.calls(text)] == [{"days": "-1e999"}]


async def test_an_odd_argument_is_handed_over_whole_and_streamed() -> None:
    text = r'<tool_call>{"name": "weather", "arguments": {"city": "\ud83d"}}</tool_call>'
    async with serving(app(Scripted(text, name="m"), {"math": Vote(2)})) as url, client_of(url) as client:
        reply = await client.chat.completions.create(model="math", messages=ASK, tools=[WEATHER])
        call = (reply.choices[0].message.tool_calls or [])[0]
        assert call.type == "function"
        assert json.loads(call.function.arguments) == {"city": "\ud83d"}
        stream = await client.chat.completions.create(model="math", messages=ASK, tools=[WEATHER], stream=True)
        deltas = [chunk.choices[0].delta async for chunk in stream if chunk.choices]
        (piece,) = [each for delta in deltas for each in delta.tool_calls or ()]
        assert piece.function
        assert json.loads(piece.function.arguments or "") == {"city": "\ud83d"}
        assert "<tool_call>" not in "".join((delta.model_extra or {}).get("reasoning", "") for delta in deltas)


async def test_a_vote_over_calls_hands_over_one() -> None:
    async with serving(app(Scripted(drawn, name="m"), {"math": Vote(4)})) as url, client_of(url) as client:
        choice = (await client.chat.completions.create(model="math", messages=ASK, tools=[WEATHER])).choices[0]
        assert choice.finish_reason == "tool_calls"
        assert choice.message.tool_calls
        (call,) = choice.message.tool_calls
        assert call.type == "function"
        assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Bern"})
        assert choice.message.content == "I look."
        turns = [
            *ASK,
            choice.message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "rain"},
        ]
        after = await client.chat.completions.create(model="math", messages=turns, tools=[WEATHER])
        assert (after.choices[0].message.content, after.choices[0].finish_reason) == ("It rains.", "stop")
        await check_streams(client)


async def check_streams(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="math", messages=ASK, tools=[WEATHER], stream=True)
    deltas = [chunk.choices[0].delta async for chunk in stream if chunk.choices]
    calls = [call for delta in deltas for call in delta.tool_calls or ()]
    assert [call.function.name for call in calls if call.function] == ["weather"]
    assert "<tool_call>" not in "".join(delta.content or "" for delta in deltas)
    flat: Any = {"type": "function", **WEATHER["function"]}
    reply = await client.responses.create(model="math", input=ASK[0]["content"], tools=[flat])
    assert [item.type for item in reply.output] == ["message", "function_call"]
    events = [
        event
        async for event in await client.responses.create(
            model="math", input=ASK[0]["content"], tools=[flat], stream=True
        )
    ]
    done = [event.to_dict() for event in events if event.type == "response.function_call_arguments.done"]
    assert [json.loads(str(event["arguments"])) for event in done] == [{"city": "Bern"}]


def test_calls_that_a_server_tells_apart_come_back_into_the_text() -> None:
    def piece(**delta: object) -> bytes:
        return json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode()

    def called(**function: str) -> list[dict[str, object]]:
        return [{"index": 0, "function": function}]

    pieces = [
        piece(content="I look."),
        piece(tool_calls=called(name="weather", arguments='{"city": ')),
        piece(tool_calls=called(arguments='"Bern"}')),
        json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}).encode(),
    ]
    (choice,) = join(pieces, "host").choices
    assert choice.written == call_of(city="Bern")
    assert choice.reason == "tool_calls"


def test_a_server_is_told_of_tools_by_their_own_name() -> None:
    sampling = Sampling(chat_template_kwargs={"tools": [WEATHER], "enable_thinking": False})
    settings = settings_of(Request("1", "?", sampling=sampling), "m", None)
    assert settings["tools"] == [WEATHER]
    assert settings["chat_template_kwargs"] == {"enable_thinking": False}
