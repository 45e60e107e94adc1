r"""The answer at the end of a solution, and the key under which equal answers vote together. Pure text in, text out.

`extract` reads only what was given as the answer. It never falls back on the last number of the text: an answer that
was never given must not vote. A reply that was cut off, or that gave up, ends in some number all the same, and such
numbers would form a party of their own.

`canonical` is a function of one answer, so that grouping by it is an equivalence by construction; a pairwise symbolic
check is neither symmetric nor transitive, and is left to the oracles. Its conventions:

- Numbers become exact fractions in lowest terms: `0.5`, `.50`, `1/2`, `\frac12` and `\dfrac{1}{2}` are `1/2`;
  `1,234`, `1 234`, `1234.0`, `1.234e3`, `1.234 \times 10^3` and `\$1,234` are `1234`. `3\frac{1}{2}` and `3 1/2` are
  mixed numbers, `7/2`, if the fraction is proper.
- Currency, degrees and the per cent sign are dropped, as by the graders of MATH (Hendrycks et al. 2021): `50\%` is
  `50`, not `1/2`. So are units in words or in `\text{…}`, whatever the unit: `5 apples` and `5\text{ m}^2` are `5`. But
  `5m` and `5 m` may be products and `5 million` is another number: they stay.
- `x = 5` and `x \in [0, 1)` lose the name; `(5)` and `\text{(C)}` lose the brackets.
- Tuples, intervals and bare lists go element by element, and keep their brackets and their order; `\{…\}` is sorted.
- Words are lower-cased, single letters are not. A formula loses spacing and `\left`, and stays as written otherwise.

What is longer than `LONGEST` characters is its own key, so that no input takes more than some milliseconds.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

LONGEST = 1000
"""Characters of the longest answer that is looked into."""


_LONGEST_NUMBER = 300
"""Characters; a product of two such numbers is within the smallest limit `sys.set_int_max_str_digits` allows, 640."""


_DEEPEST = 10
"""Brackets within brackets that are looked into."""


_NEARLY = 100_000
"""One part in so many is the difference of two numbers, one of which may be the other in decimals."""


_ROUNDS = 50
"""Passes until a key is stable; three do for nearly all answers."""

_DECIMAL = r"(?:(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[1-9][0-9]{0,2}(?:[ ][0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)"


_NUMBER = re.compile(
    rf"""(?P<sign>[+-]?)\s*
    (?: (?P<decimal>{_DECIMAL})
        (?: [eE](?P<e>[+-]?[0-9]{{1,3}}) | \s*(?:\\times|\\cdot|\*)\s*10\s*\^\s*\{{?(?P<ten>[+-]?[0-9]{{1,3}})\}}? )?
      | (?P<whole>[0-9]+(?:\s+|(?=\\)))?
        (?: (?P<top>{_DECIMAL}) \s*/\s* (?P<bottom>{_DECIMAL})
          | \\frac\s*\{{\s*(?P<above>[+-]?{_DECIMAL})\s*\}}\s*\{{\s*(?P<below>[+-]?{_DECIMAL})\s*\}} ) )""",
    re.VERBOSE,
)


_NUMBER_KEY = re.compile(r"-?[0-9]+(?:/[0-9]+)?")


_PERCENT = re.compile(r"%|\bper ?cent|\bpct\b", re.IGNORECASE)

_TEXT = r"\\(?:text(?:bf|it|rm|normal)?|mbox|mathrm|mathbf|operatorname)\s*"


_IN_TEXT = re.compile(_TEXT + r"\{([^{}]*)\}")


_UNIT = re.compile(
    rf"""(?P<number>.*?[0-9.}}])
    (?: \s* (?: \\?% | ° | \^\s*\{{?\s*\\circ\s*\}}? | {_TEXT}\{{(?P<text>[^{{}}0-9]*)\}} )
      | \s+ (?P<words>[a-zA-Z]{{2,}}(?:[ /-][a-zA-Z]+){{0,4}}) )
    \s*(?:\^\s*\{{?[23]\}}?)?""",
    re.VERBOSE,
)


_NOT_UNIT = re.compile(
    r"\b(?:am|pm|hundred|thousand|million|billion|trillion|dozen|pi|sqrt|sin|cos|tan|log|ln|exp|mod|factorial|squared"
    r"|cubed|half|halves|thirds?|quarters?|(?:fif|six|seven|eigh|nin|ten|hundred)ths|or|and|to|over|times|by|plus|minus"
    r"|base)\b",
    re.IGNORECASE,
)
"""Words after a number that are no unit: with them it is another number, or more than one."""


_NAMED = re.compile(r"\\?[a-zA-Z]+(?:_(?:\w|\{\w+\}))?(?:\([a-zA-Z]\))?\s*(?:=|\\in(?![a-zA-Z]))\s*(?P<value>[^=<>]+)")


_WORDS = re.compile(r"[^\W\d_]{2,}(?:[\s'-]+[^\W\d_]+)*")


_BRACKET = re.compile(r"\\[{}]|\\.|[()\[\]{},;]")


_TIGHT = re.compile(r"\s*(\\\\|[^\w\s\\])\s*|\s+(?=\\)")


_SYMBOLS = str.maketrans({"−": "-", "×": r"\times ", "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge "})


_REWRITES = (
    (re.compile(r",\\!\s*"), ","),
    (re.compile(r"(?<!\\)\\[!,;:> ]|~|\\(?:left|right|displaystyle|q?quad)(?![a-zA-Z])"), " "),
    (re.compile(r"(?<=[0-9])\{,\}(?=[0-9]{3})"), ","),
    (re.compile(r"(?<!\\)\\[()\[\]]|\\?\$|[€£¥₹]|`|^\*\*|\*\*$"), ""),
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\frac\s*([0-9])"), r"\\frac{\1}"),
    (re.compile(r"(\\frac\s*\{[^{}]*\})\s*([0-9])"), r"\1{\2}"),
    (re.compile(r"\\sqrt\s*([0-9a-z])"), r"\\sqrt{\1}"),
)


@lru_cache(4096)
def canonical(answer: str) -> str:
    """Return the key under which `answer` votes. Idempotent; never raises. The module's docstring has the rules."""
    if len(answer) > LONGEST:
        return answer
    given = " ".join(answer.split())
    text = given
    for _ in range(_ROUNDS):
        text, before = _simpler(text), text
        if text == before:
            return text
    return given


