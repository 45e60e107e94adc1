"""What a server does with a request: find the strategy, open the books, solve, and keep what is to be kept."""

import asyncio
import logging
import re
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Generic, TypeVar

from metagen.budget import Account, Usage
from metagen.candidate import changed
from metagen.disk.runs import RunDirectory, check_root
from metagen.disk.traces import row_of
from metagen.errors import BackendGone, BudgetExceeded, InputError, ServerBusy, StorageError, UnfitRequest
from metagen.events import Event
from metagen.leaves import leaves_open
from metagen.model import USUAL, Model
from metagen.request import AnyBackend, generates, refusal
from metagen.run import Generator
from metagen.serve.keys import Key
from metagen.serve.limits import Books, Gate, Limits
from metagen.serve.metrics import Metrics
from metagen.serve.names import MOST_SAMPLES, Catalogue, Served, count_samples
from metagen.serve.parameters import Call
from metagen.serve.refusals import Refusal, failed, overloaded, unfit
from metagen.serve.replies import Asked, new_id
from metagen.solution import Solution
from metagen.solve import solve
from metagen.tasks import together

LOG = logging.getLogger("metagen.serve")
Heard = Callable[[int, Event], None]
"""Called with the number of a choice and an event on the way to it."""
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Order:
    """A request that can be answered: with which strategy, and how models draw."""

    asked: Asked
    key: Key
    strategy: Generator
    models: Mapping[str, AnyBackend]
    """The model that was asked, if one was, is the first."""
    default: Model


