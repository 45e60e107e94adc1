"""Kinds of answers: mathematics, numbers, choices, labels, texts, patterns, and functions of the user's own."""

import re
import string
import unicodedata
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from math import inf

from metagen.answers.canonical import canonical
from metagen.answers.decide import decide
from metagen.answers.extract import extract
from metagen.answers.grade import SECONDS, grade, graded
from metagen.answers.numerals import NUMBER_KEY
from metagen.answers.protocol import Form
from metagen.errors import InputError, VerifierError
from metagen.settings import literal, spelled, takes

_ENDS = "End with: The answer is {}."
_NUMBER = r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?"

_ANY_NUMBER = re.compile(
    r"(?<![0-9.])-?[$€£]?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?(?:/[0-9]+|\s?%)?|(?<![0-9])-?\.[0-9]+"
)
_MARKUP = re.compile(r"\\(?:text(?:bf|it|rm)?|mathrm|mathbf)(?![a-zA-Z])\s*|\\[()\[\]]|[*`${}]")
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
        numbers = _ANY_NUMBER.findall(given)
        return numbers[0] if len(numbers) == 1 else None


@dataclass(frozen=True, slots=True, repr=False)
class LastNumber(_Numeric):
    """The last number of the reply, wherever it stands: for models that mark no answer."""

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        end = len(text) + finished
        numbers = [found[0] for found in _ANY_NUMBER.finditer(text) if found.end() < end]
        return numbers[-1] if numbers else None


@dataclass(frozen=True, slots=True, repr=False)
class Choice(_ByKey):
    """One of several choices, by its letter or its text, as in `Choice("ABCD")`; the key is the letter.

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
        given = extract(text, finished=finished)
        last = text.strip().rpartition("\n")[2] if finished else ""
        for place in (given or "", self._mentioned(text, len(text) + finished), text if finished else "", last):
            if letter := self._letter(place):
                return letter
        return None

    def key(self, answer: str) -> str:
        return self._letter(answer) or normalised(answer)

    def _mentioned(self, text: str, end: int) -> str:
        """The letter in the last "option C" or "(C) is correct"."""
        letter = f"[{self.letters}]"
        named = rf"\b(?:option|choice|answer)\b[\s:*]*(?:is\b)?[\s:*]*\(?({letter})\b\)?"
        pattern = rf"{named}|\(?\b({letter})\b\)? is (?:right|correct)"
        found = [match[1] or match[2] for match in re.finditer(pattern, text) if match.end() < end]
        return found[-1] if found else ""

    def _letter(self, text: str) -> str | None:
        """The letter that a text begins with as a choice does, or whose text it is."""
        bare = _MARKUP.sub("", text).strip()
        pattern = rf"(?:(?:option|choice|answer)\s*:?\s*)?\(?([{self.letters}])(?:[).:]*|\)\s.*|[.:)]+\s.*)"
        if found := re.fullmatch(pattern, bare, re.IGNORECASE | re.DOTALL):
            return next(letter for letter in self.letters if letter.upper() == found[1].upper())
        texts = list(map(normalised, self.texts))
        return self.letters[texts.index(same)] if (same := normalised(bare)) and texts.count(same) == 1 else None


@dataclass(frozen=True, slots=True, repr=False, init=False)
class Label(_ByKey):
    """One of several words, as in `Label("positive", "negative")`, whatever their case."""

    labels: tuple[str, ...]

    def __init__(self, *labels: str) -> None:
        object.__setattr__(self, "labels", labels)
        if not all(isinstance(label, str) and normalised(label) for label in labels) or len(labels) < 2:
            raise InputError('Label: needs two words or more, such as Label("positive", "negative")')
        if len(set(map(normalised, labels))) < len(labels):
            raise InputError(f"Label: two of {', '.join(labels)} are one word")

    @property
    def asks(self) -> str:
        return _ENDS.format("X") + f" X is one of: {', '.join(self.labels)}."

    @property
    def form(self) -> Form:
        return Form(choices=self.labels)

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        given = extract(text, finished=finished)
        last = text.strip().rpartition("\n")[2] if finished else ""
        for place in (given or "", last, text if finished else ""):
            if len(named := self._named(place)) == 1:
                return named.pop()
        return None

    def key(self, answer: str) -> str:
        return normalised(answer)

    def _named(self, text: str) -> set[str]:
        """The labels in a text; of two that begin alike, the longer one."""
        by_key = {normalised(label): label for label in self.labels}
        longest = sorted(by_key, key=len, reverse=True)
        found = re.findall(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest))})(?!\w)", normalised(text))
        return {by_key[key] for key in found}


@dataclass(frozen=True, slots=True, repr=False)
class Text(_ByKey):
    """A text: what is given as the answer, else the whole reply. Case, articles and punctuation do not count.

    (The normalisation of SQuAD, Rajpurkar et al. 2016.)
    """

    @property
    def asks(self) -> str:
        return _ENDS.format("X")

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        return extract(text, finished=finished) or (text.strip() or None if finished else None)

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


def normalised(text: str) -> str:
    """Return a text in small letters without punctuation, articles and spare spaces."""
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", folded).split()) or " ".join(text.casefold().split())
