"""The bodies of requests: each parameter is honoured, or refused by its name."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from metagen.answers.kinds import MATHS
from metagen.answers.protocol import Answers
from metagen.answers.structured import Json, refuse_constant
from metagen.budget import Budget
from metagen.errors import InputError
from metagen.problem import Problem
from metagen.request import NUMBERS
from metagen.serve.refusals import Refusal
from metagen.serve.tools import Calls, read_tools

MOST_CHOICES = 128
ASKING = ("user", "safety_identifier", "prompt_cache_key")
"""Parameters that say who asks. The last two are OpenAI's newer names for the first."""
Positive = Annotated[int, Field(ge=1, le=2**31)]
OBJECT = "Input should be an object"
OBJECTS: Mapping[str, str] = {
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), OBJECT),
    "union_tag_not_found": f"{OBJECT} with a 'type'",
}
"""What to say of a value that is no object, by pydantic's name of the mistake: its own words are about Python."""
NotEmpty = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    """Knows its fields and their types, and nothing else. A field that is null is not given."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given


class BudgetFields(Strict):
    """What one request may spend."""

    tokens: Positive | None = None
    seconds: Annotated[float, Field(gt=0, le=1e6)] | None = None
    flops: Annotated[float, Field(gt=0)] | None = None
    money: Annotated[float, Field(gt=0)] | None = None

    def budget(self) -> Budget:
        """The same as solving takes it. Raises `Refusal`."""
        try:
            return Budget(self.tokens, self.seconds, self.flops, self.money)
        except InputError as error:
            raise Refusal(400, f"'metagen.budget': {error}", param="metagen", code="invalid_value") from None


class Own(Strict):
    """The fields of metagen's own, in `metagen`."""

    strategy: str | None = None
    budget: BudgetFields | Positive | None = None
    seed: int | None = None
    compare: list[str] | None = None
    """Which arguments of a tool's call are compared in votes; all, if it is left out."""
    events: bool = False
    """Whether a streamed chat also tells each event, as `metagen.stream` gives them."""


class StreamOptions(Strict):
    include_usage: bool = False
    include_obfuscation: Literal[False] | None = None


class JsonSchema(Strict):
    name: str = ""
    description: str | None = None
    schema_: dict[str, Any] = Field(default_factory=dict, alias="schema")
    strict: bool | None = None


class TextFormat(Strict):
    type: Literal["text", "json_object"]


class SchemaFormat(Strict):
    type: Literal["json_schema"]
    json_schema: JsonSchema


class FlatSchema(JsonSchema):
    """The same as the Responses API writes it."""

    type: Literal["json_schema"]


class Common(Strict):
    """What all three interfaces have."""

    model: Annotated[str, Field(min_length=1)]
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    min_tokens: Annotated[int, Field(ge=0)] | None = None
    logit_bias: dict[str, float] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stream: bool | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    metadata: dict[str, str] | None = None
    store: Literal[False] | None = None
    service_tier: Literal["auto", "default"] | None = None
    metagen: Own | None = None

    def limit(self) -> int | None:
        """The longest reply, in tokens."""
        return None

    def stops(self) -> tuple[str, ...]:
        return ()


class Choices(Common):
    """What the older two interfaces have in common."""

    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None
    stop: NotEmpty | list[NotEmpty] | None = None
    max_tokens: Positive | None = None
    stream_options: StreamOptions | None = None

    def limit(self) -> int | None:
        return self.max_tokens

    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class Chat(Choices):
    """The body of `/v1/chat/completions`."""

    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    max_completion_tokens: Positive | None = None
    response_format: Annotated[TextFormat | SchemaFormat, Field(discriminator="type")] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    logprobs: Literal[False] | None = None
    top_logprobs: Literal[0] | None = None
    modalities: list[Literal["text"]] | None = None

    def limit(self) -> int | None:
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


class Completion(Choices):
    """The body of `/v1/completions`."""

    prompt: str | list[str]
    """A text, or a list of one."""
    echo: Literal[False] | None = None


