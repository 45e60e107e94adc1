"""A worker: it opens models, and answers the problems that it is sent, on whichever machine it is started."""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from metagen import distribution
from metagen.budget import Amounts, Usage
from metagen.cluster.leases import Branch
from metagen.cluster.parcels import Equipment, Kinds, Letter, News, Task
from metagen.cluster.remote import About, Detail, Ear, Progress, Reply
from metagen.disk.records import Record
from metagen.errors import InputError, SampleError
from metagen.jobs.job import make_models
from metagen.jobs.loading import load_all
from metagen.jobs.remarks import remarks
from metagen.problem import Problem
from metagen.request import AnyBackend, Reading, Request, changed, opened
from metagen.run import Generator
from metagen.solution import Solution
from metagen.solve import Whole, cancel

FIRST = 16
"""Problems that a worker begins with, before it knows how many samples per problem keeps in flight."""
WITHDRAWN = "it was withdrawn"
BEAT = 0.2
"""Seconds after which a worker reports even if nothing is done: the driver may have something for it by then."""


class Worker:
    """Answers problems with models of its own. The driver calls its methods, and waits in `turn` for what came out."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._models: Mapping[str, AnyBackend] = {}
        self._names: Mapping[str, Any] = {}
        self._stack = AsyncExitStack()
        self._desk: Desk | None = None
        self._asked: dict[tuple[str, int], asyncio.Task[Any]] = {}
        """Questions to models, by the model and a ticket."""
        self._ears: dict[tuple[str, int], Ear] = {}
        self._withdrawn: set[tuple[str, int]] = set()
        """Those that were withdrawn before they came, or after they were answered."""

    async def host(self) -> str:
        """The name of this machine."""
        return socket.gethostname()

    async def process(self) -> int:
        """The id of this process."""
        return os.getpid()

    async def open(self, equipment: Equipment) -> list[str]:
        """Open the models, and say what they lack. Raises `InputError` for what is not on this machine."""
        host = socket.gethostname()
        if (here := distribution.version()) != equipment.version:
            raise InputError(f"{host} has metagen {here}, and the driver {equipment.version}: install the same on both")
        folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="metagen-worker-")))
        order = equipment.unpacked(folder)
        try:
            self._names = load_all(order.load)
            _, self._models = make_models(order, self._names)
            await self._stack.enter_async_context(opened(self._models))
        except InputError as error:
            raise InputError(f"worker {self._number} on {host}: {error}") from None
        return [f"{each.name}: {what}." for each in self._models.values() for what in each.missing]

    async def begin(self, task: Task) -> list[str]:
        """Take up a task, in place of the one before; return what may surprise about it. Raises `InputError`."""
        await self.end()
        strategy, grade = task.read(self._names)
        account = Branch(task.budget, self._ask)
        whole = Whole.of("solve_all", strategy, self._models, grade=grade, seed=task.seed, account=account)
        self._desk = Desk(task, strategy, whole.solve, account, Kinds(self._names))
        return await remarks(strategy, self._models, task.seed)

    async def turn(self, letters: Sequence[Letter]) -> News:
        """Begin problems, and wait until there is something to report: solutions, room for more, or a question.

        Raises what stops a run: a model that is gone, a bug.
        """
        self._at_work.begin(letters)
        return await self._at_work.news()

    async def cancel(self, numbers: Iterable[int]) -> None:
        """Give up problems that another worker was faster with."""
        await self._at_work.give_up(numbers)

    async def lend(self, amounts: Amounts, question: int) -> None:
        """The answer to what was asked for."""
        self._at_work.answer(amounts, question)

    async def recall(self) -> tuple[Amounts, Usage]:
        """Give back the part of the budget that is not set aside here, and report what the task has spent."""
        return self._at_work.account.give_back(), self._at_work.account.spent

    async def about(self, model: str) -> About:
        """What is known of a model, by its name."""
        return About.of(self._models[model])

    async def ask(self, model: str, ticket: int, subject: Request | Reading, detail: Detail = "") -> Reply:
        """What a model says to a request, or a reward model to a reading; until it is withdrawn by its ticket.

        With a `detail`, `hear` reports the progress: which samples are done, or also how the text grows.
        """
        key = model, ticket
        if key in self._withdrawn:  # a call may overtake another one
            self._withdrawn.discard(key)
            return Reply(None, SampleError(WITHDRAWN))
        backend: Any = self._models[model]
        spent: list[Usage] = []
        waited: list[float] = []
        work = backend.generate if isinstance(subject, Request) else backend.rate
        if isinstance(subject, Request):
            subject = changed(subject, waited=waited.append)
            if detail:
                self._ears[key] = Ear()
                subject = changed(subject, hearing=self._ears[key].hearing(detail))
        self._asked[key] = asking = asyncio.create_task(work(subject, spent.append))
        try:
            await asyncio.wait([asking])
        finally:
            del self._asked[key]
            if key in self._ears:
                self._ears.pop(key).close()
        used = sum(spent, Usage())
        if asking.cancelled():
            return Reply(None, SampleError(WITHDRAWN), used)
        if isinstance(error := asking.exception(), SampleError):
            return Reply(None, error, used)
        return Reply(asking.result(), None, used, sum(waited))

    async def hear(self, model: str, ticket: int) -> list[Progress]:
        """The progress since this was asked last, once there is some; nothing, after a while, where none can be."""
        if ear := self._ears.get((model, ticket)):
            return await ear.listen()
        await asyncio.sleep(BEAT)
        return []

    async def withdraw(self, model: str, ticket: int) -> None:
        """Stop what was asked: nobody waits for it any more."""
        if asking := self._asked.get((model, ticket)):
            await cancel([asking])
        else:
            self._withdrawn.add((model, ticket))

    async def count(self, model: str, subject: Request | Reading) -> int:
        """How many tokens a model would read."""
        backend: Any = self._models[model]
        counted: int = await backend.count(subject)
        return counted

    async def encode(self, model: str, text: str) -> tuple[int, ...]:
        """The ids of a text inside a model's reply."""
        backend: Any = self._models[model]
        ids: tuple[int, ...] = await backend.encode(text)
        return ids

    async def forget(self, model: str) -> None:
        """Drop what a model keeps of earlier requests."""
        await self._models[model].forget()

    async def end(self) -> None:
        """Give up all problems that are under way."""
        if self._desk:
            await self._desk.give_up(list(self._desk.begun))

    async def close(self) -> None:
        """Close the models."""
        await self.end()
        await cancel(self._asked.values())
        await self._stack.aclose()

    @property
    def _at_work(self) -> "Desk":
        if self._desk is None:
            raise InputError(f"worker {self._number} has no task")
        return self._desk

    async def _ask(self, amounts: Amounts, wait: bool) -> None:
        await self._at_work.ask(amounts, wait=wait)


