"""A node of a running strategy: its place, its seed, its models, its books."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from random import Random
from secrets import randbits
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

from metagen.budget import Account, Usage
from metagen.errors import BackendGone, BudgetExceeded, InputError, SampleError
from metagen.events import StageBegun, StageEnded
from metagen.models import SHIPPED
from metagen.problem import Problem
from metagen.request import AnyBackend, Backend, Request, RewardBackend, changed, generates, scores, thinking_of
from metagen.run.protocols import Generator
from metagen.run.telling import Teller
from metagen.thinking import Family
from metagen.trace import Span, Status

Key = int | str
Part = Literal["last", "draft", "stage"]
"""What a reply is to the answer: it is the answer as it comes, it may become it, or it is read on the way to it."""


@dataclass(slots=True)
class Scope:
    """What all nodes that work on one problem share. It is not frozen: making it would take five times as long."""

    problem: str
    backends: Mapping[str, AnyBackend]
    """By name; the first that generates is the run's model."""
    writer: Backend | None
    """That one, if there is one."""
    model: Generator
    """What an omitted generator means, where the answer is drawn."""
    aside: Generator
    """What it means on the way there: in verifiers and earlier stages."""
    begun: float
    """When work on the problem began, by the clock of its account."""
    seed: int | None = None
    draws: dict[Any, list[int]] = field(default_factory=dict)
    """How many samples each request was asked for, for this problem."""
    refusals: list[tuple[tuple[Key, ...], float, bool]] = field(default_factory=list)
    """The paths of what budgets refused, the levels of the accounts that did, and whether a verifier asked."""
    teller: Teller | None = None
    """Who is told what happens; `None` where nobody listens."""
    session: str = ""
    """What its requests are called together, for those who keep them on one server."""


