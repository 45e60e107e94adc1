"""Many workers, on as many machines as there are: each has models of its own, and pulls problems from one driver."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from metagen import distribution
from metagen.answers.spec import parse_answers
from metagen.budget import Account, Usage
from metagen.cluster.dispatch import Dispatch
from metagen.cluster.parcels import Equipment, Task, posted, spec_of
from metagen.cluster.places import Launch, Place, WorkerDied
from metagen.cluster.rays import Ray
from metagen.cluster.remote import Spread, SpreadReward, spread
from metagen.cluster.slots import Slot
from metagen.cluster.work import Work
from metagen.disk.records import Record
from metagen.errors import BackendGone, InputError, TransientError
from metagen.jobs.job import ModelOrder, make_models
from metagen.jobs.loading import load_all
from metagen.jobs.opening import is_served
from metagen.jobs.remarks import remarks
from metagen.model import Model
from metagen.problem import Problem
from metagen.request import AnyBackend, opened
from metagen.run import Generator, Verifier
from metagen.run.protocols import is_joint
from metagen.settings import CONCURRENCY
from metagen.solution import Solution
from metagen.solve import as_problems, cancel, check_arguments, solve_all
from metagen.spec.parse import parse, parse_grade
from metagen.tasks import uninterrupted
from metagen.verifiers.needs import checks_of

ENGINE = 256
"""Samples that an engine of vLLM runs at once, unless it is told otherwise."""
PATIENCE = 30.0
"""Seconds for which a worker may wait for a machine before that is said."""
CLOSING = 10.0
"""Seconds in which a worker may close its models before it is killed."""


class Workers:
    """Workers that each open the same models and answer problems. Used with `async with`; needs the extra `ray`.

        async with Workers(8, "Qwen/Qwen3-30B-A3B", gpus=2) as workers:
            async for solution in workers.solve_all(problems, Vote(16)):
                ...

    `models` is what `--model` takes, by name where there are several, or a `ModelOrder` with settings. A worker opens
    them in a process of its own that has `gpus` GPUs, on any machine of the Ray cluster at `ray` ("auto" is the one
    that this machine belongs to); without an address, a Ray of this machine alone is started and ended with the
    workers. With `hedge`, workers that have nothing to do at the end get copies of the problems that take longest.
    `say` is called with what may surprise about the models, each sentence once.

    A problem stays on one worker. One that dies is started again, elsewhere if its machine is gone, and what it had is
    given to others; a problem that workers keep dying of is a failed one. Seeds follow the ids of problems, so where
    a problem is solved, and how often, changes nothing in its requests.

    `models` are the same models for strategies that run in this process: pass them where opened models go, as to
    `metagen.solve_all` or a server. Each request of a problem goes to the worker that served its last one.

    Raises `InputError` for what cannot travel or is missing on a machine, and `BackendGone` where a worker dies
    again and again.
    """

    def __init__(
        self,
        count: int,
        models: ModelOrder | Mapping[str, str] | str = "",
        *,
        gpus: float = 0.0,
        ray: str = "",
        hedge: bool = False,
        say: Callable[[str], object] | None = None,
        launch: Launch | None = None,
    ) -> None:
        if not isinstance(count, int) or count < 1:
            raise InputError(f"Workers: count must be a whole number of 1 or more, not {count!r}")
        self._order = _ordered(models)
        self._names = load_all(self._order.load)
        self._count = count
        self._hedge = hedge
        self._ray = None if launch else Ray(count, gpus, ray)
        self._launch = launch or self._ray_launch
        self._since = 0.0
        self._ended: float | None = None
        self.slots: list[Slot] = []
        self._told: list[str] = []
        self._say = say
        self._solving = asyncio.Lock()
        self._solver: asyncio.Task[Any] | None = None
        """Whose call is being answered."""
        """Workers have one task at a time."""
        self._entering = asyncio.Lock()
        self._entered = 0
        """How often, since each of the models enters, too."""

    async def __aenter__(self) -> Self:
        async with self._entering:
            if not self._entered:
                self._start()
            self._entered += 1
            try:
                await self.some_ready()
            except BaseException:
                await self._leave()
                raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await uninterrupted(self._exit())

    async def _exit(self) -> None:
        async with self._entering:
            await self._leave()

    def _start(self) -> None:
        if self._ray:
            self._ray.start()
        self.slots = [Slot(number, asyncio.create_task(self._opened(number))) for number in range(self._count)]
        self._since, self._ended = 0.0, None

    async def some_ready(self) -> None:
        """Wait until a worker has opened its models. Raises `InputError` and `BackendGone`."""
        while not any(map(self._is_ready, self.slots)):
            starting = [slot.ready for slot in self.slots if not slot.is_given_up]
            await asyncio.wait(starting, return_when=asyncio.FIRST_COMPLETED)
        self._since = self._since or time.monotonic()

    async def _leave(self) -> None:
        self._entered -= 1
        if not self._entered:
            self._ended = time.monotonic()
            await uninterrupted(self._stop())

    def _is_ready(self, slot: Slot) -> bool:
        """Whether a worker has opened its models. One that died as it began is started again."""
        if slot.is_given_up:
            self._check_any()
        if slot.is_given_up or not slot.ready.done():
            return False
        if (error := slot.ready.exception()) is None:
            return True
        if not isinstance(error, WorkerDied | BackendGone):
            raise error
        self._lost(slot, str(error))
        return False

    def _lost(self, slot: Slot, reason: str) -> None:
        """Start a worker again that died, unless it does so again and again: then the others continue without it."""
        with suppress(BackendGone):
            slot.died(reason)
            self.restart(slot)
        self._check_any()

    def _check_any(self) -> None:
        """Raise `BackendGone` where no worker is left."""
        if all(slot.is_given_up for slot in self.slots):
            raise BackendGone(self.slots[-1].why_given_up)

    @cached_property
    def models(self) -> Mapping[str, AnyBackend]:
        """The models by name, for strategies that run in this process. They start the workers when they are opened.

        Servers and pools among them are asked from here. Where a worker dies, its requests go to others; without a
        budget in tokens, what they had spent there is not counted.
        """
        named, local = make_models(self._order, self._names)
        return spread(self, named, local)

    @property
    def are_asked(self) -> bool:
        """Whether any of the models is on the workers."""
        return any(isinstance(model, Spread | SpreadReward) for model in self.models.values())

    @property
    def count(self) -> int:
        """How many there are."""
        return self._count

    @property
    def fill(self) -> int:
        """The samples with which each is kept busy: about twice what its engine runs at once."""
        return 2 * int(self._order.engine.get("max_num_seqs", ENGINE))

    def check_ready(self, number: int) -> None:
        """Raise `TransientError` until a worker has opened its models. One that died as it began is started again."""
        if not self._entered:
            raise RuntimeError("no worker is started: open the model with `async with`")
        if not self._is_ready(self.slots[number]):
            raise TransientError(f"worker {number} is not ready yet", unreachable=True)

    async def call(self, number: int, method: str, *arguments: Any) -> Any:
        """What a method of a worker that is ready returns.

        Raises `TransientError` where the worker dies meanwhile, which is then started again, and `BackendGone` where
        no worker is left, because all of them did so again and again.
        """
        slot = self.slots[number]
        ready = slot.ready
        place = await asyncio.shield(ready)
        try:
            with slot.asking():
                return await place.call(method, *arguments)
        except (WorkerDied, BackendGone) as error:
            if slot.ready is ready and self._entered and not slot.is_given_up:  # this call is the first to know
                try:
                    self._lost(slot, str(error))
                finally:
                    await place.stop()
            raise TransientError(f"worker {number} died: {error}", sent=True, unreachable=True) from None

    def note(self, number: int, spent: Usage) -> None:
        """A worker has answered a question, which took so much."""
        self.slots[number].note_answer(spent)

    @property
    def seconds(self) -> float:
        """From when the first worker was ready until they are closed."""
        return (self._ended or time.monotonic()) - self._since

    async def solve_all(
        self,
        problems: Iterable[Problem | str],
        strategy: Generator | None = None,
        *,
        grade: Verifier | None = None,
        seed: int | None = None,
        account: Account | None = None,
        concurrency: int = CONCURRENCY,
    ) -> AsyncGenerator[Solution, None]:
        """Answer problems as `metagen.solve_all` does, on all workers; `concurrency` is the most for each of them.

        A second call waits until the first is done or closed, so do not begin one inside a loop over another.
        """
        records = self.records(problems, strategy, grade=grade, seed=seed, account=account, concurrency=concurrency)
        async with aclosing(records) as every:
            async for record in every:
                yield record.solution()

    async def records(
        self,
        problems: Iterable[Problem | str],
        strategy: Generator | None = None,
        *,
        grade: Verifier | None = None,
        seed: int | None = None,
        account: Account | None = None,
        concurrency: int = CONCURRENCY,
    ) -> AsyncGenerator[Record, None]:
        """The same as the lines that a run's folder has of each solution, which are not read here."""
        check_arguments(seed, concurrency=concurrency, account=account)
        strategy, account = strategy or Model(), account or Account()
        settings: dict[str, Any] = {"grade": grade, "seed": seed, "account": account}
        solve = self._from_here if is_joint(strategy) else self._on_workers
        async with aclosing(solve(problems, strategy, concurrency=concurrency, **settings)) as every:
            async for record in every:
                yield record

    async def _from_here(
        self, problems: Iterable[Problem | str], strategy: Generator, *, concurrency: int, **settings: Any
    ) -> AsyncGenerator[Record, None]:
        """With a strategy that decides over many problems: it runs in this process."""
        async with opened(self.models):
            self.tell(await remarks(strategy, self.models, settings["seed"]))
            at_once = concurrency * self._count
            solved = solve_all(problems, strategy, self.models, concurrency=at_once, **settings)
            async with aclosing(solved):
                async for solution in solved:
                    yield Record.of(solution)

    async def _on_workers(
        self,
        problems: Iterable[Problem | str],
        strategy: Generator,
        *,
        grade: Verifier | None,
        seed: int | None,
        account: Account,
        concurrency: int,
    ) -> AsyncGenerator[Record, None]:
        task = Task(
            spec_of(strategy, "the strategy", self._names, parse),
            spec_of(grade, "the grade", self._names, parse_grade) if grade else "",
            seed,
            concurrency,
            self.fill,
        )
        checked = self._checked(as_problems(problems, checks_of(strategy, elsewhere=True)))
        work = Work(self, task, Dispatch(checked, self._count, hedge=self._hedge), account, grade)
        if self._solving.locked() and self._solver is asyncio.current_task():
            raise InputError(
                "an earlier solve_all on these workers is still open here: read it to its end, or close it"
            )
        async with self._solving, aclosing(work.records()) as every:
            self._solver = asyncio.current_task()
            async for record in every:
                yield record

    def _checked(self, problems: Iterable[Problem]) -> Iterable[Problem]:
        """The problems, once it is sure that they can travel: those of a list at once, else each as it is read."""
        known: set[str] = set()

        def travelling() -> Iterator[Problem]:
            for problem in problems:
                if posted(problem).answers not in known:
                    known.add(
                        spec_of(
                            problem.answers, f"problem {problem.id!r}: the kind of answers", self._names, parse_answers
                        )
                    )
                yield problem

        return list(travelling()) if isinstance(problems, Sequence) else travelling()

    async def _opened(self, number: int) -> Place:
        """Start a worker, and open its models there."""
        place = await self._launch(number)
        try:
            self.slots[number].host = await self._placed(number, place)
            self.tell(await place.call("open", self._equipment()))
        except BaseException:
            await place.stop()
            raise
        return place

    async def _placed(self, number: int, place: Place) -> str:
        """The machine on which a worker has started; says so where it waits for one."""
        starting = asyncio.create_task(place.call("host"))
        try:
            await asyncio.wait([starting], timeout=PATIENCE)
            if not starting.done():
                self.tell([f"Worker {number} waits for a machine with room for it: see `ray status`."])
            host: str = await starting
        finally:
            await cancel([starting])
        return host

    def tell(self, lines: Iterable[str]) -> None:
        """Say what was not said yet."""
        for line in lines:
            if line not in self._told:
                self._told.append(line)
                if self._say:
                    self._say(line)

    def _equipment(self) -> Equipment:
        code = tuple((path.name, path.read_bytes()) for path in self._order.load)
        return Equipment(self._order, code, distribution.version())

    def restart(self, slot: Slot) -> None:
        """Start a worker anew that died."""
        slot.ready = asyncio.create_task(self._opened(slot.number))

    @property
    def only_asks_servers(self) -> bool:
        """Whether no model runs in the workers: then one that is gone is gone for all of them."""
        return bool(self._order.models) and all(map(is_served, self._order.models.values()))

    async def _ray_launch(self, number: int) -> Place:
        assert self._ray
        return await self._ray.launch(number)

    async def _stop(self) -> None:
        """Close what is open and end what is not, all at once."""
        opened = [slot.ready.result() for slot in self.slots if slot.ready.done() and not slot.ready.exception()]
        await cancel(slot.ready for slot in self.slots)
        await asyncio.gather(*map(_ended, opened))
        if self._ray:
            self._ray.stop()


async def _ended(place: Place) -> None:
    with suppress(WorkerDied, TimeoutError):
        async with asyncio.timeout(CLOSING):
            await place.call("close")
    await place.stop()


def _ordered(models: ModelOrder | Mapping[str, str] | str) -> ModelOrder:
    """The plain order, whose paths mean the same wherever a worker runs."""
    if isinstance(models, str):
        models = {"model": models} if models else {}
    order = models if isinstance(models, ModelOrder) else ModelOrder(models=models)
    if not isinstance(order.models, Mapping) or not all(isinstance(each, str) for each in order.models.values()):
        raise InputError(f"Workers: models are opened on other machines, so name them as --model does, not {models!r}")
    plain = {each.name: getattr(order, each.name) for each in fields(ModelOrder)}
    named = {name: os.path.abspath(each) if os.path.exists(each) else each for name, each in order.models.items()}
    cards = {name: Path(path).absolute() for name, path in order.cards.items()}
    return ModelOrder(**plain | {"models": named, "cards": cards})
