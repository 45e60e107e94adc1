"""Kinds of answers: mathematics, numbers, choices, labels, texts, patterns, and functions of the user's own."""

import re
import string
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache
from math import inf

from metagen.answers.canonical import canonical
from metagen.answers.decide import decide
from metagen.answers.extract import LONGEST, extract
from metagen.answers.grade import SECONDS, grade, graded
from metagen.answers.numerals import NUMBER_KEY, with_signs
from metagen.answers.protocol import Form
from metagen.answers.units import is_symbol
from metagen.errors import InputError, VerifierError
from metagen.settings import literal, spelled, takes

_ENDS = "End with: The answer is {}."
_NUMBER = r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?"

_TEN = r"10\s?\^\s?\{?[+-]?[0-9]{1,3}\}?"
_WHOLE = r"\s*-?[0-9]{1,15}(?:\.[0-9]{1,15})?\s*"
_FRACTION = rf"\\[dtc]?frac\s*(?:\{{{_WHOLE}\}}|[0-9])\s*(?:\{{{_WHOLE}\}}|[0-9])"
_BRACED = re.compile(rf"\\[dtc]?frac\s*\{{({_WHOLE})\}}\s*\{{({_WHOLE})\}}(?!\s*[0-9])")
_BEFORE_FRACTION = re.compile(r"(?<=[0-9])\s*(?=\\[dtc]?frac)")
"""Where a mixed number is, of which `3 1/2` is made before the braces of its fraction are left out."""
_GROUP = r"(?:,(?:\\!)?|\{,\}|\\,|[\N{NO-BREAK SPACE}\N{THIN SPACE}\N{NARROW NO-BREAK SPACE}])[0-9]{3}"
_ANY_NUMBER = re.compile(
    rf"(?<![0-9.])-?(?:(?<!\w)[0-9]{{1,3}}(?:[ ]?{_FRACTION}|[ ][0-9]{{1,3}}/[0-9]{{1,3}}(?![0-9/]))|{_FRACTION}"
    rf"|{_TEN}|[$€£]?(?:[0-9]{{1,3}}(?:{_GROUP})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?"
    rf"(?:[eE][+-]?[0-9]{{1,3}}(?!\w)|\s?(?:\\times|\\cdot|[×*])\s?{_TEN}|/[0-9]+(?:\.[0-9]+)?|\s?%)?)|(?<![0-9])-?\.[0-9]+"
)
_MIXED = re.compile(r"(-?[0-9]+)\s?(\\[a-z]+.*|[0-9]+/[0-9]+)")
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
_COMMAND = r"\\(?:text(?:bf|it|rm)?|mathrm|mathbf|underline)(?![a-zA-Z])\s*"
_LAYOUT = re.compile(
    rf"{_COMMAND}|\\(?:approx(?![a-zA-Z])|[ ,;:!()\[\]]|(?=[$%]))|[`{{}}]"
    r"|(?<!\S)[*_]{1,3}(?=\S)|(?<=\S)[*_]{1,3}(?!\w)"
    r"|\b(?:US|CA|AU|NZ|HK)(?=[$])|\b(?:USD|EUR|GBP|INR|Rs\.?)\s?(?=[0-9])"
)
"""What is left out around a number: markup, and the country or the name of a currency before it."""
_IN_TEXT = re.compile(_COMMAND + r"\{([^{}]*)\}")
_MARKUP = re.compile(rf"{_COMMAND}|\\[()\[\]]|[`$]|(?<!\w)\*|\*(?!\w)")
_BRACES = re.compile(r"[{}]")
_SIGNS = re.compile(r"[+/^=<>%&|~]|(?<=\w)\*(?=\w)|(?<![^\W\d_])-|[.,](?=\d)|[\[(](?=-?\d)|(?<=\d)[\])]")
"""Punctuation without which a text says something else, such as the sign of a number."""
_CHOSEN = r"\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer)\b"
_MENTIONED = (
    rf"{_CHOSEN}(?:\s+(?:I|we|you)\b[\w’' ]{{1,30}}?)?[\s*]*(?:\bis\b|:)[\s:*]*(?:is\b[\s:*]*)?LETTER"
    rf"|\b(?:[Cc]orrect|[Rr]ight|[Bb]est|[Ff]inal)\s+{_CHOSEN}[\s:*]*LETTER"
    r"|(?<!\bnot )(?<!\bover )(?<!\bthan )(?<!\bunlike )(?<!\bagainst )\b(?:option|choice|answer)\b[\s*]*LETTER"
    r"|LETTER is (?:the )?(?:right|correct)\b"
)
_THOUGHT = (
    r"\b(?:[Ii]t[’']s|[Ii]t is|I(?:[’']d| would|[’']ll| will)? (?:choose|pick|select|say|go with))\s+"
    r"(?:option\s+)?LETTER(?!\s+(?!(?:over|because|since|as|and|but|not|rather|instead)\b)[a-z])"
)
"""What is said of a letter, the surer first: "the answer is C" and "option C", "it's C"."""
_WHAT_I_DO = (
    r"(?:would|will|could|can|am|was|think|thought|believe|feel|cho\w+|pick\w*|want|got|get|gave|give|have|had|like|found"
    r"|said|say)"
)
_NOT_THE_WORD = rf"(?<=\()I|I(?![’']|\s+{_WHAT_I_DO}\b)"
_IS = r"(?:is|was|would be|seems|looks)\s+(?:[a-z]+ly\s+|also\s+)?"
_NOT = r"not(?!\s+(?:an?|false|wrong|incorrect)\b)"
"""Not so `option D is not a mammal`, which may be what was asked for."""
_WRONG = (
    r"\w\)?(?:\s*[:–—-]\s*(?:wrong|incorrect)"
    rf"|\s+{_IS}(?:{_NOT}|wrong|incorrect|too|ruled out|invalid|impossible)"
    r"|\s+(?:fails|does not|(?:is|does)n[’']t))\b"
)
_IS_WRONG = re.compile(_WRONG)
_LEFT_OUT = re.compile(rf"\W*{_CHOSEN}[\s*]*\(?{_WRONG}")
"""A letter that is not the answer, and a line or text that begins with one."""
_WORD = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]")
_AFTER_ANSWER = re.compile(r"\banswer\b\W*(?:is\b)?\W*([^\n]*)", re.IGNORECASE)
_MINUS = re.compile(r"[-\N{HYPHEN}-\N{EM DASH}\N{MINUS SIGN}](?=\d)")
"""Signs that are read as a minus before a number."""
_KEPT = "\ue000"
"""Replaces a period that does not end a sentence, while the answer is read."""
_NAME = r"(?:[A-Z]\.[ ]?){0,4}[A-Z][\w’'-]+"
_OPENS = r"(?:Therefore|Thus|Hence|However|So|Then|Also|But|And|Yes|No|This|That|It|He|She|They|Here|In|Done)"
_BEFORE_INITIAL = r"(?=\.[ ]?[A-Z](?:\.|\Z))"
_IN_NAME = rf"""(?<=\b[A-Z])(?:{_BEFORE_INITIAL}|(?<!\bis[ ][A-Z])(?<![:*][ ][A-Z])(?<![*"“(\n][A-Z]))"""
"""The letter of a name; one that an answer begins with is rather a choice, `B. Paris`, if no other initial follows."""
_NAME_ENDS = r"""(?:[.!?](?:\s|\Z)|\n|\Z|[,;(*"”]|[ ](?:and|because|since|which|who)\b)"""
_ABBREVIATED = re.compile(
    rf"""
    (?:(?<=\b(?:Dr|Mr|Ms|Mt))|(?<=\b(?:Mrs|Rev|Gen|Gov))|(?<=\bProf)) \. (?=[ ][A-Z])
    |(?<=\b[A-Z]\.[A-Z]) \. (?=[ ][a-z])
    |(?:{_IN_NAME}|(?<=\bSt)) \. (?=[ ][A-Z]\Z|[ ](?!{_OPENS}\b){_NAME}(?:[ ]{_NAME}){{0,3}}{_NAME_ENDS})
    """,
    re.VERBOSE,
)
"""The period of a title before a name, of an initial that a name ends, and of `U.S.` in the midst of a sentence."""
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, slots=True, repr=False)
class Maths:
    """Mathematics: numbers, formulas, sets, intervals, choices by letter. See `metagen.extract`, `metagen.canonical`.

    Two answers are compared by their keys, then as numbers, then symbolically, with a limit of `seconds` of work.
    """

    _: KW_ONLY
    seconds: float = SECONDS

    __repr__ = spelled

    def __post_init__(self) -> None:
        if not 0 < self.seconds < inf:
            raise InputError(f"Maths: seconds must be positive and finite, not {self.seconds}")

    @property
    def asks(self) -> str:
        return _ENDS.format("X")

    @property
    def form(self) -> None:
        return None

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        return extract(text, finished=finished)

    def key(self, answer: str) -> str:
        return canonical(answer)

    async def equal(self, answer: str, reference: str) -> bool | None:
        return await grade(answer, reference, self.seconds)

    def graded(self, answer: str, reference: str) -> bool | None:
        """Whether they are equal, where that can be said at once; else `None`."""
        return graded(answer, reference)


