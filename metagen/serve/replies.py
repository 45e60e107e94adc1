"""The bodies of replies, as OpenAI's clients read them."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Literal

from metagen.budget import Usage
from metagen.serve.names import Served
from metagen.serve.parameters import Call
from metagen.serve.tools import ToolCall, without_calls
from metagen.solution import Solution

Fields = dict[str, Any]
PREFIX = {"chat": "chatcmpl", "completion": "cmpl", "response": "resp"}
OBJECT = {"chat": "chat.completion", "completion": "text_completion", "response": "response"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: what is asked, of whom, and the id of its reply."""

    id: str
    created: int
    call: Call
    served: Served

    @property
    def model(self) -> str:
        return self.call.model

    def head(self, kind: str = "") -> Fields:
        """What every reply and every chunk begins with."""
        return {"id": self.id, "object": kind or OBJECT[self.call.kind], "created": self.created, "model": self.model}


def new_id(kind: Literal["chat", "completion", "response"]) -> str:
    return f"{PREFIX[kind]}-{token_hex(12)}" if kind != "response" else f"resp_{token_hex(12)}"


def usage_of(spent: Usage) -> Fields:
    """All that was spent. What verifiers read and wrote is counted with the prompt, and named in its details."""
    prompt = spent.prompt_tokens + spent.verifier_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": spent.completion_tokens,
        "total_tokens": prompt + spent.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": spent.cached_tokens, "verifier_tokens": spent.verifier_tokens},
        "completion_tokens_details": {"reasoning_tokens": spent.thought_tokens},
    }


def usage_of_response(spent: Usage) -> Fields:
    """The same in the words of the Responses API."""
    usage = usage_of(spent)
    return {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": usage["prompt_tokens_details"] | {"cache_write_tokens": 0},
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": usage["completion_tokens_details"],
        "total_tokens": usage["total_tokens"],
    }


def answered(solutions: Sequence[Solution]) -> Iterator[tuple[int, Solution]]:
    """The choices that have an answer, with their numbers; the others are missing from a reply."""
    return ((index, solution) for index, solution in enumerate(solutions) if not solution.failed)


def own_fields(asked: Asked, solutions: Sequence[Solution]) -> Fields:
    """What only metagen says, under `metagen`."""
    return {
        "strategy": asked.served.spec,
        "answers": [solution.answer for solution in solutions],
        "samples": sum(max(1, solution.compared) for solution in solutions),
        "lost": sum(solution.lost for solution in solutions),
        "verdicts": sum(solution.scored for solution in solutions),
        "notes": [
            *dict.fromkeys(note for solution in solutions for note in solution.notes),
            *(f"choice {index} failed: {each.error}" for index, each in enumerate(solutions) if each.failed),
        ],
    }


def calls_of(asked: Asked, solution: Solution) -> tuple[ToolCall, ...]:
    """The client's tools that an answer calls."""
    return asked.call.calls.calls(solution.text) if asked.call.calls else ()


def text_of(asked: Asked, solution: Solution) -> str:
    """What an answer says, beside its calls."""
    return without_calls(solution.text) if calls_of(asked, solution) else solution.text


def finish_reason(asked: Asked, solution: Solution) -> str:
    """Why the text ends: by itself, by a limit, or to call a tool."""
    if solution.candidate and (solution.candidate.cut or solution.candidate.open):
        return "length"
    return "tool_calls" if calls_of(asked, solution) else "stop"


def tool_calls(asked: Asked, solution: Solution) -> list[Fields]:
    """The calls as a chat has them."""
    return [
        {
            "id": f"call_{token_hex(8)}",
            "type": "function",
            "function": {"name": each.name, "arguments": _arguments(each)},
        }
        for each in calls_of(asked, solution)
    ]


def chat_reply(asked: Asked, solutions: Sequence[Solution], spent: Usage) -> Fields:
    choices = [_chat_choice(asked, index, solution) for index, solution in answered(solutions)]
    return _reply(asked, choices, solutions, spent)


