r"""Decides without symbols whether an answer equals its reference, where that can be done.

What is no arithmetic is never worked out: a date is no difference, `IV` is no product, and `5 thousandths` is not 5.
"""

import re
from fractions import Fraction
from itertools import product

from metagen.answers.canonical import (
    PROSE,
    RELATION,
    canonical,
    condition,
    elements,
    equal_numbers,
    has_percent,
    is_whole,
)
from metagen.answers.measures import measure_alike, measure_others
from metagen.answers.molecules import molecules_alike
from metagen.answers.numerals import exact, number_key, repeating, with_signs
from metagen.answers.spelling import to_ascii
from metagen.answers.units import is_numeral, is_symbol, without_unit

_NOISE = Fraction(1, 10**12)
"""The relative difference that rounding in floating point leaves."""
_CLOSEST = Fraction(1, 10**5)
"""The relative difference below which a decimal may stand for a number."""

_BLANKS = re.compile(r"(\s)\s+")
"""Of many blanks the first is enough; patterns would take long for thousands of them."""
_DECIMAL = re.compile(r"([0-9][0-9 ,]*)?\.([0-9]+)")
_EXPONENT = re.compile(r"(?:[eE]|10\s*\^\s*\{?\s*)([+-]?[0-9]{1,3})")

_DATE = re.compile(r"[0-9]{1,4}([-/.])[0-9]{1,4}\1[0-9]{1,4}(?:\1[0-9]{1,4})*")
"""A version, an address and a telephone number with two marks look alike."""
_TELEPHONE = re.compile(r"[0-9]{3}-[0-9]{4}")
_RANGE = re.compile(r"[0-9]+-[0-9]+")
"""A range or a score; against another one, it is no difference."""
_UNENDING = re.compile(r"-?[0-9]*\.[0-9]+\s*\\ldots")
_CLOCK = re.compile(r"[0-2]?[0-9]:[0-5][0-9](?::[0-5][0-9])?(?: ?[ap]m)?|[0-9]{1,2} [ap]m", re.IGNORECASE)
_FIGURES = re.compile(r"[-0-9:./ apm]+")
_LABEL = re.compile(r"[A-Za-z]+[0-9][A-Za-z0-9]*|[0-9]+[A-Z][A-Z0-9]*[0-9][A-Z0-9]*")
_RATIO = re.compile(r"[0-9]+(?::[0-9]+)+")
_NAME = re.compile(r"\\[a-zA-Z]+")
_LETTER = re.compile(r"[A-Z]")
_COORDINATE = re.compile(r"[a-zA-Z]=[^=]+")
_ANGLE = re.compile(r"\\angle\s*([A-Z]{3})")
_BASED = re.compile(r"([0-9A-F]+)_([0-9]+)")
_PHRASE = re.compile(r"[A-Za-z]{2,}(?:[ '-][A-Za-z]+)*")
_SHORT_WORDS = """
    ad ah am an as at be by do ed eh em en er ex go ha he hi if in is it ma me my no of oh ok on or ox pa so to up us
    we ye yo
"""
_ENGLISH = frozenset(_SHORT_WORDS.split())
_NUMBER_AND_WORDS = re.compile(r"(-?[0-9][0-9.,/]*) ([A-Za-z]+(?:[ -][A-Za-z]+){0,5})")
_FUNCTION = re.compile(r"\b(?:pi|sqrt|sin|cos|tan|log|ln|exp)\b")
_PRODUCT = re.compile(r"-?[0-9][0-9.,/]* ?[A-Za-z]{1,4}")
_LISTED = re.compile(r"\b(?:and|or)\b")
_OF_INTERVALS = re.compile(r"\\(?:cup|setminus)(?![a-zA-Z])")
_OR = re.compile(r"\s*(?:\bor\b|\\(?:lor|vee)(?![a-zA-Z]))\s*")
_ORDERS = {r"\\l(?:eq?|eqslant)": "<=", r"\\g(?:eq?|eqslant)": ">=", r"\\lt": "<", r"\\gt": ">", r"\\neq?": "!="}
_LIMIT = r"(?:[^<>=!a-zA-Z]|\\(?!l?or|vee)[a-zA-Z]+)+?"
_BOUNDED = re.compile(
    rf"(?:(?P<low>{_LIMIT})\s*(?P<above><=?))?\s*(?P<name>[a-zA-Z])\s*(?:(?P<order><=?|>=?|!=)\s*(?P<bound>{_LIMIT}))?"
)
"""A variable with its bounds: `x < 1`, `-1 < x <= 1`, `x != 3`."""
_SETS = (r"\mathbb{R}", r"\emptyset")
_SIGN = re.compile(r"\\(pm|mp)(?![a-zA-Z])\s*")
_MOST_SIGNS = 3
_WORD = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{3,}")
_AFTER_LETTER = re.compile(r"[).:]\s*\S")
_LAST_LETTERS = re.compile(r"(?<=[0-9}\s])(?<![a-zA-Z]\s)[a-zA-Z]{1,4}(?=\s*\$?$)")
_LONGEST_PROSE = 100
"""Characters; what is longer says more than a number."""
_VALUE = r"(?:\.?[0-9][0-9.,/]*|\\[a-z]+(?:\{[^{}]*\})*)"
_FIGURE = r"(?<![0-9A-Za-z_^{.,])-?\.?[0-9][0-9.,/]*"
_WORKED_OUT = r"""
    (?<!^)(?<!\bof[ ])plus|minus|times|twice|thrice|double|triple|half[ ]the|(?<=[0-9][ ])(?:over|per|mod)
    |(?<=[0-9][ ])(?:with[ ])?(?:a[ ])?remainder
    |(?:divided|multiplied)[ ]by|(?:root|square|cube|half|third|quarter|double|percent|[0-9])s?[ ]of
"""
_OTHER = (
    r"not|never|cannot|under|below|exceeds|(?<!\bno[ ])(?<!\bnot[ ])[a-z]+\s+than|except(?:\s+for)?|without"
    r"|(?:all|any[a-z]*|every[a-z]*|numbers?)\s+but|divisible\s+by|(?:multiple|factor|divisor)s?\s+of"
)
"""Not so `at least 7` and `no more than 7`: the answer to "what is the least number" is often given like that."""
_BETWEEN = r"(?:\s+(?:be|or|equals?|to|an?|the|as|of|exactly|quite|just|only|about))*\s*"
_OPPOSITES = (
    (
        "increase[sd]?|increasing|rises?|rose|gr(?:ow|ew)\\w*",
        "decrease[sd]?|decreasing|drop\\w*|falls?|fell|declin\\w*|reduc\\w*",
    ),
    ("profits?|gain\\w*", "loss\\w*|lost"), ("left", "right"), ("north", "south"), ("east", "west"), ("up", "down"),
    ("before|ago|earlier", "after|later|from now"), ("older", "younger"), ("higher|above", "lower|below"),
    ("clockwise", "(?:counter|anti)-?clockwise"), ("faster", "slower"), ("longer|taller", "shorter"),
    ("heavier", "lighter"), ("more", "less|fewer"), ("forwards?", "backwards?"),
)  # fmt: skip
_OPPOSED = [[re.compile(rf"(?<![\w-])(?:{side})\b", re.IGNORECASE) for side in sides] for sides in _OPPOSITES]
"""Words of which one turns what the other says of a number: `5 steps left` is not `5 steps right`."""
_JOINT = [re.compile(r"\band\b|\\(?:land|wedge)(?![a-zA-Z])"), re.compile(r"\bor\b|\\(?:lor|vee)(?![a-zA-Z])")]
"""Of inequalities: both hold, or one of them."""
_T = r"(?:T|\{\s*T\s*\}|\{?\s*\\(?:(?:top|intercal)(?![a-zA-Z])|(?:mathsf|mathrm|text)\s*\{\s*T\s*\})\s*\}?)"
_TRANSPOSED = re.compile(rf"(?:\(\s*([A-Z])\s*([A-Z])\s*\)\s*)?\^\s*{_T}")
_SEVERAL_OR_NAMED = re.compile(rf"[=(\[{{]|{PROSE.pattern}")
_CASED = re.compile(r"\\(?:gamma|delta|theta|lambda|xi|pi|sigma|phi|psi|omega)(?![a-z])", re.IGNORECASE)
_TURNED = re.compile(
    rf"""
    (?:(?<!\\)\b(?:{_OTHER}|{_WORKED_OUT})|n't|%\s*of)
    {_BETWEEN}(?=[\s\\(-])[-(\s]*{_VALUE}(?!.*[0-9])
    |{_FIGURE}\b[a-zA-Z ]*\bbelow[ ]zero\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""Words that make something else of the last number in prose, right before it: `not 5`, `less than 7`, `half of 7`."""
_WORDS = r"(?:\s+[a-zA-Z]+){0,4}"
_TWO_NUMBERS = re.compile(
    rf"""
    (?!.*\b(?:each|total|all|altogether)\s*$)   # `5 dogs and 12 in total` is 12
    (?:(?:either|both|between|from)\s+)?({_FIGURE}){_WORDS}
    \s+(?:and|to|through|of)(?:\s+[a-zA-Z]+)?\s+({_FIGURE}){_WORDS}
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""`3 blue and 7 red` and `7 out of 10` are two numbers; `in 3 days it is 7` is one."""
_TWO_MEASURES = re.compile(rf"(?!.*\beach\s*$){_FIGURE}\s+[a-zA-Z]+\s+{_FIGURE}\s+[a-zA-Z]+")
"""`5 feet 6 inches` is neither."""
_VERB = re.compile(r"\b(?:is|are|was|were|be|has|have|had|makes?|gives?|equals?|gets?|needs?|costs?)\b", re.IGNORECASE)
_PLAIN = r"-?\.?[0-9][0-9.,/]*"
_NO_NUMBER = re.compile(
    rf"(?:{RELATION.pattern}|!=)[\s=]*{_PLAIN}|{_PLAIN}\s*(?:[-+/^]+|(?:\s*(?:[&|]|\\\\)\s*{_PLAIN})+)"
)
"""A bound that does not name what is bound, a formula that is cut off, and numbers of a table: `>= 5`, `5+`."""
_OPEN = re.compile(r"\(([^()\[\],]+), ([^()\[\],]+)\)")
_PAIR = re.compile(r"(\\\{)?[^{}()\[\],:|<>]+, [^{}()\[\],:|<>]+(?(1)\\\}|)")
_LEFT = re.compile(r"\s*((?:[a-zA-Z]|[A-Z]{2}|\\[a-zA-Z]+)(?:_(?:\w|\{\w+\})|\([A-Z0-9][^()=]*\))?)\s*=(?!.*=)")
_DERIVED = re.compile(r"\s*\\?[a-zA-Z]+('+|\^\{?-1\}?)?(?:\([^()=]*\))?\s*=")
"""The left side of an equation, and the marks of a derivative or an inverse there."""
_PRIME = re.compile(r"\^\s*\{?\s*(?:\\prime(?![a-zA-Z])\s*)+\}?")
_LEIBNIZ = re.compile(
    r"(?:\\[dt]?frac\s*\{\s*)?\bd(?:\s*\^\s*\{?(?P<order>[2-9])\}?)?\s*(?P<name>[a-zA-Z])\s*(?:\}\s*\{|/)\s*d\s*[a-zA-Z](?:\s*\^\s*\{?[2-9]\}?)?\s*\}?"
)
"""A derivative as a fraction."""
_PRIMED = re.compile(r"[a-zA-Z]'+")


def decide(answer: str, reference: str) -> bool | None:
    """Return whether `answer` equals `reference`, or `None` where only symbols can tell."""
    if is_whole(answer) and is_whole(reference):
        return int(answer) == int(reference)
    answer, reference = (to_ascii(_BLANKS.sub(r"\1", text)) for text in (answer, reference))
    keys = canonical(answer), canonical(reference)
    if any(differ(answer, reference) for differ in (_derive_others, _oppose, measure_others)):
        return False
    if keys[0] == keys[1] or measure_alike(answer, reference) or molecules_alike(*keys):
        return not _name_others(answer, reference)
    for compared in (equal_numbers, _nearly):
        if (equal := compared(answer, reference)) is not None:
            return equal
    if _PHRASE.fullmatch(keys[0]) and _PHRASE.fullmatch(keys[1]):
        return None if _may_be_product(answer.strip()) and _may_be_product(reference.strip()) else False
    return _as_text(*keys)


def is_turned(prose: str) -> bool:
    """Return whether words make something else of the last number in prose: `not 5`, `less than 7`, `half of 7`."""
    return bool(_TURNED.search(with_signs(prose)))


def for_symbols(answer: str, other: str) -> str:
    """Return an answer as the symbolic comparison with another is to read it.

    Beside a union of intervals, inequalities such as `x < 1 or x > 3` are one. A list in prose and a choice with its
    text are their keys, and letters at the end of a formula stand apart, so that they are taken for variables. A
    transposed matrix is a power, since math-verify drops a bare `^T`. A formula with both signs is written with each. A
    letter alone is a power too, for math-verify compares it with nothing else.
    """
    answer = _TRANSPOSED.sub(_as_power, with_signs(to_ascii(answer)))
    answer = condition(answer) or answer
    if _OF_INTERVALS.search(to_ascii(other)) and (union := _union(canonical(answer))):
        return union
    key = canonical(answer)
    if (_LISTED.search(answer) or key in _SETS) and not PROSE.search(key):
        return key
    if _PRODUCT.fullmatch(key):
        answer = f"${key}$"
    if len(key) == 1 and key.isalpha():
        return key if _AFTER_LETTER.search(answer) or len(canonical(other)) == 1 else f"{key}^1"
    return _LAST_LETTERS.sub(_apart, _with_each_sign(key) or answer)


def _with_each_sign(key: str) -> str | None:
    r"""A list of the values that `\pm` stands for, as in the roots of a quadratic equation; `None` without it.

    Beside `\mp` the signs go together. Where the coordinates of a point have several, nobody can tell.
    """
    is_point = key[:1] in {"(", "["}
    values = [key] if is_point else elements(key)
    if r"\pm" not in key or not values or _WORD.search(key) or without_unit(_SIGN.sub("", key)):
        return None
    written = []
    for value in values:
        first, *others = _SIGN.split(value)
        signs, texts = others[::2], others[1::2]
        if len(signs) > (1 if is_point else _MOST_SIGNS):
            return None
        ways = ({"pm": "+", "mp": "-"}, {"pm": "-", "mp": "+"})
        together = [[way[sign] for sign in signs] for way in ways]
        for chosen in together if "mp" in signs else product("+-", repeat=len(signs)):
            rest = "".join(sign + text for sign, text in zip(chosen, texts, strict=True))
            written.append((first + rest).removeprefix("+"))
    return ", ".join(written)


def _union(inequalities: str) -> str | None:
    """The numbers for which one of some inequalities holds, as intervals; `None` for what is nothing of the kind."""
    for pattern, sign in _ORDERS.items():
        inequalities = re.sub(rf"{pattern}(?![a-zA-Z])", sign, inequalities)
    found = [_BOUNDED.fullmatch(each.strip()) for each in _OR.split(inequalities)]
    known = [each for each in found if each and _bounds(each)]
    if len(known) < len(found) or len({each["name"] for each in known}) > 1:
        return None
    return r" \cup ".join(map(_interval, known))


def _bounds(found: re.Match[str]) -> bool:
    """Whether it has a bound, and below none but what is below: not `1 < x > 3`."""
    return found["order"] is not None if found["low"] is None else (found["order"] or "<")[0] == "<"


def _interval(bounded: re.Match[str]) -> str:
    low, above, order, bound = bounded.group("low", "above", "order", "bound")
    opening = f"{'[' if above == '<=' else '('}{low}" if low else r"(-\infty"
    if not order:
        return rf"{opening}, \infty)"
    if order == "!=":
        return rf"(-\infty, {bound}) \cup ({bound}, \infty)"
    if order[0] == ">":
        return rf"{'[' if order == '>=' else '('}{bound}, \infty)"
    return f"{opening}, {bound}{']' if order == '<=' else ')'}"


def _says_otherwise(prose: str, value: str) -> bool:
    """Whether words make something else of the number in prose, in which alone math-verify is interested.

    Against other prose, or an inequality, they may be right.
    """
    if len(prose) > _LONGEST_PROSE or not PROSE.search(prose) or PROSE.search(value) or RELATION.search(value):
        return False
    if is_turned(prose) or _TWO_MEASURES.fullmatch(prose):
        return True
    found = _TWO_NUMBERS.fullmatch(prose)
    return bool(found and found[1] != found[2] and not _VERB.search(prose))


def _is_more(one: str, other: str) -> bool:
    """Whether one is no number, though it has some, in which alone math-verify is interested, and the other is one."""
    return bool(_NO_NUMBER.fullmatch(one)) and number_key(other) is not None


def _ends_alone(one: str, other: str) -> bool:
    """Whether one is an open interval or an inequality, and the other a set of two values, such as its ends.

    A pair without braces may be the point that is written as the interval is.
    """
    if not (pair := _PAIR.fullmatch(other)) or RELATION.search(other):
        return False
    return bool(RELATION.search(one) or (pair[1] and _OPEN.fullmatch(one)))


def _repeats(one: str, other: str) -> bool:
    """Whether one is a list in which a value stands twice, and the other has not as many values: `1, 1` is not `1`."""
    if ", " not in one:
        return False
    values, others = elements(one), elements(other)
    return bool(
        values
        and others
        and len(set(values)) < len(values) != len(others)
        and not _SEVERAL_OR_NAMED.search("".join((*values, *others)))
    )


def _as_power(found: re.Match[str]) -> str:
    """What is transposed, or the two matrices of a product that is."""
    return "{1}^{{1T}}{0}^{{1T}}".format(*found.groups()) if found[1] else "^{1T}"


def _apart(found: re.Match[str]) -> str:
    return found[0] if is_symbol(found[0]) else "".join(f"{{{letter}}}" for letter in found[0])


def _name_others(answer: str, reference: str) -> bool:
    """Whether both sides of the comparison name what they give, such as `x` or `P(A)`, and not by the same name.

    `AB` and `BA` are one segment.
    """
    names = [sorted(found[1]) for text in (answer, reference) if (found := _LEFT.match(text.replace("$", "")))]
    return len(names) == 2 and names[0] != names[1]


def _oppose(answer: str, reference: str) -> bool:
    """Whether a word of one of them is the opposite of one of the other's."""
    if not (PROSE.search(answer) and PROSE.search(reference)):
        return False
    joined = [_JOINT] if RELATION.search(answer) and RELATION.search(reference) else []
    for sides in (*_OPPOSED, *joined):
        said = [[bool(side.search(text)) for side in sides] for text in (answer, reference)]
        if sorted(said) == [[False, True], [True, False]]:
            return True
    return False


def _derive_others(answer: str, reference: str) -> bool:
    """Whether the two do not have the same derivatives or the same inverse on the left: `y' = x` and `y = x`.

    A left side that only one of them has does not count, and prose has primes of other things.
    """
    texts = [_PRIME.sub(_ticks, text.replace("$", "")) for text in (answer, reference)]
    texts = [_LEIBNIZ.sub(_ticks, text) if "d" in text else text for text in texts]
    if any(map(PROSE.search, texts)):
        return False
    if not all("=" in text for text in texts):
        texts = [text.rpartition("=")[2] for text in texts]
    if "'" in texts[0] + texts[1] and len({tuple(sorted(_PRIMED.findall(text))) for text in texts}) > 1:
        return True
    lefts = [_DERIVED.match(text) for text in texts]
    one, other = ((left[1] or "").strip("^{}") if left else None for left in lefts)
    return one is not None and other is not None and one != other


def _ticks(found: re.Match[str]) -> str:
    name = found.groupdict().get("name")
    return "'" * found[0].count("prime") if name is None else name + "'" * int(found["order"] or 1)


def _nearly(answer: str, reference: str) -> bool | None:
    """Whether one of two numbers is the other in decimals; `None` if they are no numbers, or one is per cent."""
    if has_percent(answer) != has_percent(reference):
        return None
    one, other = _known(answer), _known(reference)
    if one is None or other is None:
        return None
    return _is_written(answer, one, other) or _is_written(reference, other, one)


def _known(text: str) -> Fraction | None:
    key = canonical(text)
    value = exact(key)
    return repeating(key) if value is None else value


def _is_written(text: str, value: Fraction, other: Fraction) -> bool:
    """Whether `text`, which has this value, is `other` rounded or cut off to the decimals that it has."""
    if value == other:
        return True
    found, difference = _DECIMAL.search(text), abs(value - other)
    if not found or difference >= _CLOSEST * max(abs(value), abs(other)):
        return False
    if difference <= _NOISE * max(abs(value), abs(other)):
        return True
    exponent = _EXPONENT.search(text)
    scale = Fraction(10) ** (len(found[2]) - int(exponent[1] if exponent else 0))
    return value in {Fraction(round(other * scale)) / scale, Fraction(int(other * scale)) / scale}


def _as_text(one: str, other: str) -> bool | None:
    """Whether two keys that differ are equal all the same, where one of them is no arithmetic; else `None`."""
    bases = _BASED.fullmatch(one), _BASED.fullmatch(other)
    if any(bases):
        return _in_base(one, other, bases)
    if any(
        differ(*pair)
        for differ in (_says_otherwise, _ends_alone, _is_more, _repeats)
        for pair in ((one, other), (other, one))
    ):
        return False
    if _are_names(one, other):
        return False
    if (alike := _in_order(one, other)) is not None:
        return alike
    if _LABEL.fullmatch(one) or _LABEL.fullmatch(other) or _is_another_number(one) or _is_another_number(other):
        return False
    return False if _are_figures(one, other) or _are_figures(other, one) else None


def _are_names(one: str, other: str) -> bool:
    """Whether both are ratios, symbols with a name or angles, which are equal only if they are written the same.

    So it is where they differ in the size of a Greek letter.
    """
    if any(pattern.fullmatch(one) and pattern.fullmatch(other) for pattern in (_RATIO, _NAME)):
        return True
    letters = [sorted(_CASED.findall(key)) for key in (one, other)]
    if letters[0] != letters[1] and sorted(map(str.lower, letters[0])) == sorted(map(str.lower, letters[1])):
        return True
    angles = _ANGLE.fullmatch(one), _ANGLE.fullmatch(other)
    return bool(angles[0] and angles[1] and angles[0][1] != angles[1][1][::-1])


def _in_order(one: str, other: str) -> bool | None:
    """Whether two lists of letters are the same in any order, or a point is the one whose coordinates are named.

    `None` for what is neither, and where only symbols can tell.
    """
    if not (", " in one and ", " in other):
        return None
    lists = [elements(key) or [] for key in (one, other)]
    if all(len(values) > 1 and all(map(_LETTER.fullmatch, values)) for values in lists):
        return sorted(lists[0]) == sorted(lists[1])
    for point, named in (lists, lists[::-1]):
        pairs = sorted(each.split("=") for each in named if _COORDINATE.fullmatch(each))
        if len(pairs) == len(named) == len(point) == len({name for name, _ in pairs}) > 1:
            values = [value for _, value in pairs]
            if sorted(values) == sorted(point):
                return values == point
    return None


def _are_figures(one: str, other: str) -> bool:
    """Whether one is a date, a time, a range or the like, or a decimal without end, and the other has figures too."""
    if any(pattern.fullmatch(one) for pattern in (_DATE, _TELEPHONE, _CLOCK)):
        return bool(_FIGURES.fullmatch(other))
    if _UNENDING.fullmatch(one):
        return exact(other) is not None
    return bool(_RANGE.fullmatch(one) and _RANGE.fullmatch(other))


def _in_base(one: str, other: str, bases: tuple[re.Match[str] | None, re.Match[str] | None]) -> bool | None:
    """A number to a base may come without it, and never with another."""
    if all(bases):
        return False
    bare, found = (one, bases[1]) if bases[1] else (other, bases[0])
    return bool(found and found[1] == bare) if number_key(bare) is not None else None


def _is_another_number(key: str) -> bool:
    """Whether it is a number with words that are no unit, such as `5 thousandths`, and no product such as `6 ab`."""
    found = _NUMBER_AND_WORDS.fullmatch(key)
    if not found or _FUNCTION.search(found[2]):
        return False
    return is_numeral(found[2]) or not _PRODUCT.fullmatch(key)


def _may_be_product(word: str) -> bool:
    return len(word) == 2 and word.islower() and word not in _ENGLISH
