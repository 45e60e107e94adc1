"""Reward models as verifiers: one number for the whole, or one for each step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Literal

from metagen.candidate import Candidate, Score, steps_of
from metagen.errors import BudgetExceeded, GenerationError, InputError
from metagen.problem import Problem
from metagen.request import Reading
from metagen.run import Run
from metagen.settings import counted, require_switch, spelled
from metagen.tasks import together
from metagen.verifiers.aggregates import AGGREGATES, require_aggregate, require_step
from metagen.verifiers.combine import sigmoid

TRANSFORMS: Mapping[str, Callable[[float], float]] = {"sigmoid": sigmoid, "none": lambda logit: logit}
"""What becomes of a logit. A vote needs weights that are not negative: `sigmoid`. The order is the same."""


@dataclass(frozen=True, slots=True, repr=False)
class ProcessReward:
    """r(x, y₁ … y_t) for each step t, by a process reward model of the run, and one number for all: `aggregate`.

    (Lightman et al. 2024; Math-Shepherd, Wang et al. 2024.) The model is named as in the run, `ProcessReward("prm")`;
    without a name it is the run's first reward model. Steps end with the text `step`; scores are probabilities, 0 to 1.
    `aggregate` is `min` (the lowest step), `prod`, `mean` or `last`. A candidate may be whole or partial. One that the
    model cannot read, or for which the budget has no room, has no verdict, and a note says how many.
    """

    name: str = ""
    _: KW_ONLY
    aggregate: Literal["min", "prod", "mean", "last"] = "min"
    step: str = "\n"
    thought: bool = False
    """Whether the steps are those of the thought, and not of what is said after it."""

    reward_model: ClassVar[bool] = True
    __repr__ = spelled

    def __post_init__(self) -> None:
        _check_name(self, self.name)
        require_aggregate(self, self.aggregate)
        require_step(self, self.step)
        require_switch(self, thought=self.thought)

    async def __call__(self, problem: Problem, candidates: Sequence[Candidate], run: Run, /) -> list[Score | None]:
        """Score each candidate. Raises `InputError` if the run has no such reward model."""
        read = [candidate.thought if self.thought else candidate.text for candidate in candidates]
        steps = [steps_of(text, self.step) for text in read]
        rows = await _rated(self.name, problem, steps, run)
        return [self._score(given, row) for given, row in zip(steps, rows, strict=True)]

    def _score(self, steps: Sequence[str], row: tuple[float, ...] | None) -> Score | None:
        if row is None:
            return None
        if len(row) != len(steps):
            raise InputError(
                f"{self!r}: the model gave {counted(len(row), 'score')} for {counted(len(steps), 'step')}; "
                "for a model that scores the whole write OutcomeReward"
            )
        return Score(AGGREGATES[self.aggregate](row), row, f"{self.aggregate} of {len(row)} steps")


@dataclass(frozen=True, slots=True, repr=False)
class OutcomeReward:
    """r(x, y) for the whole, by an outcome reward model of the run (Cobbe et al. 2021, section 4).

    Such a model gives a logit; `transform` makes a weight of it: `sigmoid`, 1 / (1 + exp(−r)), or `none`. Else as
    `ProcessReward`.
    """

    name: str = ""
    _: KW_ONLY
    transform: Literal["sigmoid", "none"] = "sigmoid"

    reward_model: ClassVar[bool] = True
    __repr__ = spelled

    def __post_init__(self) -> None:
        _check_name(self, self.name)
        if not isinstance(self.transform, str) or self.transform not in TRANSFORMS:
            raise InputError(f"OutcomeReward: transform must be sigmoid or none, not {self.transform!r}")

    async def __call__(self, problem: Problem, candidates: Sequence[Candidate], run: Run, /) -> list[Score | None]:
        """Score each candidate. Raises `InputError` if the run has no such reward model."""
        texts = [(candidate.text,) if candidate.text.strip() else () for candidate in candidates]
        rows = await _rated(self.name, problem, texts, run)
        if any(row is not None and len(row) != 1 for row in rows):
            raise InputError(f"{self!r}: the model scores steps: write ProcessReward")
        transform = TRANSFORMS[self.transform]
        return [None if row is None else Score(transform(row[0])) for row in rows]


async def _rated(
    name: str, problem: Problem, steps: Sequence[tuple[str, ...]], run: Run
) -> list[tuple[float, ...] | None]:
    """The scores of each answer, equal ones read once; `None` where there are none."""
    refused: list[str] = []

    async def rated(answer: tuple[str, ...]) -> tuple[float, ...] | None:
        try:
            return await run.rate(name, Reading(problem.id, problem.prompt, answer)) if answer else None
        except (GenerationError, BudgetExceeded) as error:
            refused.append(str(error))
            return None

    distinct = list(dict.fromkeys(steps))
    rows = dict(zip(distinct, await together(map(rated, distinct)), strict=True))
    if refused:
        run.note(f"no score for {len(refused)} of {len(steps)} candidates; the first: {refused[0]}")
    return [rows[answer] for answer in steps]


def _check_name(of: object, name: Any) -> None:
    if not isinstance(name, str):
        raise InputError(f"{type(of).__name__}: name must be the name of a reward model, not {name!r}")
