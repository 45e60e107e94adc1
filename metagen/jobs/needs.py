"""What a run needs of its problems, of this machine and of its models, checked before anything is spent."""

from collections.abc import Iterator, Mapping
from typing import Any

from metagen.budget import Budget
from metagen.errors import InputError
from metagen.jobs.opening import POOLS, is_served
from metagen.leaves import parts
from metagen.model import USUAL, Model
from metagen.problem import Problem
from metagen.request import AnyBackend, card_of, generates, price_of, scores
from metagen.run import Generator, Verifier
from metagen.run.sending import unpriced, unsized
from metagen.strategies.control import Within
from metagen.verifiers.grading import oracle_of


class Needs:
    """Checks the first `limit` problems, and counts those whose answers can be right or wrong.

    A part of the strategy or the grade may have `check_host()`, which says whether it can work on this machine, and
    `check_problem(problem)`, which says whether it can judge that problem. Both raise `InputError`.
    """

    def __init__(self, strategy: Generator, grade: Verifier | None, limit: int | None) -> None:
        """Raises `InputError` for what this machine lacks."""
        self.judged = 0
        self._grade, self._limit, self._seen = grade, limit, 0
        every = list(parts((strategy, grade)))
        for part in every:
            _check_host(part)
        self._checks = [part.check_problem for part in every if hasattr(part, "check_problem")]
        self._can_prove = False

    def __call__(self, problem: Problem) -> None:
        """Raises `InputError` for a problem that some part cannot judge."""
        if self._seen == self._limit:
            return
        self._seen += 1
        for check in self._checks:
            check(problem)
        if self._grade is None and problem.tests is None and problem.to_prove:
            self._check_theorem(problem)
        self.judged += self._grade is not None or problem.tests is not None or problem.answer is not None

    def _check_theorem(self, problem: Problem) -> None:
        oracle: Any = oracle_of(problem)
        if not self._can_prove:
            _check_host(oracle)
            self._can_prove = True
        oracle.check_problem(problem)


def _check_host(part: Any) -> None:
    for check in (getattr(getattr(part, "sandbox", None), "check", None), getattr(part, "check_host", None)):
        if check is not None:
            check()


def check_costs(
    strategy: Generator, budget: Budget, models: Mapping[str, AnyBackend], named: Mapping[str, str]
) -> None:
    """Refuse a limit of money or FLOPs, of the run or of a `Within`, where a model's costs are not known.

    `named` says how each model was asked for. Raises `InputError`.
    """
    inner = [(Budget(flops=each.flops, money=each.money), each) for each in parts(strategy) if isinstance(each, Within)]
    for limit, part in ((budget, strategy), *inner):
        for name in asked(part, models) if limit.money or limit.flops else ():
            if limit.money and price_of(models[name]) is None:
                raise unpriced(models[name])
            if limit.flops and card_of(models[name]) is None and _tells_no_sizes(named.get(name, "")):
                raise unsized(models[name])


def asked(strategy: object, models: Mapping[str, AnyBackend]) -> Iterator[str]:
    """The names of the models that a strategy asks, as far as its settings say; a name that is left out is resolved."""
    for part in parts(strategy, left_out=USUAL):
        if (fits := _fitting(part)) is not None:
            found = [name for name, backend in models.items() if fits(backend)]
            yield from [part.name] if part.name in found else found[:1]  # type: ignore[attr-defined]


def _fitting(part: object) -> Any:
    """What tells the models that a part can ask; `None` if it asks none."""
    if isinstance(part, Model):
        return generates
    return scores if getattr(part, "reward_model", False) else None


def _tells_no_sizes(model: str) -> bool:
    """Whether a model is one whose sizes are not known once it is open either."""
    return is_served(model) or model.lower().endswith(POOLS)


def require_judged(judged: int, path: object, least: int = 1) -> None:
    """Refuse problems of which fewer than `least` have something that says what is right. Raises `InputError`."""
    if judged < least:
        raise InputError(
            f"{path}: {judged} of its problems have a reference answer or tests, and {least} are needed to say what is "
            "right: name the field with --answer-field, or give --grade"
        )
