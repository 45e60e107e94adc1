"""Verdicts that a strategy asks for one after another, where a failure costs no other candidate its verdict."""

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


def all_failed(verdicts: Sequence[Score | SampleError | None]) -> bool:
    """Whether the verifier failed each time so far: then a search ends, since it would grow blindly, at full cost."""
    return bool(verdicts) and all(isinstance(each, SampleError) for each in verdicts)


TRIES = 5
"""Candidates, judged one after another, on which a verifier must fail from the first on to count as broken."""


def is_broken(verdicts: Sequence[Score | SampleError | None]) -> bool:
    """The same where candidates are judged one after another: then no more of them are drawn and paid for."""
    return len(verdicts) >= TRIES and all_failed(verdicts)


ACCEPTED = 1.0
"""The verdict with which an oracle ends a search."""


async def accepted(until: Verifier | None, problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[bool]:
    """Whether each candidate ends a search, by a verdict of 1 or more; if `until` fails, none does, as a note says."""
    if until is None or not candidates:
        return [False] * len(candidates)
    verdicts = await judged(until, problem, candidates, run)
    if failed := next((each for each in verdicts if isinstance(each, SampleError)), None):
        run.note(f"no verdict on whether to end the search: {failed}")
    return [isinstance(each, Score) and each.value >= ACCEPTED for each in verdicts]