class TextOptions(Strict):
    format: Annotated[TextFormat | FlatSchema, Field(discriminator="type")] | None = None


class Response(Common):
    """The body of `/v1/responses`."""

    input: str | list[dict[str, Any]]
    instructions: str | None = None
    include: Annotated[list[str], Field(max_length=0)] | None = None
    """Nothing: some clients always send the list."""
    max_output_tokens: Positive | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    background: bool | None = None
    top_logprobs: Literal[0] | None = None
    truncation: Literal["disabled"] | None = None
    store: bool | None = None  # type: ignore[assignment]  # the client's default is true: a reply can be fetched again

    def limit(self) -> int | None:
        return self.max_output_tokens


Kind = TypeVar("Kind", bound=Common)


@dataclass(frozen=True, slots=True)
class Call:
    """One request, read: the question, and how it is to be answered."""

    kind: Literal["chat", "completion", "response"]
    model: str
    problem: Problem
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of `Model`, without those that were not given."""
    given: Mapping[str, str] = field(default_factory=dict)
    """The parameter that each setting came from."""
    strategy: str = ""
    """A spec that takes the place of the model's own strategy."""
    budget: Budget = field(default_factory=Budget)
    seed: int | None = None
    choices: int = 1
    stream: bool = False
    usage_in_stream: bool = False
    background: bool = False
    kept: bool = True
    """Whether its reply can be fetched again."""
    calls: Calls | None = None
    """The tools that may be called, and how their calls are compared."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    instructions: str | None = None
    """What a response is told beside its input."""
    events: bool = False
    """Whether the events on the way are told, too."""


def decode(body: bytes) -> dict[str, Any]:
    """The object that a body holds. Raises `Refusal`."""
    try:
        given = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        try:  # half a character of UTF-16, as a text that JavaScript cut may have, is read by this reader alone
            given = json.loads(body, parse_constant=refuse_constant)
        except (ValueError, RecursionError):
            raise Refusal(400, f"The body is not JSON: {error}", code="invalid_json") from None
    if not isinstance(given, dict):
        raise Refusal(400, "The body must be a JSON object", code="invalid_json")
    return given


def validate(kind: type[Kind], given: Mapping[str, Any]) -> Kind:
    """The body, checked field by field. Raises `Refusal`, which names the parameter."""
    try:
        return kind.model_validate(given)
    except (ValidationError, RecursionError) as error:
        if isinstance(error, RecursionError):
            raise Refusal(400, "The body is nested too deeply", code="invalid_json") from None
        first, where = _clearest(error, given)
        param = ".".join(where)[:200]
        if first["type"] == "extra_forbidden":
            said, code = f"{param!r} is not supported here: leave it out", "unsupported_parameter"
        else:
            said, code = f"{param!r}: {OBJECTS.get(first['type'], first['msg'])}", "invalid_value"
        raise Refusal(400, said, param=where[0] if where else None, code=code) from None


def _clearest(error: ValidationError, given: Mapping[str, Any]) -> tuple[ErrorDetails, list[str]]:
    """The first mistake, and its place in the body. Where a value may be of several kinds, that of the nearest kind."""
    every = [(each, _place(each, given)) for each in error.errors(include_input=False, include_url=False)]
    same = [(each, where) for each, where in every if where[:1] == every[0][1][:1]]
    return max(same, key=lambda told: (len(told[1]), not told[0]["type"].endswith("_type")))


def _place(error: ErrorDetails, given: Any) -> list[str]:
    """Where a mistake is in a body, without the names of our types."""
    where = []
    for part in error["loc"]:
        if (isinstance(given, dict) and part in given) or (isinstance(given, list) and isinstance(part, int)):
            given = given[part]  # type: ignore[index]  # the kind of the part was just looked at
            where.append(str(part))
    last = str(error["loc"][-1])
    return [*where, last] if error["type"] == "missing" and where[-1:] != [last] else where


def read_chat(given: Mapping[str, Any], answers: Answers = MATHS) -> Call:
    """What a body of `/v1/chat/completions` asks for."""
    body = validate(Chat, given)
    calls = _calls(body)
    form = _form(body.response_format)
    kind = calls or (Json() if form else answers)
    return _call(
        "chat",
        body,
        _problem(body.messages, "messages", kind, body),
        form=("response_format", form),
        calls=calls,
        limit="max_tokens" if body.max_completion_tokens is None else "max_completion_tokens",
        choices=body.n or 1,
        usage_in_stream=bool(body.stream_options and body.stream_options.include_usage),
    )


def read_completion(given: Mapping[str, Any], answers: Answers = MATHS) -> Call:
    """What a body of `/v1/completions` asks for: its prompt is a user's turn."""
    body = validate(Completion, given)
    prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    if len(prompts) != 1:
        said = f"'prompt': a request holds one text, not {len(prompts)}: send one request for each"
        raise Refusal(400, said, param="prompt", code="unsupported_value")
    return _call(
        "completion",
        body,
        _problem([{"role": "user", "content": prompts[0]}], "prompt", answers, body),
        limit="max_tokens",
        choices=body.n or 1,
        usage_in_stream=bool(body.stream_options and body.stream_options.include_usage),
    )