MATHS = Maths()
"""The usual kind."""


class _ByKey:
    """What most kinds have in common: two answers are equal if their keys are, and there is no form."""

    __slots__ = ()
    __repr__ = spelled

    @property
    def form(self) -> Form | None:
        return None

    def key(self, answer: str) -> str:
        return " ".join(answer.split())

    async def equal(self, answer: str, reference: str) -> bool | None:
        return self.key(answer) == self.key(reference)


class _Numeric(_ByKey):
    __slots__ = ()

    @property
    def asks(self) -> str:
        return f"{_ENDS.format('N')} N is a number."

    @property
    def form(self) -> Form:
        return Form(regex=rf"The answer is {_NUMBER}\.")

    def key(self, answer: str) -> str:
        return canonical(answer)

    async def equal(self, answer: str, reference: str) -> bool | None:
        return decide(answer, reference) is True


@dataclass(frozen=True, slots=True, repr=False)
class Number(_Numeric):
    """One number, where it is given as the answer: `The answer is 5 apples` is 5, and a formula is no answer."""

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        given = extract(text, finished=finished)
        if given is None or NUMBER_KEY.fullmatch(canonical(given)):
            return given
        plain = _LAYOUT.sub(" ", _BRACED.sub(r"\1/\2", _BEFORE_FRACTION.sub(" ", _with_minus(given))))
        numbers = list(_numbers(plain))
        return numbers[0] if len(numbers) == 1 and not _is_formula(_ANY_NUMBER.sub("#", plain)) else None


