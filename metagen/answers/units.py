r"""Units after a number: which words and symbols are units, and which words make another number of it.

Units are those of `measures`, the listed ones and counted things, which are plural nouns: `5 apples` is 5. A letter or
an unknown word may be a variable or a product, `6 ab`, and stays. So do numeral words, `5 thousandths`. How often
something is the case is a count, `5 times a day`, and `5 times a number` is a product.
"""

import re

from metagen.answers.measures import UNITS
from metagen.answers.numerals import COUNTED, is_part, leading_number

_OTHER_WORDS = """
    micrometre micrometer league furlong fathom acre square cubic sq cu cup tablespoon teaspoon barrel bushel
    tonne ton stone carat day week month year decade century centuries hrs min mins secs yrs
    yen yuan rupee peso franc rouble ruble penny pennies pence nickel dime buck gbp jpy inr
    ohm coulomb tesla lumen lux candela farad henry weber becquerel steradian
    percent percentage pct point unit bit byte pixel
    people person man men woman women child children tooth teeth goose geese mouse mice sheep fish deer dice cattle
    way piece item
"""
_WORDS = frozenset(_OTHER_WORDS.split()).union(*map(str.split, UNITS.values()))

_OTHER_SYMBOLS = """
    mL cl cL dl dL μL lbs hr hrs min mins sec secs yr yrs mph kph kmh deg sq rpm psi Nm USD EUR GBP KB bpm Ω Å
"""
_SYMBOLS = frozenset(_OTHER_SYMBOLS.split()) | {each for each in UNITS if each.isalpha() and len(each) > 1} - _WORDS

_LETTERS = frozenset("mgshLlNJWVAKCFT")
"""Symbols of one letter: units inside `\\text{…}`, and before or after a slash, as in `m/s^2`."""
_ALONE = frozenset("NJWV")
"""Those that are rather units than variables where they stand alone, a space after their number: `5 N`."""
_BELOW = _SYMBOLS | frozenset("smhLlK")
"""What may stand below the slash where only one letter stands above it."""

_PRODUCTS = frozenset(("mg", "mW", "ms", "ns", "in"))
"""Symbols that right after a figure are rather a product of variables."""

_OTHER_NUMBER = re.compile(
    r"\b(?:mill?i(?:on(?:en|i|es)|oni|ard(?:s|en|i|os)?)|millones|mil|mille|tausend|hundert|am|pm|hundreds?|thousands?|(?:m|b|tr)illions?|lakhs?|crores?|dozens?|gross|score|pi|sqrt|sin|cos|tan|log|ln|exp"
    r"|mod|factorial|choose|squared|cubed|half|halves|quarters?|tens|ones|twos|or|and|to|over|times|by|plus|minus|base|less"
    r"|fewer|than|(?:^|degrees?\s+(?:celsius\s+|fahrenheit\s+)?)below\s+zero)\b",
    re.IGNORECASE,
)
"""Words after a number that are no unit: with them it is another number, or more than one."""
_TIMES = re.compile(
    rf"times(?!.*\b(?:{COUNTED})\b)"
    r"(?=$|\s+(?:as\s+[a-z]+|more|in\s+(?:all|total)|total|altogether|daily|weekly|monthly|yearly"
    r"|(?:an?|per|each|every|this|last)\s+(?:second|minute|hour|day|night|week|month|year|decade))\b)",
    re.IGNORECASE,
)
"""How often or how many times as much, where nothing is multiplied: not `5 times a number`."""

_COUNTED_SO = re.compile(r"each|apiece|more|left|remaining|altogether|overall|total|in\s+(?:all|total)", re.IGNORECASE)
"""What says no more of a number than how it was counted, where nothing follows: `5 each`, not `5 is all`."""