def equal_numbers(first: str, second: str) -> bool | None:
    """Decide whether two answers are the same number; `None` where a number is not all there is to it.

    That is if one is not a plain number; if only one has a per cent sign, as 50 % may be 50 or one half; or if they
    are nearly the same, as one may be the other in decimals. Equal keys are equal numbers all the same.
    """
    keys = canonical(first), canonical(second)
    if not all(map(_NUMBER_KEY.fullmatch, keys)):
        return None
    if keys[0] == keys[1]:
        return True
    if bool(_PERCENT.search(first)) != bool(_PERCENT.search(second)):
        return None
    one, other = map(_exactly, keys)
    return None if _NEARLY * abs(one - other) <= max(abs(one), abs(other)) else False


def _exactly(key: str) -> Fraction:
    """The number; whole ones without the search for a common divisor."""
    return Fraction(key) if "/" in key else Fraction(int(key))


def _simpler(text: str) -> str:
    """One pass over a whole answer; what it returns is nearer to the key, or is the key."""
    text = _cleaned(text)
    number = _number(text)
    if number is not None:
        return number
    if bare := without_unit(text):
        return bare
    if named := _NAMED.fullmatch(text):
        return named["value"].strip()
    return _part(text)


def _part(text: str) -> str:
    """One pass over an element. It keeps its name, since `x = 1, y = 2` is not `y = 1, x = 2`."""
    text = text.strip()
    number = _number(text)
    if number is not None:
        return number
    composite = _composite(text)
    return _worded(text) if composite is None else composite