def completion_reply(asked: Asked, solutions: Sequence[Solution], spent: Usage) -> Fields:
    choices = [
        {"index": index, "text": solution.text, "logprobs": None, "finish_reason": finish_reason(asked, solution)}
        for index, solution in answered(solutions)
    ]
    return _reply(asked, choices, solutions, spent)


def _reply(asked: Asked, choices: list[Fields], solutions: Sequence[Solution], spent: Usage) -> Fields:
    own = own_fields(asked, solutions)
    return asked.head() | {"choices": choices, "usage": usage_of(spent), "metagen": own}


def _chat_choice(asked: Asked, index: int, solution: Solution) -> Fields:
    called = tool_calls(asked, solution)
    message: Fields = {"role": "assistant", "content": text_of(asked, solution) or (None if called else "")}
    if called:
        message["tool_calls"] = called
    if thought := thought_of(solution):
        message |= {"reasoning": thought, "reasoning_content": thought}
    return {"index": index, "message": message, "logprobs": None, "finish_reason": finish_reason(asked, solution)}


def thought_of(solution: Solution) -> str:
    return solution.candidate.thought if solution.candidate else ""


def response_body(asked: Asked, status: str, output: Sequence[Fields] = (), **more: Any) -> Fields:
    """A reply of the Responses API, whatever its status."""
    call = asked.call
    return {
        "id": asked.id,
        "object": "response",
        "created_at": asked.created,
        "model": asked.model,
        "status": status,
        "background": call.background,
        "error": None,
        "incomplete_details": None,
        "instructions": call.instructions,
        "max_output_tokens": call.settings.get("max_tokens"),
        "metadata": dict(call.metadata),
        "output": list(output),
        "parallel_tool_calls": call.calls is None or call.calls.several,
        "temperature": call.settings.get("temperature"),
        "top_p": call.settings.get("top_p"),
        "tool_choice": "auto",
        "tools": [{"type": "function", **tool["function"]} for tool in call.calls.tools] if call.calls else [],
        "usage": None,
    } | more


def response_reply(asked: Asked, solution: Solution, spent: Usage) -> Fields:
    cut = finish_reason(asked, solution) == "length"
    return response_body(
        asked,
        "incomplete" if cut else "completed",
        response_items(asked, solution),
        incomplete_details={"reason": "max_output_tokens"} if cut else None,
        usage=usage_of_response(spent),
        metagen=own_fields(asked, [solution]),
    )


def response_items(asked: Asked, solution: Solution) -> list[Fields]:
    """The items of a response: what the model thought, a message, and the calls of tools."""
    thought, text = thought_of(solution), text_of(asked, solution)
    return [
        *([reasoning_item(asked, thought, "completed")] if thought else ()),
        *([message_item(asked, text)] if text or not calls_of(asked, solution) else ()),
        *(
            {
                "type": "function_call",
                "id": f"fc_{token_hex(8)}",
                "call_id": f"call_{token_hex(8)}",
                "name": each.name,
                "arguments": _arguments(each),
                "status": "completed",
            }
            for each in calls_of(asked, solution)
        ),
    ]


def reasoning_item(asked: Asked, thought: str, status: str) -> Fields:
    """The item of a response that holds what was thought before its text."""
    content = [{"type": "reasoning_text", "text": thought}] if thought else []
    item = f"rs_{asked.id.removeprefix('resp_')}"
    return {"type": "reasoning", "id": item, "summary": [], "content": content, "status": status}


def message_item(asked: Asked, text: str) -> Fields:
    """The item of a response that is its text."""
    return {
        "type": "message",
        "id": f"msg_{asked.id.removeprefix('resp_')}",
        "role": "assistant",
        "status": "completed",
        "content": [text_part(text)],
    }


def text_part(text: str) -> Fields:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _arguments(call: ToolCall) -> str:
    return json.dumps(dict(call.arguments), ensure_ascii=False)
