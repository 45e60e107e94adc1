r"""Numbers as people and models write them, read as exact fractions.

Digits with separators, decimals, fractions, mixed numbers, scientific notation, repeating decimals (`0.\overline{3}`,
`0.333...`), numbers in words (`two dozen`, `1.5 million`, `minus 5`) and numbers to a base (`4210_{5}`).
"""

import re
from fractions import Fraction

LONGEST_NUMBER = 300
"""Characters; a product of two such numbers is within the smallest limit `sys.set_int_max_str_digits` allows, 640."""

DECIMAL = r"(?:(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[1-9][0-9]{0,2}(?:[ ][0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)"

NUMBER = (
    rf"""(?P<sign>[+-]?)\s*
    (?: (?P<whole>[0-9]+(?:\s+|(?=\\)))?
        (?: (?P<top>{DECIMAL}) \s*/\s* (?P<bottom>{DECIMAL})
          | \\frac\s*\{{\s*(?P<above>[+-]?{DECIMAL})\s*\}}\s*\{{\s*(?P<below>[+-]?{DECIMAL})\s*\}} )
      | (?P<power>10\s*\^\s*(?:\{{\s*[+-]?[0-9]{{1,3}}\s*\}}|[+-]?[0-9]{{1,3}}))
      | (?P<decimal>{DECIMAL})
        (?: [eE](?P<e>[+-]?[0-9]{{1,3}})
          | \s*(?:\\times|\\cdot|[*xX])\s*10\s*\^\s*\{{?\s*(?P<ten>[+-]?[0-9]{{1,3}})\s*\}}? )? )"""
)  # fmt: skip
"""The pattern of a number, for `re.VERBOSE`."""
_NUMBER = re.compile(NUMBER, re.VERBOSE)
_EXPONENT = re.compile(r"[+-]?[0-9]+")

NUMBER_KEY = re.compile(r"-?[0-9]+(?:/[0-9]+)?")

_SEPARATED = re.compile(r"([+-]?)([0-9]{1,3}(?:\.[0-9]{3})+),([0-9]+)|([+-]?[0-9]{1,3}(?:\.[0-9]{3}){2,})")
"""`1.234,56` and `1.234.567`, as on the continent; `1.234` and `1,234` alone are read as in English."""
_APOSTROPHES = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:'[0-9]{3})+(?:\.[0-9]+)?")
_LAKHS = re.compile(r"[+-]?[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}(?:\.[0-9]+)?")
"""`12,34,567`, as in India."""
_SPACED = re.compile(r"([+-]?[1-9][0-9]{0,2}(?: [0-9]{3})+),([0-9]{1,2})")

_REPEATING = re.compile(
    r"""(?P<sign>[+-]?)\s*(?P<whole>[0-9]*)\.(?P<once>[0-9]*)
    (?: \\(?:overline|bar|dot)\s*\{?(?P<line>[0-9]+)\}? | \((?P<brackets>[0-9]+)\)
      | (?P<dots>\s*\\ldots) | (?P<said>\s+repeating) )""",
    re.VERBOSE,
)
_PERIOD = re.compile(r"([0-9]*?)(?:([0-9])\2\2+|([0-9]{2,8}?)\3+)")

