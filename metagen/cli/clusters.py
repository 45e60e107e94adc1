"""Workers on the command line: what the options ask for, and what each worker did."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from metagen.cli.console import err, out
from metagen.errors import InputError
from metagen.jobs.job import Job, ModelOrder
from metagen.request import AnyBackend
from metagen.settings import counted

if TYPE_CHECKING:
    from metagen.cluster.slots import Slot
    from metagen.cluster.workers import Workers


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The workers that are to open the models, in place of this process."""

    workers: int
    gpus: float = 0.0
    """For each of them."""
    ray: str = ""
    """The address of a Ray cluster; empty starts one on this machine."""
    hedge: bool = False


def cluster_of(workers: int | None, gpus: float | None, ray: str | None, *, hedge: bool = False) -> Cluster | None:
    """The workers that the options ask for; `None` for this process alone. Raises `InputError` for the others alone."""
    if workers:
        return Cluster(workers=workers, gpus=gpus or 0.0, ray=ray or "", hedge=hedge)
    given = {"--gpus-per-worker": gpus is not None, "--ray": ray is not None, "--hedge": hedge}
    if alone := next((name for name, is_given in given.items() if is_given), None):
        raise InputError(f"{alone} is for workers: give --workers too")
    return None


def workers_of(cluster: Cluster, order: ModelOrder) -> "Workers":
    """The workers, which are not started yet, and say what may surprise about their models."""
    from metagen.cluster.workers import Workers  # noqa: PLC0415 (slow to import, and seldom used)

    say = partial(err.print, soft_wrap=True)
    return Workers(cluster.workers, order, gpus=cluster.gpus, ray=cluster.ray, hedge=cluster.hedge, say=say)


def models_of(cluster: Cluster, order: ModelOrder) -> Mapping[str, AnyBackend]:
    """The models on workers. Raises `InputError` where every one is asked from this process."""
    check_used(cluster, [order])
    return workers_of(cluster, order).models


def check_used(cluster: Cluster | None, orders: Iterable[ModelOrder | None]) -> None:
    """Raise `InputError` where workers would open no model of any of some orders."""
    if cluster and not any(order and workers_of(cluster, order).are_asked for order in orders):
        raise InputError("--workers opens nothing here: servers and pools are asked by this process. Leave it out")


@contextmanager
def with_workers(cluster: Cluster | None, job: Job) -> Iterator[Job]:
    """The job with its models on workers, if there are to be any; when it is done, a table says what each did."""
    workers = workers_of(cluster, job.order) if cluster and job.order else None
    if not (cluster and workers and workers.are_asked):
        yield job
        return
    yield replace(job, models=workers.models, concurrency=job.concurrency * cluster.workers)
    if workers.slots:
        out.print(table_of_workers(workers.slots, workers.seconds))


def table_of_workers(slots: "Sequence[Slot]", seconds: float) -> Table:
    """What each worker did."""
    table = Table(title=counted(len(slots), "worker"), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    questions = any(slot.questions for slot in slots)
    done = "requests" if questions else "problems"
    for name in ("worker", "machine", done, "tokens/s", "cached", "idle", "restarts"):
        table.add_column(name, justify="left" if name == "machine" else "right")
    for slot in slots:
        usage = slot.usage
        table.add_row(
            f"{slot.number}",
            slot.host,
            f"{slot.questions if questions else slot.problems:,}",
            f"{usage.completion_tokens / max(seconds, 1e-9):,.0f}",
            f"{usage.cached_tokens / max(usage.prompt_tokens, 1):.0%}",
            f"{max(0.0, 1 - slot.busy / max(seconds, 1e-9)):.0%}",
            f"{slot.restarts}",
        )
    return table
