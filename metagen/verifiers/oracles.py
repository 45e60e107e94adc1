"""Verifiers that know the right answer: for measuring, for training data, and for upper bounds."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from math import inf
from typing import TYPE_CHECKING

from metagen.answers import canonical, equal_numbers, extract
from metagen.candidate import Candidate, Score
from metagen.errors import InputError
from metagen.problem import Problem
from metagen.settings import spelled
from metagen.tasks import together
from metagen.verifiers._checkers import compare

if TYPE_CHECKING:
    from metagen.run import Run

SECONDS = 5.0
"""The limit of one symbolic comparison, in seconds of work (CPU time), so that a busy machine changes no verdict."""


@dataclass(frozen=True, slots=True, repr=False)
class MatchesReference:
    """The oracle: the candidate's answer equals `problem.answer`, as `grade` decides.

    1 if it does; 0 if it does not, or if the candidate gives no answer; no verdict where that cannot be found out, as
    with a tower of powers that outlasts the limit of `seconds`. What is out of the ordinary costs a few seconds of
    one core; nothing of it reaches this process.
    """

    _: KW_ONLY
    seconds: float = SECONDS

    __repr__ = spelled

    def __post_init__(self) -> None:
        if not 0 < self.seconds < inf:
            raise InputError(f"seconds must be positive and finite, not {self.seconds}")

    async def __call__(self, problem: Problem, candidates: Sequence[Candidate], _run: "Run", /) -> list[Score | None]:
        """Judge each candidate by its last answer.

        Raises:
            InputError: the problem has no reference answer.
            VerifierError: the checking process does not start.
        """
        if problem.answer is None:
            raise InputError(f"problem {problem.id!r} has no reference answer, and MatchesReference compares with one")
        answers = [extract(candidate.text, finished=candidate.finished) for candidate in candidates]
        distinct = list(dict.fromkeys(answers))
        verdicts = await together(grade(answer, problem.answer, self.seconds) for answer in distinct)
        verdict = dict(zip(distinct, verdicts, strict=True))
        return [_score(answer, verdict[answer]) for answer in answers]


async def grade(answer: str | None, reference: str, seconds: float = SECONDS) -> bool | None:
    """Decide whether `answer` is right: `None` if that cannot be found out, `False` if there is no answer.

    Equal canonical keys are right, and plain numbers that differ are wrong; so nearly everything is decided here. The
    rest goes to math-verify, in a process of its own with a limit of `seconds` and of memory. It finds the number in
    prose, takes a list for a set, 0.5 for 50 % and six decimals for a fraction.

    Raises:
        VerifierError: the checking process does not start.
    """
    if answer is None or not answer.strip():
        return False
    if canonical(answer) == canonical(reference):
        return True
    equal = equal_numbers(answer, reference)
    return await compare(reference, answer, seconds) if equal is None else equal


def _score(answer: str | None, right: bool | None) -> Score | None:
    if answer is None:
        return Score(0.0, reason="no answer")
    if right is None:
        return None
    return Score(1.0, reason="right") if right else Score(0.0, reason="wrong")
