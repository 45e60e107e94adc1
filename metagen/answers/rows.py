"""Choices that a row of a problem file brings."""

import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from metagen.answers.choices import Choice
from metagen.errors import InputError

FIELDS = ("choices", "options")


def choices_of(row: Mapping[str, Any]) -> Choice | None:
    """Return the choices of a row, or `None` if it has none.

    They are a list of texts, texts by letter, or an object of two lists, `text` and `label`. Raises `InputError`, which
    names the field, for what is none of these.
    """
    field = next((name for name in FIELDS if row.get(name) is not None), None)
    if field is None:
        return None
    letters, texts = _lettered(row[field], field)
    if not 2 <= len(texts) <= len(ascii_uppercase):
        raise InputError(f"field {field!r}: there are {len(texts)} choices; give 2 to {len(ascii_uppercase)}")
    try:
        return Choice("".join(letters), texts=tuple(texts))
    except InputError as error:
        raise InputError(f"field {field!r}: {error}") from None


def with_choices(prompt: str, choices: Choice) -> str:
    """Return the prompt with the choices under it, unless it lists their letters, in lines or each before its text."""
    pairs = list(zip(choices.letters, choices.texts, strict=True))
    if all(re.search(rf"^\W*{letter}\W", prompt, re.MULTILINE) for letter in choices.letters) or all(
        re.search(rf"(?<!\w){letter}[).:]+\W*{re.escape(text)}", prompt) for letter, text in pairs
    ):
        return prompt
    return "\n".join((prompt, *(f"{letter}) {text}" for letter, text in pairs)))


def _lettered(given: Any, field: str) -> tuple[list[str], list[str]]:
    if isinstance(given, Mapping) and {"text", "label"} <= given.keys():
        letters, texts = given["label"], given["text"]
        if not (isinstance(letters, list) and isinstance(texts, list)):
            raise InputError(f"field {field!r} must hold two lists, 'text' and 'label'")
        letters = list(map(str, letters))
    elif isinstance(given, Mapping):
        letters, texts = list(map(str, given)), list(given.values())
    elif isinstance(given, Sequence) and not isinstance(given, str):
        letters, texts = list(ascii_uppercase[: len(given)]), list(given)
    else:
        raise InputError(f"field {field!r} must be a list of texts, not {type(given).__name__}")
    if not all(isinstance(text, str | int | float) for text in texts) or len(letters) != len(texts):
        raise InputError(f"field {field!r} must hold texts, one for each letter")
    if any(len(letter) != 1 for letter in letters):
        raise InputError(f"field {field!r}: a choice is named by one letter, not by {max(letters, key=len)!r}")
    return letters, list(map(str, texts))
