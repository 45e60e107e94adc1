r"""The key under which equal answers vote together. Pure text in, text out.

`canonical` is a function of one answer, so that grouping by it is an equivalence by construction; a pairwise symbolic
check is neither symmetric nor transitive, and is left to the oracles. Its conventions:

- Numbers become exact fractions in lowest terms: `0.5`, `.50`, `1/2`, `½`, `\frac12` and `\dfrac{1}{2}` are `1/2`;
  `1,234`, `1 234`, `1234.0`, `1.234e3`, `1.234 \times 10^3` and `\$1,234` are `1234`. `3\frac{1}{2}` and `3 1/2` are
  mixed numbers, `7/2`, if the fraction is proper. `0.\overline{3}` and `0.333...` are `1/3`; `2 dozen` is
  `24`, `half a dozen` is `6`, `5 sixteenths` is `5/16`, and `minus 5` and `5 degrees below zero` are `-5`.
- Currency, degrees and the per cent sign are dropped, as by the graders of MATH (Hendrycks et al. 2021): `50\%` is
  `50`, not `1/2`. So are units and counted things: `5 apples`, `9.8 m/s^2` and `5\text{ m}^2` lose theirs, and
  so do `5 times` and `5 each`. But `5m`, `5 m` and `6 ab` may be products, and `5 times a number` is one: they stay.
  `units` has the list.
- `7 a.m.`, `7 AM` and `7:00 am` are `7 am`.
- `x = 5` and `x \in [0, 1)` lose the name, and a formula on the left stays: `\cos(x) = 1`. `(5)` and `\text{(C)}` lose
  the brackets, and `(C) 42` is `C`.
- Tuples, intervals and bare lists go element by element, and keep their brackets and their order; `\{…\}` is sorted.
  `\{x : x > 3\}` is `x > 3`. `1 and 2` is a list, and `x > 1 and x < 3` is none; `2:4:6` is the ratio `1:2:3`, but
  `10:30` may be a time and stays.
- A number to a base keeps it: `4210_{5}` is `4210_5`, and `0b101` is `101_2`.
- `all real numbers` is `\mathbb{R}`, and `no solution` is `\emptyset`.
- Words are lower-cased, single letters are not. A formula loses spacing and `\left`, and stays as written otherwise.

What is longer than `LONGEST` characters is its own key, so that no input takes more than some milliseconds. Braces
without a partner are dropped.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from math import gcd, lcm
from typing import cast

from metagen.answers.numerals import LONGEST_NUMBER, NUMBER_KEY, based, exact, in_digits, number_key
from metagen.answers.spelling import to_ascii
from metagen.answers.units import without_unit

LONGEST = 1000
"""Characters of the longest answer that is looked into."""


_DEEPEST = 10
"""Brackets within brackets that are looked into."""


_NEARLY = 100_000
"""One part in so many is the difference of two numbers, one of which may be the other in decimals."""


_ROUNDS = 50
"""Passes until a key is stable; three do for nearly all answers."""


_PERCENT = re.compile(r"%|\bper ?cent|\bpct\b", re.IGNORECASE)

_TEXT = r"\\(?:text(?:bf|it|rm|normal)?|mbox|mathrm|mathbf|operatorname)\s*"


_IN_TEXT = re.compile(_TEXT + r"\{([^{}]*)\}")


_NAMED = re.compile(
    r"(?!\\(?:arc)?(?:sin|cos|tan|cot|sec|csc|log|ln|exp|lim|det|gcd|max|min)(?![a-zA-Z])|(?:arc)?(?:sin|cos|tan|log|ln)\b)"
    r"\\?[a-zA-Z]+(?:_(?:\w|\{\w+\}))?(?:\([a-zA-Z]\))?\s*(?:=|\\(?:in|approx)(?![a-zA-Z]))\s*(?P<value>[^=<>]+)"
)
"""A name and what it is; a function of something is no name."""


_CHOSEN = re.compile(
    r"(?:(?:the\s+)?(?:correct\s+)?(?:option|choice|answer)\s*(?:is\b|:)?\s+\(?(?P<option>[A-J])\)?"
    rf"|(?:{_TEXT}\{{)?\(?(?P<letter>[A-J])(?:\)\}}?[.:]?(?![-_(])\s*|[.:]\}}?\s+)[^\s=+*/^]"
    r"(?!.*[\s,;]\(?[A-J](?:\)|[.:]\s)).*)",
    re.IGNORECASE | re.DOTALL,
)
"""A choice with its text or a word before it; neither a formula such as `(a)(b + c)` nor parts, `(a) 5, (b) 7`."""


_CONDITION = re.compile(
    r"\\?\{\s*([a-zA-Z])\s*(?:\\in\s*(?:\\mathbb\s*\{\s*R\s*\}|R)\s*)?(?:\||:|\\(?:mid|vert)(?![a-zA-Z]))\s*(?P<value>[^|{}:]*\1[^|{}:]*?)\s*\\?\}"
)
"""A set by what holds of its elements, as `\\{x : x > 3\\}`."""
RELATION = re.compile(r"[<>]|\\(?:[lg]eq?|[lg]t|ne|neq|leqslant|geqslant)(?![a-zA-Z])")
_RATIO = re.compile(r"[0-9][0-9./]*(?:\s*:\s*[0-9][0-9./]*)+")
_CLOCK = re.compile(r"[0-2]?[0-9]:[0-5][0-9](?::[0-5][0-9])?")
_TIME_OF_DAY = re.compile(r"(0?[1-9]|1[0-2])(?::00|(:[0-5][0-9]))? ?([ap])(?:m|\. ?m\.?)", re.IGNORECASE)
_LISTED = re.compile(rf",?(?:\s+(?:and|or)\s+|\s*{_TEXT}\{{\s*,?\s*(?:and|or)\s*\}}\s*)|,\s*(?:and|or)\s+")
_EITHER = re.compile(r"^(?:either|both)\s+")
PROSE = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{2,}")


_WORDS = re.compile(r"[^\W\d_]{2,}(?:[\s'-]+[^\W\d_]+)*")


_THERE_IS = r"(?:there (?:is|are) )?"
_SAID = {
    key: re.compile(phrase, re.IGNORECASE)
    for key, phrase in {
        r"\mathbb{R}": r"(?:the set of )?(?:all|all the|any|every|the) (?:real (?:number|value)s?|reals)(?: of [a-z])?",
        r"\emptyset": rf"(?:the )?(?:empty|null) set|{_THERE_IS}no solutions?(?: exists?)?",
        "no real solution": rf"{_THERE_IS}no real solutions?(?: exists?)?",
        "does not exist": r"DNE|(?:the limit|it) does not exist",
    }.items()
}
"""What some phrases come to."""


_BRACKET = re.compile(r"\\[{}]|\\.|[()\[\]{},;]")


_TIGHT = re.compile(r"\s*(\\\\|[^\w\s\\])\s*|\s+(?=\\)")


_NO_BRACES = str.maketrans("", "", "{}")
_CURRENCY = str.maketrans("", "", "€£¥₹")


HEDGE = re.compile(
    r"^(?:(?:about|approximately|approx\.|roughly|around|exactly)\s+(?=[-−+$€£.\\0-9])|(?:≈|\\approx(?![a-zA-Z]))\s*)",
    re.IGNORECASE,
)
"""What stands before a number and changes nothing of it."""
_REWRITES = (
    ("\\!", re.compile(r",\\!\s*"), ","),
    ("{,", re.compile(r"(?<=[0-9])\{,\}(?=[0-9]{3})"), ","),
    ("\\", re.compile(r"(?<!\\)\\[!,;:> ]|\\(?:left|right|displaystyle|q?quad)(?![a-zA-Z])"), " "),
    ("~", re.compile(r"~"), " "),
    ("prime", re.compile(r"\\prime(?![a-zA-Z])\s*"), "'"),
    ("^", re.compile(r"\^\s*(?:\{\s*('+)\s*\}|('+))"), r"\1\2"),
    ("mathbb", re.compile(r"\\mathbb\s*([A-Z])(?![a-zA-Z])"), r"\\mathbb{\1}"),
    ("overline", re.compile(r"\\overline\s*\{([A-Z]{2})\}"), r"\1"),
    ("varnothing", re.compile(r"\\varnothing(?![a-zA-Z])"), r"\\emptyset"),
    ("\\}", re.compile(r"\\\{\s*\\\}"), r"\\emptyset"),
    ("angle", re.compile(r"\\langle(?![a-zA-Z])"), "("),
    ("angle", re.compile(r"\\rangle(?![a-zA-Z])"), ")"),
    ("US", re.compile(r"^US(?:D\s?(?=[0-9])|\s?(?=\\?\$))(?=[^a-zA-Z]*$)"), ""),
    ("cases", re.compile(r"\\begin\{cases\}([^&\\]*)\\\\([^&\\]*)\\end\{cases\}"), r"\1, \2"),
    ('"', re.compile(r'^"([^"]*)"$'), r"\1"),
    ("", HEDGE, ""),
    ("nfinity", re.compile(r"(?<![\\a-zA-Z])[Ii]nfinity(?![a-zA-Z])"), r"\\infty"),
    ("\\", re.compile(r"(?<!\\)\\[()\[\]]"), ""),
    ("$", re.compile(r"\\?\$"), ""),
    ("`", re.compile(r"`"), ""),
    ("**", re.compile(r"^\*\*|\*\*$"), ""),
    ("frac", re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    ("frac", re.compile(r"\\frac\s*([0-9])"), r"\\frac{\1}"),
    ("frac", re.compile(r"(\\frac\s*\{[^{}]*\})\s*([0-9])"), r"\1{\2}"),
    ("sqrt", re.compile(r"\\sqrt\s*([0-9a-z])"), r"\\sqrt{\1}"),
    ("..", re.compile(r"(?<=[0-9])\s*\.{3,}"), r"\\ldots"),
    ("dots", re.compile(r"(?<=[0-9])\s*\\[lc]?dots(?![a-zA-Z])"), r"\\ldots"),
)
"""What a text must hold for a rewrite to be tried, the pattern, and what takes its place."""


@lru_cache(4096)
def canonical(answer: str) -> str:
    """Return the key under which `answer` votes. Idempotent; never raises. The module's docstring has the rules."""
    if is_whole(answer):
        return str(int(answer))
    if len(answer) > LONGEST and len(answer := answer.translate(_NO_BRACES)) > LONGEST:
        return answer
    given = balanced(" ".join(answer.split()))
    text = given
    for _ in range(_ROUNDS):
        text, before = _simpler(text), text
        if text == before and (text := balanced(text)) == before:  # a sign between braces may have been dropped
            return text
    return given


