"""What a body may say: each parameter is honoured, or refused by its name. No name runs code or opens a file."""

import json
import re
from contextlib import suppress
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import Budget, InputError, Scripted, strategies, verifiers
from metagen.serve.keys import ANYONE
from metagen.serve.names import CONSTRUCTORS, DRAWN, Catalogue, count_repeats, count_samples, read_spec
from metagen.serve.parameters import Chat, Response, decode, read_budget, read_chat, read_completion, read_response
from metagen.serve.refusals import Refusal
from metagen.verifiers import critics

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
    "Fuse((1000000000,))",
    "Vote(64, of=Fuse((60, 4)))",
    "Escalate((Vote(2048), Vote(4096)))",
    "BestOf(64, by=Judge(n=64))",
    "BestOf(65, by=Pairwise())",
    "Vote(65, by=Mean(Cached(Pairwise()), MeanLogprob()))",
    "CodeT(4)",
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


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("CodeVote(3)", "CodeVote"),
        ('ReAct((("python", Python()),))', "ReAct"),
        ("Vote(3, of=Python())", "Python"),
        ('SelfAsk(Search("p.jsonl"))', "SelfAsk"),
        ("Until(PassesTests(), limit=3)", "PassesTests"),
        ("Vote(3, by=RecordedScore())", "RecordedScore"),
    ],
)
def test_what_only_an_alias_may_name_is_said_to_be_that(spec: str, name: str) -> None:
    said = f"{name} runs programs, calls tools or opens files, so a request cannot name it: an alias of the server can"
    with pytest.raises(InputError, match=rf"^{said}$"):
        read_spec(spec)


@pytest.mark.parametrize("depth", [150, 170, 190, 199])
def test_a_spec_that_is_nested_deeply_is_read_or_refused(depth: int) -> None:
    with suppress(Refusal):
        Catalogue({"m": Scripted("7")}, {}).find("CoT(of=" * depth + "CoT()" + ")" * depth, "", ANYONE)


def test_what_a_client_may_name_is_what_only_thinks() -> None:
    assert {"Vote", "BestOf", "Refine", "Beam", "Model", "Judge"} <= set(CONSTRUCTORS)
    assert not {"Python", "Search", "Coq", "Sandbox", "PassesTests", "Proves", "ReAct", "CodeT"} & set(CONSTRUCTORS)
    for name, made in CONSTRUCTORS.items():
        for each in fields(made) if is_dataclass(made) else ():
            assert "Sandbox" not in str(each.type), f"{name} runs programs"
            assert "Tool" not in str(each.type) or each.default is None, f"{name} calls a tool"


def test_two_strategies_in_one_request_are_refused() -> None:
    catalogue = Catalogue({"m": Scripted("7")}, {})
    assert catalogue.find("m", "Vote(3)", ANYONE).spec == "Vote(3)"
    with pytest.raises(Refusal, match=r"name a model in 'model'") as refused:
        catalogue.find("Vote(2)", "Vote(3)", ANYONE)
    assert (refused.value.status, refused.value.param) == (400, "metagen.strategy")


DOCUMENTED = {
    "Within(tokens=4000, seconds=10, of=Vote(16))": 16,
    "Shortest(3, n=8)": 8,
    "DeepConf(64, by=LowestGroupConfidence(2048), of=Model(top_logprobs=20), until=ConsensusStop())": 64,
    "Vote(8, of=Think(1024))": 8,
    "Vote(8, of=EarlyExit(256))": 8,
    "Vote(40, until=BetaStop(0.95), window=4)": 40,
    "Vote(4096)": 4096,
    "Allocate(64)": 64,
    "Rounds(64)": 64,
    'Bandit((Model("a"), Vote(8)), by=MatchesReference())': 9,
    "Fuse((32, 4))": 72,
    "BestOf(8, by=Judge(n=4, grades=100))": 40,
    "Chain(CoT(), Vote(8), CoT())": 10,
    "BestOf(64, by=Pairwise())": 64 * 64,
    "Tournament(64, by=Pairwise())": 192,
    "Tournament(8, by=Judge(n=4))": 72,
    "MCTS(16, 4, by=ProcessReward())": 64,
    "Beam(4, 4, by=ProcessReward(), step=64)": 16,
}


@pytest.mark.parametrize("spec", DOCUMENTED)
def test_only_numbers_of_samples_count_as_samples(spec: str) -> None:
    assert count_samples(read_spec(spec)) == DOCUMENTED[spec]


