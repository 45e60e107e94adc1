"""From the options of the command line to what is asked for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from metagen.budget import Budget
from metagen.disk.fields import ANSWER_FIELDS
from metagen.disk.problems import ProblemFile
from metagen.disk.templates import read_template, read_text
from metagen.jobs.job import Order, read_named, read_settings


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
    prompt_field: str | None,
    answer_field: str | None,
    id_field: str | None,
    split: str | None,
    answers: str | None,
    system: str | None,
    template: Path | None,
    grade: str | None,
    engine: list[str] | None,
    server: list[str] | None,
    card: list[str] | None,
    price: list[str] | None,
    **_: object,
) -> Order:
    """What the options that `solve` and `sample` share ask for."""
    problems = ProblemFile(file, prompt_field, answer_field, id_field, answers or "", split=split or "")
    return Order(
        problems=asking(problems, system, template),
        strategy=strategy,
        **read_models(model, load, engine, server, card, price),
        limit=limit,
        seed=seed,
        budget=Budget(tokens, seconds, flops, money),
        concurrency=concurrency,
        grade=grade or "",
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


def asking(problems: ProblemFile, system: str | None, template: Path | None) -> ProblemFile:
    """The same problems, with a system turn and a template, where they are given."""
    if system and system.startswith("@"):
        system = read_text(Path(system[1:]))
    names = (problems.answer_field,) if problems.answer_field else ANSWER_FIELDS
    return replace(problems, system=system or "", template=read_template(template, names) if template else None)