@dataclass(frozen=True, slots=True, repr=False)
class LastNumber(_Numeric):
    r"""The last number of the reply, wherever it stands: for models that mark no answer.

    Fractions and mixed numbers are one number, `\frac{3}{4}` and `3 1/2`, and `minus 7` is -7.
    """

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        text = _with_minus(text)
        *_, last = (None, *_numbers(text, len(text) + finished))
        return last


@dataclass(frozen=True, slots=True, repr=False)
class Choice(_ByKey):
    """One of several choices, by its letter or its text, as in `Choice("ABCD")`; the key is the letter.

    What is given as the answer counts first, then the last letter that is said to be right, then a letter that the
    reply begins with, then the last one mentioned.

    `texts` are what the letters stand for, in their order. A row of a problem file that has `choices` brings its own.
    """

    letters: str = "ABCD"
    _: KW_ONLY
    texts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        letters = self.letters
        if not isinstance(letters, str) or not letters.isalnum() or len(set(letters.upper())) < len(letters):
            raise InputError(f'Choice: letters must be different letters or figures, such as "ABCD", not {letters!r}')
        if not isinstance(self.texts, tuple) or not all(isinstance(text, str) for text in self.texts):
            raise InputError(f"Choice: texts must be texts, not {self.texts!r}")
        if self.texts and len(self.texts) != len(letters):
            raise InputError(f"Choice: there are {len(letters)} letters and {len(self.texts)} texts")

    @property
    def asks(self) -> str:
        return _ENDS.format("X") + f" X is one of {', '.join(self.letters)}."

    @property
    def form(self) -> Form:
        return Form(choices=tuple(self.letters))

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        given, end = extract(text, finished=finished) or "", len(text) + finished
        last = text.strip().rpartition("\n")[2]
        for place in (
            self._initialled(given, text, end),
            given,
            self._opening(text),
            self._last(_MENTIONED, text, end),
            text if finished and not _LEFT_OUT.match(text) else "",
            last if finished and not _LEFT_OUT.match(last) else "",
            self._last(_THOUGHT, text, end),
        ):
            if place and (letter := self._letter(place)):
                return letter
        return None

    def key(self, answer: str) -> str:
        return self._letter(answer) or normalised(answer)

    def _last(self, pattern: str, text: str, end: int) -> str:
        """The last letter that is mentioned so, where it is not the word I and not said to be wrong."""
        letter = "|".join(_NOT_THE_WORD if each == "I" else each for each in self.letters)
        found = [
            match[match.lastindex or 0]
            for match in re.finditer(pattern.replace("LETTER", rf"\(?({letter})\b\)?"), text)
            if match.end() < end and not _IS_WRONG.match(text, match.start(match.lastindex or 0))
        ]
        return found[-1] if found else ""

    def _opening(self, text: str) -> str:
        """The letter that stands alone in the first line, or begins it as in `B) 12`, if no other line has another."""
        letter_alone = rf"([{self.letters}])[^\w\n:]*$"
        beginning = rf"([{self.letters}])\)(?!.*\b(?:wrong|incorrect)\b).*$"
        mark = rf"^[^\w\n]*(?:{letter_alone}|{beginning})"
        first, _, rest = text.strip().partition("\n")
        found = re.match(mark, first) if rest else None
        if not found or self._last(_MENTIONED, first, len(first) + 1):
            return ""
        letter = found[1] or found[2]
        return letter if all(letter in match.groups() for match in re.finditer(mark, rest, re.MULTILINE)) else ""

    def _initialled(self, given: str, text: str, end: int) -> str:
        """The choice whose text begins with a letter and a period, such as `A. Lincoln`, if the answer is given so."""
        texts = [each for each in self.texts if given and re.match(rf"{re.escape(given)}\W+\w", each)]
        found = [match[1] for match in _AFTER_ANSWER.finditer(text) if match.end() < end] if texts else []
        return next((each for each in texts if found and re.match(rf"{re.escape(each)}(?!\w)", found[-1])), "")

    def _letter(self, text: str) -> str | None:
        """The letter that a text is, or begins with as a choice does, or whose text it is."""
        pattern = rf"(?:(?:option|choice|answer)\s*:?\s*)?\(?([{self.letters}])(?:[).:]*|[).:]+\s(.*))"
        found = re.fullmatch(pattern, _bare(text), re.IGNORECASE | re.DOTALL)
        letter = next((each for each in self.letters if each.upper() == found[1].upper()), None) if found else None
        if found and letter and not found[2]:
            return letter
        exactly = self._only(_exact, text) or self._only(_folded, text) or self._number(text)
        return exactly or letter or self._only(_worded, text)

    def _only(self, read: Callable[[str], object], text: str) -> str | None:
        """The letter of the one choice that reads the same."""
        texts, same = list(map(read, self.texts)), read(text)
        return self.letters[texts.index(same)] if same and texts.count(same) == 1 else None

    def _number(self, text: str) -> str | None:
        """The letter of the one choice that is the same number; of two units, one might be another."""
        if len(text) > LONGEST or not NUMBER_KEY.fullmatch(key := canonical(text)):
            return None
        named = _WORD.search(text)
        same = [canonical(each) == key and not (named and _WORD.search(each)) for each in self.texts]
        return self.letters[same.index(True)] if same.count(True) == 1 else None


