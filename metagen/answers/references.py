"""References that cannot be right: of some kinds, no answer equals them."""

import json
from collections.abc import Collection

from metagen.answers.canonical import canonical
from metagen.answers.kinds import Choice, Label, LastNumber, Number
from metagen.answers.numerals import NUMBER_KEY, based, repeating
from metagen.answers.protocol import Answers
from metagen.answers.structured import Json


def unequalled(reference: str, kind: Answers) -> str:
    """Return why no answer of this kind can equal a reference, as the end of a sentence; empty where one can."""
    if isinstance(kind, Choice) and kind.key(reference) not in list(kind.letters):
        return f"none of the choices {', '.join(kind.letters)}"
    if isinstance(kind, Label) and kind.key(reference) not in map(kind.key, kind.labels):
        return f"none of the labels {', '.join(kind.labels)}"
    if isinstance(kind, Number | LastNumber) and not _is_number(reference):
        return "no number"
    if isinstance(kind, Json) and not _is_object(reference, kind.fields):
        fields = f" with one of the fields {', '.join(map(repr, kind.fields))}" if kind.fields else ""
        return f"no JSON object{fields}"
    return ""


def _is_object(text: str, fields: Collection[str]) -> bool:
    """Whether a text is a JSON object with some of these fields; an answer may have null in place of the others."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and (not fields or any(field in value for field in fields))


def _is_number(text: str) -> bool:
    key = canonical(text)
    return bool(NUMBER_KEY.fullmatch(key) or repeating(key) is not None or based(key))
