"""The program that compares two answers symbolically, in a process of its own: it may hang, crash and be killed.

A line of JSON comes in on standard input, `[reference, answer, seconds]`, and a line goes out on standard output,
`true` or `false`; an empty line before the first says that the program is ready. It is run as a file and imports
nothing of metagen, so it starts as fast as math-verify loads. It ends when its input ends; and should nobody be left
to stop it in the middle of a check, then by its own alarm. For POSIX systems.
"""

import json
import logging
import os
import re
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial, wraps
from math import ceil
from typing import Any

import sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig
from math_verify import grader, parse, parser, verify

MEMORY = 2 * 2**30
"""Bytes of address space."""
PATIENCE = 8
"""Seconds by the clock for each second of work, on a machine that is busy with other things."""
GRACE = 1.0
"""Seconds that a check may run after the limit by the clock, which is for the parent to enforce."""

SMALL = 1e-3
"""Six decimals say little of a number below."""
RELATIVE = 1e-4
"""The relative difference below which two such numbers are equal."""

latex2sympy = parser.latex2sympy
numeric_eq = grader.sympy_numeric_eq
_IMAGINARY = re.compile(r"(?<![a-zA-Z\\])i(?![a-zA-Z])|\\sqrt\s*\{\s*-")
_SINE_OF_DEGREES = re.compile(
    r"(?P<function>\\(?:sin|cos|tan|cot|sec|csc)(?:\s*\^\s*(?:\{[0-9]+\}|[0-9]))?)(?![a-zA-Z])\s*(?:\\left)?\s*[({]?\s*"
    r"(?P<angle>-?(?:[0-9.]+|\\[dt]?frac\s*\{[0-9.]+\}\s*\{[0-9.]+\}))\s*\^\s*\{?\s*\\circ\s*\}?\s*(?:\\right)?\s*[)}]?"
)
_DELIMITED = re.compile(r"\$|\\\(|\\\[|\\boxed")
_FUNCTION = re.compile(r"(?<![\\a-zA-Z])(sin|cos|tan|cot|sec|csc|log|ln|exp|pi)(?![a-zA-Z])")
_POWER = re.compile(r"\^\s*([0-9]{2,})")
_NEGATIVE_POWER = re.compile(r"(?:\^|\*\*)\s*(-(?:[0-9]+|[a-zA-Z](?![a-zA-Z0-9(])))")
_ROOT = re.compile(r"(?<![\\a-zA-Z])sqrt\s*\(([^()]*)\)")
_WORD = re.compile(r"(?<![a-zA-Z])(?:[A-Z]?[a-z]{2,}|[A-Z]{3,})(?<=[a-zA-Z]{3})(?![a-zA-Z])")
"""`nRT` and `GMm` are products."""
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
_NAME = re.compile(r"[a-zA-Z](?=\s*\()|^[^a-zA-Z]*[a-zA-Z](?:_\w)?\s*=")
_NO_VARIABLE = re.compile(r"\\(?:text\w*|mathrm|mbox|operatorname|begin|end)\s*\{[^{}]*\}|\\[a-zA-Z]+|[a-zA-Z]{4,}")


class Exhausted(BaseException):
    """Memory or stack ran out. No `Exception`, because math-verify takes any of those to mean "not equal"."""


def main() -> None:
    """Answer one check after the other, until there are no more or one of them ends the process."""
    replies = private_output()
    confine()
    speak_up()
    os.write(replies, b"\n")
    for line in sys.stdin.buffer:
        reference, answer, seconds = json.loads(line)
        limit(seconds)
        verdict = equal(reference, answer)
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.write(replies, b"true\n" if verdict else b"false\n")


def limit(seconds: float) -> None:
    """Let the kernel end the process after so many more seconds of its own work, or far more by the clock."""
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (ceil(time.process_time() + seconds), hard))
    signal.setitimer(signal.ITIMER_REAL, seconds * PATIENCE + GRACE)


def equal(reference: str, answer: str) -> bool:
    """Ask math-verify, which is asymmetric: the reference comes first. Its own limits are off, the process has one.

    Where `i` stands in one of them it is a variable first, and the imaginary unit then.
    """
    heed_case(heeded=is_cased(reference, answer))
    sides = parsed(reference), parsed(answer)
    if verified(*sides):
        return True
    return any(map(_IMAGINARY.search, (reference, answer))) and verified(*map(with_imaginary, sides))


def is_cased(reference: str, answer: str) -> bool:
    """Return whether `m` and `M` are two variables: one of them has both, or both of them have capitals.

    Else an answer may be written in other letters than the reference, `2x` for `2X`. Names, as in `A = x` and `O(n)`,
    are no variables.
    """
    sides = [_NO_VARIABLE.sub(" ", text) for text in (reference, answer)]
    found = [{letter for letter in text if letter.isalpha()} for text in sides]
    if any(len({letter.lower() for letter in letters}) < len(letters) for letters in found):
        return True
    return all(any(map(str.isupper, _NAME.sub("", text))) for text in sides)