class Latest(Generic[Value]):
    """The latest things of each key, by id."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: defaultdict[str, dict[str, Value]] = defaultdict(dict)
        self.at_work: set[str] = set()
        """Ids of what is not done yet, which is kept however much comes after it."""

    def keep(self, name: str, key: Key, value: Value) -> None:
        kept = self._kept[key.name]
        kept[name] = value
        done = [each for each in kept if each not in self.at_work]
        for old in done[: max(0, len(done) - self._most)]:
            del kept[old]

    def of(self, key: Key) -> dict[str, Value]:
        """All that is kept for this key, by id, the latest last."""
        return dict(self._kept.get(key.name, {}))

    def find(self, name: str, key: Key) -> Value | None:
        """What is kept under this id for this key; `None` if nothing is."""
        return self._kept.get(key.name, {}).get(name)


class Service:
    """Answers requests over opened models."""

    def __init__(
        self,
        models: Mapping[str, AnyBackend],
        aliases: Mapping[str, Generator],
        limits: Limits,
        out: Path | None = None,
    ) -> None:
        self.models = models
        self.limits = limits
        self.catalogue: Catalogue
        self.gate = Gate(limits.in_flight, limits.queue)
        self.books = Books(limits)
        self.metrics = Metrics(self.books, self.gate)
        self.traces: Latest[list[Solution]] = Latest(limits.kept)
        self.replies: Latest[Any] = Latest(limits.kept)
        self._aliases = aliases
        self._folders = Folders(out) if out else None

    def open(self) -> None:
        """Learn the names of the models, which are open by now. Raises `InputError` for an alias that cannot be."""
        self.catalogue = Catalogue(self.models, self._aliases)

    def close(self) -> None:
        if self._folders:
            self._folders.close()

    def order(self, call: Call, key: Key) -> Order:
        """What to do about a request. Raises `Refusal` for what cannot be done."""
        served = self.catalogue.find(call.model, call.strategy, key)
        models = self.catalogue.models(served)
        settings = self._checked(call, served, models)
        strategy, default = served.strategy, Model(**settings) if settings else USUAL
        if isinstance(strategy, Model) and served.owner == "model":
            strategy = replace(strategy, **settings)
        elif settings and not leaves_open(strategy):
            param = call.given[next(iter(settings))]
            raise Refusal(
                400, f"{param!r}: {call.model!r} sets itself how its models draw", param=param, code=UNSUPPORTED
            )
        if call.choices > 1 and call.choices * count_samples(strategy) > MOST_SAMPLES:
            raise Refusal(
                400, f"'n': no more than {MOST_SAMPLES:,} samples are drawn at once", param="n", code="invalid_value"
            )
        return Order(Asked(new_id(call.kind), int(time.time()), call, served), key, strategy, models, default)

    async def answer(self, order: Order, heard: Heard | None = None) -> tuple[list[Solution], Usage]:
        """The solutions of a request, one a choice, and what they cost. Raises `Refusal`."""
        call = order.asked.call
        async with self.gate.turn():
            account = self.books.request(order.key, call.budget)
            choices = [self._tried(order, number, account, heard) for number in range(call.choices)]
            ends = await together(choices) if len(choices) > 1 else [await choices[0]]
        refused = [each for each in ends if isinstance(each, Refusal)]
        if refused and all(isinstance(each, Refusal) or each.failed for each in ends):
            raise refused[0]
        prompt = call.problem.prompt
        solutions = [
            Solution(str(number), None, error=str(each), prompt=prompt) if isinstance(each, Refusal) else each
            for number, each in enumerate(ends, 1)
        ]
        backends = {id(each): each for each in order.models.values()}.values()
        lacking = [f"{each.name}: {what}" for each in backends for what in getattr(each, "missing", ())]
        solutions = [replace(each, notes=(*each.notes, *lacking)) for each in solutions] if lacking else solutions
        solutions = self._keep(order, solutions)
        self._check(order, solutions, account)
        return solutions, account.spent

    async def _tried(self, order: Order, number: int, account: Account, heard: Heard | None) -> Solution | Refusal:
        """A choice, or why it ended: the others, which may have been answered before, do not end with it."""
        try:
            async with asyncio.timeout(self.limits.seconds):
                return await self._choice(order, number, account, heard)
        except TimeoutError:
            return Refusal(504, f"No answer within {self.limits.seconds:g} s", code="timeout")
        except InputError as error:
            param = "temperature" if "temperature=0" in str(error) else None
            raise Refusal(400, str(error), param=param, code="invalid_value") from None
        except BackendGone as error:
            if isinstance(error.__cause__, ServerBusy):
                return overloaded(str(error))
            return Refusal(503, f"The model cannot be reached: {error}", code="model_gone")

    async def _choice(self, order: Order, number: int, account: Account, heard: Heard | None) -> Solution:
        call = order.asked.call
        solution = await solve(
            call.problem if number == 0 else replace(call.problem, id=str(number + 1)),
            order.strategy,
            order.models,
            seed=call.seed,
            account=account,
            default=order.default,
            listener=partial(heard, number) if heard else None,
        )
        self.metrics.solved(solution)
        return solution

    def _check(self, order: Order, solutions: Sequence[Solution], account: Account) -> None:
        """Raise `Refusal` if no choice has a candidate."""
        lost = solutions[0]
        if not all(solution.failed for solution in solutions):
            return
        limited = account.refused or account.short  # else a `Within` refused one of its parts
        if BudgetExceeded.__name__ in f"{lost.error} {lost.why_lost if limited else ''}":
            self.metrics.refused()
            raise self.books.refused(order.key, account, lost.error)
        if UnfitRequest.__name__ in f"{lost.error} {lost.why_lost}":
            raise unfit(lost.error)
        if ServerBusy.__name__ in f"{lost.error} {lost.why_lost}":
            raise overloaded(lost.error)
        raise failed(lost.error)

    def _keep(self, order: Order, solutions: list[Solution]) -> list[Solution]:
        """Keep the solutions. Where the disk does not take them, they say so: they are paid for, and are answers."""
        try:
            for number, solution in enumerate(solutions, 1):
                if self._folders:
                    self._folders.add(order.asked.served, replace(solution, problem=f"{order.asked.id}-{number}"))
        except (StorageError, InputError) as error:
            LOG.error("%s is not kept: %s", order.asked.id, error)  # noqa: TRY400 (a traceback may hold a prompt)
            solutions = [replace(each, notes=(*each.notes, NOT_KEPT)) for each in solutions]
        self.traces.keep(order.asked.id, order.key, [_without_tokens(each) for each in solutions])
        return solutions

    def _checked(self, call: Call, served: Served, models: Mapping[str, AnyBackend]) -> Mapping[str, Any]:
        """The settings of a request, once each is one that models take. Raises `Refusal`, naming the parameter."""
        named = models.get(served.strategy.name) if isinstance(served.strategy, Model) else None
        backend = next(each for each in (named, *models.values()) if each is not None and generates(each))
        for name, value in call.settings.items():
            param = call.given[name]
            try:
                reason = refusal(backend, Model(**{name: value}).wishes())
            except InputError as error:
                raise Refusal(400, f"{param!r}: {error}", param=param, code="invalid_value") from None
            if reason:
                raise Refusal(400, f"{param!r}: {backend.name} {reason}", param=param, code=UNSUPPORTED)
        return call.settings

    def trace(self, name: str, key: Key) -> list[dict[str, Any]] | None:
        """The spans of a request of this key, as `trace.jsonl` has them."""
        solutions = self.traces.find(name, key)
        if solutions is None:
            return None
        return [row_of(span, solution.problem) for solution in solutions for span in solution.trace.walk()]


def _without_tokens(solution: Solution) -> Solution:
    """The solution as its trace and its page show it: ids and log-probabilities of tokens would fill the memory."""
    spans = list(solution.trace.walk())
    every = [*([solution.candidate] if solution.candidate else ()), *(each for span in spans for each in span.samples)]
    light = {id(each): changed(each, tokens=(), logprobs=(), confidences=(), first=()) for each in every}
    for span in spans:
        span.samples = [light[id(each)] for each in span.samples]
    return replace(solution, candidate=light.get(id(solution.candidate)))


UNSUPPORTED = "unsupported_parameter"
NOT_KEPT = "the server could not keep this answer; its log says why"
"""A note. It does not say where: that is nothing for clients."""


OPEN = 32
"""Folders that are open at once: each holds three files."""


class Folders:
    """Runs on disk, one folder for each strategy that was asked, in the form that `metagen solve` writes."""

    def __init__(self, root: Path) -> None:
        check_root(root)
        self._root = root
        self._open: OrderedDict[str, RunDirectory] = OrderedDict()
        """The one that was written to last is the last."""

    def add(self, served: Served, solution: Solution) -> None:
        """Write a solution down. Raises `StorageError`."""
        if served.spec not in self._open:
            slug = re.sub(r"[^A-Za-z0-9]+", "-", served.spec).strip("-")[:40]
            mark = blake2b(served.spec.encode(errors="replace"), digest_size=3).hexdigest()
            folder = RunDirectory(self._root / f"{slug}-{mark}", {"strategy": served.spec, "problems": "requests"})
            self._open[served.spec] = folder.__enter__()
        self._open.move_to_end(served.spec)
        self._close(OPEN)
        self._open[served.spec].add(replace(solution, unfinished=False))  # nobody asks for the rest of it

    def close(self) -> None:
        self._close(0)

    def _close(self, most: int) -> None:
        """Close the oldest until no more than so many are open."""
        while len(self._open) > most:
            _, folder = self._open.popitem(last=False)
            folder.__exit__(None, None, None)