def read_response(given: Mapping[str, Any], answers: Answers = MATHS) -> Call:
    """What a body of `/v1/responses` asks for."""
    body = validate(Response, given)
    calls = _calls(body)
    form = _form(body.text.format if body.text else None)
    turns = [{"role": "user", "content": body.input}] if isinstance(body.input, str) else _turns(body.input)
    if not turns:
        raise Refusal(400, "'input': it holds no message", param="input", code="invalid_value")
    if body.background and (body.stream or body.store is False):
        param, said = ("stream", "its events are not told") if body.stream else ("store", "it must be kept until then")
        raise Refusal(
            400, f"{param!r}: a reply in the background is fetched, and {said}", param=param, code="unsupported_value"
        )
    if body.instructions:
        turns = [{"role": "system", "content": body.instructions}, *turns]
    return _call(
        "response",
        body,
        _problem(turns, "input", calls or (Json() if form else answers), body),
        form=("text", form),
        calls=calls,
        limit="max_output_tokens",
        background=bool(body.background),
        kept=body.store is not False,
        instructions=body.instructions,
    )


def _call(
    kind: Literal["chat", "completion", "response"],
    body: Common,
    problem: Problem,
    *,
    limit: str,
    form: tuple[str, Mapping[str, Any] | None] = ("", None),
    calls: Calls | None = None,
    choices: int = 1,
    usage_in_stream: bool = False,
    background: bool = False,
    kept: bool = True,
    instructions: str | None = None,
) -> Call:
    own = body.metagen or Own()
    settings = {name: value for name in NUMBERS if (value := getattr(body, name)) is not None}
    given = dict(zip(settings, settings, strict=True))
    for name, param, value in (
        ("logit_bias", "logit_bias", _biases(body.logit_bias)),
        ("stop", "stop", body.stops()),
        ("max_tokens", limit, body.limit()),
        ("form", *form),
        ("chat_template_kwargs", "tools", calls.options if calls else None),
    ):
        if value:
            settings[name], given[name] = value, param
    if own.seed is not None and body.seed not in (None, own.seed):
        raise Refusal(400, "'seed' and 'metagen.seed' differ: give one", param="seed", code="invalid_value")
    if own.compare is not None and not getattr(body, "tools", None):
        raise Refusal(400, "'metagen.compare' needs 'tools'", param="metagen", code="invalid_value")
    if own.events and not (kind == "chat" and body.stream):
        raise Refusal(
            400, "'metagen.events': only a chat with stream=true tells them", param="metagen", code="invalid_value"
        )
    return Call(
        kind=kind,
        model=body.model,
        problem=problem,
        settings=settings,
        given=given,
        strategy=own.strategy or "",
        budget=_budget(own.budget),
        seed=body.seed if own.seed is None else own.seed,
        choices=choices,
        stream=bool(body.stream),
        usage_in_stream=usage_in_stream,
        background=background,
        kept=kept,
        calls=calls,
        metadata=body.metadata or {},
        instructions=instructions,
        events=own.events,
    )


