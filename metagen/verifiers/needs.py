"""What a strategy and a grade need of problems and of this machine, checked before anything is spent."""

from collections.abc import Callable
from typing import Any

from metagen.leaves import parts
from metagen.problem import Problem
from metagen.run import Generator, Verifier
from metagen.verifiers.grading import oracle_of

Check = Callable[[Problem], object]


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
        self._elsewhere = elsewhere
        self._checks = checks_of((strategy, grade), elsewhere=elsewhere)

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
            _check_of(oracle, elsewhere=self._elsewhere)(problem)
        self.judged += self._grade is not None or oracle is not None


def checks_of(strategy: object, *, elsewhere: bool = False) -> list[Check]:
    """What raises `InputError` for a problem that some part of a strategy cannot judge.

    Raises `InputError` itself for what this machine lacks, unless the work is done elsewhere.
    """
    every = list(parts(strategy))
    for part in () if elsewhere else every:
        _check_host(part)
    return [_check_of(part, elsewhere=elsewhere) for part in every if hasattr(part, "check_problem")]


def _check_of(part: Any, *, elsewhere: bool) -> Check:
    check: Check = part.check_problem
    return getattr(part, "check_elsewhere", check) if elsewhere else check


def _check_host(part: Any) -> None:
    for check in (getattr(getattr(part, "sandbox", None), "check", None), getattr(part, "check_host", None)):
        if check is not None:
            check()