OTHER_NUMBERS = {
    *("tokens", "every", "chunk", "short", "step", "size"),  # tokens
    *("depth", "lookahead"),  # steps, of which a reply has so many
    *("warmup", "first", "k", "least", "agree", "most"),  # of the samples that there are
    *("window", "among"),  # at once
    *("grades", "memory"),
}


def test_each_whole_number_is_one_of_samples_or_known_to_be_none() -> None:
    """A new setting must be added to one of the two."""
    exported = [getattr(room, name) for room in (strategies, verifiers, critics) for name in room.__all__]
    numbers = {
        each.name
        for made in exported
        if is_dataclass(made)
        for each in fields(made)
        if re.search(r"\bint\b", str(each.type))
    }
    assert numbers == OTHER_NUMBERS | (numbers & set(DRAWN))
    assert not OTHER_NUMBERS & set(DRAWN)
    assert set(DRAWN) <= numbers


def nested(template: str, depth: int) -> str:
    spec = "Model()"
    for _ in range(depth):
        spec = f"Ask({template!r}, of={spec})"
    return spec


@pytest.mark.parametrize(
    ("spec", "repeats"),
    [
        ("Vote(64)", 1),
        ("Ask('Say it.')", 1),
        (nested("{question}\n{question}", 3), 8),
        (f"Vote(4, of={nested('{question}{question}', 2)})", 4),
        (f"Chain({nested('{question}' * 3, 1)}, Ask('{{question}}{{1}}'), CoT())", 3),
    ],
)
def test_how_often_a_prompt_holds_the_question(spec: str, repeats: int) -> None:
    assert count_repeats(read_spec(spec)) == repeats


@pytest.mark.parametrize(
    "spec",
    [nested("{question}" * 65, 1), nested("{question}{question}", 7), f"Vote(2, of={nested('{question}' * 9, 2)})"],
)
def test_templates_that_multiply_the_question_are_refused(spec: str) -> None:
    with pytest.raises(InputError, match="repeat the question"):
        read_spec(spec)


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


NULLS = {"top_logprobs": None, "logprobs": None, "reasoning_effort": None, "n": None, "temperature": None}


@pytest.mark.parametrize("read", LEAST)
def test_what_is_null_is_not_given(read: Any) -> None:
    own = {"metagen": {"events": None, "strategy": None}, "stream_options": {"include_usage": None}}
    if read is read_response:
        del own["stream_options"]
    assert read({**LEAST[read], **NULLS, **own}) == read(LEAST[read])


def test_a_response_may_include_nothing_and_say_so() -> None:
    assert read_response({**LEAST[read_response], "include": []}) == read_response(LEAST[read_response])
    with pytest.raises(Refusal, match="'include'"):
        read_response({**LEAST[read_response], "include": ["reasoning.encrypted_content"]})


@pytest.mark.parametrize("read", [read_chat, read_response])
def test_no_log_probabilities_are_those_of_no_tokens(read: Any) -> None:
    assert read({**LEAST[read], "top_logprobs": 0}) == read(LEAST[read])
    with pytest.raises(Refusal, match="'top_logprobs'"):
        read({**LEAST[read], "top_logprobs": 5})


def test_nothing_in_a_schema_is_left_out() -> None:
    schema = {"enum": ["a", None], "default": None}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema, "strict": None}}
    call = read_chat({"model": "m", "messages": TURNS, "response_format": form})
    assert call.settings["form"] == {"json": schema}