def _problem(turns: list[dict[str, Any]], param: str, answers: Answers, body: Common) -> Problem:
    tags = dict(body.metadata or {}) | {name: said for name in ASKING if (said := getattr(body, name))}
    try:
        return Problem("1", messages=turns, answers=answers, tags=tags)
    except InputError as error:
        said = str(error).removeprefix("problem '1': messages").lstrip(":, ")
        raise Refusal(400, f"{param!r}: {said}", param=param, code="invalid_value") from None


def _turns(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items of the Responses API as turns of a chat."""
    turns: list[dict[str, Any]] = []
    for item in items:
        kind = item.get("type", "message")
        if kind == "message":
            turns.append({"role": item.get("role"), "content": _content(item.get("content"))})
        elif kind == "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            call = {"id": item.get("call_id"), "type": "function", "function": function}
            if not turns or turns[-1]["role"] != "assistant":
                turns.append({"role": "assistant", "content": None})
            turns[-1].setdefault("tool_calls", []).append(call)  # a reply is one turn, whatever its items
        elif kind == "function_call_output":
            turns.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": item.get("output")})
        elif kind != "reasoning":
            said = f"'input': items of the type {str(kind)[:40]!r} are not read"
            raise Refusal(400, said, param="input", code="invalid_value")
    return turns


def _content(content: object) -> object:
    """The parts of a message, those that a reply of ours had among them."""
    if not isinstance(content, list):
        return content
    return [
        {"type": "text", "text": part.get("text")}
        if isinstance(part, dict) and part.get("type") in ("output_text", "input_text")
        else part
        for part in content
    ]


def _form(wanted: TextFormat | SchemaFormat | FlatSchema | None) -> Mapping[str, Any] | None:
    """The form of the reply, as `Model` takes it; `None` for a free text."""
    if wanted is None or wanted.type == "text":
        return None
    if isinstance(wanted, TextFormat):
        return {"json": {"type": "object"}}
    schema = wanted.json_schema.schema_ if isinstance(wanted, SchemaFormat) else wanted.schema_
    return {"json": schema or {"type": "object"}}


def _biases(given: Mapping[str, float] | None) -> Mapping[int, float] | None:
    try:
        return {int(token): bias for token, bias in given.items()} if given else None
    except ValueError:
        said = "'logit_bias': its names must be the ids of tokens"
        raise Refusal(400, said, param="logit_bias", code="invalid_value") from None


def _budget(given: BudgetFields | int | None) -> Budget:
    if isinstance(given, BudgetFields):
        return given.budget()
    return Budget(given)


def _calls(body: Chat | Response) -> Calls | None:
    compare, choice = body.metagen.compare if body.metagen else None, body.tool_choice
    specs = read_tools(body.tools or [])
    if not specs and choice not in (None, "none", "auto"):
        raise Refusal(400, "'tool_choice' needs 'tools'", param="tool_choice", code="invalid_value")
    if not specs or choice == "none":
        return None
    if choice not in (None, "auto"):
        said = "'tool_choice': only 'auto' and 'none' are supported: no model is forced to call a tool"
        raise Refusal(400, said, param="tool_choice", code="unsupported_value")
    counting = None if compare is None else tuple(compare)
    return Calls(tuple(specs), counting, several=body.parallel_tool_calls is not False)


def read_budget(text: str) -> Budget:
    """The budget in a header: `2000`, or `tokens=2000, seconds=10`. Raises `Refusal`."""
    where = "X-Metagen-Budget"
    try:
        if text.strip().isdecimal():
            return Budget(int(text))
        pairs = (part.partition("=") for part in text.split(","))
        fields = {name.strip(): float(value) for name, _, value in pairs}
        tokens = fields.pop("tokens", None)
        return BudgetFields.model_validate(fields | ({} if tokens is None else {"tokens": int(tokens)})).budget()
    except (ValueError, OverflowError, InputError):
        said = f"{where}: write tokens, such as 2000, or tokens=2000, seconds=10"
        raise Refusal(400, said, param=where, code="invalid_value") from None
