"""Plain functions on texts as verifiers."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from metagen.candidate import Candidate, Score
from metagen.errors import InputError, MetagenError, VerifierError
from metagen.problem import Problem
from metagen.run import Run
from metagen.run.contracts import check_verdict, raised, settled
from metagen.settings import PLAIN_DEF, is_async, literal, spelled, takes, unawaited

VERIFIER = "async def (problem, candidates, run) -> list[Score | None]"


@dataclass(frozen=True, slots=True, repr=False)
class OnText:
    """The verdicts of a plain function `(prompt, text) -> float | Score | None`, called in a thread.

    The event loop continues meanwhile, so a slow function holds up no request. The candidates of one call are judged in
    turn; those of other problems at the same time, in other threads, so what the function shares between
    calls must bear that. A candidate on which it raises has no verdict, and a note says why; it is a `VerifierError` if
    it raises on all. A thread cannot be stopped: where nobody waits any more, the function ends its candidate and
    is not called for the next. An `async def` or a class that batches is a verifier as it is.
    """

    function: Callable[[str, str], float | Score | None]

    __repr__ = spelled

    def __post_init__(self) -> None:
        if isinstance(self.function, type) or not takes(self.function, 2):
            raise InputError(f"OnText: {literal(self.function)} is not a function of (prompt, text)")
        if is_async(self.function):
            raise InputError(f"OnText: {literal(self.function)} is async: make it a verifier, {VERIFIER}")

    async def __call__(self, problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        return settled([await self._judged(problem.prompt, candidate.text) for candidate in candidates], run)

    async def _judged(self, prompt: str, text: str) -> Score | VerifierError | None:
        try:
            return await asyncio.to_thread(self._verdict, prompt, text)
        except VerifierError as failed:
            return failed

    def _verdict(self, prompt: str, text: str) -> Score | VerifierError | None:
        try:
            verdict = self.function(prompt, text)
        except MetagenError:
            raise
        except (Exception, SystemExit) as error:  # whatever a user's function raises is a verifier's failure
            raise VerifierError(f"{literal(self.function)} {raised(error)}") from error
        if call := unawaited(verdict):
            raise VerifierError(f"{literal(self.function)} gave {call}: {PLAIN_DEF}")
        return check_verdict(verdict, self.function)
