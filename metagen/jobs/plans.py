"""Strategies x budgets x models x seeds over problem files: what a plan asks for, and what came out of its runs."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metagen.analysis.fronts import Point, point
from metagen.calls import hint
from metagen.disk.problems import problem_file
from metagen.disk.templates import read_toml, read_turn
from metagen.errors import InputError, first_fault
from metagen.jobs.costs import require_judged
from metagen.jobs.job import Job, Order, prepare
from metagen.jobs.loading import load_all
from metagen.jobs.opening import is_served
from metagen.leaves import named_models
from metagen.models import SMALL
from metagen.settings import CONCURRENCY
from metagen.spec.parse import parse, parse_grade

NAME = re.compile(r"[\w.-]+")
DRAWN = "model"
"""What a run calls the model that it runs over."""
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
    verifiers: dict[str, str] = {}
    """The models that verifiers ask beside them, by the names that strategies call them."""
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
        plan = Plan.model_validate(read_toml(path))
    except ValidationError as error:
        raise InputError(f"{path}: {_fault(error)}") from None
    _check_names(path, plan)
    return plan


def _fault(error: ValidationError) -> str:
    """What is wrong in a plan; of a field that it does not have, which one may be meant."""
    unknown = [each["loc"] for each in error.errors() if each["type"] == "extra_forbidden"]
    fields = [(Limit if place[1:] else Plan).model_fields.keys() for place in unknown[:1]]
    return ": ".join((first_fault(error), *(hint(str(unknown[0][-1]), each) for each in fields)))


def cells(path: Path, plan: Plan) -> list[Cell]:
    """All runs, model by model, each checked as far as can be before a model is loaded. Raises `InputError`."""
    here = path.parent
    reading = plan.model_dump(include=READING) | {
        "system": read_turn(plan.system, here),
        "template": here / plan.template if plan.template else None,
    }
    found: list[Cell] = []
    names = load_all(here / each for each in plan.load)
    for (model, where), file, seed in product(plan.models.items(), plan.problems, plan.seeds):
        order = Order(
            problems=problem_file(here / file, **reading),
            strategy="",
            load=[here / each for each in plan.load],
            engine=plan.engine,
            limit=plan.limit,
            seed=seed,
            concurrency=plan.concurrency,
            grade=plan.grade,
        )
        for (strategy, spec), (budget, limit) in product(plan.strategies.items(), plan.budgets.items()):
            try:
                beside = _beside(plan, spec, names)
                models = {DRAWN: _at(here, where), **{each: _at(here, plan.verifiers[each]) for each in beside}}
                job = prepare(
                    replace(
                        order,
                        strategy=limit.around(spec),
                        models=models,
                        server=_of_servers(plan, models),
                        cards={name: here / card for name, card in _of_models(plan.cards, model, beside)},
                        prices=dict(_of_models(plan.prices, model, beside)),
                    )
                )
                require_judged(job.judged, file)
            except InputError as error:
                raise InputError(f"{path}: {strategy} on {file} with {model}: {error}") from None
            found.append(Cell(Path(file).stem, model, strategy, budget, seed, job))
    pools = {(cell.problems, cell.model, cell.seed): cell.pool for cell in found}
    _refuse_shared(path, [*(cell.folder for cell in found), *pools.values()])
    if unused := plan.verifiers.keys() - {name for cell in found for name in cell.job.models}:
        raise InputError(f"{path}: field 'verifiers': no strategy asks {min(unused)!r}")
    return found


def _beside(plan: Plan, spec: str, names: Mapping[str, Any]) -> list[str]:
    """The models that a strategy, or the grade, asks beside the one that it runs over. Raises `InputError`."""
    grade = parse_grade(plan.grade, names) if plan.grade else None
    asked = {*named_models((parse(spec, names), grade))} - {"", DRAWN}
    if drawn := asked & plan.models.keys():
        raise InputError(
            f"it names a model {min(drawn)!r}: strategies run over each model in turn, so leave it out, or give it "
            "under [verifiers] by another name if it only judges"
        )
    if strange := asked - plan.verifiers.keys():
        raise InputError(f"it names a model {min(strange)!r}: give it under [verifiers], as in {min(strange)} = MODEL")
    return sorted(asked)


def _of_models(given: Mapping[str, Any], model: str, beside: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """What is given by the plan's names of models, by the names that they have in a run."""
    for name, called in ((model, DRAWN), *((each, each) for each in beside)):
        if name in given:
            yield called, given[name]


def _of_servers(plan: Plan, models: Mapping[str, str]) -> dict[str, Any]:
    """The settings of servers in a run over these models: those of verifiers that only other strategies ask are not."""
    others = {name: where for name, where in plan.verifiers.items() if name not in models}
    if any(map(is_served, others.values())) and not any(map(is_served, models.values())):
        return {}
    return {key: value for key, value in plan.server.items() if key.rpartition(".")[0] not in others}


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
        "verifiers": plan.verifiers,
        "budgets": [name for name in plan.budgets if name],
    }
    for field, names in named.items():
        if bad := [name for name in names if not NAME.fullmatch(name)]:
            raise InputError(
                f"{path}: field {field!r}: {bad[0]!r} cannot name a folder: use letters, digits, -, _ and ."
            )
    if twice := plan.verifiers.keys() & {*plan.models, DRAWN}:
        raise InputError(f"{path}: field 'verifiers': {min(twice)!r} is the name of a model that draws: use another")
    stems = [file.stem for file in plan.problems]
    if alike := {stem for stem in stems if stems.count(stem) > 1}:
        raise InputError(f"{path}: field 'problems': two files are called {alike.pop()!r}: give one another name")
    if len(set(plan.seeds)) < len(plan.seeds):
        raise InputError(f"{path}: field 'seeds': a seed is given twice")
    for field, keys in {"cards": plan.cards.keys(), "prices": plan.prices.keys()}.items():
        if strange := keys - plan.models.keys() - plan.verifiers.keys():
            raise InputError(f"{path}: field {field!r}: no model is called {strange.pop()!r}")
