"""Verdicts that a strategy asks for one after another."""

from collections.abc import Sequence

from metagen.candidate import Candidate, Score
from metagen.errors import SampleError
from metagen.problem import Problem
from metagen.run import Run, Verifier


async def judged(
    by: Verifier, problem: Problem, candidates: Sequence[Candidate], run: Run
) -> list[Score | SampleError | None]:
    """A verdict for each candidate, or the error with which the verifier failed on them.

    So a call that fails costs no other candidate its verdict. `contracts.settled` reports such errors, once all
    verdicts are there.
    """
    try:
        return [*await run.score(by, problem, candidates)]
    except SampleError as failed:
        return [failed] * len(candidates)
