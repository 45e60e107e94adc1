"""Text to a kind of answers: `Choice("ABCD")`, `Label("positive", "negative")`, or the name of a function."""

import inspect
from collections.abc import Mapping
from typing import Any

from metagen.answers.kinds import Choice, Function, Label, LastNumber, Maths, Number, Pattern, Text
from metagen.answers.protocol import Answers, is_answers
from metagen.answers.several import AnyOf
from metagen.answers.structured import Code, Json
from metagen.calls import Reader
from metagen.errors import InputError

CONSTRUCTORS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (Maths, Number, Choice, Label, Json, Code, Text, Pattern, LastNumber, Function, AnyOf)
}


def parse_answers(text: str, names: Mapping[str, Any] | None = None) -> Answers:
    """Read a kind of answers, such as `Number()`; a function in `names` stands for `Function` of it.

    Raises `InputError`, which points at what cannot be read.
    """
    made = Reader("kind of answers", CONSTRUCTORS | dict(names or {})).read(text)
    if inspect.isfunction(made):
        return Function(made)
    if not is_answers(made):
        raise InputError(f'{text[:80]!r} is not a kind of answers; write one such as Number() or Choice("ABCD")')
    return made  # type: ignore[no-any-return]
