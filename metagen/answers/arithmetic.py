"""Exact arithmetic on what a person would write, without running any text as code."""

import ast
import operator
import re
from collections.abc import Callable
from fractions import Fraction

from metagen.errors import ToolRefusal

LONGEST = 1000
"""Characters of an expression."""


LARGEST = 2048
"""Bits of a numerator or denominator on the way; Python would refuse to print much longer numbers."""

_SPELLINGS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "$": "", "[": "(", "]": ")"})


_WRITTEN = re.compile(r"[0-9eE.+*/%()\s-]+")


_TEN = re.compile(r"e[+-]?0*(?!\d{1,3}$)", re.IGNORECASE)
"""A power of ten with more than three digits."""


_GROUPS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction | int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def value(text: str) -> Fraction:
    """The exact value of an expression; raises `ToolRefusal` for what is none."""
    if len(text) > LONGEST:
        raise ToolRefusal(f"the expression is longer than {LONGEST} characters")
    source = _GROUPS.sub("", text.strip().rstrip("=").translate(_SPELLINGS)).replace("^", "**").strip()
    if not _WRITTEN.fullmatch(source):
        raise ToolRefusal(f"{text.strip()[:80]!r} is not an arithmetic expression: write numbers, + - * / % ** and ()")
    try:
        return _value(ast.parse(source, mode="eval").body, source)
    except ZeroDivisionError:
        raise ToolRefusal(f"{text.strip()!r} divides by zero") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ToolRefusal(f"{text.strip()[:80]!r} is not an arithmetic expression") from None


def written(number: Fraction) -> str:
    """A whole number, a decimal that ends, or a fraction in lowest terms."""
    twos, fives, rest = _power(number.denominator, 2), _power(number.denominator, 5), number.denominator
    places = max(twos, fives)
    if rest != 2**twos * 5**fives:
        return str(number)
    digits = str(abs(number.numerator) * 10**places // number.denominator).rjust(places + 1, "0")
    sign = "-" if number < 0 else ""
    return sign + (f"{digits[:-places]}.{digits[-places:]}" if places else digits)


def _value(node: ast.expr, source: str) -> Fraction:
    match node:
        case ast.Constant(value=int() | float()):
            return _number(ast.get_source_segment(source, node) or "")
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, source)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand, source)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _to_the_power(_value(left, source), _value(right, source))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _bounded(Fraction(_OPERATORS[type(op)](_value(left, source), _value(right, source))))
    raise ToolRefusal(f"{ast.unparse(node)[:80]!r} is not an arithmetic expression")


def _number(written: str) -> Fraction:
    """As it is written: 0.1 is one tenth."""
    if _TEN.search(written):
        raise ToolRefusal(f"{written} is too large or too small")
    return _bounded(Fraction(written))


def _to_the_power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        raise ToolRefusal(f"the exponent {exponent} is not a whole number")
    if _bits(base) * abs(exponent) > LARGEST:
        raise ToolRefusal(f"{base} to the power {exponent} is too large")
    return Fraction(base ** int(exponent))


def _bounded(number: Fraction) -> Fraction:
    if _bits(number) > LARGEST:
        raise ToolRefusal("a number on the way is too large")
    return number


def _bits(number: Fraction) -> int:
    return max(number.numerator.bit_length(), number.denominator.bit_length())


def _power(number: int, prime: int) -> int:
    """How often `prime` divides `number`."""
    times = 0
    while number % prime == 0:
        number, times = number // prime, times + 1
    return times
