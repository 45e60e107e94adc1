"""Inspect's messages as problems, and solutions as its outputs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from secrets import token_hex
from typing import Any

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageTool,
    ContentReasoning,
    ContentText,
    ModelOutput,
    ModelUsage,
)
from inspect_ai.tool import ToolCall

from metagen.answers.protocol import Answers
from metagen.budget import Usage
from metagen.candidate import Candidate
from metagen.errors import GenerationError, InputError
from metagen.problem import Problem
from metagen.serve.tools import Calls, without_calls
from metagen.solution import Solution


def problem_of(messages: Sequence[ChatMessage], name: str, epoch: int, answers: Answers) -> Problem:
    """The problem that a conversation asks. Each epoch is a problem of its own, so that a seed draws other samples."""
    name = name if epoch == 1 else f"{name}#{epoch}"
    *before, last = messages
    if last.role != "assistant":
        return Problem(name, messages=[_turn(each) for each in messages], answers=answers)
    problem = Problem(name, messages=[_turn(each) for each in before], answers=answers)
    return problem.continuing(Candidate((last.text,), finished=False))


def _turn(message: ChatMessage) -> dict[str, Any]:
    """A turn as OpenAI's API has it. Raises `InputError` for what is no text."""
    if not isinstance(message.content, str):
        kinds = {part.type for part in message.content} - {"text", "reasoning"}
        if kinds:
            raise InputError(f"a message holds content of the type {min(kinds)!r}, and strategies read texts alone")
    turn: dict[str, Any] = {"role": message.role, "content": message.text}
    if isinstance(message, ChatMessageTool):
        turn |= {"tool_call_id": message.tool_call_id, "name": message.function}
    if isinstance(message, ChatMessageAssistant) and message.tool_calls:
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function, "arguments": json.dumps(call.arguments)},
            }
            for call in message.tool_calls
        ]
    return turn


def output_of(model: str, solutions: Iterable[Solution], answers: Answers) -> ModelOutput:
    """The output that solutions are, a choice for each that has an answer, and what all of them cost together.

    How many have none is `lost` in the metadata. Raises `GenerationError` if none has one.
    """
    every = list(solutions)
    answered = [each for each in every if not each.failed]
    if not answered:
        raise GenerationError(f"{every[0].problem}: {every[0].error}")
    total = sum((each.usage for each in every), Usage())
    by_model = usage_by_model(each for solution in every for each in spent_of(solution))
    lost = {"lost": len(every) - len(answered)} if len(answered) < len(every) else {}
    return ModelOutput(
        model=model,
        choices=[_choice(each, answers) for each in answered],
        usage=usage_of(total),
        time=max((each.seconds for each in every), default=None),
        metadata={
            "metagen": list(map(_about, answered)),
            "usage": {name: spent.row() for name, spent in by_model.items()},
            **lost,
        },
    )


def message_of(text: str, thought: str, calls: list[ToolCall] | None = None) -> ChatMessageAssistant:
    """A reply, with its thought as reasoning."""
    content: list[Any] = [ContentReasoning(reasoning=thought)] if thought else []
    parts = [*content, ContentText(text=text)] if content else text
    return ChatMessageAssistant(content=parts, tool_calls=calls, source="generate")


def usage_of(usage: Usage) -> ModelUsage:
    """What was spent, in Inspect's words: what was read without what the cache held, and all tokens together."""
    return ModelUsage(
        input_tokens=usage.prompt_tokens - min(usage.cached_tokens, usage.prompt_tokens),
        output_tokens=usage.completion_tokens,
        total_tokens=usage.tokens,
        input_tokens_cache_read=usage.cached_tokens or None,
        reasoning_tokens=usage.thought_tokens or None,
        total_cost=usage.money or None,
    )


def spent_of(solution: Solution) -> Iterable[tuple[str, Usage]]:
    """What each request of a solution spent, with the model that served it."""
    return ((span.request.model, span.usage) for span in solution.trace.walk() if span.request)


def usage_by_model(spent: Iterable[tuple[str, Usage]]) -> Mapping[str, Usage]:
    """What was spent at each model."""
    found: dict[str, Usage] = {}
    for name, usage in spent:
        found[name] = found.get(name, Usage()) + usage
    return found


def _choice(solution: Solution, answers: Answers) -> ChatCompletionChoice:
    candidate = solution.candidate or Candidate((solution.text,))
    called = answers.calls(solution.text) if isinstance(answers, Calls) else ()
    calls = [ToolCall(f"call_{token_hex(8)}", each.name, dict(each.arguments)) for each in called]
    text = without_calls(solution.text) if calls else solution.text
    ended = "tool_calls" if calls else "max_tokens" if candidate.cut else "stop"
    return ChatCompletionChoice(message=message_of(text, candidate.thought, calls or None), stop_reason=ended)


def _about(solution: Solution) -> dict[str, Any]:
    """A summary of the strategy's work, for readers of the log."""
    usage = solution.usage
    return {
        "answer": solution.answer,
        "answers": list(solution.answers),
        "notes": list(solution.notes),
        "lost": solution.lost,
        "calls": usage.calls,
        "verifier_tokens": usage.verifier_tokens,
    }