class Desk:
    """One task under way at a worker."""

    def __init__(
        self,
        task: Task,
        strategy: Generator,
        solve: Callable[[Problem, Generator], Coroutine[Any, Any, Solution]],
        account: Branch,
        kinds: Kinds,
    ) -> None:
        self.account = account
        self.begun: dict[int, asyncio.Task[Solution]] = {}
        """By the number of the problem."""
        self._task = task
        self._strategy = strategy
        self._solve = solve
        self._kinds = kinds
        self._done: list[tuple[int, bytes, bytes]] = []
        self._news = asyncio.Event()
        self._question: tuple[Amounts, bool, int] | None = None
        self._asked = 0
        self._answer: asyncio.Future[None] | None = None
        """The answer to the last question. Earlier questions were cancelled."""
        self._failure: BaseException | None = None
        self._busy, self._since = 0.0, 0.0
        """Seconds with any problem since the last report, and when the present ones of them began."""

    def begin(self, letters: Iterable[Letter]) -> None:
        for letter in letters:
            if not self.begun:
                self._since = time.monotonic()
            problem = letter.problem(self._kinds.__getitem__)
            self.begun[letter.number] = task = asyncio.create_task(self._solve(problem, self._strategy))
            task.add_done_callback(partial(self._returned, letter.number))

    async def give_up(self, numbers: Iterable[int]) -> None:
        await cancel([self.begun[number] for number in numbers if number in self.begun])

    async def news(self) -> News:
        if self._is_nothing_new:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), BEAT)
        self._news.clear()
        if self._failure and not self._done:  # what is done is reported first, and the next call raises
            raise self._failure
        done, self._done = self._done, []
        question, self._question = self._question, None
        wanted, refused, samples = self._wanted(len(done)), self.account.refused, self.account.in_flight
        return News(done, wanted, self.account.spent, question, refused, samples, self._busy_seconds())

    async def ask(self, amounts: Amounts, *, wait: bool) -> None:
        """Ask the driver for room, and wait for the answer. The driver may take back unused parts for other workers."""
        self._answer = asyncio.get_running_loop().create_future()
        self._asked += 1
        self._question = amounts, wait, self._asked
        self._news.set()
        await self._answer

    def answer(self, amounts: Amounts, question: int) -> None:
        """Add what the driver lends. The task that asked is woken, unless it was cancelled and another one asks now."""
        self.account.add(amounts)
        if self._answer and question == self._asked and not self._answer.done():
            self._answer.set_result(None)

    @property
    def _is_nothing_new(self) -> bool:
        return not (self._done or self._question or self._failure)

    def _wanted(self, done: int) -> int:
        """How many problems more would keep the engine full, by the samples that those under way keep in flight."""
        if self.account.refused or self._failure:
            return 0
        under_way, samples = len(self.begun), self.account.in_flight
        each = max(1.0, samples / max(1, under_way))
        room = min((self._task.fill - samples) / each, self._task.concurrency - under_way)
        return max(0, min(int(room), max(FIRST, under_way, 2 * done)))

    def _busy_seconds(self) -> float:
        if self.begun:
            now = time.monotonic()
            self._busy, self._since = self._busy + now - self._since, now
        busy, self._busy = self._busy, 0.0
        return busy

    def _returned(self, number: int, task: asyncio.Task[Solution]) -> None:
        del self.begun[number]
        if not self.begun:
            self._busy += time.monotonic() - self._since
        if task.cancelled():
            return
        if error := task.exception():
            self._failure = error
        else:
            record = Record.of(task.result())
            self._done.append((number, record.line, record.trace))
        self._news.set()
