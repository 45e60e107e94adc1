"""Verifiers that know the right answer: for measuring, for training data, and for upper bounds."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING

from metagen.answers.grade import SECONDS
from metagen.answers.kinds import Maths
from metagen.answers.protocol import Answers, read_answer, verdicts
from metagen.answers.several import AnyOf
from metagen.candidate import Candidate, Score
from metagen.errors import InputError, VerifierError
from metagen.problem import Problem
from metagen.run.contracts import settled
from metagen.settings import is_number, spelled

if TYPE_CHECKING:
    from metagen.run.run import Run


RIGHT, WRONG, SILENT = Score(1.0, reason="right"), Score(0.0, reason="wrong"), Score(0.0, reason="no answer")


@dataclass(frozen=True, slots=True, repr=False)
class MatchesReference:
    """The oracle: the candidate's answer equals `problem.answer`, as `problem.answers` decides.

    1 if it does; 0 if it does not, or if the candidate gives no answer; no verdict where that cannot be found out, as
    with a tower of powers that outlasts the limit of `seconds`. What is out of the ordinary costs a few seconds of
    one core; nothing of it reaches this process.
    """

    _: KW_ONLY
    seconds: float = SECONDS

    __repr__ = spelled

    def __post_init__(self) -> None:
        if not is_number(self.seconds) or self.seconds <= 0:
            raise InputError(f"MatchesReference: seconds must be positive and finite, not {self.seconds!r}")

    def check_problem(self, problem: Problem) -> None:
        """Raises `InputError` for a problem without a reference answer."""
        if problem.answer is None:
            raise InputError(f"problem {problem.id!r} has no reference answer, and MatchesReference compares with one")

    async def __call__(self, problem: Problem, candidates: Sequence[Candidate], run: "Run", /) -> list[Score | None]:
        """Judge each candidate by its last answer.

        Raises:
            InputError: the problem has no reference answer.
            VerifierError: the checking process does not start.
        """
        self.check_problem(problem)
        assert problem.answer is not None
        kind = problem.answers
        if self.seconds != SECONDS:
            kind = _limited(kind, self.seconds)
        answers = [_read(kind, candidate) for candidate in candidates]
        read = [each for each in answers if not isinstance(each, VerifierError)]
        found, failures = await verdicts(kind, read, problem.answer)
        failed = [each if isinstance(each, VerifierError) else failures.get(each) for each in answers]
        scores = [None if isinstance(each, VerifierError) else _score(each, found[each]) for each in answers]
        return settled([fault or score for fault, score in zip(failed, scores, strict=True)], run)


def _limited(kind: Answers, seconds: float) -> Answers:
    """The kind, which may compare for so many seconds."""
    if isinstance(kind, AnyOf):
        return replace(kind, of=_limited(kind.of, seconds))
    return replace(kind, seconds=seconds) if isinstance(kind, Maths) else kind


def _read(kind: Answers, candidate: Candidate) -> str | VerifierError | None:
    """A candidate's answer, or why it cannot be read, which costs no other one its verdict."""
    try:
        return read_answer(kind, candidate.text, finished=candidate.finished)
    except VerifierError as failed:
        return failed


def _score(answer: str | None, right: bool | None) -> Score | None:
    if answer is None:
        return SILENT
    if right is None:
        return None
    return RIGHT if right else WRONG
