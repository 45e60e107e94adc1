"""Strategies x budgets x models x seeds over problem files: what a plan asks for, and what came out of its runs."""

import json
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metagen.budget import Budget
from metagen.curves import Curve
from metagen.errors import InputError
from metagen.job import Job, prepare
from metagen.models import SMALL
from metagen.problem import ProblemFile
from metagen.record import read_solutions
from metagen.solution import Solution
from metagen.solve import CONCURRENCY
from metagen.tables import Point, Sheet

NAME = re.compile(r"[\w.-]+")


class Limit(BaseModel):
    """What a strategy may spend on one problem."""

    model_config = ConfigDict(extra="forbid")

    tokens: Annotated[int, Field(gt=0)] | None = None
    flops: Annotated[float, Field(gt=0)] | None = None
    seconds: Annotated[float, Field(gt=0)] | None = None

    def around(self, spec: str) -> str:
        """The strategy under this limit, as a spec."""
        limits = "".join(f"{name}={value!r}, " for name, value in self if value is not None)
        return f"Within({limits}of={spec})" if limits else spec


class Plan(BaseModel):
    """The content of a plan's file. Paths are relative to its folder."""

    model_config = ConfigDict(extra="forbid")

    problems: Annotated[list[Path], Field(min_length=1)]
    strategies: Annotated[dict[str, str], Field(min_length=1)]
    models: Annotated[dict[str, str], Field(min_length=1)] = {SMALL.name: str(SMALL)}
    budgets: Annotated[dict[str, Limit], Field(min_length=1)] = {"": Limit()}
    seeds: Annotated[list[int], Field(min_length=1)] = [0]
    limit: Annotated[int, Field(gt=0)] | None = None
    """Only the first so many problems of each file."""
    load: list[Path] = []
    cards: dict[str, Path] = {}
    """By model: the `config.json` of what stands behind a server or a pool."""
    engine: dict[str, Any] = {}
    concurrency: Annotated[int, Field(gt=0)] = CONCURRENCY


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a sweep."""

    problems: str
    model: str
    strategy: str
    budget: str
    seed: int
    job: Job

    @property
    def pool(self) -> str:
        """The file of the samples that it shares with all strategies and budgets."""
        return f"{self.problems}_{self.model}_{self.seed}.jsonl"

    @property
    def folder(self) -> str:
        """The name of its run."""
        return "_".join(filter(None, (self.problems, self.model, self.strategy, self.budget, str(self.seed))))


def read_plan(path: Path) -> Plan:
    """Raises `InputError`, naming the file and the field or line."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        plan = Plan.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: is not TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{path}: field {'.'.join(map(str, first['loc']))!r}: {first['msg']}") from None
    _check_names(path, plan)
    return plan


def cells(path: Path, plan: Plan) -> list[Cell]:
    """All runs, model by model, each checked as far as can be before a model is loaded. Raises `InputError`."""
    here = path.parent
    loads = [here / file for file in plan.load]
    engine = [f"{name}={json.dumps(value)}" for name, value in plan.engine.items()]
    found = []
    for (model, where), file, seed in product(plan.models.items(), plan.problems, plan.seeds):
        cards = [str(here / plan.cards[model])] if model in plan.cards else None
        for (strategy, spec), (budget, limit) in product(plan.strategies.items(), plan.budgets.items()):
            try:
                job = prepare(
                    ProblemFile(here / file),
                    limit.around(spec),
                    [_at(here, where)],
                    loads,
                    engine,
                    plan.limit,
                    seed,
                    Budget(),
                    plan.concurrency,
                    cards,
                )
            except InputError as error:
                raise InputError(f"{path}: {strategy} on {file} with {model}: {error}") from None
            found.append(Cell(Path(file).stem, model, strategy, budget, seed, job))
    return found


def points(runs: Path, every: Iterable[Cell]) -> list[Point]:
    """What came out, from the folders of the runs; seeds are taken together."""
    groups: dict[tuple[str, str, str, str], list[Path]] = defaultdict(list)
    for cell in every:
        groups[cell.problems, cell.model, cell.strategy, cell.budget].append(runs / cell.folder)
    return [_point(key, folders) for key, folders in groups.items()]


def sheet(title: str, found: Iterable[Point]) -> Sheet:
    """The points, to be read."""
    columns = ("problems", "model", "strategy", "budget", "accuracy", "tokens", "FLOPs", "calls")
    rows = [
        (
            each.problems,
            each.model,
            each.strategy,
            each.budget,
            f"{100 * each.accuracy:.1f} ({100 * each.low:.1f}–{100 * each.high:.1f})",
            f"{each.tokens:,.0f}",
            f"{each.flops:.3g}" if each.flops else "",
            f"{each.calls:.3g}",
        )
        for each in found
    ]
    kept = [place for place in range(len(columns)) if place in {4, 5, 7} or len({row[place] for row in rows}) > 1]
    return Sheet(title, tuple(columns[each] for each in kept), tuple(tuple(row[each] for each in kept) for row in rows))


def fronts(found: Iterable[Point]) -> dict[str, list[Point]]:
    """By problems and model, the points in the order of their cost: for a picture."""
    panels: dict[str, list[Point]] = defaultdict(list)
    for each in found:
        panels[f"{each.problems}, {each.model}"].append(each)
    return {name: sorted(part, key=lambda point: point.cost) for name, part in panels.items()}


def _point(key: tuple[str, str, str, str], folders: list[Path]) -> Point:
    right: dict[str, list[bool]] = defaultdict(list)
    solved: list[Solution] = []
    for folder in folders:
        for solution in read_solutions(folder):
            solved.append(solution)
            if solution.correct is not None or solution.failed:
                right[solution.problem].append(solution.correct is True)
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
    )


def _at(here: Path, model: str) -> str:
    """A model's path, if it is one, from the plan's folder."""
    return str(here / model) if (here / model).exists() else model


def _check_names(path: Path, plan: Plan) -> None:
    named: Mapping[str, Iterable[str]] = {
        "strategies": plan.strategies,
        "models": plan.models,
        "budgets": [name for name in plan.budgets if name],
    }
    for field, names in named.items():
        if bad := [name for name in names if not NAME.fullmatch(name)]:
            raise InputError(
                f"{path}: field {field!r}: {bad[0]!r} cannot name a folder: use letters, digits, -, _ and ."
            )
    stems = [file.stem for file in plan.problems]
    if twice := {stem for stem in stems if stems.count(stem) > 1}:
        raise InputError(f"{path}: field 'problems': two files are called {twice.pop()!r}: give one another name")
    if len(set(plan.seeds)) < len(plan.seeds):
        raise InputError(f"{path}: field 'seeds': a seed is given twice")
    if strange := plan.cards.keys() - plan.models.keys():
        raise InputError(f"{path}: field 'cards': no model is called {strange.pop()!r}")