_TEXT = re.compile(r"\\(?:text(?:bf|it|rm|normal)?|mbox|mathrm|mathbf|operatorname|rm)(?![a-zA-Z])\s*")
_PERCENT = re.compile(r"\\?%|°[CF]?|\^\s*\{?\s*\\circ\s*\}?(?:\s*[CF])?")
_POWER = re.compile(r"\s*\^\s*\{?\s*-?[0-9]\s*\}?")
_PHRASE = re.compile(r"[a-zA-Z]+(?:(?:[ /.-]| per )+[a-zA-Z]+){0,5}\.?")
_CHINESE = re.compile(r"(?!.*(?:[一二三四五六七八九十百千万亿兆半折成余多以或和至到点]|分之|次方))[\u4e00-\u9fff]{1,4}")
"""A unit or counted thing, as in `12元` and `5小时`, and no word that makes another number."""
_DOLLARS = re.compile(r"dólar(?:es)?|доллар(?:а|ов)?|ドル|달러|ดอลลาร์|ডলার|డాలర్లు?", re.IGNORECASE)
"""The unit of many word problems in other languages."""
_SPELLED = re.compile(r"[a-zA-ZμΩÅ]+")
_OHM = re.compile(r"(?<=[mkMGμ])\s*\\Omega(?![a-zA-Z])")
"""`\\Omega` alone may be a variable."""
_OPERATORS = re.compile(r"[\s/*()\\,.-]|\\cdot|cdot")
_PLURAL = re.compile(r"(?=[a-z-]*[aeiouy])[a-z-]{2,}[^\Wsiu_]s")
_FRACTION = re.compile(r"\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")


def without_unit(text: str) -> str | None:
    """Return the number that stands before a unit, or `None` if `text` is not a number with a unit."""
    found = leading_number(text)
    if found is None or found.end() == len(text):
        return None
    rest = text[found.end() :]
    return found[0].strip() if _is_unit(rest, one=found[0].strip() == "1") else None


def is_numeral(words: str) -> bool:
    """Return whether words after a number make another number of it."""
    return bool(_OTHER_NUMBER.search(words))


def is_symbol(letters: str) -> bool:
    """Return whether letters are the symbol of a unit and not a single one, which may be a variable."""
    return letters in _SYMBOLS


def _is_unit(rest: str, *, one: bool) -> bool:
    """Whether what follows a number is a unit; a symbol right after its figure may be a product."""
    rest, marked = _PERCENT.subn(" ", rest, count=1)
    rest, fractions = _FRACTION.subn(r" \1/\2", rest) if "frac" in rest else (rest, 0)
    rest, texts = _TEXT.subn(" ", rest) if "\\" in rest else (rest, 0)
    rest = _OHM.sub("Ω", rest) if "Omega" in rest else rest
    if "\\" in rest and not (texts or fractions or "cdot" in rest):
        return False
    divided = "/" in rest or "^{-" in rest or "^-" in rest
    spaced, rest = rest[:1].isspace() or bool(texts), _POWER.sub("", rest).replace("{", "").replace("}", "").strip()
    if not rest:
        return bool(marked or texts)
    if not rest.isascii() and (_CHINESE.fullmatch(rest) or _DOLLARS.fullmatch(rest)):
        return True
    if not spaced and ((len(rest) == 1 and rest.isascii()) or rest in _PRODUCTS):
        return False
    return _is_symbol(rest, sure=texts > 0 or (spaced and rest in _ALONE), divided=divided) or (
        spaced and _names_things(rest, one=one)
    )


def _is_symbol(rest: str, *, sure: bool, divided: bool) -> bool:
    """Whether it is `cm` or `m/s`. Symbols of one letter are units only where that is `sure`, or in a quotient."""
    if _OPERATORS.sub("", _SPELLED.sub("", rest)):
        return False
    above, _, below = (_SPELLED.findall(part) for part in rest.replace("cdot", " ").partition("/"))
    every = [*above, *below]
    if not every or not all(symbol in _SYMBOLS or symbol in _LETTERS for symbol in every):
        return False
    if sure or all(symbol in _SYMBOLS for symbol in every):
        return True
    return divided and rest.count("/") <= 1 and len(every) > 1 and set(below or every[1:]) <= _BELOW


def _names_things(rest: str, *, one: bool) -> bool:
    """Whether it is words, one of which is a unit or a plural noun, and none of which is a numeral."""
    if _COUNTED_SO.fullmatch(rest):
        return True
    rest = _TIMES.sub("pieces", rest, count=1) if rest[:5].lower() == "times" else rest
    if not _PHRASE.fullmatch(rest) or _OTHER_NUMBER.search(rest) or is_part(rest, one=one):
        return False
    words = re.findall(r"[a-z]+", rest.lower())
    if any(len(word) == 1 and word != "a" for word in words):
        return False
    return any(_is_thing(word) for word in words) or (one and all(len(word) > 3 for word in words))


def _is_thing(word: str) -> bool:
    return word in _WORDS or word.removesuffix("s") in _WORDS or bool(_PLURAL.fullmatch(word))
