"""The grade at the end: whether an answer is right, as the task or `--grade` says."""

from collections.abc import Sequence

from metagen.answers.protocol import verdicts
from metagen.candidate import Candidate
from metagen.errors import MetagenError, VerifierError
from metagen.problem import Problem
from metagen.run import Run, Verifier
from metagen.run.protocols import name_of
from metagen.verifiers.oracles import MatchesReference

REFERENCE = MatchesReference()
RIGHT = 1.0
"""The least verdict that is called right; `Threshold` makes one of any other."""


def oracle_of(problem: Problem) -> Verifier | None:
    """Return the oracle that a problem brings, by its form: its tests, its statement of Coq, or its reference.

    `None` where it has none of them.
    """
    if problem.tests is not None:
        from metagen.verifiers.execution import PassesTests  # noqa: PLC0415 (most problems run no programs)

        return PassesTests()
    if problem.answer is None:
        return None
    if problem.to_prove:
        from metagen.verifiers.proof import Proves  # noqa: PLC0415 (most problems state no theorem)

        return Proves()
    return REFERENCE


async def by_reference(problem: Problem, answers: Sequence[str | None]) -> list[bool | None]:
    """Say of answers what `REFERENCE` says of their candidates, which need not be read again.

    Raises:
        VerifierError: the kind of answers failed.
    """
    assert problem.answer is not None
    try:
        found = await verdicts(problem.answers, answers, problem.answer)
    except MetagenError:
        raise
    except Exception as error:  # whatever a user's kind of answers raises is a verifier's failure
        raise VerifierError(f"{name_of(REFERENCE)} raised {type(error).__name__}: {error}") from error
    return [found[each] for each in answers]


async def grades(
    grade: Verifier | None, problem: Problem, candidates: Sequence[Candidate], run: Run
) -> list[bool | None]:
    """Say of each candidate whether it is right by `grade`, else by the problem's own oracle; `None` is no verdict.

    Raises:
        VerifierError: the grade failed.
    """
    grade = grade or oracle_of(problem)
    if grade is None:
        return [None] * len(candidates)
    return [None if score is None else score.value >= RIGHT for score in await run.score(grade, problem, candidates)]
