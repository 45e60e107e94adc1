from contextlib import nullcontext
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from metagen import OpenAIServer, Request, Sampling, UnfitRequest
from metagen.backends.http.connection import Refused
from metagen.backends.http.openai import (
    ENDED,
    Choice,
    Function,
    Logprobs,
    Message,
    ToolCall,
    completion,
    reply_of,
)
from metagen.backends.http.wording import Wording
from metagen.messages import read_messages
from tests.support.fake_server import FakeServer

texts = st.text("ab</think> \n") | st.sampled_from(["<think>a</think>b", "a</think>b", " <think>a"])
calls = st.lists(st.builds(ToolCall, function=st.builds(Function, name=texts, arguments=st.just("{}"))), max_size=2)
messages = st.builds(
    Message,
    content=st.none() | texts,
    tool_calls=st.none() | calls,
    reasoning=st.none() | texts,
    reasoning_content=st.none() | texts,
)
choices = st.builds(
    Choice,
    text=st.none() | texts,
    message=st.none() | messages,
    delta=st.none() | messages,
    logprobs=st.none() | st.just(Logprobs(token_logprobs=[-1.0])),
    finish_reason=st.sampled_from([*ENDED, "LENGTH", None]),
    stop_reason=st.none() | st.just(7) | texts,
    matched_stop=st.none() | texts,
    token_ids=st.none() | st.just(()) | st.just((1, 2)),
    reasoned=st.just("") | texts,
    called=st.just(()) | calls.map(tuple),
)


@given(choices)
def test_a_plain_sample_is_understood_as_any_other(choice: Choice) -> None:
    words = OpenAIServer("http://localhost:8000/v1", "mock")._words
    understood = words.understood(choice, Request("1", "?"), opened=False)
    assert understood == completion(choice, reply_of(choice, None), None)


def wording() -> Wording:
    return OpenAIServer("http://localhost:8000/v1", "mock")._words


WRONG_VALUES = [
    "Invalid 'temperature': decimal above maximum value. Expected a value <= 1",
    "temperature: range: 0..1",
    "temperature must be non-negative, got -1.0.",
    "top_p must be in (0, 1], got 1.5.",
    "`top_k` should be between 0 and 500",
    "min_p: Input should be less than or equal to 1",
    "Invalid value for top_p: 1.5",
    "temperature 1.2 is too high",
    "the temperature may be at most 1",
    "temperature exceeds what this model takes",
    "top_k out of range; input: {'messages': [{'role': 'system', 'content': 'Be brief.'}]}",
    "temperature > 1",
]


@pytest.mark.parametrize("said", WRONG_VALUES)
def test_a_value_that_is_refused_teaches_nothing(said: str) -> None:
    words = wording()
    assert not words.learn(Refused(400, f"host answered 400: {said}"))
    assert (words.unsupported, words.tokens.merges, words.said) == (set(), False, {})


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("Unsupported parameter: 'temperature' is not supported with this model.", {"temperature"}),
        (
            "Unsupported value: 'temperature' does not support 0.5. Only the default (1) value is supported.",
            {"temperature"},
        ),
        ("Unrecognized request argument supplied: top_k. It must be removed", {"top_k"}),
        ("[{'loc': ['body', 'min_p'], 'msg': 'Extra inputs are not permitted', 'input': 'at most 5'}]", {"min_p"}),
        ("top_k: unexpected keyword argument", {"top_k"}),
        ("this model takes no top_p", {"top_p"}),
        ("seed must be less than 2147483648", {"seed"}),  # without one, samples are of the same distribution
        ("stream_options should be unset", {"stream_options"}),
    ],
)
def test_a_setting_that_is_refused_is_left_out(said: str, names: set[str]) -> None:
    words = wording()
    assert words.learn(Refused(400, f"host answered 400: {said}"))
    assert words.unsupported == names


@pytest.mark.parametrize(
    ("said", "merges"),
    [
        ("System role not supported", True),
        ("Only user and assistant roles are supported, not system", True),
        ("messages.0.role: Input should be 'user' or 'assistant', input: 'system'", True),
        ("unknown role: system", True),
        ("the context is too long: {'messages': [{'role': 'system', 'content': 'Be brief.'}]}", False),
        ('too many requests in {"messages": [{"role": "system"', False),
        (r"no: {\"messages\": [{\"role\": \"system\", \"content\": \"x\"}]}", False),
    ],
)
def test_a_request_that_a_server_repeats_says_nothing_of_system_turns(said: str, merges: bool) -> None:
    words = wording()
    assert bool(words.learn(Refused(400, f"host answered 400: {said}"))) == merges
    assert words.tokens.merges == merges


