"""`metagen train`: a reward model or a corrector, from a pool of samples."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from metagen.cli.options import (
    AnswerFieldOption,
    AnswersOption,
    GpusOption,
    GradeOption,
    IdFieldOption,
    LoadOption,
    PromptFieldOption,
    RayOption,
    SplitOption,
    WorkersOption,
)
from metagen.errors import InputError
from metagen.train import ROLLOUTS

if TYPE_CHECKING:
    from metagen.cli.clusters import Cluster
    from metagen.request import Backend
    from metagen.train.command import Kind

training_app = typer.Typer(help="Train a reward model or a corrector on a pool of samples.", rich_markup_mode=None)

PoolArgument = Annotated[Path, typer.Argument(metavar="POOL.jsonl", help="Samples, as `metagen sample` keeps them.")]
ProblemsOption = Annotated[
    Path, typer.Option("--problems", metavar="FILE", help="The problems that the pool was drawn for, with answers.")
]
BaseOption = Annotated[
    str, typer.Option("--model", "-m", metavar="MODEL", help="The causal model to begin from: a folder or a hub name.")
]
OutOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="The model that is made, and report.json.")]
EpochsOption = Annotated[int, typer.Option(min=1, help="How often each sample is seen.")]
RateOption = Annotated[float, typer.Option(help="The peak learning rate: 1e-5 suits a model of billions.")]
BatchOption = Annotated[int, typer.Option("--batch", min=1, help="Tokens in a batch, padding included.")]
SEED_OF_TRAINING = Annotated[int, typer.Option("--seed", help="Decides the order of the samples and new weights.")]


@training_app.command("orm", help="An outcome reward model: scores whole replies.\n\n(Cobbe et al. 2021.)")
def train_from_pool(
    context: typer.Context,
    pool: PoolArgument,
    problems: ProblemsOption,
    model: BaseOption,
    out_dir: OutOption,
    epochs: EpochsOption = 2,
    rate: RateOption = 1e-5,
    batch: BatchOption = 8192,
    seed: SEED_OF_TRAINING = 0,
    prompt_field: PromptFieldOption = None,
    answer_field: AnswerFieldOption = None,
    id_field: IdFieldOption = None,
    split: SplitOption = None,
    answers: AnswersOption = None,
    grade: GradeOption = None,
    load: LoadOption = None,
) -> None:
    given = locals()
    _train(given.pop("context").info_name, **given)


@training_app.command("prm")
def train_prm(
    pool: PoolArgument,
    problems: ProblemsOption,
    model: BaseOption,
    out_dir: OutOption,
    generator: Annotated[
        str | None,
        typer.Option(
            "--generator", metavar="MODEL", help="The model that wrote the pool; it labels steps by rollouts."
        ),
    ] = None,
    rollouts: Annotated[int, typer.Option(min=1, help="At most so many from each step.")] = ROLLOUTS,
    labels: Annotated[
        Path | None, typer.Option(metavar="LABELS.jsonl", help="Where the labels are kept. Default: in DIR.")
    ] = None,
    epochs: EpochsOption = 2,
    rate: RateOption = 1e-5,
    batch: BatchOption = 8192,
    seed: SEED_OF_TRAINING = 0,
    prompt_field: PromptFieldOption = None,
    answer_field: AnswerFieldOption = None,
    id_field: IdFieldOption = None,
    split: SplitOption = None,
    answers: AnswersOption = None,
    grade: GradeOption = None,
    load: LoadOption = None,
    workers: WorkersOption = None,
    gpus_per_worker: GpusOption = None,
    ray: RayOption = None,
) -> None:
    """A process reward model: scores each step.

    Rollouts say which steps are good (Math-Shepherd, Wang et al. 2024).
    """
    given = locals()
    from metagen.cli.clusters import cluster_of
    from metagen.train.command import LABELLED

    cluster = cluster_of(workers, gpus_per_worker, ray)
    if cluster and not generator:
        raise InputError("--workers draws rollouts: give the model that draws them with --generator")
    backend = _generator(generator, cluster) if generator else None
    concurrency = LABELLED * (workers or 1)
    _train("prm", {"rollouts": rollouts, "labels": labels, "concurrency": concurrency, "generator": backend}, **given)


training_app.command("corrector", help="A corrector: revises candidates.\n\n(Welleck et al. 2023.)")(train_from_pool)


def _generator(model: str, cluster: "Cluster | None") -> "Backend":
    """The model that draws rollouts, on workers if there are to be any."""
    from metagen.cli.clusters import models_of
    from metagen.jobs.job import ModelOrder
    from metagen.jobs.opening import open_model

    backend = open_model(model)
    if cluster is None:
        return backend
    return cast("Backend", models_of(cluster, ModelOrder(models={"model": model}))["model"])


def _train(
    kind: "Kind", labelling: Mapping[str, Any] | None = None, /, *, pool: Path, problems: Path, model: str,
    out_dir: Path, epochs: int, rate: float, batch: int, seed: int, **grading: Any,
) -> None:  # fmt: skip
    from rich.table import Table

    from metagen.backends.folder import find_model
    from metagen.cli.console import err, out, progress
    from metagen.cli.orders import read_graded
    from metagen.train.command import check, train

    _, file, grade = read_graded(problems, **grading)
    model = find_model(model)
    check(kind, model, out_dir)
    from metagen.train.finetune import Schedule  # needs torch

    schedule = Schedule(epochs=epochs, rate=rate, tokens=batch, seed=seed)
    said: dict[str, str] = {}
    with progress() as bar:
        task = bar.add_task("Reading", total=None, state="")

        def watch(what: str, done: int, total: int, state: str) -> None:
            said[what] = state
            bar.update(task, description=what, completed=done, total=total, state=state)

        report = train(kind, pool, file, model, out_dir, schedule, watch, grade=grade, **labelling or {})
    for what in ("Labelling", "Grading"):
        if said.get(what):
            err.print(f"{what}: {said[what]}", soft_wrap=True)
    table = Table(title=f"{kind} on {pool.name}", title_justify="left", show_header=False)
    for name, value in report["held out"].items():
        table.add_row(f"held out: {name}", f"{value:,.4g}")
    out.print(table)
    out.print(f"Kept in {out_dir}/ (the model, report.json).", soft_wrap=True)