class Node:
    """A place in the tree of a problem's spans. Children are numbered, or named, by who makes them."""

    __slots__ = ("_account", "_part", "_passing", "_scope", "_span", "_verifying", "memory")

    def __init__(
        self,
        scope: Scope,
        span: Span,
        account: Account,
        *,
        verifying: bool = False,
        passing: bool = False,
        memory: dict[Any, Any] | None = None,
        part: Part = "last",
    ) -> None:
        self._scope = scope
        self._part: Part = part
        self._verifying = verifying
        self._passing = passing
        self.memory: dict[Any, Any] = {} if memory is None else memory
        """What this node's verifiers know from earlier calls. It ends with the node, and no other node shares it."""
        self._span = span
        self._account = account

    def _backend(self, model: str) -> Backend:
        if not model and self._scope.writer is not None:
            return self._scope.writer
        backend = self._named_model(model, generates)
        if not generates(backend):
            raise InputError(f"the model {model!r} scores and cannot generate: name one that can")
        return backend

    def _rewarder(self, model: str) -> RewardBackend:
        backend = self._named_model(model, scores)
        if not scores(backend):
            raise InputError(f"the model {model!r} generates and cannot score: name a reward model")
        return backend

    def _named_model(self, model: str, kind: Callable[[AnyBackend], bool]) -> AnyBackend:
        """The model of this name; without a name, the first of its kind."""
        backends = self._scope.backends
        if model in backends:
            return backends[model]
        if model:
            raise InputError(f"no model is named {model!r} in this run; there is {', '.join(backends) or 'none'}")
        first = next(filter(kind, backends.values()), None)
        if first is None:
            wanted = (
                "model: pass one, such as VLLMEngine(...)" if kind is generates else "reward model: pass one by name"
            )
            raise InputError(f"this run has no {wanted}")
        return first

    def asks(self, problem: Problem, model: str = "") -> str:
        """Return the sentence that asks for an answer in the form that the problem reads.

        Empty for the models that ship with metagen: they know the form from training, and saw no such sentence there.
        """
        backend: object = self._scope.backends.get(model) or self._scope.writer
        return "" if drawn_from(backend) in SHIPPED else problem.answers.asks

    def identity(self, model: str) -> str:
        """Which model stands behind a name: token ids belong to it. Two that are called alike are distinguished."""
        return self._identity(self._backend(model))

    def _identity(self, backend: Backend) -> str:
        if len(self._scope.backends) == 1:
            return backend.name
        alike = [name for name, other in self._scope.backends.items() if other.name == backend.name]
        if all(self._scope.backends[name] is backend for name in alike):
            return backend.name
        return f"{backend.name} ({next(name for name in alike if self._scope.backends[name] is backend)})"

    def thinking(self, model: str) -> Family | None:
        """How a model marks what it thinks; `None` where it is not known to think."""
        return thinking_of(self._backend(model))

    async def encode(self, model: str, text: str) -> tuple[int, ...]:
        """The ids of a text that is written into a model's reply. Raises `UnfitRequest` where none can be had."""
        return await self._backend(model).encode(text)

    def _numbered(self, request: Request, model: str) -> Request:
        """The request with its seed, its deadline, and the number of its first sample among equal requests."""
        drawn = (model, request.before, request.prompt, request.after, request.reply, request.sampling)
        count = self._scope.draws.setdefault(drawn, [0])
        draw, count[0] = count[0], count[0] + request.n
        account = self._account
        return changed(
            request,
            draw=draw,
            seed=self._seed(),
            deadline=account.deadline,
            clock=account.clock,
            passing=self._passing,
            waited=self._waited,
            session=self._scope.session,
        )

    def _seed(self) -> int | None:
        if self._scope.seed is None:
            return None
        text = f"{self._scope.seed}\n{self._scope.problem}\n{self._span.path}"
        return int.from_bytes(blake2b(text.encode(errors="surrogatepass"), digest_size=6).digest())

    def _child(
        self, name: str, key: tuple[Key, ...], *, verifying: bool = False, passing: bool = False, part: Part = "draft"
    ) -> "Entered[Self]":
        """A node below this one; its span ends with the context.

        What is `passing` may be cancelled before it is done, with everything below it.
        """
        begun = self._account.clock()
        verifying, memory = self._verifying or verifying, self.memory if verifying else None
        span = Span(name, self._span.path + key, begun - self._scope.begun, verifying=verifying, stage=part == "stage")
        self._span.children.append(span)
        if teller := self._scope.teller:
            teller.tell(StageBegun(span.path, name, verifying))
        inner = type(self)(
            self._scope,
            span,
            self._account,
            verifying=verifying,
            passing=self._passing or passing,
            memory=memory,
            part=_inner(self._part, "stage" if verifying else part),
        )
        return Entered(inner, begun)

    def _end(self, error: BaseException | None, begun: float) -> None:
        """Close the node's span."""
        span = self._span
        span.status = "ok" if error is None else status_of(error)
        if error is not None:
            if isinstance(error, BudgetExceeded):
                self._scope.refusals.append((span.path, error.level, self._verifying))
            span.error = "" if span.status == "cancelled" else f"{type(error).__name__}: {error}"
        span.seconds = self._account.clock() - begun
        if teller := self._scope.teller:
            teller.tell(StageEnded(span.path, span.name, span.status, span.seconds, span.error, self._verifying))

    def _key(self) -> tuple[Key, ...]:
        self._span.calls += 1
        return (self._span.calls - 1,)

    def _named(self, key: str) -> tuple[Key, ...]:
        if not isinstance(key, str):
            raise TypeError(f"a key must be a text, since numbers are given by the node itself; it is {key!r}")
        self._span.keys = self._span.keys or set()
        if key in self._span.keys:
            raise ValueError(f"the key {key!r} was given to another call of this node: each needs its own")
        self._span.keys.add(key)
        return (key,)

    def spend(self, usage: Usage) -> None:
        """Book what was used: a verifier that calls a model on its own reports it here.

        It is booked and not reserved, so the last such call may take a budget past its limit. All that is used inside a
        verifier is the verifier's.
        """
        usage = usage.of_verifier() if self._verifying else usage
        self._span.usage += usage
        self._account.spend(usage)

    def _waited(self, seconds: float) -> None:
        """Write down that a request of this node waited before a model took it."""
        self._span.waited += seconds

    def out_of_budget(self, *key: Key) -> bool:
        """Whether a budget around this node refused what was drawn below it: in this child, or in any.

        What it refused to a verifier does not count, unless this is one too: the sample is there.
        """
        path, level = (*self._span.path, *key), self._account.level
        return any(
            above <= level and judged <= self._verifying and where[: len(path)] == path
            for where, above, judged in self._scope.refusals
        )

    def note(self, text: str) -> None:
        """Say how this answer came about, on the span and in the `Solution`. What is no text is written as one."""
        self._span.notes = (*self._span.notes, str(text))

    def keep_begun(self) -> None:
        """Say that the last call of this node, which is lost, costs no sample: the reply that it continued is kept."""
        if self._span.children:
            self._span.children[-1].kept = True

    def random(self) -> Random:
        """Random numbers for decisions; their seed follows from this node's place, and is kept on its span."""
        seed = self._seed()
        self._span.seed = randbits(48) if seed is None else seed
        return Random(self._span.seed)

    def why_lost(self) -> str:
        """Why samples below this node were lost, as the end of a sentence; empty if none was."""
        error = self._span.why_lost()
        return f"; the first: {error}" if error else ""


Inner = TypeVar("Inner", bound=Node)


class Entered(Generic[Inner]):
    """A node to work in; its span ends with the context."""

    __slots__ = ("_begun", "_node")

    def __init__(self, node: Inner, begun: float) -> None:
        self._node = node
        self._begun = begun

    def __enter__(self) -> Inner:
        return self._node

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._node._end(error, self._begun)


def drawn_from(backend: object) -> str:
    """The last part of the name of the model behind what is wrapped around it; for a pool, of the one that wrote it."""
    while (inner := getattr(backend, "of", None)) is not None and not isinstance(inner, tuple):
        backend = inner
    name = getattr(backend, "writer", "") or getattr(backend, "name", "")
    return str(name).rpartition("/")[2]


def _inner(around: Part, part: Part) -> Part:
    """What a reply is to the answer of all, that is `part` to one that is `around`."""
    if "stage" in (around, part):
        return "stage"
    return "last" if around == part == "last" else "draft"


def status_of(error: BaseException) -> Status:
    if isinstance(error, asyncio.CancelledError):
        return "cancelled"
    return "lost" if isinstance(error, SampleError | BackendGone) else "failed"
