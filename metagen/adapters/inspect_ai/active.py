"""Inspect's own active model as a backend, so that a strategy can draw from any model that Inspect knows."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    ContentReasoning,
    GenerateConfig,
    Model,
    ModelOutput,
    ModelUsage,
    ResponseSchema,
    get_model,
)
from inspect_ai.tool import ToolCall
from inspect_ai.util import JSONSchema, LimitExceededError

from metagen.answers.protocol import Form
from metagen.budget import Usage
from metagen.confidence import of_token
from metagen.errors import GenerationError, SampleError, UnfitRequest
from metagen.messages import Message
from metagen.request import Backend, Completion, Meter, Outcome, Request, Sampling
from metagen.tasks import together

UNSAID = (
    "min_p", "repetition_penalty", "min_tokens", "bad_words", "stop_token_ids", "ignore_eos", "adapter",
    "chat_template_kwargs", "thought_only",
)  # fmt: skip
"""Settings of ours that Inspect has no name for."""
REMARKS = frozenset({"title", "$schema", "$id", "$comment", "examples"})
"""What a JSON schema may say that changes nothing."""
CONTEXT = 1 << 20
"""Inspect tells no length of the context: the provider refuses what is too long."""


class ActiveModel(Backend):
    """The model of the task, or of a role. Inspect counts and logs its calls, retries and limits them.

    It continues no partial reply: strategies that write steps need a backend of ours.
    """

    context = CONTEXT

    def __init__(self, model: Model | None = None) -> None:
        self._model = model or get_model()
        self.limit: LimitExceededError | None = None
        """The limit of Inspect's that was passed, if one was."""

    @property
    def name(self) -> str:
        return str(self._model)

    async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
        if request.reply:
            raise UnfitRequest(f"{self.name} cannot continue a partial reply through Inspect")
        return list(await together(self._outcome(request.part(index, 1), spend) for index in range(request.n)))

    async def _outcome(self, request: Request, spend: Meter) -> Outcome:
        """One sample, or what it was lost to. A limit of Inspect's ends them all."""
        try:
            return await self._single(request, spend)
        except SampleError as lost:
            return lost

    async def _single(self, request: Request, spend: Meter) -> Completion:
        try:
            output = await self._model.generate(
                [message_of_turn(turn) for turn in request.turns], config=_config(request)
            )
        except LimitExceededError as error:
            self.limit = error
            raise
        except Exception as error:  # a provider may raise anything
            raise GenerationError(f"{self.name}: {type(error).__name__}: {error}") from error
        usage = output.usage or ModelUsage()
        spend(_spent(usage))
        if output.error:
            raise GenerationError(f"{self.name}: {output.error}")
        if not output.choices:
            raise GenerationError(f"{self.name}: it gave no reply")
        return _completion(output, usage, request.sampling.top_logprobs)

    async def count(self, request: Request) -> int:
        """As Inspect estimates it; what was used is counted exactly, where the provider tells."""
        return int(await self._model.api.count_tokens([message_of_turn(turn) for turn in request.turns]))

    def refuses(self, sampling: Sampling) -> str:
        given = [name for name in UNSAID if getattr(sampling, name) not in (None, (), False)]
        if given:
            return f"is asked through Inspect, which has no {given[0]}: leave it out"
        try:
            _schema(sampling.form)
        except UnfitRequest as error:
            return str(error)
        return ""


def _config(request: Request) -> GenerateConfig:
    sampling = request.sampling
    room = [limit for limit in (sampling.max_tokens, request.room) if limit is not None]
    return GenerateConfig(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        max_tokens=min(room, default=None),
        stop_seqs=list(sampling.stop) or None,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        logit_bias=dict(sampling.logit_bias) if sampling.logit_bias else None,
        extra_body=dict(sampling.extra) if sampling.extra else None,
        logprobs=sampling.logprobs or bool(sampling.top_logprobs) or None,
        top_logprobs=sampling.top_logprobs,
        response_schema=_schema(sampling.form),
        seed=request.seed,
    )


def _schema(form: Form | None) -> ResponseSchema | None:
    """The form of a reply as Inspect has it. Raises `UnfitRequest` for one that it has no words for."""
    if form is None or not (given := form.settings()):
        return None
    given = {"json": _bare(given["json"])} if given.keys() == {"json"} else given
    with suppress(ValueError):
        schema = JSONSchema.model_validate(given.get("json"))
        if given == {"json": schema.model_dump(exclude_none=True)}:  # it passes over what it does not know
            return ResponseSchema(name="answer", json_schema=schema)
    raise UnfitRequest(f"is asked through Inspect, which has no form such as {given}: leave it out")


def _bare(schema: Any) -> Any:
    """A schema without what only describes it, such as the titles that pydantic writes."""
    if not isinstance(schema, Mapping):
        return [_bare(each) for each in schema] if isinstance(schema, list) else schema
    kept = {name: value for name, value in schema.items() if name not in REMARKS}
    named = {name: _bare(value) for name, value in kept.get("properties", {}).items()}
    return {name: named if name == "properties" else _bare(value) for name, value in kept.items()}


def message_of_turn(turn: Message) -> ChatMessage:
    """A turn as Inspect has it."""
    rest = turn.fields()
    if turn.role == "system":
        return ChatMessageSystem(content=turn.content)
    if turn.role == "user":
        return ChatMessageUser(content=turn.content)
    if turn.role == "tool":
        return ChatMessageTool(content=turn.content, tool_call_id=rest.get("tool_call_id"), function=rest.get("name"))
    return ChatMessageAssistant(content=turn.content, tool_calls=[_call(each) for each in rest.get("tool_calls", ())])


def _call(given: dict[str, Any]) -> ToolCall:
    function = given.get("function", {})
    written = function.get("arguments")
    with suppress(ValueError, TypeError, RecursionError):
        if isinstance(arguments := json.loads(written), dict):
            return ToolCall(given.get("id", ""), function.get("name", ""), arguments)
    return ToolCall(given.get("id", ""), function.get("name", ""), {"arguments": written})


def _spent(usage: ModelUsage) -> Usage:
    cached = usage.input_tokens_cache_read or 0
    return Usage(
        calls=1,
        prompt_tokens=usage.input_tokens + cached + (usage.input_tokens_cache_write or 0),
        cached_tokens=cached,
        completion_tokens=usage.output_tokens,
        thought_tokens=usage.reasoning_tokens or 0,
    )


def _completion(output: ModelOutput, usage: ModelUsage, top: int | None) -> Completion:
    message, told = output.choices[0].message, output.choices[0].logprobs
    written = told.content if told else []
    tops = [[(each.token, each.logprob) for each in token.top_logprobs or ()][:top] for token in written] if top else []
    parts = message.content if isinstance(message.content, list) else []
    thought = "\n".join(part.reasoning for part in parts if isinstance(part, ContentReasoning))
    cut = output.stop_reason in ("max_tokens", "model_length")
    return Completion(
        message.text,
        end="length" if cut else "eos",
        logprobs=tuple(token.logprob for token in written),
        length=usage.output_tokens,
        confidences=tuple(of_token([logprob for _, logprob in each]) for each in tops) if all(tops) else (),
        first=tuple(tops[0]) if tops else (),
        thought=thought,
        thought_tokens=usage.reasoning_tokens or 0,
    )
