"""All kinds of answers. Here are mathematics, texts, patterns, and functions of the user's own."""

import re
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

from metagen.answers.by_key import ENDS, ByKey, normalised
from metagen.answers.canonical import canonical
from metagen.answers.choices import Choice, Label
from metagen.answers.extract import extract
from metagen.answers.grade import SECONDS, grade, graded
from metagen.answers.numbers import LastNumber, Number
from metagen.answers.protocol import Form
from metagen.errors import InputError, VerifierError
from metagen.settings import PLAIN_DEF, as_str, is_number, literal, require_plain, require_text, takes, unawaited

__all__ = ["MATHS", "Choice", "Function", "Label", "LastNumber", "Maths", "Number", "Pattern", "Text"]

_KEPT = "\ue000"
"""Replaces a period that does not end a sentence, while the answer is read."""
_BEFORE_UNIT = re.compile(
    r"(?<=\d)[ ](?=[^\W\d_])(?!(?:of|such|in|as|for|from|on|are|were|is|who|that|when|because|since|which)\b)"
)
_BOUND = "\ue001"
"""Replaces the space between a number and its unit, which is a part of a text."""
_UNIT = re.compile(r"(?<=\d)(?=[^\W\d_])|(?<=\d°)")
_STUCK = "\ue002"
"""Keeps a unit at its number, as in `4GB`, while the answer is read."""
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


@dataclass(frozen=True, slots=True, repr=False)
class Maths(ByKey):
    """Mathematics: numbers, formulas, sets, intervals, choices by letter. See `metagen.extract`, `metagen.canonical`.

    Two answers are compared by their keys, then as numbers, then symbolically, with a limit of `seconds` of work.
    """

    _: KW_ONLY
    seconds: float = SECONDS

    def __post_init__(self) -> None:
        if not is_number(self.seconds) or self.seconds <= 0:
            raise InputError(f"Maths: seconds must be positive and finite, not {self.seconds!r}")

    @property
    def asks(self) -> str:
        return ENDS.format("X")

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


@dataclass(frozen=True, slots=True, repr=False)
class Text(ByKey):
    """A text: what is given as the answer, else the whole reply. Case, articles and punctuation do not count.

    Punctuation counts where without it a number or a name is another one: `1.5`, `-5`, `3:45`, `C++`.
    The periods of initials, titles and abbreviations do not end an answer: `J. K. Rowling`, `Mr. Darcy`.

    (The normalisation of SQuAD, Rajpurkar et al. 2016, but for that.)
    """

    @property
    def asks(self) -> str:
        return ENDS.format("X")

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        kept = _ABBREVIATED.sub(_KEPT, text)
        bound = _UNIT.sub(_STUCK, _BEFORE_UNIT.sub(_BOUND, kept))
        answer = extract(bound, finished=finished) or extract(kept, finished=finished)
        if answer:
            return answer.replace(_KEPT, ".").replace(_BOUND, " ").replace(_STUCK, "")
        return text.strip() or None if finished else None

    def key(self, answer: str) -> str:
        return normalised(answer, numbers=True)


@dataclass(frozen=True, slots=True, repr=False)
class Pattern(ByKey):
    """The last match of a regular expression: its first group, or all of it if it has none."""

    regex: str

    def __post_init__(self) -> None:
        require_text(self, regex=self.regex)
        try:
            re.compile(self.regex)
        except re.error as error:
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
class Function(ByKey):
    """A function of yours, `(text) -> str | None`, that finds the answer in a whole reply. Equal texts are equal."""

    reads: Callable[[str], str | None]

    def __post_init__(self) -> None:
        if isinstance(self.reads, type) or not takes(self.reads, 1):
            raise InputError(f"Function: {literal(self.reads)} is not called with (text)")
        require_plain(self.reads, f"Function: {literal(self.reads)}")

    @property
    def asks(self) -> str:
        return ""

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        """Raises `VerifierError` where the function fails or returns something else than a text."""
        if not finished:
            return None
        try:
            answer = self.reads(text)
        except (Exception, SystemExit) as error:
            raise VerifierError(f"{literal(self.reads)}: {type(error).__name__}: {error}") from error
        if call := unawaited(answer):
            raise VerifierError(f"{literal(self.reads)} returned {call}: {PLAIN_DEF}")
        if answer is not None and not isinstance(answer, str):
            raise VerifierError(f"{literal(self.reads)} returned {type(answer).__name__}, not a text or None")
        return as_str(answer) if answer else None