def is_whole(text: str) -> bool:
    """Whether it is a whole number in figures and nothing else."""
    return text.isdecimal() and text.isascii() and len(text) <= LONGEST // 4


def equal_numbers(first: str, second: str) -> bool | None:
    """Decide whether two answers are the same number; `None` where a number is not all there is to it.

    That is if one is not a plain number; if only one has a per cent sign, as 50 % may be 50 or one half; or if they
    are nearly the same, as one may be the other in decimals. Equal keys are equal numbers all the same.
    """
    keys = canonical(first), canonical(second)
    if not all(map(NUMBER_KEY.fullmatch, keys)):
        return None
    if keys[0] == keys[1]:
        return True
    if has_percent(first) != has_percent(second):
        return None
    one, other = map(_exact, keys)
    if one is None or other is None:
        return None
    return None if _NEARLY * abs(one - other) <= max(abs(one), abs(other)) else False


def _exact(key: str) -> Fraction | None:
    """The value of a number's key; a whole number is kept as an integer, since a fraction takes ten times as long."""
    return exact(key) if "/" in key or len(key) > LONGEST_NUMBER else cast("Fraction", int(key))


def has_percent(text: str) -> bool:
    return bool(_PERCENT.search(text))


def balanced(text: str) -> str:
    """Return `text` without the braces that have no partner. Braces after a backslash count as a kind of their own."""
    if "{" not in text and "}" not in text:
        return text
    open_at: dict[str, list[int]] = {"{": [], "\\{": []}
    lonely: list[tuple[int, int]] = []
    for token in _BRACES.finditer(text):
        kind = open_at.get(token[0].replace("}", "{"))
        if kind is None:
            continue
        if token[0].endswith("{"):
            kind.append(token.start())
        elif kind:
            kind.pop()
        else:
            lonely.append(token.span())
    lonely += [(start, start + len(brace)) for brace, starts in open_at.items() for start in starts]
    return _without(text, sorted(lonely)) if lonely else text