async def test_one_value_out_of_range_changes_no_other_request() -> None:
    class Bounded(FakeServer):
        async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            if body.get("temperature", 0) > 1:
                return web.json_response({"error": {"message": WRONG_VALUES[0]}}, status=400)
            return await super()._answer(request, body)

    fake, warm = Bounded(vllm=False), (0.5, 1.2, 0.5)
    async with fake.running(), OpenAIServer(fake.url) as server:
        fake.bodies.clear()
        for temperature in warm:
            asked = Request("p", "?", sampling=Sampling(temperature=temperature))
            with pytest.raises(UnfitRequest, match="above maximum") if temperature > 1 else nullcontext():
                await server.generate(asked, lambda _: None)
        assert not [what for what in server.missing if "temperature" in what]
    assert [body.get("temperature") for body in fake.bodies] == list(warm)


def refusal(said: str, body: dict[str, Any]) -> Refused:
    refused = Refused(400, f"host answered 400: {said}")
    refused.body = body
    return refused


USER, SYSTEM = ({"role": role, "content": "?"} for role in ("user", "system"))


@pytest.mark.parametrize(
    ("said", "body", "learnt"),
    [
        ("this model takes no top_p", {"top_p": 0.5}, {"top_p"}),
        ("this model takes no top_p", {"temperature": 0.5}, set()),
        ("Invalid schema for function 'temperature': no object", {"temperature": 0.5}, set()),
        ("System role not supported", {"messages": [SYSTEM, USER]}, {"system"}),
        ("After the optional system message, roles must alternate", {"messages": [USER, USER]}, set()),
        ("System role not supported", {"prompt": [1, 2]}, set()),
    ],
)
def test_what_was_not_sent_teaches_nothing(said: str, body: dict[str, Any], learnt: set[str]) -> None:
    words = wording()
    assert words.learn(refusal(said, body)) == learnt
    words.forget(learnt)
    assert (words.unsupported, words.tokens.merges, words.said) == (set(), False, {})


@pytest.mark.parametrize("said", ["no temperature for bad prompts", "a system turn has no role in bad prompts"])
async def test_a_refusal_that_stays_without_the_setting_teaches_nothing(said: str) -> None:
    class Choosy(FakeServer):
        async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            if "bad" in str(body["messages"]):
                return web.json_response({"error": {"message": said}}, status=400)
            return await super()._answer(request, body)

    fake, turns = Choosy(vllm=False), read_messages([SYSTEM, USER], "messages")
    async with fake.running(), OpenAIServer(fake.url) as server:
        for prompt in ("bad", "good"):
            fake.bodies.clear()
            asked = Request("p", prompt, sampling=Sampling(temperature=0.5), before=turns[:1])
            with pytest.raises(UnfitRequest, match="bad prompts") if prompt == "bad" else nullcontext():
                await server.generate(asked, lambda _: None)
        (body,) = fake.bodies
    assert body["temperature"] == 0.5
    assert [turn["role"] for turn in body["messages"]] == ["system", "user"]
    assert not [what for what in server.missing if "temperature" in what or "system" in what]


async def test_tools_count_for_the_bound_of_a_prompt() -> None:
    words, tools = wording(), [{"type": "function", "function": {"name": "f", "description": "blah " * 500}}]
    bare = Request("p", "?")
    asked = Request("p", "?", sampling=Sampling(chat_template_kwargs={"tools": tools}))
    assert words.at_most(asked) > words.at_most(bare) + 2500


@pytest.mark.parametrize(
    "said",
    [
        "top_k is not used here: it must be omitted",
        "top_k should be left unset",
        "top_k must be null for this model",
        "Property 'top_k' is unsupported. Use at most the documented ones",
        "top_k is not supported; it should be removed",
        "Reasoning models must be called without top_k",
        "top_k is not supported below version 2",
    ],
)
def test_a_setting_that_is_to_be_left_out_is(said: str) -> None:
    assert wording().learn(refusal(said, {"top_k": 5})) == {"top_k"}


@pytest.mark.parametrize(
    "said",
    [
        "Invalid value for 'role': 'system'. Supported roles are 'user' and 'assistant'.",
        'unsupported "role": "system"',
    ],
)
def test_a_role_that_is_refused_by_its_field_is_merged(said: str) -> None:
    assert wording().learn(refusal(said, {"messages": [SYSTEM, USER]})) == {"system"}
