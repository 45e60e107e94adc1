"""Numbers as answers."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from metagen.answers.by_key import COMMAND, ENDS, ByKey
from metagen.answers.canonical import HEDGE, canonical
from metagen.answers.decide import decide, is_turned
from metagen.answers.extract import extract
from metagen.answers.numerals import NUMBER_KEY, with_signs
from metagen.answers.protocol import Form
from metagen.answers.spelling import in_figures
from metagen.answers.units import is_symbol

_NUMBER = r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?"
_TEN = r"10\s?\^\s?\{?[+-]?[0-9]{1,3}\}?"
_WHOLE = r"\s*-?[0-9]{1,15}(?:\.[0-9]{1,15})?\s*"
_FRACTION = rf"\\[dtc]?frac\s*(?:\{{{_WHOLE}\}}|[0-9])\s*(?:\{{{_WHOLE}\}}|[0-9])"
_BRACED = re.compile(rf"\\[dtc]?frac\s*\{{({_WHOLE})\}}\s*\{{({_WHOLE})\}}(?!\s*[0-9])")
_BEFORE_FRACTION = re.compile(r"(?<=[0-9])\s*(?=\\[dtc]?frac)")
"""Where a mixed number is, of which `3 1/2` is made before the braces of its fraction are left out."""
_GROUP = r"(?:,(?:\\!)?|\{,\}|\\,|[\N{NO-BREAK SPACE}\N{THIN SPACE}\N{NARROW NO-BREAK SPACE}])[0-9]{3}"
_DOTTED = (
    r"[0-9]{1,3}(?:(?:\.[0-9]{3})+,[0-9]+|(?:\.[0-9]{3}){2,})(?![.,]?[0-9])|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}(?![0-9])"
)
"""`1.234,56`, `1.234.567` and `12,34,567`."""
_ANY_NUMBER = re.compile(
    rf"(?<![0-9.])-?(?:(?<!\w)[0-9]{{1,3}}(?:[ ]?{_FRACTION}|[ ][0-9]{{1,3}}/[0-9]{{1,3}}(?![0-9/]))|{_FRACTION}"
    rf"|{_TEN}|[$€£]?(?:[0-9]{{1,3}}(?:{_GROUP})+(?![0-9])|{_DOTTED}|[0-9]+)(?:\.[0-9]+)?"
    rf"(?:[eE][+-]?[0-9]{{1,3}}(?!\w)|\s?(?:\\times|\\cdot|[×*xX])\s?{_TEN}|/[0-9]+(?:\.[0-9]+)?|\s?%)?)|(?<![0-9])-?\.[0-9]+"
)
_MIXED = re.compile(r"(-?[0-9]+)(?:\s|(?=\\))(\\[a-z]+.*|[0-9]+/[0-9]+)")
_DASH = re.compile(
    r"""
    (?<![\w)\]}%°\N{PRIME}|!]) (?<!\d[$€¢*"']) (?<!\d\*\*)   # right behind: `x−7`, `5%–10%`, `|x|−3`, `$5$–$10$`
    (?<!\b\w\s) (?<!\d\s) (?<![%°]\s) (?<!\d[$€¢]\s)         # a space apart: `x −7`, `5% –10%`
    [\N{HYPHEN}-\N{EN DASH}\N{MINUS SIGN}\N{SMALL HYPHEN-MINUS}\N{FULLWIDTH HYPHEN-MINUS}]
    (?=[$€£]?\.?[0-9]|\\[dtc]?frac)
    """,
    re.VERBOSE,
)
"""A dash that is the sign of a number: nothing stands before it from which the number could be taken."""
_FORMULA = re.compile(
    r"[\\^+*<>≤≥±√∞|]|=(?!\s*#)|!=|[^\W\d]#|\w\(#|/\s*#|#/\s*[a-z]\b|#\s?!|\b[a-z]\s*[-−–]\s*#|#\s*[-−–]\s*[a-z]\b"
    r"|#[\s-]*(?:dozen|hundred|thousand|lakh|crore|(?:m|b|tr)illion)",
    re.IGNORECASE,
)
"""What makes more of a number, which is written `#`: it is not all of the answer."""
_BEHIND = re.compile(r"#([^\W\d_]+)")
_ENDINGS = re.compile(r"[snrt][tdh]|[ap]m|AM|PM|[mgshLlNJWVKCF]")
"""What may stand right behind a number, beside longer symbols of units: where a number is asked for, `5m` is one."""
_LONGEST_PRODUCT = 3
"""Letters right behind a number that may be variables; more are a word."""
_LAYOUT = re.compile(
    rf"{COMMAND}|\\(?:approx(?![a-zA-Z])|[ ,;:!()\[\]]|(?=[$%]))|[`{{}}]"
    r"|(?<!\S)[*_]{1,3}(?=\S)|(?<=\S)[*_]{1,3}(?!\w)"
    r"|\b(?:US|CA|AU|NZ|HK)(?=[$])|\b(?:USD|EUR|GBP|INR|Rs\.?)\s?(?=[0-9])"
)
"""What is left out around a number: markup, and the country or the name of a currency before it."""


class _Numeric(ByKey):
    __slots__ = ()

    @property
    def asks(self) -> str:
        return f"{ENDS.format('N')} N is a number."

    @property
    def form(self) -> Form:
        return Form(regex=rf"The answer is {_NUMBER}\.")

    def key(self, answer: str) -> str:
        return canonical(answer)

    async def equal(self, answer: str, reference: str) -> bool | None:
        return decide(answer, reference) is True


@dataclass(frozen=True, slots=True, repr=False)
class Number(_Numeric):
    """One number, where it is given as the answer: `The answer is 5 apples` is 5, but a formula or `not 5` is none."""

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        given = extract(text, finished=finished)
        if given is None or (NUMBER_KEY.fullmatch(canonical(given)) and not HEDGE.match(given)):
            return given
        plain = _LAYOUT.sub(" ", _BRACED.sub(r"\1/\2", _BEFORE_FRACTION.sub(" ", _with_minus(given))))
        numbers = list(_numbers(plain))
        if len(numbers) != 1 or is_turned(given) or _is_formula(_ANY_NUMBER.sub("#", plain)):
            return None
        return numbers[0]


@dataclass(frozen=True, slots=True, repr=False)
class LastNumber(_Numeric):
    r"""The last number of the reply, wherever it stands: for models that mark no answer.

    Fractions and mixed numbers are one number, `\frac{3}{4}` and `3 1/2`, and `minus 7` is -7.
    """

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        text = _with_minus(in_figures(text))
        *_, last = (None, *_numbers(text, len(text) + finished))
        return last


def _with_minus(text: str) -> str:
    """`text` with `-` for the signs of numbers that are a dash or a word."""
    return _DASH.sub("-", with_signs(text))


def _numbers(text: str, end: float = inf) -> Iterator[str]:
    """The numbers that end before `end`. A whole number before 5/2 or more is one of its own."""
    for found in _ANY_NUMBER.finditer(text):
        if found.end() < end:
            mixed = _MIXED.fullmatch(found[0])
            yield from mixed.groups() if mixed and not NUMBER_KEY.fullmatch(canonical(found[0])) else (found[0],)


def _is_formula(text: str) -> bool:
    """Whether a number, written `#`, is a part of something else, such as `2x`; what it counts or measures is not."""
    behind = _BEHIND.search(text)
    is_product = (
        behind is not None
        and len(behind[1]) <= _LONGEST_PRODUCT
        and not (_ENDINGS.fullmatch(behind[1]) or is_symbol(behind[1]))
    )
    return is_product or bool(_FORMULA.search(text))
