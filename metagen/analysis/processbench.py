"""Finding the first wrong step: ProcessBench's measure of a process verifier (Zheng et al. 2024, section 3).

A case is a solution in steps with the number of its first wrong one. A verifier that scores steps points at the first
step below a threshold. Counted apart are the cases with an error, where it must point at that very step, and those
without, where it must point at none; their harmonic mean, F1, is 0 for whoever always says the same.
"""

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import accumulate, islice
from math import inf
from pathlib import Path
from statistics import harmonic_mean, mean

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from metagen.candidate import Candidate, Score
from metagen.errors import InputError, SampleError, first_fault
from metagen.problem import Problem
from metagen.run import Run, Verifier
from metagen.solve import Models, map_problems

ALL_RIGHT = -1
"""The number of the first wrong step where there is none."""
END = "\n\n"
"""What ends a step when a verifier reads one: steps have single newlines inside."""


class Case(BaseModel):
    """A solution in steps; `label` is the index of the first wrong one, or -1."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    problem: str
    steps: tuple[str, ...]
    label: int


@dataclass(frozen=True, slots=True)
class Findings:
    """How often the first wrong step was found."""

    erroneous: float
    """The share of the cases with an error whose first wrong step was named."""
    correct: float
    """The share of the cases without an error in which none was named."""
    unread: int = 0
    """Cases on which there was no verdict; they are counted as not found."""

    @property
    def f1(self) -> float:
        """The harmonic mean of both shares."""
        return harmonic_mean([self.erroneous, self.correct])


def read_cases(path: Path) -> list[Case]:
    """The cases of one of ProcessBench's files. Raises `InputError`, naming the file and the field."""
    try:
        return TypeAdapter(list[Case]).validate_python(json.loads(path.read_bytes()))
    except ValidationError as error:
        raise InputError(f"{path}: {first_fault(error)}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a list of cases: {error}") from None


def first_error(scores: Sequence[float] | None, threshold: float = 0.5) -> int | None:
    """The index of the first score below the threshold, or -1; `None` where there are no scores."""
    if scores is None:
        return None
    return next((index for index, score in enumerate(scores) if score < threshold), ALL_RIGHT)


def found(labels: Sequence[int], named: Sequence[int | None]) -> Findings:
    """Compare the steps that were named with those that are wrong. Raises `InputError` if one kind of cases lacks."""
    hits = [label == step for label, step in zip(labels, named, strict=True)]
    erroneous = [hit for hit, label in zip(hits, labels, strict=True) if label != ALL_RIGHT]
    correct = [hit for hit, label in zip(hits, labels, strict=True) if label == ALL_RIGHT]
    if not erroneous or not correct:
        raise InputError("ProcessBench's F1 needs cases with an error and cases without")
    return Findings(mean(erroneous), mean(correct), unread=sum(step is None for step in named))


def best_threshold(labels: Sequence[int], rows: Sequence[Sequence[float] | None]) -> float:
    """The threshold with the highest F1, the lowest of equals; to be chosen on other cases than those reported.

    Raises `InputError` if there is no verdict on any case.
    """
    every = sorted({score for row in rows if row is not None for score in row})
    if not every:
        raise InputError("there is no verdict on any case, so no threshold can be chosen")
    found(labels, [None] * len(labels))  # refuses cases of one kind
    cases = [(label, row) for label, row in zip(labels, rows, strict=True) if row is not None]
    erroneous = _hits(
        every, [case for case in cases if case[0] != ALL_RIGHT], sum(each != ALL_RIGHT for each in labels)
    )
    correct = _hits(every, [case for case in cases if case[0] == ALL_RIGHT], labels.count(ALL_RIGHT))
    shares = zip(every, erroneous, correct, strict=True)
    return max(shares, key=lambda each: harmonic_mean(each[1:]))[0]


def _hits(every: Sequence[float], cases: Sequence[tuple[int, Sequence[float]]], total: int) -> Iterator[float]:
    """For each threshold, from the lowest on, the share of `total` cases whose label is named.

    A case is named above the score of its first wrong step, up to the lowest score of the steps before it.
    """
    changes = [0] * (len(every) + 1)
    for label, row in cases:
        before = min(row[:label] if label != ALL_RIGHT else row, default=inf)
        score = -inf if label == ALL_RIGHT else row[label] if label < len(row) else inf
        if score < before:
            changes[bisect_right(every, score)] += 1
            changes[bisect_right(every, before)] -= 1
    return (count / total for count in islice(accumulate(changes), len(every)))


async def step_scores(
    verifier: Verifier, cases: Sequence[Case], models: Models, *, end: str = END
) -> list[tuple[float, ...] | None]:
    """The verifier's score for each step of each case; `None` where it has no verdict.

    The verifier reads steps that end with `end`, so `ProcessReward` must be told the same `step`. Raises
    `InputError` if it scores another number of steps, and `VerifierError` if it fails.
    """
    texts = {str(number): tuple(f"{step.strip()}{end}" for step in case.steps) for number, case in enumerate(cases)}

    async def score_steps(problem: Problem, run: Run) -> tuple[float, ...] | None:
        (score,) = await run.score(verifier, problem, [Candidate(texts[problem.id])])
        return _row(score, len(texts[problem.id]), verifier)

    problems = [Problem(number, case.problem) for number, case in zip(texts, cases, strict=True)]
    rows: dict[str, tuple[float, ...] | None] = {}
    async with aclosing(map_problems(score_steps, problems, models)) as results:
        async for problem, row in results:
            if isinstance(row, SampleError):
                raise row
            rows[problem.id] = row
    return [rows[number] for number in texts]


def _row(score: Score | None, steps: int, verifier: Verifier) -> tuple[float, ...] | None:
    if score is None:
        return None
    if len(score.steps) != steps:
        raise InputError(f"{verifier!r} gave {len(score.steps)} scores for {steps} steps: it must score each of them")
    return score.steps
