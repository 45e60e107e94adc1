"""The problems of one call, on all workers: begun where there is room, given to others when one dies."""

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from metagen.budget import Account, Amounts, Usage
from metagen.cluster.dispatch import Dispatch
from metagen.cluster.leases import Treasury
from metagen.cluster.parcels import Letter, News, Task, posted
from metagen.cluster.places import Place, WorkerDied
from metagen.cluster.slots import Slot
from metagen.disk.records import Record
from metagen.errors import BackendGone
from metagen.problem import Problem
from metagen.run import Verifier
from metagen.settings import counted
from metagen.solution import Solution
from metagen.solve import cancel
from metagen.tasks import unwrapped
from metagen.trace import Span
from metagen.verifiers.grading import oracle_of

WAITING = 64
"""Reports that may wait for the caller. While there are more, workers get no new problems."""


class Crew(Protocol):
    """The workers of a run."""

    @property
    def slots(self) -> Sequence[Slot]: ...

    @property
    def only_asks_servers(self) -> bool:
        """Whether no model runs in the workers: then one that is gone is gone for all of them."""

    def tell(self, lines: Iterable[str]) -> None:
        """Say what was not said yet."""

    def restart(self, slot: Slot) -> None:
        """Start a worker anew that died."""


class Work:
    """One call of `solve_all` under way."""

    def __init__(self, workers: Crew, task: Task, dispatch: Dispatch, account: Account, grade: Verifier | None) -> None:
        self._workers = workers
        self._task = task
        self._dispatch = dispatch
        self._account = account
        self._grade = grade
        self._treasury = Treasury(account, len(workers.slots), self._recall)
        self._out: asyncio.Queue[list[Record] | None] = asyncio.Queue()
        """Without a limit: what waited here to be put would be lost if the run ended meanwhile."""
        self._finished = asyncio.Event()

    async def records(self) -> AsyncGenerator[Record, None]:
        whole = asyncio.create_task(self._whole())
        try:
            while (batch := await self._out.get()) is not None:
                for record in batch:
                    yield record
            await whole
        finally:
            await cancel([whole])

    async def _whole(self) -> None:
        try:
            if self._dispatch.finished:
                return
            with unwrapped():
                async with asyncio.TaskGroup() as self._aside:
                    serving = [self._aside.create_task(self._serve(slot)) for slot in self._workers.slots]
                    await self._finished.wait()
                    for each in serving:
                        each.cancel()
        finally:
            try:
                await self._end()
            finally:
                self._out.put_nowait(None)

    async def _end(self) -> None:
        """Take back what is under way, if anything is, and what was lent: the next task finds the workers free."""
        for slot in self._workers.slots:
            if place := slot.place:
                with suppress(WorkerDied):
                    await place.call("end")
                await self._recall_from(slot, place)
            slot.place = None
            self._count_in_flight(slot, 0)

    async def _serve(self, slot: Slot) -> None:
        """Keep one worker at work, through its deaths."""
        while True:
            ready = slot.ready
            try:
                await self._drive(slot, await asyncio.shield(ready))
            except (WorkerDied, BackendGone) as error:
                if isinstance(error, BackendGone) and self._workers.only_asks_servers:
                    raise
                await self._bury(slot, ready, error)

    async def _drive(self, slot: Slot, place: Place) -> None:
        task = replace(self._task, budget=self._account.left())
        said = await place.call("begin", task)
        self._workers.tell(said)
        slot.place, slot.counted = place, Usage()
        letters: list[Letter] = []
        while True:
            news: News = await place.call("turn", letters)
            slot.note(news)
            self._treasury.book(slot.number, slot.count(news.spent))
            self._count_in_flight(slot, news.in_flight)
            if records := self._accepted(slot, news):
                self._out.put_nowait(records)
            if news.refused:
                self._account.refused = self._dispatch.closed = True
            if news.asks:
                self._beside(slot, self._lend(slot, place, *news.asks))
            wanted = news.wanted if self._out.qsize() < WAITING else 0
            taken = self._dispatch.take(slot.number, wanted, time.monotonic())
            letters = [posted(entry.problem, entry.number) for entry in taken]
            self._check_finished()

    def _accepted(self, slot: Slot, news: News) -> list[Record]:
        """The solutions that are the first of their problems; other workers that are at the same are called off."""
        records = []
        for number, line, trace in news.done:
            others = self._dispatch.solved(number, slot.number)
            if others is None:
                continue
            records.append(Record(line, trace))
            for other in others:
                self._call_off(self._workers.slots[other], number)
        return records

    def _call_off(self, slot: Slot, number: int) -> None:
        async def call_off(place: Place) -> None:
            with suppress(WorkerDied):
                await place.call("cancel", [number])

        if slot.place:
            self._beside(slot, call_off(slot.place))

    def _beside(self, slot: Slot, call: Coroutine[Any, Any, None]) -> None:
        """Call a worker while its next report is waited for."""
        task = self._aside.create_task(call)
        slot.calls.add(task)
        task.add_done_callback(slot.calls.discard)

    async def _lend(self, slot: Slot, place: Place, amounts: Amounts, wait: bool, question: int) -> None:
        lent = await self._treasury.lend(slot.number, amounts, wait=wait)
        with suppress(WorkerDied):
            await place.call("lend", lent, question)

    async def _recall(self) -> None:
        """Take back what workers were lent and do not use.

        It finishes even if its caller is cancelled because a worker died: the returns of the others must be booked.
        """
        calls = [self._recall_from(slot, slot.place) for slot in self._workers.slots if slot.place]
        await asyncio.gather(*(asyncio.shield(self._aside.create_task(call)) for call in calls))

    async def _recall_from(self, slot: Slot, place: Place) -> None:
        with suppress(WorkerDied):
            free, spent = await place.call("recall")
            if slot.place is place:  # else it has died meanwhile, and all that it was lent is booked
                self._treasury.book(slot.number, slot.count(spent))
                self._treasury.take_back(slot.number, free)

    async def _bury(self, slot: Slot, ready: asyncio.Task[Place], error: Exception) -> None:
        """Give what a dead worker had to others, and start it again. Raises `BackendGone` if that is no use."""
        slot.place = None
        if not ready.exception():
            await ready.result().stop()
        await cancel(slot.calls)
        self._treasury.forfeit(slot.number)
        self._count_in_flight(slot, 0)
        for entry in self._dispatch.died(slot.number):
            dead = counted(entry.deaths, "worker")
            reason = f"{dead} died with this problem, {entry.alone} of them with no other: {error}"
            self._out.put_nowait([self._failed(entry.problem, reason)])
        if slot.ready is ready:
            slot.died(str(error))
            self._workers.restart(slot)
        self._check_finished()

    def _failed(self, problem: Problem, reason: str) -> Record:
        gradable = (self._grade or oracle_of(problem)) is not None
        error = f"{WorkerDied.__name__}: {reason}"
        return Record.of(
            Solution(
                problem.id,
                None,
                correct=False if gradable else None,
                error=error,
                prompt=problem.prompt,
                reference=problem.answer,
                tags=dict(problem.tags),
                trace=Span("solve", status="lost", error=error),
            )
        )

    def _check_finished(self) -> None:
        if self._dispatch.finished:
            self._finished.set()

    def _count_in_flight(self, slot: Slot, samples: int) -> None:
        self._account.count_in_flight(samples - slot.in_flight)
        slot.in_flight = samples
