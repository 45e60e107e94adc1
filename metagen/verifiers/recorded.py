"""Verdicts that were recorded with the samples."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Literal

from metagen.candidate import Candidate, Score
from metagen.problem import Problem
from metagen.run import Run
from metagen.settings import spelled
from metagen.verifiers.aggregates import AGGREGATES, require_aggregate


@dataclass(frozen=True, slots=True, repr=False)
class RecordedScore:
    """The verdict that a pool holds beside a sample: its `score`, with the scores of its `steps`.

    With `aggregate`, min, prod, mean or last, one number is made of the steps; without it, it is the score, or the
    lowest step where there is none. A sample without either has no verdict.
    """

    _: KW_ONLY
    aggregate: Literal["min", "prod", "mean", "last"] | None = None

    __repr__ = spelled

    def __post_init__(self) -> None:
        if self.aggregate is not None:
            require_aggregate(self, self.aggregate)

    async def __call__(self, _problem: Problem, candidates: Sequence[Candidate], _run: Run, /) -> list[Score | None]:
        return [self._verdict(candidate.recorded) for candidate in candidates]

    def _verdict(self, recorded: Score | None) -> Score | None:
        if recorded is None or self.aggregate is None:
            return recorded
        return replace(recorded, value=AGGREGATES[self.aggregate](recorded.steps)) if recorded.steps else None