_SMALL = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen
"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_UNITS = {word: value for value, word in enumerate(_SMALL.split())} | {
    word: value for value, word in zip(range(20, 100, 10), _TENS.split(), strict=True)
}
_FACTORS = {"dozen": 12, "hundred": 100}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "lakh": 10**5, "crore": 10**7}
COUNTED = "|".join((*_UNITS, *_FACTORS, *_SCALES))
"""The words of numbers, as alternatives of a pattern."""
_SMALL_ORDINALS = """
    third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth sixteenth
    seventeenth eighteenth nineteenth
"""
_POWERS = {"thousandth": 10**3, "millionth": 10**6, "billionth": 10**9, "trillionth": 10**12}
_ORDINALS = (
    {word: value for value, word in enumerate(_SMALL_ORDINALS.split(), 3)}
    | {f"{word.removesuffix('y')}ieth": _UNITS[word] for word in _TENS.split()}
    | {"hundredth": 100}
    | _POWERS
)
_AFTER_TENS = {"first": 1, "second": 2} | {word: value for word, value in _ORDINALS.items() if value < 10}
_HYPHENED = {
    f"{tens}-{word}": _UNITS[tens] + value for tens in _TENS.split() for word, value in _AFTER_TENS.items()
} | {f"{word}-{power}": by * value for word, by in (("ten", 10), ("hundred", 100)) for power, value in _POWERS.items()}
"""`twenty-fifth` is one ordinal: 2 twenty-fifths are 2/25, and 20 fifths are 4."""
_PARTS = _HYPHENED | _ORDINALS | {"half": 2, "halve": 2, "quarter": 4}
_ONE_ORDINAL = rf"(?:(?:{_TENS.replace(' ', '|')})-(?:{'|'.join(_AFTER_TENS)})|(?:ten|hundred)-(?:{'|'.join(_POWERS)}))"
_PART = rf"(?:{_ONE_ORDINAL}|{'|'.join(_ORDINALS)})"
_NO_ADJECTIVE = r"\b(?!-|\s+(?!(?:of|and)\b)[a-z])"
_PART_OF_MORE = re.compile(rf"\b{_PART}(?:s\b|{_NO_ADJECTIVE})", re.IGNORECASE)
_CUPS = r"\b(?:third|fourth|fifth|sixth|seventh|eighth|ninth|tenth)\b(?!-)"
_PART_OF_ONE = re.compile(rf"{_CUPS}|{_PART_OF_MORE.pattern}", re.IGNORECASE)
"""What divides a number: the plural, or the end of the words. 5 sixth graders are five."""
_IN_WORDS = re.compile(
    rf"(?!{_ONE_ORDINAL})([0-9][0-9.,]*(?:/[0-9]+)?|an?|{COUNTED})"
    rf"((?:[\s-]+(?:and[\s-]+)?(?!{_ONE_ORDINAL})(?:{COUNTED})s?\b)*)(?:[\s-]+({_PART}|half|halve|quarter)s?)?"
    r"(\s+and\s+a\s+half\b)?"
    r"(?![A-Za-z0-9^_(\\])(.*)",
    re.IGNORECASE,
)
_MOST_QUARTERS = 3
"""Of a whole; more of them are rather coins."""

_MINUS = re.compile(r"(?:minus|negative)\s+", re.IGNORECASE)
_FIGURE = r"(?:\.?[0-9]|\\[dt]?(?:frac|sqrt|pi|infty)(?![a-zA-Z]))"
_NEGATIVE = r"(?<![\w-])(?<!true\s)(?<!false\s)negative"
_IS = r"\b(?:is|was|be|to|at|about|roughly|approximately|around|nearly)\s+"
_SIGN = re.compile(rf"(?:{_NEGATIVE}|(?P<before>^|[.:;=(\n]\s{{0,3}}|{_IS})minus)\s+(?=[$€£]?{_FIGURE})", re.IGNORECASE)
"""A sign in words. `minus` is a sign where no number comes before it."""
_NUMBER_OR_WORDS = rf"(?:[0-9]|(?:{COUNTED})\b)(?:[^a-zA-Z]|\b(?:{COUNTED})\b)*"
_DEGREES = r"(?:degrees?(?:\s+(?:Celsius|Fahrenheit))?|[CF])"
_BELOW_ZERO = re.compile(rf"({_NUMBER_OR_WORDS}{_DEGREES}?)\s+below\s+(?:zero|0)", re.IGNORECASE)
"""A temperature; `5 days below zero` are five."""

_BASED = re.compile(
    r"\(?([0-9][0-9A-F]*)\)?\s*(?:_\s*\{?\s*\(?\s*(?:\\text\s*\{\s*)?|\(?\s*base\s+)([0-9]{1,2}|[a-z]+)[\s})]*",
    re.IGNORECASE,
)


_LITERAL = re.compile(r"0(?:b([01]+)|o([0-7]+)|x([0-9a-f]+))", re.IGNORECASE)
"""A number as programs write it: `0b101` is `101_2`."""

