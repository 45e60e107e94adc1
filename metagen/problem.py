"""What is asked: a question, alone or as the last turn of a conversation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import floor, isfinite
from numbers import Rational, Real
from typing import Any, cast

from metagen.answers.kinds import MATHS
from metagen.answers.protocol import Answers, fault_of, is_answers
from metagen.answers.several import any_of
from metagen.answers.structured import Code
from metagen.candidate import Candidate
from metagen.copies import copier
from metagen.errors import InputError
from metagen.messages import Message, Turns, question_at, question_of, read_messages
from metagen.settings import as_str


@dataclass(frozen=True, slots=True)
class Problem:
    """A question x, what is already written of its answer, and where the next step ends.

    `prompt` never changes, so a verifier always reads the question that the user asked; a strategy that sends
    something else says so with `asking`. A question in a conversation is given by its turns, and its prompt is the
    last turn of the user's; what a strategy sends in its place keeps all the others:

        Problem("1", messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "3 + 4?"}])
    """

    id: str
    prompt: str = ""
    answer: str | None = None
    """The reference answer, which only oracles read. A number is kept as text: 7 and 7.0 as "7". Of a list any is
    right: they are kept as a JSON list, and `answers` becomes `AnyOf`."""
    asked: str | None = None
    """What is sent in place of `prompt`."""
    partial: Candidate | None = None
    """y₁ … y_{t-1}: the beginning of the reply."""
    step: str | int | None = None
    """What ends a step: a string, such as a newline, or a number of tokens; `None` asks for the whole reply."""
    tags: Mapping[str, str] = field(default_factory=dict, compare=False)
    """What kind of problem it is, such as its level and subject, for reports."""
    answers: Answers = MATHS
    """What counts as an answer, and when two are equal. Left out, it is code where there are tests, or a theorem of Coq
    to prove; else mathematics."""
    messages: Sequence[Message | Mapping[str, Any]] = ()
    """The whole conversation, the question in it; empty where the question stands alone. A list of objects with `role`
    (system, user, assistant or tool) and `content`, as OpenAI's API has it, is read."""
    tests: str | None = None
    """What decides about code, which only oracles read: Python, or a JSON object of `inputs` and `outputs`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", _as_text(self.id, "a problem's id"))
        if self.messages:
            self._read_messages()
        _require_text(self.prompt, f"problem {self.id!r}: prompt")
        if not (self.prompt.strip() or self.messages):
            raise InputError(
                f"problem {self.id!r} has no question: write Problem(id, question), or pass the text itself"
            )
        if self.answer is not None:
            self._read_reference(self.answer)
        if self.tests is not None:
            _require_text(self.tests, f"problem {self.id!r}: tests")
        if self.asked is not None:
            _require_text(self.asked, f"problem {self.id!r}: asked")
        if not (self.answers is MATHS and self.partial is None and self.step is None and type(self.tags) is dict):
            self._check_others()
        if self.tags:
            where = f"problem {self.id!r}: tags"
            tags = {_as_text(name, where): _as_text(each, where) for name, each in self.tags.items()}
            object.__setattr__(self, "tags", tags)
        if self.answers is MATHS and (language := "python" if self.tests else "coq" if self.to_prove else ""):
            object.__setattr__(self, "answers", Code(language))

    def _check_others(self) -> None:
        where = f"problem {self.id!r}:"
        if self.partial is not None and not isinstance(self.partial, Candidate):
            raise InputError(f"{where} partial must be a Candidate, not {self.partial!r}")
        if self.step is not None:
            _require_step(self.step)
        if not isinstance(self.tags, Mapping):
            raise InputError(f"{where} tags must be texts by name, such as {{'level': '1'}}, not {self.tags!r}")
        if self.answers is MATHS or is_answers(self.answers):
            if fault := fault_of(type(self.answers)):
                raise InputError(f"{where} answers: {fault}")
            return
        if isinstance(self.answers, type):
            name = self.answers.__name__
            raise InputError(f"{where} answers={name} is a class: write {name}(...)")
        raise InputError(f"{where} answers must be a kind of answers, such as Number(), not {self.answers!r}")

    @property
    def to_prove(self) -> bool:
        """Whether the reference states a theorem of Coq, without its proof."""
        return self.answer is not None and self.answer.rstrip().endswith("Admitted.")

    def _read_reference(self, given: object) -> None:
        where, kind = f"problem {self.id!r}: answer", self.answers
        if isinstance(given, list | tuple) and given:
            kind, given = any_of(kind, [_as_text(each, where) for each in given])
            object.__setattr__(self, "answers", kind)
        object.__setattr__(self, "answer", _as_text(given, where))

    def _read_messages(self) -> None:
        where = f"problem {self.id!r}: messages"
        turns = read_messages(self.messages, where)
        question = question_of(turns)
        if self.prompt not in ("", question):
            raise InputError(f"{where}: the last turn of the user's is the prompt; leave out prompt={self.prompt!r}")
        object.__setattr__(self, "messages", turns)
        object.__setattr__(self, "prompt", question)

    @property
    def before(self) -> Turns:
        """The turns before the question: a system turn, earlier questions and their answers."""
        return self._turns[: question_at(self._turns)] if self.messages else ()

    @property
    def after(self) -> Turns:
        """The turns after the question: calls of tools, and what the tools said."""
        return self._turns[question_at(self._turns) + 1 :] if self.messages else ()

    @property
    def _turns(self) -> Turns:
        return cast("Turns", self.messages)

    @property
    def text(self) -> str:
        """What is sent to the model."""
        return self.prompt if self.asked is None else self.asked

    def asking(self, text: str) -> "Problem":
        """The same problem, with `text` sent in its question's place and nothing of a reply written yet."""
        return _changed(self, asked=text, partial=None)

    def aside(self, text: str) -> "Problem":
        """The same problem, with `text` sent in its place and a whole reply wanted: for what is asked on the way."""
        return _changed(self, asked=text, partial=None, step=None)

    def apart(self, text: str) -> "Problem":
        """Another question in the same conversation, such as a judge's, which has no reference of its own."""
        return Problem(self.id, messages=(*self.before, Message("user", text), *self.after))

    def continuing(self, candidate: Candidate) -> "Problem":
        """The same problem, with the reply begun as in `candidate`."""
        return _changed(self, partial=candidate)

    def stepping(self, end: str | int) -> "Problem":
        """The same problem, to be written one step further: to the text `end`, such as a newline, or `end` tokens.

        The text that ends a step is its last part.
        """
        _require_step(end)
        return _changed(self, step=end)


