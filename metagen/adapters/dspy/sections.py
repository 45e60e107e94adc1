"""What counts as an answer in a reply of a DSPy program: its output fields, without its reasoning."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from metagen.answers.protocol import Form

SECTION = re.compile(r"\[\[ ## (\w+) ## \]\]")
"""What DSPy's adapters for chats put before each field."""
ASIDE = {"reasoning", "rationale", "completed", "thought", "trajectory"}
"""Fields that are no part of an answer."""


@dataclass(frozen=True, slots=True)
class Sections:
    """Answers that are fields: of sections, of a JSON object, or else the whole text. Blanks and cases do not count."""

    @property
    def asks(self) -> str:
        return ""

    @property
    def form(self) -> Form | None:
        return None

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        """The fields as an object of JSON."""
        del finished
        fields = {name: value for name, value in _fields(text).items() if name not in ASIDE and value not in ("", None)}
        return json.dumps(fields, sort_keys=True) if fields else None

    def key(self, answer: str) -> str:
        return " ".join(answer.lower().split())

    async def equal(self, answer: str, reference: str) -> bool | None:
        return self.key(answer) == self.key(reference)


def _fields(text: str) -> Mapping[str, object]:
    """The fields of a reply by their names; a text without any is one field."""
    _, *pieces = SECTION.split(text)
    if pieces:
        return dict(zip(pieces[::2], map(str.strip, pieces[1::2]), strict=True))
    try:
        made = json.loads(text)
    except (ValueError, RecursionError):
        made = None
    return made if isinstance(made, dict) else {"text": text.strip()}