def _cleaned(text: str) -> str:
    text = text.translate(_SYMBOLS)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return " ".join(text.split()).rstrip(".,;: ")


def _number(text: str) -> str | None:
    """The key of a number, or `None` if `text` is not one number."""
    found = _NUMBER.fullmatch(text) if len(text) <= _LONGEST_NUMBER else None
    value = found and (_decimal(found) if found["decimal"] else _ratio(found))
    return None if found is None or value is None else str(-value if found["sign"] == "-" else value)


def _decimal(found: re.Match[str]) -> Fraction | None:
    exponent = int(found["e"] or found["ten"] or 0)
    return _fraction(found["decimal"]) * Fraction(10) ** exponent if abs(exponent) <= _LONGEST_NUMBER else None


def _ratio(found: re.Match[str]) -> Fraction | None:
    top, bottom = _fraction(found["top"] or found["above"]), _fraction(found["bottom"] or found["below"])
    if not bottom:
        return None
    if not found["whole"]:
        return top / bottom
    return int(found["whole"]) + top / bottom if 0 <= top < bottom else None


def _fraction(digits: str) -> Fraction:
    return Fraction(digits.replace(",", "").replace(" ", ""))


def without_unit(text: str) -> str | None:
    """The number that stands before a unit, or `None` if `text` is not a number with a unit."""
    found = _UNIT.fullmatch(text)
    if found is None or _number(found["number"]) is None:
        return None
    return None if _NOT_UNIT.search(found["text"] or found["words"] or "") else found["number"]


def _composite(text: str) -> str | None:
    """The key of a bracketed or listed `text`, element by element, or `None` if it is neither."""
    enclosed = _enclosed(text)
    opening, inner, closing = enclosed or ("", text, "")
    pieces = _pieces(inner)
    if pieces is None or (not enclosed and len(pieces) == 1):
        return None
    if opening == "{" or (opening, closing, len(pieces)) == ("(", ")", 1):
        return _part(inner)
    elements = map(_part, pieces)
    return opening + ", ".join(sorted(set(elements)) if opening == r"\{" else elements) + closing


def _depths(text: str) -> Iterator[tuple[re.Match[str], int]]:
    """Each bracket and separator with the number of brackets open after it. `[0, 1)` is balanced."""
    depth = 0
    for token in _BRACKET.finditer(text):
        depth += (token[0] in {"(", "[", "{", r"\{"}) - (token[0] in {")", "]", "}", r"\}"})
        yield token, depth


def _enclosed(text: str) -> tuple[str, str, str] | None:
    """The bracket that `text` begins with, what it encloses and the bracket that closes it at the very end."""
    tokens = _depths(text)
    first = next(tokens, None)
    if first is None or first[0].start() != 0 or first[1] != 1:
        return None
    last = next((token for token, depth in tokens if depth == 0), None)
    if last is None or last.end() != len(text):
        return None
    return first[0][0], text[first[0].end() : last.start()], last[0]


def _pieces(text: str) -> list[str] | None:
    """`text` split at the commas outside of all brackets, or `None` if its brackets do not match or are too deep."""
    pieces, start, depth = [], 0, 0
    for token, depth in _depths(text):
        if not 0 <= depth <= _DEEPEST:
            return None
        if depth == 0 and token[0] in {",", ";"}:
            pieces.append(text[start : token.start()])
            start = token.end()
    return None if depth else [*pieces, text[start:]]


def _worded(text: str) -> str:
    r"""`text` without `\text{…}` and spacing that means nothing; lower-cased if it is words only."""
    text = _TIGHT.sub(r"\1", " ".join(_IN_TEXT.sub(r" \1 ", text).split()))
    return text.lower() if _WORDS.fullmatch(text) else text
