"""What counts as an answer in a reply of a DSPy program: its output fields, without its reasoning."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from metagen.answers.by_key import ByKey
from metagen.answers.structured import Json

SECTION = re.compile(r"\[\[ ## (\w+) ## \]\]")
"""What DSPy's adapters for chats put before each field."""
ASIDE = {"reasoning", "rationale", "completed", "thought", "trajectory"}
"""Fields that are no part of an answer."""


@dataclass(frozen=True, slots=True)
class Sections(ByKey):
    """Answers that are fields: of sections, of the last JSON object, or else the whole text.

    Blanks and cases do not count.
    """

    @property
    def asks(self) -> str:
        return ""

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        """The fields as an object of JSON."""
        del finished
        fields = {name: value for name, value in _fields(text).items() if name not in ASIDE and value not in ("", None)}
        return json.dumps(fields, sort_keys=True) if fields else None

    def key(self, answer: str) -> str:
        return json.dumps(_alike(_loaded(answer)), sort_keys=True, ensure_ascii=False)


def _fields(text: str) -> Mapping[str, object]:
    """The fields of a reply by their names; a text without any is one field."""
    _, *pieces = SECTION.split(text)
    if pieces:
        return dict(zip(pieces[::2], map(str.strip, pieces[1::2]), strict=True))
    made = _loaded(Json().extract(text) or text)
    return made if isinstance(made, dict) else {"text": text.strip()}


def _loaded(text: str) -> object:
    """What a text of JSON says; another text is what it is."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _alike(value: object) -> object:
    """The same value for texts that differ in blanks and cases alone."""
    if isinstance(value, str):
        return " ".join(value.split()).casefold()
    if isinstance(value, dict):
        return {name: _alike(each) for name, each in value.items()}
    return list(map(_alike, value)) if isinstance(value, list) else value
