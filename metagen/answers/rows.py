"""Choices that a row of a problem file brings."""

import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from metagen.answers.kinds import Choice
from metagen.errors import InputError

_MARK = r"(?:\)|\.(?!\w\.)(?!(?<=\d\.)\d)|:(?!(?<=\d:)\d))"
"""What follows the letter of a choice; `a.m.`, `B.C.`, `1.5` and `1:30` begin with no letter of a choice."""
FIELDS = ("choices", "options")


def choices_of(row: Mapping[str, Any], given: Choice | None = None) -> Choice | None:
    """Return the choices of a row, or `None` if it has none.

    They are a list of texts, texts by letter, or an object of two lists, `text` and `label`. The letters of `given` are
    those of the row, unless it has others. Raises `InputError`, which names the field, for what is none of these.
    """
    field = _field(row)
    if field is None:
        return None
    letters, raw = _lettered(row[field], field)
    texts = _without_labels(letters, list(map(str, raw)))
    if given is not None:
        letters = _relabelled(letters, given)
    if not 2 <= len(texts) <= len(ascii_uppercase):
        raise InputError(f"field {field!r}: there are {len(texts)} choices; give 2 to {len(ascii_uppercase)}")
    try:
        return Choice("".join(letters), texts=tuple(texts))
    except InputError as error:
        raise InputError(f"field {field!r}: {error}") from None


def has_numbers(row: Mapping[str, Any]) -> bool:
    """Whether some choices of a row are numbers, so that a number may be one of them."""
    field = _field(row)
    return field is not None and any(isinstance(each, int | float) for each in _lettered(row[field], field)[1])


def without_label(answer: str, choices: Choice) -> str:
    """The text of a choice that is given with its letter before it, as in `B)7`; another answer as it is."""
    pairs = zip(choices.letters, choices.texts, strict=True) if choices.texts else ()
    return next((text for letter, text in pairs if _without_labels([letter], [answer.strip()]) == [text]), answer)


def with_choices(prompt: str, choices: Choice) -> str:
    """Return the prompt with the choices under it, unless it lists their letters, in lines or each before its text."""
    pairs = list(zip(choices.letters, choices.texts, strict=True))
    if all(re.search(rf"^\W*{letter}\W", prompt, re.MULTILINE) for letter in choices.letters) or all(
        re.search(rf"(?<!\w){letter}[).:]+\W*{re.escape(text)}", prompt) for letter, text in pairs
    ):
        return prompt
    return "\n".join((prompt, *(f"{letter}) {text}" for letter, text in pairs)))


def _field(row: Mapping[str, Any]) -> str | None:
    return next((name for name in FIELDS if row.get(name) is not None), None)


def _without_labels(letters: Sequence[str], texts: list[str]) -> list[str]:
    """The texts without their letters, where all begin with them, as in `A)6`, `B)7`."""
    pairs = zip(letters, texts, strict=True)
    heads = [re.match(rf"\(?{re.escape(letter)}{_MARK}\s*(?=\S)", text, re.IGNORECASE) for letter, text in pairs]
    found = [text[head.end() :] for head, text in zip(heads, texts, strict=True) if head]
    return found if len(found) == len(texts) else texts


def _relabelled(letters: list[str], given: Choice) -> list[str]:
    """The letters that a file's kind of answers names in place of A, B, C; a row keeps others, or more, of its own."""
    is_usual = "".join(letters).upper() == ascii_uppercase[: len(letters)]
    return list(given.letters[: len(letters)]) if is_usual and len(letters) <= len(given.letters) else letters


def _lettered(given: Any, field: str) -> tuple[list[str], list[Any]]:
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
    return letters, texts
