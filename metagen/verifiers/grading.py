"""The grade at the end: whether an answer is right, as the task or `--grade` says."""

from collections.abc import Sequence

from metagen.answers.protocol import verdicts
from metagen.candidate import Candidate
from metagen.errors import VerifierError
from metagen.problem import Problem
from metagen.run import Run, Verifier
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


async def by_reference(
    problem: Problem, answers: Sequence[str | None]
) -> tuple[list[bool | None], list[VerifierError]]:
    """Say of answers what `REFERENCE` says of their candidates, which need not be read again.

    An answer that the kind fails to compare has no verdict; the errors say why.

    Raises:
        VerifierError: the kind of answers failed on all.
    """
    assert problem.answer is not None
    found, failures = await verdicts(problem.answers, answers, problem.answer)
    failed = list(failures.values())
    if failed and not found.keys() - failures.keys() - {None}:
        raise failed[0]
    return [found[each] for each in answers], failed


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
