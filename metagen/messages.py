"""The turns of a conversation, as OpenAI's API and chat templates have them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from metagen.errors import InputError

Role = Literal["system", "user", "assistant", "tool"]
ROLES = get_args(Role)
ALIASES = {"developer": "system"}
"""Other names of the same."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: who speaks, and what is said."""

    role: Role
    content: str
    rest: str = ""
    """What else a turn has, such as `tool_calls`, `tool_call_id` or `name`: an object in JSON; empty for nothing."""

    def fields(self) -> dict[str, Any]:
        """The turn as chat templates and servers take it."""
        return {"role": self.role, "content": self.content} | (json.loads(self.rest) if self.rest else {})


Turns = tuple[Message, ...]


def read_messages(given: object, where: str) -> Turns:
    """The turns of `[{"role": "user", "content": "…"}, …]`; one of them is the user's.

    A content in parts, as OpenAI's API has it, is joined by line breaks. Raises `InputError`, which begins with
    `where`.
    """
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise InputError(f"{where} must be a list of turns, such as {{'role': 'user', 'content': '?'}}, not {given!r}")
    turns = tuple(
        each if isinstance(each, Message) else _read(each, f"{where}, turn {number}")
        for number, each in enumerate(given, 1)
    )
    if not any(turn.role == "user" for turn in turns):
        raise InputError(f"{where}: there is no turn of the user's: the last one is the question")
    if turns[-1].role == "assistant":
        raise InputError(f"{where}: the last turn is the assistant's, and nothing is asked after it: leave it out")
    return turns


def _read(turn: object, where: str) -> Message:
    if not isinstance(turn, Mapping):
        raise InputError(f"{where} must be an object with role and content, not {turn!r}")
    said = turn.get("role")
    role = next((each for each in ROLES if each == ALIASES.get(str(said), said)), None)
    if role is None:
        raise InputError(f"{where}: role must be {', '.join(ROLES)}, not {said!r}")
    rest = {name: value for name, value in turn.items() if name not in ("role", "content") and value is not None}
    content = _text(turn.get("content"), where, needed=not (role == "assistant" and rest))
    try:
        return Message(role, content, json.dumps(rest, sort_keys=True) if rest else "")
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {error}") from None


def _text(content: object, where: str, *, needed: bool) -> str:
    if isinstance(content, str):
        return content
    if content is None and not needed:  # a turn that calls tools need say nothing
        return ""
    if not isinstance(content, list):
        raise InputError(f"{where}: content must be a text, not {content!r}")
    return "\n".join(_part(part, where) for part in content)


def _part(part: object, where: str) -> str:
    text = part.get("text") if isinstance(part, Mapping) and part.get("type") in ("text", "input_text") else None
    if not isinstance(text, str):
        kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
        raise InputError(f"{where}: content holds a part of the type {kind!r}, and only texts are read")
    return text


def question_at(turns: Turns) -> int:
    """The place of the last turn of the user's."""
    return max(place for place, turn in enumerate(turns) if turn.role == "user")


def question_of(turns: Turns) -> str:
    """The text of the last turn of the user's."""
    return turns[question_at(turns)].content


def asking(turns: Turns, text: str) -> Turns:
    """The same conversation with another question; one that has no turns yet begins with it."""
    at = question_at(turns) if turns else 0
    rest = turns[at].rest if turns else ""
    return (*turns[:at], Message("user", text, rest), *turns[at + 1 :])


def with_system(turns: Turns, text: str, where: str) -> Turns:
    """The conversation with a system turn before it. Raises `InputError` if it has one."""
    if any(turn.role == "system" for turn in turns):
        raise InputError(f"{where}: has a system turn already: take it out, or leave out the other")
    return (Message("system", text), *turns)


def merged(turns: Iterable[Message]) -> Turns:
    """The same for a chat template that takes no system turn: its text goes before the first turn of the user's."""
    every = tuple(turns)
    system = [turn.content for turn in every if turn.role == "system"]
    others = [turn for turn in every if turn.role != "system"]
    first = next((place for place, turn in enumerate(others) if turn.role == "user"), None)
    if not system or first is None:
        return every
    text = "\n\n".join((*system, others[first].content))
    return (*others[:first], Message("user", text, others[first].rest), *others[first + 1 :])


def plain(turns: Turns) -> str:
    """What a model without a chat template reads: the contents, blank lines between them."""
    return "\n\n".join(turn.content for turn in turns if turn.content)
