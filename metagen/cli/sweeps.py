"""Runs the cells of a sweep over models that are opened once, and reports them."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, replace
from itertools import count, groupby
from pathlib import Path
from typing import Any, Self, cast

from metagen.analysis import formats, plots
from metagen.analysis.fronts import fronts, sheet, uneven
from metagen.analysis.tally import Tally
from metagen.backends import Recorded
from metagen.backends.wrapper import Inner, Passing, RewardWrapper, Wrapper
from metagen.budget import Account
from metagen.cli.clusters import Cluster, check_used, with_workers
from metagen.cli.console import check_report, keep, out, show
from metagen.cli.jobs import fill, say_surprises
from metagen.cli.visible import visible
from metagen.disk.files import make_folder
from metagen.disk.runs import check_root, check_run
from metagen.jobs.job import Job
from metagen.jobs.plans import DRAWN, Cell, points
from metagen.request import AnyBackend, Backend, RewardBackend, generates


async def sweep(title: str, every: list[Cell], folder: Path, cluster: Cluster | None = None) -> int:
    """Run what is not done yet, on workers if any are given, then print and write the report; return the exit code."""
    check_report(folder, "sweep")
    check_used(cluster, (cell.job.order for cell in every))
    for cell in every:
        check_run(folder / cell.folder, cell.job.configuration())
    check_root(folder)
    make_folder(folder / "pools")
    say_surprises(cell.job for cell in every)
    code, numbers = 0, count(1)
    for _, of_model in groupby(every, key=lambda cell: cell.model):
        part = list(of_model)
        with with_workers(cluster, opening(part)) as job:
            code = max(code, await _swept(part, job, folder, numbers, len(every)))
    found = points(folder, every)
    page, rows = sheet(title, found), [asdict(point) for point in found]
    show(page)
    if note := uneven(found):
        out.print(note, soft_wrap=True)
    texts = {
        "sweep.md": formats.markdown(page) + (f"\n{note}\n" if note else ""),
        "sweep.csv": formats.lines_as_csv(rows),
        "sweep.json": json.dumps(rows, indent=1) + "\n",
    }
    panels = {visible(name): part for name, part in fronts(found).items()}
    keep(folder, texts, lambda: plots.draw_fronts(panels, folder))
    return code


def opening(part: list[Cell]) -> Job:
    """A job with the models of all cells."""
    jobs = [cell.job for cell in part]
    orders = [job.order for job in jobs if job.order]

    def joined(each: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        return {name: value for given in each for name, value in given.items()}

    return replace(
        jobs[0],
        models=joined(job.models for job in jobs),
        given=joined(job.given for job in jobs),
        order=replace(
            orders[0],
            models=joined(order.models for order in orders),
            server=joined(order.server for order in orders),
            cards=joined(order.cards for order in orders),
            prices=joined(order.prices for order in orders),
        ),
    )


async def _swept(part: list[Cell], opened: Job, folder: Path, numbers: Iterator[int], size: int) -> int:
    """Run the cells of one model, as a job that opens it has it; return the exit code."""
    code = 0
    async with AsyncExitStack() as stack:
        shared = {name: late(backend, stack) for name, backend in opened.models.items()}
        for pool, of_pool in groupby(part, key=lambda cell: cell.pool):
            cells = list(of_pool)
            asked = cells[0].job.asked(DRAWN)
            models = {
                name: Recorded(folder / "pools" / pool, backend, origin=opened.origin(name), asked=asked)
                if name == DRAWN and isinstance(backend, Late)
                else backend
                for name, backend in shared.items()
            }
            for cell in cells:
                out.print(f"{next(numbers)} of {size}: {cell.folder}", soft_wrap=True)
                own = {name: models[name] for name in cell.job.models}
                job = replace(cell.job, models=own, concurrency=opened.concurrency)
                code = max(code, await fill(job, folder / cell.folder, Tally(), Account(job.budget)))
    return code


def late(backend: AnyBackend, stack: AsyncExitStack) -> "Late | LateReward":
    """The same backend, opened when it is first used."""
    return Late(backend, stack) if generates(backend) else LateReward(cast(RewardBackend, backend), stack)


class _Late(Passing[Inner]):
    """Opens its model when it is first used, and leaves the closing to `stack`: so a sweep loads a model once.

    Opened again, it begins cold: what a strategy costs must not depend on which came before it.
    """

    def __init__(self, of: Inner, stack: AsyncExitStack) -> None:
        super().__init__(of)
        self._stack, self._opened = stack, False

    async def __aenter__(self) -> Self:
        if not self._opened:
            await self._stack.enter_async_context(self.of)
            self._opened = True
        else:
            await self.forget()
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


class Late(_Late[Backend], Wrapper):
    """A model that generates, opened late."""


class LateReward(_Late[RewardBackend], RewardWrapper):
    """A reward model, opened late."""
