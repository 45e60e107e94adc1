"""What every kind of answers can do, and how answers of any kind are judged."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from inspect import isawaitable
from typing import Any, NoReturn, Protocol, runtime_checkable

from metagen.errors import MetagenError, VerifierError
from metagen.settings import PLAIN_DEF, is_async, unawaited
from metagen.tasks import together


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a reply for guided decoding: one of a JSON schema, a regular expression, a grammar, and texts."""

    schema: Mapping[str, Any] | None = None
    regex: str | None = None
    choices: tuple[str, ...] = ()
    grammar: str | None = None
    """A context-free grammar, in the form of Lark's or of GBNF."""

    def settings(self) -> dict[str, Any]:
        """The form in the words of vLLM's structured outputs."""
        named = {"json": self.schema, "regex": self.regex, "choice": list(self.choices), "grammar": self.grammar}
        return {name: value for name, value in named.items() if value}


@runtime_checkable
class Answers(Protocol):
    r"""What counts as an answer to a problem, and when two are equal. `Maths()` is the default.

    One of your own reads, say, the move of a game:

        class Move:
            asks, form = "End with: My move is X.", None

            def extract(self, text: str, *, finished: bool = True) -> str | None:
                before, found, move = text.rpartition("My move is ")
                return move.strip(" .\n") or None if found and finished else None

            def key(self, answer: str) -> str:
                return answer.lower()

            async def equal(self, answer: str, reference: str) -> bool | None:
                return self.key(answer) == self.key(reference)
    """

    @property
    def asks(self) -> str:
        """A sentence that says how the answer is to be given, for prompts."""

    @property
    def form(self) -> Form | None:
        """The form of a reply for guided decoding, where there is one."""

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        """Return the answer in a reply, or `None`. In a text that was cut off, nothing counts that reaches its end."""

    def key(self, answer: str) -> str:
        """Return the key under which an answer votes: equal keys are equal answers."""

    async def equal(self, answer: str, reference: str) -> bool | None:
        """Decide whether an answer is the reference; `None` is no verdict."""


def is_answers(value: object) -> bool:
    """Return whether `value` is a kind of answers, not the class of one."""
    kind: Any = type(value)
    return not isinstance(value, type) and (_are_answers(kind) or isinstance(value, Answers))


@lru_cache(256)
def _are_answers(kind: type) -> bool:
    """Return whether the class has all that a kind of answers has, so that its objects need not be looked at."""
    return all(hasattr(kind, name) for name in ("asks", "form", "extract", "key", "equal"))


@lru_cache(256)
def fault_of(kind: type) -> str:
    """What no kind of answers can be, for a message: one whose `extract` or `key` is async; else nothing."""
    found = (name for name in ("extract", "key") if is_async(getattr(kind, name, None)))
    return next((f"{kind.__name__}.{name} is async: {PLAIN_DEF}" for name in found), "")


def read_answer(kind: Answers, text: str, *, finished: bool = True) -> str | None:
    """Return the answer that a kind of answers finds in a reply, or `None`.

    Raises `VerifierError` where it fails, whatever it raises.
    """
    return read_keyed(kind, text, finished=finished)[0]


def read_keyed(kind: Answers, text: str, *, finished: bool = True) -> tuple[str | None, str | None]:
    """Return the same with the key under which it votes."""
    try:
        answer = kind.extract(text, finished=finished)
        if answer is None:
            return None, None
        key = kind.key(answer) if isinstance(answer, str) else _refuse(answer, kind, "extract")
        return answer, key if isinstance(key, str) else _refuse(key, kind, "key")
    except MetagenError:
        raise
    except (Exception, SystemExit) as error:
        raise VerifierError(f"{type(kind).__name__}: {type(error).__name__}: {error}") from error


def _refuse(value: object, kind: Answers, method: str) -> NoReturn:
    """Raise `VerifierError` for what a method of a kind returned that is no text."""
    call = unawaited(value)
    said = f"{call}: {PLAIN_DEF}" if call else f"{type(value).__name__}, not a text"
    raise VerifierError(f"{type(kind).__name__}.{method} returned {said}")


def read_each(
    kind: Answers, replies: Iterable[tuple[str, bool]]
) -> tuple[list[tuple[str | None, str | None]], dict[int, VerifierError]]:
    """Read several replies, each given with whether it is finished: their answers and keys.

    One that the kind fails to read has neither; by its place it is said why.
    """
    found: list[tuple[str | None, str | None]] = []
    failures: dict[int, VerifierError] = {}
    for text, finished in replies:
        try:
            found.append(read_keyed(kind, text, finished=finished))
        except VerifierError as failed:
            failures[len(found)] = failed
            found.append((None, None))
    return found, failures


async def verdicts(
    kind: Answers, answers: Iterable[str | None], reference: str
) -> tuple[dict[str | None, bool | None], dict[str | None, VerifierError]]:
    """Judge each distinct answer once. No answer is not right; `None` is no verdict.

    An answer that the kind fails to compare has none; by the answer it is said why.
    """
    found = at_once(kind, answers, reference)
    waiting = [answer for answer, verdict in found.items() if answer is not None and verdict is None]
    judged = await together(_judged(kind, answer, reference) for answer in waiting) if waiting else []
    pairs = list(zip(waiting, judged, strict=True))
    found |= {answer: None if isinstance(verdict, VerifierError) else verdict for answer, verdict in pairs}
    return found, {answer: verdict for answer, verdict in pairs if isinstance(verdict, VerifierError)}


async def _judged(kind: Answers, answer: str, reference: str) -> bool | VerifierError | None:
    """Whether two answers are equal, or why the kind fails to say."""
    try:
        return await _compared(kind, answer, reference)
    except VerifierError as failed:
        return failed


async def _compared(kind: Answers, answer: str, reference: str) -> bool | None:
    try:
        equal = kind.equal(answer, reference)
        if isawaitable(equal):
            return await equal
    except MetagenError:
        raise
    except (Exception, SystemExit) as error:  # whatever a user's kind of answers raises is a verifier's failure
        raise VerifierError(f"{type(kind).__name__}: {type(error).__name__}: {error}") from error
    raise VerifierError(f"{type(kind).__name__}.equal is not async: write async def")


def at_once(kind: Answers, answers: Iterable[str | None], reference: str) -> dict[str | None, bool | None]:
    """The verdicts that need no waiting; `None` for the others."""
    graded = _graded_by(kind)
    return {answer: False if answer is None else graded(answer, reference) for answer in dict.fromkeys(answers)}


def graded_at_once(kind: Answers, answer: str, reference: str) -> bool | None:
    """The verdict on one answer, if it needs no waiting."""
    return _graded_by(kind)(answer, reference)


def _graded_by(kind: Answers) -> Callable[[str, str], bool | None]:
    """What grades answers of a kind at once where it can. One that is inherited may differ from the kind's `equal`."""
    own: Callable[[str, str], bool | None] = kind.graded if "graded" in vars(type(kind)) else _later  # type: ignore[attr-defined]
    return own


def _later(_answer: str, _reference: str) -> None:
    return None


def groups_of(kind: Answers, answers: Iterable[str | None]) -> list[int]:
    """Equal numbers for equal answers, in the order of the first of each; −1 for no answer."""
    numbers: dict[str, int] = {}
    known: dict[str | None, int] = {None: -1}
    found = []
    for answer in answers:
        if answer not in known and answer is not None:
            known[answer] = numbers.setdefault(kind.key(answer), len(numbers))
        found.append(known[answer])
    return found
