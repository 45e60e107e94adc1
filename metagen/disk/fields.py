"""Fields of rows: found by their usual names, and read as text."""

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from metagen.answers.rows import FIELDS as CHOICE_FIELDS
from metagen.disk.tested import FIELDS as TEST_FIELDS
from metagen.disk.values import digits, plain
from metagen.errors import InputError

MESSAGES = "messages"
PROMPT_FIELDS = ("prompt", "question", "problem", "Question", "text", MESSAGES)
ANSWER_FIELDS = ("answer", "Answer", "solution")
ID_FIELDS = ("id", "unique_id", "ID", "task_id")
TAG_FIELDS = ("level", "subject", "type")

SHAPES = 256
"""Rows that differ in their fields are looked at, up to so many, for fields that nothing reads."""

NAMES = 8
"""Fields, at most, that are named in a line."""


class UsedFields:
    """Which fields of the rows of a file are read. Rows of the same fields are looked at once."""

    def __init__(self, prompt: str | None, answer: str | None, name: str | None) -> None:
        """By the fields that are named; `None` means the usual ones."""
        named = (prompt, PROMPT_FIELDS), (answer, ANSWER_FIELDS), (name, ID_FIELDS)
        self._sought = [(name,) if name else usual for name, usual in named]
        self._seen: set[tuple[str, ...]] = set()
        self.unused: dict[str, None] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """Note which fields of a row nothing reads."""
        names = tuple(name for name, value in row.items() if plain(value) is not None)
        if names in self._seen or len(self._seen) >= SHAPES:
            return
        self._seen.add(names)
        tests = {*TEST_FIELDS} if "entry_point" in names else {*TEST_FIELDS} - {"test"}
        read = {first_of(row, sought) for sought in self._sought} | {*TAG_FIELDS, "answers", *CHOICE_FIELDS, *tests}
        read |= {"Body"} if "Question" in read else set()
        self.unused |= dict.fromkeys(name for name in names if name not in read)

    def answers(self, row: Mapping[str, Any]) -> bool:
        """Whether a row has anything for an answer."""
        return row.get(first_of(row, self._sought[1])) is not None


def first_of(row: Mapping[str, Any], names: Iterable[str]) -> str:
    """The first of some fields that holds something, else the first that is there; empty if none is."""
    there = [name for name in names if name in row]
    return next((name for name in there if plain(row[name]) is not None), there[0] if there else "")


def find_field(
    row: Mapping[str, Any], named: str | None, usual: tuple[str, ...], where: str, *, needed: bool = True
) -> tuple[str, Any]:
    """The first of the fields that holds something, with its name: of the usual ones, one may be null for another."""
    if name := first_of(row, (named,) if named else usual):
        return name, row[name]
    if needed or named:
        wanted = repr(named) if named else " or ".join(map(repr, usual))
        hint = "" if named or not row else ": name the one that holds the prompt (--prompt-field)"
        raise InputError(f"{where}: there is no field {wanted}; there is {named_in(row) or 'nothing'}{hint}")
    return "", None


def named_in(names: Iterable[str]) -> str:
    """Names for a line, the first few of many."""
    every = list(names)
    more = f" and {len(every) - NAMES} more" if len(every) > NAMES else ""
    return ", ".join(map(repr, every[:NAMES])) + more


def text_of(field: tuple[str, Any], where: str, *, needed: bool = False) -> str | None:
    """A field as text: numbers are written out, whole ones without a fraction."""
    name, value = field[0], plain(field[1])
    if isinstance(value, str) and (value.strip() or not needed):
        return value
    if value is None and not needed:
        return None
    if isinstance(value, float) and value.is_integer():
        return digits(Decimal(repr(value + 0.0)))  # `int` would write digits that nobody gave; -0.0 is 0
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InputError(f"{where}: field {name!r} must be a text or a number, not {shown(value)}")
    if needed and not str(value).strip():
        raise InputError(f"{where}: field {name!r} is empty")
    return str(value)


def shown(value: Any) -> str:
    """The beginning of a value, for messages."""
    try:
        return json.dumps(value)[:40]
    except TypeError:  # Parquet has values that JSON has not
        return type(value).__name__
