"""Strategies x budgets x models x seeds over problem files: what a plan asks for, and what came out of its runs."""

import os
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metagen.analysis.fronts import Point, point
from metagen.disk.problems import problem_file
from metagen.disk.templates import read_turn
from metagen.errors import InputError, first_fault
from metagen.jobs.costs import require_judged
from metagen.jobs.job import Job, Order, prepare
from metagen.models import SMALL
from metagen.settings import CONCURRENCY

NAME = re.compile(r"[\w.-]+")
READING = {"answers", "prompt_field", "answer_field", "id_field", "split"}
"""Fields of a plan that say how its files are read."""


class Limit(BaseModel):
    """What a strategy may spend on one problem."""

    model_config = ConfigDict(extra="forbid")

    tokens: Annotated[int, Field(gt=0)] | None = None
    flops: Annotated[float, Field(gt=0)] | None = None
    seconds: Annotated[float, Field(gt=0)] | None = None
    money: Annotated[float, Field(gt=0)] | None = None

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
    answers: str = ""
    """The kind of answers of all files, such as `Number()`."""
    prompt_field: str = ""
    answer_field: str = ""
    id_field: str = ""
    split: str = ""
    """Of the folders of datasets."""
    system: str = ""
    """A system turn before every problem; `@FILE` is what the file holds."""
    template: Path | None = None
    """What every question is written into."""
    grade: str = ""
    """What says whether an answer is right, such as `PassesTests()`."""
    load: list[Path] = []
    cards: dict[str, Path] = {}
    """By model: the `config.json` of what stands behind a server or a pool."""
    prices: dict[str, str] = {}
    """By model: what `--price` takes, such as `0.15/0.60`."""
    engine: dict[str, Any] = {}
    server: dict[str, Any] = {}
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
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text") from None
    try:
        plan = Plan.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: is not TOML: {error}") from None
    except ValidationError as error:
        raise InputError(f"{path}: {first_fault(error)}") from None
    _check_names(path, plan)
    return plan


def cells(path: Path, plan: Plan) -> list[Cell]:
    """All runs, model by model, each checked as far as can be before a model is loaded. Raises `InputError`."""
    here = path.parent
    reading = plan.model_dump(include=READING) | {
        "system": read_turn(plan.system, here),
        "template": here / plan.template if plan.template else None,
    }
    found = []
    for (model, where), file, seed in product(plan.models.items(), plan.problems, plan.seeds):
        order = Order(
            problems=problem_file(here / file, **reading),
            strategy="",
            models={"model": _at(here, where)},
            load=[here / each for each in plan.load],
            engine=plan.engine,
            server=plan.server,
            cards={"model": here / plan.cards[model]} if model in plan.cards else {},
            prices={"model": plan.prices[model]} if model in plan.prices else {},
            limit=plan.limit,
            seed=seed,
            concurrency=plan.concurrency,
            grade=plan.grade,
        )
        for (strategy, spec), (budget, limit) in product(plan.strategies.items(), plan.budgets.items()):
            try:
                job = prepare(replace(order, strategy=limit.around(spec)))
                require_judged(job.judged, file)
            except InputError as error:
                raise InputError(f"{path}: {strategy} on {file} with {model}: {error}") from None
            found.append(Cell(Path(file).stem, model, strategy, budget, seed, job))
    pools = {(cell.problems, cell.model, cell.seed): cell.pool for cell in found}
    _refuse_shared(path, [*(cell.folder for cell in found), *pools.values()])
    return found


def _refuse_shared(path: Path, names: Sequence[str]) -> None:
    """Refuse names that, joined, are those of two runs or of two pools."""
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise InputError(f"{path}: two runs would share {twice!r}: give a strategy, budget, model or file another name")


def points(runs: Path, every: Iterable[Cell]) -> list[Point]:
    """What came out, from the folders of the runs; seeds are taken together.

    Under a limit, only the first problems of each file count, whatever else a folder holds.
    """
    groups: dict[tuple[str, str, str, str], list[Path]] = defaultdict(list)
    wanted: dict[str, set[str] | None] = {}
    for cell in every:
        groups[cell.problems, cell.model, cell.strategy, cell.budget].append(runs / cell.folder)
        if cell.problems not in wanted:
            wanted[cell.problems] = {each.id for each in cell.job.left(set())} if cell.job.limit else None
    return [point(key, folders, wanted[key[0]]) for key, folders in groups.items()]


def _at(here: Path, model: str) -> str:
    """A model's path, if it is one, from the plan's folder."""
    return str(here / model) if os.path.exists(here / model) else model


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
    for field, keys in {"cards": plan.cards.keys(), "prices": plan.prices.keys()}.items():
        if strange := keys - plan.models.keys():
            raise InputError(f"{path}: field {field!r}: no model is called {strange.pop()!r}")