_HALF = re.compile(rf"half\s+(?:of\s+)?(?:an?\s+)?({'|'.join((*_FACTORS, *_SCALES))})\b(.*)", re.IGNORECASE)


def number_key(text: str) -> str | None:
    """Return the key of a number, `3` or `-7/2`, or `None` if `text` is not one number."""
    if len(text) > LONGEST_NUMBER:
        return None
    if text.isascii() and text.isdecimal():
        return str(int(text))
    found = _NUMBER.fullmatch(text)
    value = _value(found) if found else _foreign(text)
    return None if value is None else str(value)


def leading_number(text: str) -> re.Match[str] | None:
    """Return the number that `text` begins with."""
    return _NUMBER.match(text) if len(text) <= LONGEST_NUMBER else None


def exact(key: str) -> Fraction | None:
    """Return the value of a number's key, or `None` if it is not one, is too long or divides by zero."""
    if len(key) > 2 * LONGEST_NUMBER + 2 or not NUMBER_KEY.fullmatch(key):
        return None
    top, _, bottom = key.partition("/")
    return None if bottom and not int(bottom) else Fraction(int(top), int(bottom or 1))


def based(text: str) -> str | None:
    """Return the key of a number to a base, such as `4210_5` or `101_2` for `0b101`, or `None` if `text` is not one."""
    if literal := _LITERAL.fullmatch(text):
        digits = literal[1] or literal[2] or literal[3]
        return f"{digits.upper()}_{2 if literal[1] else 8 if literal[2] else 16}"
    found = _BASED.fullmatch(text)
    if not found:
        return None
    base = _UNITS.get(found[2].lower(), found[2])
    return f"{found[1].upper()}_{base}" if str(base).isdecimal() else None


def is_part(words: str, *, one: bool) -> bool:
    """Return whether words after a number divide it, as in `5 sixteenths`; after `one`, also in `1 third cup`."""
    return bool((_PART_OF_ONE if one else _PART_OF_MORE).search(words))


def with_signs(text: str) -> str:
    """Return `text` with the signs of numbers in figures that it has in words: `it is minus 5` is `it is -5`."""
    if "inus" not in text.lower() and "egative" not in text.lower():
        return text
    return _SIGN.sub(lambda found: f"{found['before'] or ''}-", text)


def in_digits(text: str) -> str | None:
    """Return `text` with the number in words that it begins with in digits; `None` if it begins with none.

    `two dozen eggs` is `24 eggs`, `1.5 million` is `1500000`, `two thirds` is `2/3`, `half a dozen` is `6`. A sign in
    words is one in figures: `minus 5` and `5 degrees below zero` are `-5`.
    """
    if below := _BELOW_ZERO.fullmatch(text):
        return f"minus {below[1]}"
    if text.lower() == "half":
        return "1/2"
    if half := _HALF.fullmatch(text):
        return f"{Fraction((_FACTORS | _SCALES)[half[1].lower()], 2)}{half[2]}"
    if not (signed := _MINUS.match(text)):
        return _unsigned(text)
    rest = text[signed.end() :]
    digits = _unsigned(rest) or (rest if re.match(_FIGURE, rest) else None)
    return None if digits is None else f"-{digits}"


def _unsigned(text: str) -> str | None:
    found = _IN_WORDS.fullmatch(text)
    if not found or not (found[2] or found[3] or found[4] or found[1].lower() in _UNITS):
        return None
    value = _counted(found[1], found[2])
    if value is None:
        return None
    if found[3] and not _divides(found, value):
        apart = found[1].lower() in _UNITS and text[found.start(3) - 1] == " "
        return f"{value} {text[found.start(3) :]}" if apart else None
    value = value + Fraction(1, 2) if found[4] else value / (_PARTS[found[3].lower()] if found[3] else 1)
    return f"{value}{found[5]}"


def _divides(found: re.Match[str], value: Fraction) -> bool:
    """Whether the part that stands after a number in words divides it."""
    if found[3].lower() == "quarter":
        return value <= _MOST_QUARTERS
    return found[3].lower() in {"half", "halve"} or is_part(found[0][found.start(3) :], one=value == 1)


