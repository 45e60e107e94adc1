"""Answers that have a form of their own: JSON objects and code."""

import json
import re
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from math import isfinite
from textwrap import dedent
from typing import Any

from metagen.answers.by_key import ByKey
from metagen.answers.protocol import Form
from metagen.errors import InputError
from metagen.execution.blocks import COQ, PYTHON, is_open, last_block
from metagen.execution.suites import does_something, last_program

_LANGUAGE = re.compile(r"[\w+#-]*")
_WORK = 8
"""Characters looked at for each character of a reply, at most, in the search for an object."""
_OPENED = re.compile(r"\{(?=[ \t\r\n]{0,1000}[\"}])")
"""What may be the beginning of an object."""


@dataclass(frozen=True, slots=True, repr=False, init=False)
class Json(ByKey):
    """The last JSON object in a reply that has these fields, as in `Json("name", "age")`; without fields, any object.

    Two are equal if these fields are, whatever the order, spaces and other fields; 1.0 is 1.
    """

    fields: tuple[str, ...]

    def __init__(self, *fields: str) -> None:
        object.__setattr__(self, "fields", fields)
        if not all(isinstance(field, str) and field for field in fields) or len(set(fields)) < len(fields):
            raise InputError(f"Json: fields must be different names, not {fields!r}")

    @property
    def asks(self) -> str:
        named = f" with the fields {', '.join(map(json.dumps, self.fields))}" if self.fields else ""
        return f"End with a JSON object{named}."

    @property
    def form(self) -> Form:
        properties: dict[str, Any] = {field: {} for field in self.fields}
        return Form(schema={"type": "object", "properties": properties, "required": list(self.fields)})

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        """Return the text of the object; one that ends the text is whole, even if the reply was cut off there."""
        del finished
        found = None
        for start, end, value in _objects(text):
            if all(field in value for field in self.fields):
                found = text[start:end]
        return found

    def key(self, answer: str) -> str:
        value = read_json(answer)
        if isinstance(value, dict) and self.fields:
            value = {field: value.get(field) for field in self.fields}
        return answer.strip() if value is None else json_key(value)


@dataclass(frozen=True, slots=True, repr=False)
class Code(ByKey):
    """The last block of code in `language`, or the last that names no language. Equal code is equal line by line.

    A block of Python that only shows how to use an earlier one is passed over.
    A whole reply without a block is code if it is Python, such as a function or what stands inside of one, or ends as a
    proof of Coq does. Whether other code does the same is for `PassesTests`.
    """

    language: str = "python"
    _: KW_ONLY

    def __post_init__(self) -> None:
        if not isinstance(self.language, str) or not _LANGUAGE.fullmatch(self.language):
            raise InputError(f'Code: language must be a word, such as "python" or "c++", not {self.language!r}')

    @property
    def asks(self) -> str:
        return f"End with the code between ```{self.language} and ```."

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        """Return the code; `None` where there is none, or if the reply was cut off inside of its block."""
        if not ("```" in text or "~~~" in text):
            return text if finished and self._is_code(text) else None
        if not finished and is_open(text):
            return None
        code = self._last(text)
        return None if code == text or not code.strip() else code

    def key(self, answer: str) -> str:
        code = self._last(answer)
        return "\n".join(line.rstrip() for line in dedent(code).splitlines() if line.strip())

    def _last(self, text: str) -> str:
        return last_program(text) if self._languages == PYTHON else last_block(text, self._languages)

    @property
    def _languages(self) -> tuple[str, ...]:
        language = self.language.lower()
        return next((names for names in (PYTHON, COQ) if language in names), (language,))

    def _is_code(self, text: str) -> bool:
        """Whether a text without a block is code in this language."""
        if self._languages == PYTHON:
            return does_something(text)
        return self._languages == COQ and text.rstrip().endswith(("Qed.", "Defined."))


def _objects(text: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Each outermost JSON object in a text, with its place."""
    decoder, work, end = json.JSONDecoder(parse_constant=refuse_constant, parse_float=_number), 0, 0
    for found in _OPENED.finditer(text):
        start = found.start()
        if start < end or work > _WORK * len(text):
            continue
        try:
            value, end = decoder.raw_decode(text, start)
        except json.JSONDecodeError as error:
            work += error.pos - start + error.pos // 100  # the error counts the lines before it
        except (ValueError, RecursionError):
            work += len(text) - start
        else:
            yield start, end, value


def read_json(text: str) -> Any:
    """The value of a text of JSON, else `None`. A number too large for a float becomes the text it is written as."""
    try:
        return json.loads(text, parse_constant=refuse_constant, parse_float=_number)
    except (ValueError, RecursionError):
        return None


def refuse_constant(name: str) -> Any:
    """Refuse `NaN` and infinities, which Python reads and JSON has not."""
    raise ValueError(f"{name} is not JSON")


def _number(digits: str) -> float | str:
    """A number; one that is too large for a float as it is written."""
    return number if isfinite(number := float(digits)) else digits


def json_key(value: Any) -> str:
    """A text that is the same for equal values: the order of fields does not matter, and 1.0 is 1."""
    return json.dumps(_plain(value), sort_keys=True)


def _plain(value: Any) -> Any:
    """A value with whole numbers written as such."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