@dataclass(frozen=True, slots=True, repr=False, init=False)
class Label(_ByKey):
    """One of several words, as in `Label("positive", "negative")`, whatever their case.

    A line that is nothing but the label outranks a sentence that names one.

    Where labels differ in signs alone or are signed numbers, as in `Label("C", "C++")` and `Label("-1", "0")`, signs
    count.
    """

    labels: tuple[str, ...]

    def __init__(self, *labels: str) -> None:
        object.__setattr__(self, "labels", labels)
        if not all(isinstance(label, str) and normalised(label) for label in labels) or len(labels) < 2:
            raise InputError('Label: needs two words or more, such as Label("positive", "negative")')
        if len(set(map(self.key, labels))) < len(labels):
            raise InputError(f"Label: two of {', '.join(labels)} are one word")

    @property
    def asks(self) -> str:
        return _ENDS.format("X") + f" X is one of: {', '.join(self.labels)}."

    @property
    def form(self) -> Form:
        return Form(choices=self.labels)

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        given = extract(text, finished=finished)
        lines = text.strip().splitlines() if finished else []
        for place in (given or "", self._alone(lines), *lines[-1:], *([text] if finished else [])):
            if len(named := self._named(place)) == 1:
                return named.pop()
        return None

    def key(self, answer: str) -> str:
        if not _signed(self.labels):
            return normalised(answer)
        read = _MINUS.sub("-", unicodedata.normalize("NFKC", answer).casefold())
        read = re.sub(r"\s*([<>=])\s*", r"\1", re.sub(r"\\(?=[#+&%_])", "", read))
        if not any(label.strip().startswith("+") for label in self.labels):
            read = re.sub(r"(?<!\w)\+(?=\d)", "", read)
        return " ".join(read.split())

    def _alone(self, lines: Sequence[str]) -> str:
        """The label that the last line is, or the first one where no other line is another label."""
        if not lines:
            return ""
        first, last = self._whole(lines[0]), self._ending(lines[-1])
        if last or not first:
            return last
        return first if {*map(self._ending, lines)} <= {"", first} else ""

    def _whole(self, line: str) -> str:
        """The label that a line is beside markup and its period."""
        bare = _bare(line)
        if bare.endswith(("?", ":")):
            return ""
        by_key = {self.key(label): label for label in self.labels}
        keys = map(self.key, (bare, bare.rstrip(".,;! ")))
        return next((by_key[key] for key in keys if key in by_key), "")

    def _ending(self, line: str) -> str:
        """The label that a line is, or what stands behind its colon, as in `Sentiment: positive`."""
        return self._whole(line) or self._whole(line.rpartition(": ")[2])

    def _named(self, text: str) -> set[str]:
        """The labels in a text; of two that begin alike, the longer one."""
        by_key = {self.key(label): label for label in self.labels}
        longest = sorted(by_key, key=len, reverse=True)
        part = r"[\w+#-]" if _signed(self.labels) else r"\w"
        found = re.findall(rf"(?<!{part})(?:{'|'.join(map(re.escape, longest))})(?!{part})", self.key(text))
        return {by_key[key] for key in found}


