"""Exact arithmetic on numbers that are written out."""

from dataclasses import dataclass

from metagen.answers.arithmetic import value, written
from metagen.settings import spelled


@dataclass(frozen=True, slots=True, repr=False)
class Calculator:
    """What an expression comes to, exactly: `2 * (3.5 + 1,000)` is `2007`, `1 / 3` is `1/3`, `0.1 + 0.2` is `0.3`.

    It takes numbers with `+ - * / // % **`, `^` for a power, and brackets: a syntax tree that is walked and never run.
    Refuses anything else, division by zero, and numbers of more than 2048 bits.
    """

    __repr__ = spelled

    async def __call__(self, text: str, /) -> str:
        return written(value(text))