def test_a_completion_takes_a_list_of_one_prompt() -> None:
    assert read_completion({"model": "m", "prompt": ["?"]}) == read_completion({"model": "m", "prompt": "?"})
    for prompts in ([], ["a", "b"], [1]):
        with pytest.raises(Refusal, match="'prompt") as refused:
            read_completion({"model": "m", "prompt": prompts})
        assert (refused.value.status, refused.value.param) == (400, "prompt")


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
        ({"metagen": {"compare": ["city"]}}, "metagen"),
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


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stop": [1]}, "'stop.0': Input should be a valid string"),
        ({"stop": 1}, "'stop': Input should be a valid string"),
        ({"stop": ["a", ""]}, "'stop.1': String should have at least 1 character"),
        ({"model": None}, "'model': Field required"),
        ({"metagen": 5}, "'metagen': Input should be an object"),
        ({"metagen": {"budget": 0}}, "'metagen.budget': Input should be greater than or equal to 1"),
        ({"metagen": {"budget": {"tokens": 0}}}, "'metagen.budget.tokens': Input should be greater than or equal to 1"),
        ({"metagen": {"budget": "x"}}, "'metagen.budget': Input should be an object"),
        ({"messages": [1]}, "'messages.0': Input should be an object"),
        ({"response_format": {}}, "'response_format': Input should be an object with a 'type'"),
        ({"response_format": "text"}, "'response_format': Input should be an object"),
        ({"response_format": {"type": "json_schema"}}, "'response_format.json_schema': Field required"),
        ({"response_format": {"type": "json_schema", "json_schema": None}}, "'response_format.json_schema': Field req"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": 5}}},
            "'response_format.json_schema.schema': Input should be an object",
        ),
    ],
)
def test_a_refusal_names_the_place_in_the_body_and_none_of_our_types(change: dict[str, Any], said: str) -> None:
    with pytest.raises(Refusal) as refused:
        read_chat({"model": "m", "messages": TURNS, **change})
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize("prompt", [[1, 2], ["a", 1]])
def test_a_prompt_in_ids_is_refused_at_its_place(prompt: list[Any]) -> None:
    with pytest.raises(Refusal, match=r"'prompt\.[01]': Input should be a valid string"):
        read_completion({"model": "m", "prompt": prompt})


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
            "safety_identifier": "v",
            "prompt_cache_key": "w",
        }
    )
    assert call.settings == {"temperature": 0.5, "stop": ("\n",), "max_tokens": 9, "logit_bias": {5: -100}}
    assert call.given["max_tokens"] == "max_completion_tokens"
    assert (call.strategy, call.budget, call.seed, call.choices) == ("Vote(2)", Budget(7, 2.5), 3, 2)
    assert dict(call.problem.tags) == {"a": "b", "user": "u", "safety_identifier": "v", "prompt_cache_key": "w"}
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


@pytest.mark.parametrize("read", [read_chat, read_completion, read_response])
@pytest.mark.parametrize("stream", [True, False])
def test_only_a_streamed_chat_tells_events(read: Any, stream: bool) -> None:
    body = {**LEAST[read], "stream": stream, "metagen": {"events": True}}
    if read is read_chat and stream:
        assert read(body).events
        return
    with pytest.raises(Refusal, match=r"'metagen.events': only a chat with stream=true tells them"):
        read(body)


def test_the_message_and_the_calls_of_a_reply_are_one_turn() -> None:
    calls = [
        {"type": "function_call", "call_id": name, "name": "weather", "arguments": "{}", "status": "completed"}
        for name in ("1", "2")
    ]
    call = read_response(
        {
            "model": "m",
            "input": [
                {"role": "user", "content": "Hello."},
                {"role": "assistant", "content": "Hello!"},
                {"role": "user", "content": "Weather?"},
                {"type": "reasoning", "id": "rs_1", "summary": []},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
                *calls,
                *({"type": "function_call_output", "call_id": name, "output": "rain"} for name in ("1", "2")),
            ],
        }
    )
    assert [turn.role for turn in call.problem.before] == ["user", "assistant"]
    assert [turn.role for turn in call.problem.after] == ["assistant", "tool", "tool"]
    said = call.problem.after[0].fields()
    assert said["content"] == "I look."
    assert [each["id"] for each in said["tool_calls"]] == ["1", "2"]


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


@pytest.mark.parametrize("half", ["\ud83d", "a\ud83db"])
def test_half_a_character_is_read_wherever_a_text_is(half: str) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": half}], "user": half, "metadata": {half: half}}
    assert decode(json.dumps(body).encode()) == body
    assert read_chat(body).problem.prompt == half


@pytest.mark.parametrize(
    "body", [b'{"a": "\\ud83d", "b": NaN}', b'{"a": "\\ud83d", "b": -Infinity}', b'{"a": "\\ud83d"']
)
def test_what_is_not_json_stays_refused_beside_half_a_character(body: bytes) -> None:
    with pytest.raises(Refusal, match="The body is not JSON"):
        decode(body)


def test_a_header_names_a_budget() -> None:
    assert read_budget("2000") == Budget(2000)
    assert read_budget("tokens=20, seconds=1.5") == Budget(20, 1.5)
    for text in ("", "many", "tokens=", "tokens=-1", "a=1", "0", "tokens=1e400", "nan"):
        with pytest.raises(Refusal, match="X-Metagen-Budget"):
            read_budget(text)
