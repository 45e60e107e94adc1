"""What a body may say: each parameter is honoured, or refused by its name. No name runs code or opens a file."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import Budget, InputError
from metagen.serve.names import CONSTRUCTORS, read_spec
from metagen.serve.parameters import Chat, Response, decode, read_budget, read_chat, read_completion, read_response
from metagen.serve.refusals import Refusal

TURNS: list[Any] = [{"role": "user", "content": "?"}]
HOSTILE = [
    "__import__('os').system('id')",
    "Vote(__import__('os').system('id'))",
    "open('/etc/passwd')",
    "Vote(4).__class__",
    "(lambda: 1)()",
    "[x for x in ()]",
    'ReAct((("python", Python()),))',
    'DSP(Search("/etc/passwd"))',
    "ProgramOfThought(Python())",
    "BestOf(4, by=PassesTests())",
    'Model(adapter="/etc")',
    'Model(extra={"a": 1})',
    'Model(chat_template_kwargs={"a": 1})',
    "Vote(1000000000)",
    "Vote(100, of=Vote(100))",
    "Vote(True)",
    "Vote(" * 400 + ")" * 400,
    "Vote(4, of=" * 200 + "CoT()" + ")" * 200,
    "Vote(9" + "9" * 3000 + ")",
    "V" * 5000,
    "Vote",
    "Number()",
    "",
    "Vote(*(1, 2))",
    "Vote(**{'n': 1})",
    "f'{7}'",
    "Vote(4) if True else 0",
]


@pytest.mark.parametrize("spec", HOSTILE, ids=range(len(HOSTILE)))
def test_no_spec_of_a_client_runs_code_opens_a_file_or_draws_without_end(spec: str) -> None:
    with pytest.raises(InputError):
        read_spec(spec)


def test_what_a_client_may_name_is_what_only_thinks() -> None:
    assert {"Vote", "BestOf", "Refine", "Beam", "Model", "Judge"} <= set(CONSTRUCTORS)
    assert not {"Python", "Search", "Coq", "Sandbox", "PassesTests", "Proves", "ReAct"} & set(CONSTRUCTORS)


@given(st.text(max_size=200))
def test_any_name_is_read_or_refused(text: str) -> None:
    with suppress(InputError):
        read_spec(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
NAMES = sorted({*Chat.model_fields, *Response.model_fields, "prompt", "functions"})


LEAST: dict[Any, dict[str, Any]] = {
    read_chat: {"model": "m", "messages": TURNS},
    read_completion: {"model": "m", "prompt": "?"},
    read_response: {"model": "m", "input": "?"},
}


@pytest.mark.parametrize("read", LEAST)
@given(changes=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3), whole=VALUES)
def test_any_body_is_read_or_refused_by_name(read: Any, changes: dict[str, Any], whole: Any) -> None:
    for body in ({**LEAST[read], **changes}, whole if isinstance(whole, dict) else {}):
        with suppress(Refusal):
            read(body)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"logprobs": True}, "logprobs"),
        ({"functions": []}, "functions"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"n": 0}, "n"),
        ({"n": 1000}, "n"),
        ({"stop": [1]}, "stop"),
        ({"seed": 1.5}, "seed"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a"}}]}]}, "messages"),
        ({"messages": [{"role": "robot", "content": "?"}]}, "messages"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"logit_bias": {"a": 1}}, "logit_bias"),
        ({"tools": [{"type": "search"}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"stream_options": {"a": 1}}, "stream_options"),
        ({"metagen": {"budget": -1}}, "metagen"),
        ({"metagen": {"code": "x"}}, "metagen"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"store": True}, "store"),
        ({"seed": 1, "metagen": {"seed": 2}}, "seed"),
    ],
)
def test_what_is_not_honoured_is_refused_by_its_name(change: dict[str, Any], param: str) -> None:
    with pytest.raises(Refusal) as refused:
        read_chat({"model": "m", "messages": TURNS, **change})
    assert (refused.value.status, refused.value.param) == (400, param)
    assert param in str(refused.value)


def test_what_is_honoured_arrives() -> None:
    call = read_chat(
        {
            "model": "m",
            "messages": [{"role": "developer", "content": "Be brief."}, *TURNS],
            "temperature": 0.5,
            "stop": "\n",
            "max_completion_tokens": 9,
            "logit_bias": {"5": -100},
            "metagen": {"budget": {"tokens": 7, "seconds": 2.5}, "strategy": "Vote(2)"},
            "seed": 3,
            "n": 2,
            "metadata": {"a": "b"},
            "user": "u",
        }
    )
    assert call.settings == {"temperature": 0.5, "stop": ("\n",), "max_tokens": 9, "logit_bias": {5: -100}}
    assert call.given["max_tokens"] == "max_completion_tokens"
    assert (call.strategy, call.budget, call.seed, call.choices) == ("Vote(2)", Budget(7, 2.5), 3, 2)
    assert dict(call.problem.tags) == {"a": "b", "user": "u"}
    assert [turn.role for turn in call.problem.before] == ["system"]


def test_a_response_reads_items_of_earlier_turns() -> None:
    call = read_response(
        {
            "model": "m",
            "instructions": "Be brief.",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
                {"type": "function_call", "call_id": "1", "name": "weather", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "1", "output": "rain"},
            ],
        }
    )
    assert call.problem.prompt == "Weather?"
    assert [turn.role for turn in (*call.problem.before, *call.problem.after)] == ["system", "assistant", "tool"]
    with pytest.raises(Refusal, match="'input'"):
        read_response({"model": "m", "input": [{"type": "web_search_call"}]})


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [{"type": "reasoning"}]}, "input"),
        ({"background": True, "stream": True}, "stream"),
        ({"background": True, "store": False}, "store"),
    ],
)
def test_what_a_response_does_not_honour_is_refused_by_its_name(change: dict[str, Any], param: str) -> None:
    with pytest.raises(Refusal, match=f"'{param}'") as refused:
        read_response({"model": "m", "input": "?", **change})
    assert (refused.value.status, refused.value.param) == (400, param)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"a": NaN}', b'"x"'])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        decode(body)
    assert refused.value.code == "invalid_json"


def test_a_header_names_a_budget() -> None:
    assert read_budget("2000") == Budget(2000)
    assert read_budget("tokens=20, seconds=1.5") == Budget(20, 1.5)
    for text in ("", "many", "tokens=", "tokens=-1", "a=1", "0", "tokens=1e400", "nan"):
        with pytest.raises(Refusal, match="X-Metagen-Budget"):
            read_budget(text)