@dataclass(frozen=True, slots=True, repr=False)
class Text(_ByKey):
    """A text: what is given as the answer, else the whole reply. Case, articles and punctuation do not count.

    The periods of initials, titles and abbreviations do not end an answer: `J. K. Rowling`, `Mr. Darcy`.

    (The normalisation of SQuAD, Rajpurkar et al. 2016.)
    """

    @property
    def asks(self) -> str:
        return _ENDS.format("X")

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        answer = extract(_ABBREVIATED.sub(_KEPT, text), finished=finished)
        return answer.replace(_KEPT, ".") if answer else (text.strip() or None if finished else None)

    def key(self, answer: str) -> str:
        return normalised(answer)


@dataclass(frozen=True, slots=True, repr=False)
class Pattern(_ByKey):
    """The last match of a regular expression: its first group, or all of it if it has none."""

    regex: str

    def __post_init__(self) -> None:
        try:
            re.compile(self.regex)
        except (re.error, TypeError) as error:
            raise InputError(f"Pattern: {self.regex!r} is no regular expression: {error}") from None

    @property
    def asks(self) -> str:
        return f"End with an answer of the form {self.regex}"

    @property
    def form(self) -> Form:
        return Form(regex=rf"[\s\S]*(?:{self.regex})")

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        found = [match for match in re.finditer(self.regex, text) if match.end() < len(text) + finished]
        return (found[-1][1] if found[-1].re.groups else found[-1][0]) or None if found else None


@dataclass(frozen=True, slots=True, repr=False)
class Function(_ByKey):
    """A function of yours, `(text) -> str | None`, that finds the answer in a whole reply. Equal texts are equal."""

    reads: Callable[[str], str | None]

    def __post_init__(self) -> None:
        if isinstance(self.reads, type) or not takes(self.reads, 1):
            raise InputError(f"Function: {literal(self.reads)} is not called with (text)")

    @property
    def asks(self) -> str:
        return ""

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        """Raises `VerifierError` where the function fails or returns something else than a text."""
        if not finished:
            return None
        try:
            answer = self.reads(text)
        except Exception as error:
            raise VerifierError(f"{literal(self.reads)}: {type(error).__name__}: {error}") from error
        if answer is not None and not isinstance(answer, str):
            raise VerifierError(f"{literal(self.reads)} returned {type(answer).__name__}, not a text or None")
        return answer or None


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


def _bare(text: str) -> str:
    """A text without the markup of LaTeX and Markdown around it."""
    return _MARKUP.sub("", _IN_TEXT.sub(r"\1", text)).strip().strip("{}")


def _exact(text: str) -> str:
    return " ".join(_bare(text).split()).rstrip(".,;: ")


def _folded(text: str) -> str:
    return _exact(text).casefold()


def _worded(text: str) -> tuple[str, ...]:
    """The words of a text, and its signs; empty where it has none."""
    spaced = _BRACES.sub(" ", _bare(text))
    return (words, *_SIGNS.findall(spaced)) if (words := normalised(spaced)) else ()


@lru_cache(64)
def _signed(labels: tuple[str, ...]) -> bool:
    """Whether signs count in labels: where these differ in nothing else, or are signed numbers."""
    alike = len(set(map(normalised, labels))) < len(labels)
    return alike or any(re.match(rf"\s*(?:{_MINUS.pattern}|\+\d)", label) for label in labels)


def normalised(text: str) -> str:
    """Return a text in small letters without punctuation, articles and spare spaces."""
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", folded).split()) or " ".join(text.casefold().split())