_BRACES = re.compile(r"\\.|[{}]", re.DOTALL)


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    return "".join(text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True))


def _simpler(text: str) -> str:
    """One pass over a whole answer; what it returns is nearer to the key, or is the key."""
    text = _cleaned(text)
    number = number_key(text)
    if number is not None:
        return number
    if bare := without_unit(text):
        return bare
    if named := _NAMED.fullmatch(text):
        return named["value"].strip()
    if holds := condition(text):
        return holds
    return _of_another_form(text) or _part(text)


def _of_another_form(text: str) -> str | None:
    """What a number in words or to a base, a ratio, a time, a choice with its text or a list in prose come to."""
    if time := _TIME_OF_DAY.fullmatch(text):
        return f"{int(time[1])}{time[2] or ''} {time[3].lower()}m"
    if chosen := _CHOSEN.fullmatch(text):
        return str(chosen["letter"] or chosen["option"].upper())
    if ":" in text and (found := _ratio(text)):
        return found
    if ("_" in text or "base" in text or text[:1] == "0") and (found := based(text)):
        return found
    if PROSE.search(text):
        return in_digits(text) or _phrase(text) or _listed(text)
    return _listed(text) if _LISTED.search(text) else None


def _ratio(text: str) -> str | None:
    """A ratio in lowest terms; what may be a time of day stays as it is."""
    if not _RATIO.fullmatch(text) or _CLOCK.fullmatch(text):
        return None
    parts = [exact(number_key(part.strip()) or "") for part in text.split(":")]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or not any(known):
        return None
    scale = Fraction(lcm(*(part.denominator for part in known)))
    whole = [int(part * scale) for part in known]
    return ":".join(str(part // gcd(*whole)) for part in whole)


def _phrase(text: str) -> str | None:
    return next((key for key, phrase in _SAID.items() if phrase.fullmatch(text)), None)


def _listed(text: str) -> str | None:
    """A list in prose with commas, if what it lists are numbers and formulas."""
    spelled, count = _LISTED.subn(", ", _EITHER.sub("", text))
    pieces = _pieces(spelled) if count else None
    if not pieces or not all(map(_is_formula, pieces)):
        return None
    return ", ".join(piece.strip() for piece in pieces)


def _is_formula(text: str) -> bool:
    """Whether it may be an element of a list; of two inequalities, `and` and `or` say different things."""
    text = text.strip()
    return bool(text) and (number_key(text) is not None or not (PROSE.search(text) or RELATION.search(text)))


def _part(text: str) -> str:
    """One pass over an element. It keeps its name, since `x = 1, y = 2` is not `y = 1, x = 2`."""
    text = text.strip()
    number = number_key(text)
    if number is not None:
        return number
    composite = _composite(text)
    return _worded(text) if composite is None else composite


def _cleaned(text: str) -> str:
    if not text.isascii():
        text = to_ascii(text).translate(_CURRENCY)
    for needed, pattern, replacement in _REWRITES:
        if needed in text:
            text = pattern.sub(replacement, text)
    return " ".join(text.split()).rstrip(".,;: ")


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


def elements(key: str) -> list[str] | None:
    """The elements of the key of a list, or the key alone; `None` for a set, or what is no list."""
    opening, inner, _ = _enclosed(key) or ("", key, "")
    pieces = None if opening == r"\{" else _pieces(inner)
    return None if pieces is None else [piece.strip() for piece in pieces]


def condition(text: str) -> str | None:
    """What holds of the elements of a set that is written so, which are called x; `None` for what is no such set."""
    found = _CONDITION.fullmatch(text.strip(" $"))
    if not found or "x" in found["value"]:
        return found and found["value"]
    return re.sub(rf"(?<![a-zA-Z\\]){found[1]}(?![a-zA-Z])", "x", found["value"])


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
