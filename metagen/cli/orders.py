"""From the options of the command line to what is asked for."""

from pathlib import Path
from typing import Any

from metagen.budget import Budget
from metagen.disk.problems import ProblemFile, problem_file
from metagen.disk.templates import read_turn
from metagen.jobs.job import Order, read_named, read_settings
from metagen.jobs.loading import load_all
from metagen.leaves import require_no_model
from metagen.run import Verifier
from metagen.spec.parse import parse_grade

GRADED = "samples that are there are graded without one"
"""Why a grade may ask no model."""


def order(
    *,
    file: Path,
    strategy: str,
    model: list[str] | None,
    load: list[Path] | None,
    limit: int | None,
    seed: int | None,
    tokens: int | None,
    seconds: float | None,
    flops: float | None,
    money: float | None,
    concurrency: int,
    system: str | None,
    grade: str | None,
    engine: list[str] | None,
    server: list[str] | None,
    card: list[str] | None,
    price: list[str] | None,
    elsewhere: bool = False,
    **reading: Any,
) -> Order:
    """What the options that `solve` and `sample` share ask for; `reading` are those that say how a file is read."""
    return Order(
        problems=problem_file(file, system=system and read_turn(system), **reading),
        strategy=strategy,
        **read_models(model, load, engine, server, card, price),
        limit=limit,
        seed=seed,
        budget=Budget(tokens, seconds, flops, money),
        concurrency=concurrency,
        grade=grade or "",
        elsewhere=elsewhere,
    )


def read_models(
    model: list[str] | None,
    load: list[Path] | None,
    engine: list[str] | None,
    server: list[str] | None,
    card: list[str] | None,
    price: list[str] | None,
) -> dict[str, Any]:
    """The fields of a `ModelOrder`, from the options that all commands which open models share."""
    return {
        "models": read_named(model or (), "--model"),
        "load": load or (),
        "engine": read_settings(engine or (), "--engine"),
        "server": read_settings(server or (), "--server"),
        "cards": read_named(card or (), "--card"),
        "prices": read_named(price or (), "--price"),
    }


def read_graded(
    file: Path, grade: str | None, load: list[Path] | None, **reading: Any
) -> tuple[dict[str, Any], ProblemFile, Verifier | None]:
    """The names of loaded files, the problems as options say that they are read, and the grade, if there is one.

    Samples that are there were drawn already: no system turn and no template matter any more.
    """
    names = load_all(load or ())
    problems = problem_file(file, **reading | {"system": None, "template": None}).reading(names)
    graded = parse_grade(grade, names) if grade else None
    require_no_model(graded, GRADED)
    return names, problems, graded