def heed_case(*, heeded: bool) -> None:
    """Let `m` and `M` be two variables, or one as to math-verify."""
    conversion = ConversionConfig(lowercase_symbols=not heeded)
    parser.latex2sympy = loud(partial(latex2sympy, conversion_config=conversion))
    parser.parse_latex_cached.cache_clear()


def verified(reference: list[Any], answer: list[Any]) -> bool:
    """Ask math-verify. An answer that is an inequality may be an interval, unless that is still to be worked out."""
    solved = any(map(is_solved, answer))
    return bool(verify(reference, answer, allow_set_relation_comp=solved, timeout_seconds=None))


def is_solved(expression: Any) -> bool:
    """Return whether it is one or two inequalities, of the same variable and numbers."""
    relations = expression.args if isinstance(expression, sympy.And) else (expression,)
    if not all(
        isinstance(each, sympy.StrictLessThan | sympy.StrictGreaterThan | sympy.LessThan | sympy.GreaterThan)
        for each in relations
    ):
        return False
    sides = [side for each in relations for side in each.args]
    return len(expression.free_symbols) == 1 and all(side.is_Symbol or side.is_number for side in sides)


def parsed(text: str) -> list[Any]:
    readings_of_it = readings(in_radians(text))
    return [expression for reading in readings_of_it for expression in parse(reading, parsing_timeout=None)]


def with_imaginary(expressions: list[Any]) -> list[Any]:
    """Return the expressions, those without other variables multiplied out, with `i` as the imaginary unit."""
    return [_multiplied_out(each) if isinstance(each, sympy.Expr) else each for each in expressions]


def _multiplied_out(expression: sympy.Expr) -> sympy.Expr:
    variables = {each: sympy.I for each in expression.free_symbols if str(each) == "i"}
    complex_one = expression.subs(variables)
    return complex_one if complex_one.free_symbols else sympy.simplify(sympy.expand_complex(complex_one.doit()))


def in_radians(text: str) -> str:
    """Write the sine of 60 degrees as that of 60π/180, since a degree sign is dropped elsewhere."""
    return _SINE_OF_DEGREES.sub(r"\g<function>(\\frac{(\g<angle>) \\pi}{180})", text.replace("°", r"^\circ"))


def close(a: Any, b: Any, *settings: int) -> bool:
    """Compare as math-verify does, whose difference may round to zero, and relatively too: 10^-20 is not 10^-21."""
    if not numeric_eq(a, b, *settings):
        return False
    if not all(isinstance(each, sympy.Expr) and each.is_number for each in (a, b)):
        return True
    one, other = (sympy.N(each.doit()) for each in (a, b))
    size = sympy.Max(abs(one), abs(other))
    return not size.is_comparable or bool(size >= SMALL or abs(one - other) <= RELATIVE * size)


def readings(text: str) -> list[str]:
    """Return the ways to hand an answer to math-verify, which reads LaTeX between delimiters and numbers outside.

    Left bare, `2x+6` and the root of 2 would be to it the numbers in them. Prose stays as it is, since between
    delimiters a word is a product of letters, and equals its anagrams. `1,22` may be a list of two or have a decimal
    comma. The exponent of `x^-2` is -2, in LaTeX too.
    """
    text = _NEGATIVE_POWER.sub(r"^{\1}", text)
    latex = plain_as_latex(text)
    if _DELIMITED.search(text) or ("\\" not in latex and _WORD.search(text)):
        return [text]
    return [f"${latex}$", text] if _DECIMAL_COMMA.fullmatch(text) else [f"${latex}$"]


def plain_as_latex(text: str) -> str:
    """Write `2*sqrt(x)**10` and `2pi` as LaTeX has them, whose powers are one digit long without braces."""
    text = _POWER.sub(r"^{\1}", text.replace("**", "^"))
    return _FUNCTION.sub(r"\\\1 ", _ROOT.sub(r"\\sqrt{\1}", text))


def private_output() -> int:
    """Return a copy of standard output, and send what libraries print or warn nowhere."""
    copy = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    logging.disable()
    warnings.simplefilter("ignore")
    return copy


def confine() -> None:
    """Limit memory and dump no core. Leave interrupts from the terminal to the parent; let an alarm end the process."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.set_int_max_str_digits(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


def speak_up() -> None:
    """Let running out of memory or stack end the process where math-verify would turn it into "not equal"."""
    inner = (
        (parser, ("extract_target_from_pred", "normalize_latex", "latex2sympy", "parse_expr")),
        (grader, ("sympy_expr_eq", "simplify", "solve")),
    )
    grader.sympy_numeric_eq = close
    for module, names in inner:
        for name in names:
            setattr(module, name, loud(getattr(module, name)))


def loud(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` with the errors of exhaustion raised as `Exhausted`."""

    @wraps(function)
    def called(*arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except (MemoryError, RecursionError) as error:
            raise Exhausted from error

    return called


if __name__ == "__main__":
    main()
