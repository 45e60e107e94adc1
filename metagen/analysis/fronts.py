"""Accuracy against cost: points, and the front of those that no other point beats."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from metagen.analysis.curve import UNITS, Curve, Unit
from metagen.analysis.sheet import Sheet
from metagen.disk.runs import read_solutions
from metagen.errors import InputError
from metagen.solution import Solution


@dataclass(frozen=True, slots=True)
class Point:
    """What one strategy reached under one budget: means over problems, of means over seeds."""

    problems: str
    model: str
    strategy: str
    budget: str
    seeds: int
    count: int
    """Problems."""
    accuracy: float
    low: float
    high: float
    """The 95 % bootstrap interval over problems."""
    tokens: float
    """Read and written for a problem; what was taken from the pool counts as when it was drawn."""
    flops: float
    calls: float
    money: float = 0.0

    def costs_in(self, unit: Unit) -> float:
        """The cost of a problem in this unit; 0 where that is not known."""
        return {"money": self.money, "FLOPs": self.flops, "tokens": self.tokens}[unit]


def sheet(title: str, found: Iterable[Point]) -> Sheet:
    """The points, to be read."""
    columns = ("problems", "model", "strategy", "budget", "accuracy", "tokens", "FLOPs", "money", "calls", "graded")
    rows = [
        (
            each.problems,
            each.model,
            each.strategy,
            each.budget,
            f"{100 * each.accuracy:.1f} ({100 * each.low:.1f}–{100 * each.high:.1f})",
            f"{each.tokens:,.0f}",
            f"{each.flops:.3g}" if each.flops else "",
            f"{each.money:.3g}" if each.money else "",
            f"{each.calls:.3g}",
            f"{each.count:,}",
        )
        for each in found
    ]
    kept = [place for place in range(len(columns)) if place in {4, 5, 8} or len({row[place] for row in rows}) > 1]
    shown = tuple(tuple(row[each] for each in kept) for row in rows)
    return Sheet(title, tuple(columns[each] for each in kept), shown, keys=kept.index(4))


def uneven(found: Iterable[Point]) -> str:
    """That points stand for different numbers of problems of one file; empty where they do not."""
    counts: dict[str, set[int]] = defaultdict(set)
    for each in found:
        counts[each.problems].add(each.count)
    if different := [name for name, each in counts.items() if len(each) > 1]:
        return (
            f"Not all rows count the same problems of {', '.join(different)}: some have answers without a verdict, or "
            "problems that are not solved yet. Their accuracies cannot be compared."
        )
    return ""


def fronts(found: Iterable[Point]) -> dict[str, list[Point]]:
    """By problems and model, the points in the order of their cost: for a picture."""
    panels: dict[str, list[Point]] = defaultdict(list)
    for each in found:
        panels[f"{each.problems}, {each.model}"].append(each)
    return {name: _by_cost(part, unit_of(part)) for name, part in panels.items()}


def _by_cost(points: Iterable[Point], unit: Unit) -> list[Point]:
    return sorted(points, key=lambda point: point.costs_in(unit))


def unit_of(points: Sequence[Point]) -> Unit:
    """What all points know their costs in."""
    return next((unit for unit in UNITS if all(point.costs_in(unit) for point in points)), UNITS[-1])


def point(key: tuple[str, str, str, str], folders: Sequence[Path], wanted: Collection[str] | None = None) -> Point:
    """What came out in these runs' folders; `key` is problems, model, strategy and budget. Seeds are taken together.

    Only problems whose ids are `wanted` count, if these are given: a folder may hold more from a run with a larger
    limit. Raises `InputError` where no answer has a verdict.
    """
    right: dict[str, list[bool]] = defaultdict(list)
    solved: list[Solution] = []
    for folder in folders:
        for solution in read_solutions(folder):
            if wanted is not None and solution.problem not in wanted:
                continue
            solved.append(solution)
            if solution.correct is not None:
                right[solution.problem].append(solution.correct)
    if not right:
        raise InputError(f"{folders[0]}: no answer there has a verdict, so there is nothing to report")
    values = np.array([[fmean(each)] for each in right.values()])
    low, high = Curve("", (1,), values, np.zeros_like(values)).interval()
    usages = [solution.usage for solution in solved]
    return Point(
        *key,
        seeds=len(folders),
        count=len(right),
        accuracy=float(values.mean()),
        low=float(low[0]),
        high=float(high[0]),
        tokens=fmean(usage.tokens for usage in usages),
        flops=fmean(usage.all_flops for usage in usages),
        calls=fmean(usage.calls + usage.verifier_calls for usage in usages),
        money=fmean(usage.money for usage in usages),
    )