_changed = copier(Problem)


def _require_text(value: object, where: str) -> None:
    if not isinstance(value, str):
        raise InputError(f"{where} must be a text, not {value!r}")


def _require_step(end: object) -> None:
    if isinstance(end, bool) or not isinstance(end, str | int) or not end or (isinstance(end, int) and end < 1):
        raise InputError(f"give what ends a step: a text, such as a newline, or a number of tokens, not {end!r}")


def _as_text(value: object, where: str) -> str:
    """A number in digits, a whole one without a fraction."""
    if isinstance(value, str):
        return as_str(value)
    if isinstance(value, bool) or not isinstance(value, Real | Decimal) or not _is_finite(value):
        raise InputError(f"{where} must be a text or a number, not {value!r}")
    try:
        return _digits(value)
    except ValueError:  # Python does not print whole numbers of any length
        raise InputError(f"{where} must be a text or a number with at most {LONGEST} digits") from None


LONGEST = 4300
"""Digits: more are not written by Python itself, unless it is told to."""


def _is_finite(value: Real | Decimal) -> bool:
    if isinstance(value, Decimal):
        return value.is_finite()
    return isinstance(value, Rational) or isfinite(value)


def _digits(value: Real | Decimal) -> str:
    """A finite number. Raises `ValueError` where it has too many digits."""
    if isinstance(value, Decimal) and max(value.adjusted(), -value.adjusted()) >= LONGEST:
        raise ValueError
    if isinstance(value, Rational):  # one that is whole may be larger than any float
        return str(int(value.numerator) if value.denominator == 1 else value)
    if value == floor(value):
        return str(floor(value))
    return format(Decimal(str(value)), "f")
