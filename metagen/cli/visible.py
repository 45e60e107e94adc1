"""Foreign text as it is, on any terminal: nothing in it is an escape sequence."""

import sys
import traceback
import warnings
from types import TracebackType
from typing import Any
from unicodedata import category

INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's categories of controls, formats (bidirectional marks, joiners), lone surrogates, and separators of lines
and paragraphs: characters that steer a terminal, change what a reader sees, or cannot be encoded."""
BLANK = {
    *"\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0",
    *map(chr, (*range(0xFE00, 0xFE0E), *range(0xE0100, 0xE01F0))),
}
"""Letters and marks of other categories that show nothing. Two selectors are not among them: emoji are made of them."""


def visible(text: str) -> str:
    """The text with each character of `INVISIBLE` and `BLANK` but newline and tab as an escape.

    ESC is a backslash and `x1b`.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character in "\n\t" or (category(character) not in INVISIBLE and character not in BLANK):
        return character
    return character.encode("unicode_escape").decode("ascii")


def guard_interpreter() -> None:
    """From now on, what Python prints itself is made visible too: warnings, and the traceback of a bug."""
    warnings.formatwarning = _formatted
    sys.excepthook = _show_bug


_format = warnings.formatwarning


def _formatted(*arguments: Any, **settings: Any) -> str:
    return visible(_format(*arguments, **settings))


def _show_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    print(visible("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)