def _value(found: re.Match[str]) -> Fraction | None:
    value = _power(found) if found["power"] else _decimal(found) if found["decimal"] else _ratio(found)
    return -value if value is not None and found["sign"] == "-" else value


def _power(found: re.Match[str]) -> Fraction | None:
    exponent = int(_EXPONENT.findall(found["power"].partition("^")[2])[0])
    return Fraction(10) ** exponent if abs(exponent) < LONGEST_NUMBER else None


def _decimal(found: re.Match[str]) -> Fraction | None:
    exponent = int(found["e"] or found["ten"] or 0)
    if abs(exponent) > LONGEST_NUMBER:
        return None
    value = _fraction(found["decimal"])
    return value * Fraction(10) ** exponent if exponent else value


def _ratio(found: re.Match[str]) -> Fraction | None:
    top, bottom = _fraction(found["top"] or found["above"]), _fraction(found["bottom"] or found["below"])
    if not bottom:
        return None
    if not found["whole"]:
        return top / bottom
    return int(found["whole"]) + top / bottom if 0 <= top < bottom else None


def _fraction(digits: str) -> Fraction:
    return Fraction(digits.replace(",", "").replace(" ", ""))


def _foreign(text: str) -> Fraction | None:
    """A number with the separators of another country."""
    if not ("." in text or "'" in text or "," in text):
        return None
    if found := _SEPARATED.fullmatch(text):
        whole, rest = (found[4], "0") if found[4] else (found[1] + found[2], found[3])
        return Fraction(f"{whole.replace('.', '')}.{rest}")
    if found := _SPACED.fullmatch(text):
        return Fraction(f"{found[1].replace(' ', '')}.{found[2]}")
    if _APOSTROPHES.fullmatch(text) or _LAKHS.fullmatch(text):
        return Fraction(text.replace("'", "").replace(",", ""))
    return None


def repeating(text: str) -> Fraction | None:
    r"""Return the value of a decimal that repeats, or `None` if `text` is none.

    It is marked as in `0.1\overline{6}` or `0.1(6)`, or has dots after a figure that stands thrice or a group twice.
    """
    found = _REPEATING.fullmatch(text)
    if not found:
        return None
    once, period = found["once"], found["line"] or found["brackets"]
    if found["said"]:
        once, period = once[:-1], once[-1:]
    if found["dots"]:
        repeated = _PERIOD.fullmatch(once)
        once, period = (repeated[1], repeated[2] or repeated[3]) if repeated else ("", None)
    if not period:
        return None
    value = Fraction(int((found["whole"] or "0") + once), 10 ** len(once))
    value += Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(once))
    return -value if found["sign"] == "-" else value


def _counted(first: str, rest: str) -> Fraction | None:
    """The value of a first word or number in digits and the number words after it."""
    words = rest.lower().replace("-", " ").split()
    start = first.lower()
    if start in {"a", "an"}:
        total, current = Fraction(0), Fraction(1)
    elif start[0].isdigit():
        key = number_key(start.rstrip(".,"))
        if key is None:
            return None
        total, current = Fraction(0), Fraction(key)
    else:
        words, total, current = [start, *words], Fraction(0), Fraction(0)
    for word in words:
        added = _added(total, current, word)
        if added is None:
            return None
        total, current = added
    return total + current


def _added(total: Fraction, current: Fraction, word: str) -> tuple[Fraction, Fraction] | None:
    """The sum of what is complete, and of what is not, after one more word; `None` where that word cannot follow."""
    singular = word if word in _UNITS else word.removesuffix("s")
    if word == "and":
        return (total, current) if total or current >= 100 else None
    if singular in _UNITS:
        value = _UNITS[singular]
        room = current % 100 == 0 if value >= 10 else current % 10 == 0 and current % 100 != 10
        return (total, current + value) if room and (value or not (total or current)) else None
    if singular in _FACTORS:
        return total, (current or Fraction(1)) * _FACTORS[singular]
    scale = _SCALES[singular]
    return total + (current or 1) * scale, Fraction(0)
