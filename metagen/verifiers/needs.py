"""What a strategy and a grade need of problems and of this machine, checked before anything is spent."""

from collections.abc import Callable
from typing import Any

from metagen.leaves import parts
from metagen.problem import Problem
from metagen.run import Generator, Verifier
from metagen.verifiers.grading import oracle_of


class Needs:
    """Checks the first `limit` problems, and counts those whose answers can be right or wrong.

    A part of the strategy or the grade may have `check_host()`, which says whether it can work on this machine, and
    `check_problem(problem)`, which says whether it can judge that problem; where other machines do the work,
    `check_elsewhere(problem)` takes its place, if there is one. All raise `InputError`.
    """

    def __init__(
        self, strategy: Generator | None, grade: Verifier | None, limit: int | None, *, elsewhere: bool = False
    ) -> None:
        """Raises `InputError` for what this machine lacks, unless the work is done elsewhere."""
        self.judged = 0
        self._grade, self._limit, self._seen = grade, limit, 0
        every = list(parts((strategy, grade)))
        for part in () if elsewhere else every:
            _check_host(part)
        self._elsewhere = elsewhere
        self._checks = [self._check_of(part) for part in every if hasattr(part, "check_problem")]

    def __call__(self, problem: Problem) -> None:
        """Raises `InputError` for a problem that some part cannot judge."""
        if self._seen == self._limit:
            return
        self._seen += 1
        for check in self._checks:
            check(problem)
        oracle: Any = oracle_of(problem) if self._grade is None else None
        if oracle is not None:
            if not self._elsewhere:
                _check_host(oracle)
            self._check_of(oracle)(problem)
        self.judged += self._grade is not None or oracle is not None

    def _check_of(self, part: Any) -> Callable[[Problem], object]:
        check: Callable[[Problem], object] = part.check_problem
        return getattr(part, "check_elsewhere", check) if self._elsewhere else check


def _check_host(part: Any) -> None:
    for check in (getattr(getattr(part, "sandbox", None), "check", None), getattr(part, "check_host", None)):
        if check is not None:
            check()
