"""Foreign text as it is, on any terminal: nothing in it is an escape sequence."""

import sys
import traceback
import warnings
from itertools import chain
from types import TracebackType
from typing import Any
from unicodedata import bidirectional, category, combining

INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's categories of controls, formats (bidirectional marks, joiners), lone surrogates, and separators of lines
and paragraphs: characters that steer a terminal, change what a reader sees, or cannot be encoded."""
BLANK = {
    *"\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0",
    *map(chr, (0x2065, *range(0xFE00, 0xFE0E), *range(0xFFF0, 0xFFF9), *range(0xE0000, 0xE1000))),
}
"""Letters, marks and characters without a category that show nothing."""
SELECTORS = "\ufe0e\ufe0f"
"""They make a sign an emoji, or keep it from being one. After anything else they show nothing."""
JOINERS = "\u200c\u200d"
"""They join emoji, and letters of scripts that write them joined, or keep these apart. Elsewhere they show nothing."""
VIRAMA = 9
"""Unicode's class of the signs that take the vowel from a letter in the scripts of India."""


def visible(text: str) -> str:
    """The text with each character of `INVISIBLE` and `BLANK` but newline and tab as an escape.

    ESC is a backslash and `x1b`. Pages do the same in `view/page/text.js`, but for signs such as U+0600, which a
    browser shows.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text, chain(" ", text), chain(text[1:], " ")))


def _shown(character: str, before: str, after: str) -> str:
    if character in SELECTORS:
        hides = not _may_be_emoji(before)
    elif character in JOINERS:
        hides = not _joins(character, before, after)
    else:
        hides = character not in "\n\t" and (category(character) in INVISIBLE or character in BLANK)
    return character.encode("unicode_escape").decode("ascii") if hides else character


def _may_be_emoji(character: str) -> bool:
    """Python does not know emoji: they are signs and digits, and one is a letter."""
    return character == "\u2139" or category(character)[0] in "SPN"


def _joins(joiner: str, before: str, after: str) -> bool:
    if joiner == "\u200d" and category(after)[0] == "S":
        return before == "\ufe0f" or category(before) in {"So", "Sk"}
    return bidirectional(before) == "AL" or combining(before) == VIRAMA


def guard_interpreter() -> None:
    """From now on, what Python prints itself is made visible too: warnings, and the traceback of a bug."""
    warnings.formatwarning = _formatted
    sys.excepthook = _show_bug


_format = warnings.formatwarning


def _formatted(*arguments: Any, **settings: Any) -> str:
    return visible(_format(*arguments, **settings))


def _show_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    print(visible("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)
