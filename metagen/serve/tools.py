"""Tools that the client offers: calls as answers, so that every strategy can vote over them.

A model that calls a tool writes it into its reply, in the form that most chat templates teach:

    <tool_call>{"name": "weather", "arguments": {"city": "Bern"}}</tool_call>

Backends that are told of calls apart from the text put them into this form.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from metagen.answers.by_key import ByKey
from metagen.answers.structured import json_key, read_json
from metagen.serve.refusals import Refusal

CALL = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
ToolSpec = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What is called, and with which arguments."""

    name: str
    arguments: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Calls(ByKey):
    """Answers that are calls of tools, or where none is called, the text.

    Equal calls have one name and equal arguments. `compare` are the arguments that count; with `None` all do.
    """

    tools: tuple[ToolSpec, ...] = field(hash=False)
    compare: tuple[str, ...] | None = None
    several: bool = True
    """Whether a reply may call more than one."""

    @property
    def asks(self) -> str:
        return ""

    @property
    def options(self) -> Mapping[str, Any]:
        """What the chat template reads."""
        return {"tools": list(self.tools)}

    def calls(self, text: str) -> tuple[ToolCall, ...]:
        """The calls in a reply, of tools that there are."""
        names = {tool["function"]["name"] for tool in self.tools}
        found = [call for piece in CALL.findall(text) if (call := _read(piece)) and call.name in names]
        return tuple(found if self.several else found[:1])

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        del finished
        called = self.calls(text)
        if not called:
            return text.strip() or None
        return json.dumps([{"name": call.name, "arguments": call.arguments} for call in called], sort_keys=True)

    def key(self, answer: str) -> str:
        called = read_json(answer)
        if not isinstance(called, list) or not all(map(_is_call, called)):
            return answer
        return json_key([[each["name"], self._counting(each["arguments"])] for each in called])

    def _counting(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.compare is None:
            return arguments
        return {name: arguments[name] for name in self.compare if name in arguments}


def without_calls(text: str) -> str:
    """What a reply says beside its calls."""
    return CALL.sub("", text).strip()


def read_tools(given: Sequence[Mapping[str, Any]]) -> list[ToolSpec]:
    """The functions that a client offers, as chat templates have them. Raises `Refusal`."""
    tools = [_tool(each, number) for number, each in enumerate(given)]
    names = [tool["function"]["name"] for tool in tools]
    if len(set(names)) < len(names):
        raise Refusal(400, "'tools': two tools have one name", param="tools", code="invalid_value")
    return tools


def _tool(given: Mapping[str, Any], number: int) -> ToolSpec:
    """One tool, in the words of either interface."""
    function = given.get("function", {name: value for name, value in given.items() if name != "type"})
    kind = given.get("type")
    if kind != "function" or not isinstance(function, Mapping):
        said = f"'tools', number {number}: only functions can be called, not {str(kind)[:40]!r}"
        raise Refusal(400, said, param="tools", code="invalid_value")
    name = function.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        said = f"'tools', number {number}: needs a name of letters, digits, - and _"
        raise Refusal(400, said, param="tools", code="invalid_value")
    return {"type": "function", "function": {key: value for key, value in function.items() if key != "strict"}}


def _read(piece: str) -> ToolCall | None:
    made = read_json(piece)
    if not isinstance(made, dict) or not isinstance(made.get("name"), str):
        return None
    arguments = made.get("arguments", made.get("parameters", {}))
    arguments = read_json(arguments) if isinstance(arguments, str) else arguments
    return ToolCall(made["name"], arguments) if isinstance(arguments, dict) else None


def _is_call(made: object) -> bool:
    """Whether it is a call as `extract` writes it, and no other object."""
    return isinstance(made, dict) and made.keys() == {"name", "arguments"} and isinstance(made["arguments"], dict)
