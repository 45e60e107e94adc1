"""Several accepted references: an answer is right if it equals any of them."""

import json
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache

from metagen.answers.kinds import MATHS
from metagen.answers.protocol import Answers, Form, fault_of, graded_at_once, is_answers, verdicts
from metagen.errors import InputError, VerifierError
from metagen.settings import spelled


@dataclass(frozen=True, slots=True, repr=False)
class AnyOf:
    """Answers of another kind, of which any of several references is right, as in SQuAD, TriviaQA or NQ.

    A problem whose answer is a list has it by itself. The reference is then a JSON list of them.
    """

    _: KW_ONLY
    of: Answers = MATHS

    __repr__ = spelled

    def __post_init__(self) -> None:
        if not is_answers(self.of) or isinstance(self.of, AnyOf):
            raise InputError(f"AnyOf: of must be another kind of answers, such as Text(), not {self.of!r}")
        if fault := fault_of(type(self.of)):
            raise InputError(f"AnyOf: of: {fault}")

    @property
    def asks(self) -> str:
        return self.of.asks

    @property
    def form(self) -> Form | None:
        return self.of.form

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        return self.of.extract(text, finished=finished)

    def key(self, answer: str) -> str:
        return self.of.key(answer)

    async def equal(self, answer: str, reference: str) -> bool | None:
        """Raises `VerifierError` where the kind fails on a reference and no other one is equal."""
        found: list[bool | None] = []
        failures: list[VerifierError] = []
        for each in references_in(reference):
            judged, failed = await verdicts(self.of, [answer], each)
            found.append(judged[answer])
            failures += failed.values()
            if judged[answer]:
                return True
        if failures:
            raise failures[0]
        return _any(found)

    def graded(self, answer: str, reference: str) -> bool | None:
        """Whether it equals one of them, where that can be said at once; else `None`."""
        return _any([graded_at_once(self.of, answer, each) for each in references_in(reference)])


def any_of(kind: Answers, references: Sequence[str]) -> tuple[Answers, str]:
    """The kind of answers and the reference for several references."""
    if len(references) == 1:
        return kind, references[0]
    several = kind if isinstance(kind, AnyOf) else AnyOf(of=kind)
    return several, json.dumps(list(references), ensure_ascii=False)


@lru_cache(256)
def references_in(reference: str) -> tuple[str, ...]:
    """The references that a JSON list holds; else the reference itself."""
    try:
        found = json.loads(reference)
    except (ValueError, RecursionError):
        return (reference,)
    is_list = isinstance(found, list) and found and all(isinstance(each, str) for each in found)
    return tuple(found) if is_list else (reference,)


def _any(verdicts: Sequence[bool | None]) -> bool | None:
    """Whether one of them is right; `None` where one is not known and none is right."""
    return True if True in verdicts else None if None in verdicts else False
