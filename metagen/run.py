"""The protocols of generators and verifiers, and `Run`: the one place for effects.

A strategy decides and `Run` acts: it starts tasks, gives seeds, keeps spans and budgets. A strategy keeps nothing
between calls, so one object can serve any number of problems at once.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import islice
from math import isnan
from numbers import Real
from random import Random
from secrets import randbits
from typing import Any, Generic, Protocol, TypeGuard, TypeVar, cast

from metagen.budget import Account, Budget, Hold, Price, Usage, unpriced
from metagen.candidate import Candidate, Feedback, Score
from metagen.errors import (
    BudgetExceeded,
    GenerationError,
    InputError,
    MetagenError,
    NoCandidate,
    SampleError,
    ToolError,
    ToolRefusal,
    VerifierError,
)
from metagen.problem import Problem
from metagen.request import (
    AnyBackend,
    Backend,
    Completion,
    Meter,
    Reading,
    Request,
    RewardBackend,
    card_of,
    generates,
    scores,
)
from metagen.tasks import Queue, queue, together
from metagen.trace import Span, Status

Item = TypeVar("Item")
Result = TypeVar("Result")
Key = int | str


class Generator(Protocol):
    """g: draws one candidate. Strategies are generators, and so is any `async def` of this shape."""

    async def __call__(self, problem: Problem, run: "Run", /) -> Candidate: ...


class Batched(Protocol):
    """A generator that can draw n candidates at less than the cost of n calls, where all n are awaited."""

    async def sample(self, problem: Problem, run: "Run", n: int, /) -> list[Candidate]: ...


class Joint(Protocol):
    """A strategy that decides over many problems together, where it stands outermost in `solve_all`."""

    among: int
    """How many problems it takes together."""

    def members(self, count: int, concurrency: int, /) -> Sequence[Generator]:
        """A generator for each of `count` problems, to be called all at once; they may wait for each other.

        No more than `concurrency` of them are to sample at a time.
        """


class Verifier(Protocol):
    """φ: says how good candidates are, one verdict each, in order. `None` is no verdict, never a zero.

    It reads `problem.prompt`, which is the question as the user asked it, whatever was sent to the model.
    What it raises becomes a `VerifierError`; it never reads as "wrong".
    """

    async def __call__(
        self, problem: Problem, candidates: Sequence[Candidate], run: "Run", /
    ) -> Sequence[Score | None]: ...


class Critic(Protocol):
    """Says what is wrong with a candidate, as new information or as an opinion; `None` if it has nothing to say.

    Like a verifier, it reads `problem.prompt`, and what it raises becomes a `VerifierError`.
    """

    async def __call__(self, problem: Problem, candidate: Candidate, run: "Run", /) -> Feedback | None: ...


class Tool(Protocol):
    """What a chain can call: a text goes in, a text comes out.

    It refuses an input that it cannot take with `ToolRefusal`, which a strategy may show to the model. Whatever else it
    raises becomes a `ToolError`. It must await whatever takes time, so that it can be cancelled.
    """

    async def __call__(self, text: str, /) -> str: ...


@dataclass(frozen=True, slots=True)
class Scope:
    """What all nodes that work on one problem share."""

    problem: str
    backends: Mapping[str, AnyBackend]
    """By name; the first that generates is the run's model."""
    model: Generator
    """What an omitted generator means."""
    begun: float
    """When work on the problem began, by the clock of its account."""
    seed: int | None = None
    draws: Counter[Any] = field(default_factory=Counter)
    """How many samples each request was asked for, for this problem."""


class Run:
    """A node of a running strategy: what a strategy acts through, for one problem.

    Children are numbered in the order in which the node makes them, and a seed follows from the run's seed, the
    problem's id and this structural path. So code that calls `ask` from several tasks at once must name its children
    with `key`, each differently, or use `sample`, `stream` or `map`, which number their own.
    """

    __slots__ = ("_scope", "_verifying", "account", "memory", "span")

    def __init__(
        self,
        scope: Scope,
        span: Span,
        account: Account,
        *,
        verifying: bool = False,
        memory: dict[Any, Any] | None = None,
    ) -> None:
        self._scope = scope
        self._verifying = verifying
        self.memory: dict[Any, Any] = {} if memory is None else memory
        """What this node's verifiers know from earlier calls. It ends with the node, and no other node shares it."""
        self.span = span
        self.account = account

    async def ask(self, generator: Generator | None, problem: Problem, *, key: str | None = None) -> Candidate:
        """Draw one candidate. Raises what the generator raises."""
        return await self._ask(self._resolve(generator), problem, self._key() if key is None else self._named(key))

    async def sample(self, generator: Generator | None, problem: Problem, n: int) -> list[Candidate]:
        """Draw `n` candidates at once and wait for all; return the survivors, in the order of their numbers.

        A generator that is `Batched` is asked for them in one request, and what that raises is raised. Else raises
        `NoCandidate` if all are lost.
        """
        generator, key = self._resolve(generator), self._key()
        if n > 1 and _is_batched(generator):
            with self._child(name_of(generator), key) as run:
                candidates = await generator.sample(problem, run, n)
        else:
            attempts = await together(self._attempt(generator, problem, (*key, index)) for index in range(n))
            candidates = [attempt for attempt in attempts if isinstance(attempt, Candidate)]
        if not candidates:
            raise NoCandidate(f"all {n} samples were lost{self._why_lost()}")
        self.span.samples.extend(candidates)
        return candidates

    @asynccontextmanager
    async def stream(
        self, generator: Generator | None, problem: Problem, limit: int, window: int = 1
    ) -> AsyncIterator[AsyncIterator[Candidate]]:
        """Draw up to `limit` candidates, `window` in flight, and hand over survivors in the order of their numbers.

        That order, not the order of arrival, is what a decision to stop may depend on: else short answers would
        be favoured. Leaving the context cancels what was not consumed. When a budget around this node has refused a
        sample, no more are begun. Use as

            async with run.stream(of, problem, limit=64, window=8) as candidates:
                async for candidate in candidates: ...
        """
        if window < 1:
            raise InputError(f"a stream needs a window of 1 or more, not {window}")
        generator, key = self._resolve(generator), self._key()
        numbers = iter(range(limit))

        async def survivors(begun: Begun) -> AsyncGenerator[Candidate, None]:
            refused = False
            while True:
                for number in () if refused else islice(numbers, window - len(begun)):
                    begun.begin((*key, number), self._attempt(generator, problem, (*key, number)))
                if not begun:
                    return
                _, attempt = await begun.take()
                refused = refused or (isinstance(attempt, SampleError) and self.account.exhausted)
                if isinstance(attempt, Candidate):
                    self.span.samples.append(attempt)
                    yield attempt

        async with self._queue() as begun, aclosing(survivors(begun)) as candidates:
            yield candidates

    @asynccontextmanager
    async def spawn(
        self, function: Callable[[Item, "Run"], Awaitable[Result]]
    ) -> AsyncIterator["Spawned[Item, Result]"]:
        """Call an async function on items that are begun one by one, each in a node of its own, named by its key.

        So a search begins what it decides on while earlier work is under way, and takes results in the order in which
        it began them, as with `stream`. Leaving the context cancels what was not taken. Use as

            async with run.spawn(function) as spawned:
                spawned.begin("/0", item)
                item, result = await spawned.take()
        """
        async with self._queue() as begun:
            yield Spawned(self, function, begun)

    async def map(
        self, function: Callable[[Item, "Run"], Awaitable[Result]], items: Iterable[Item]
    ) -> list[Result | None]:
        """Apply an async function to all items at once, each in a node of its own; `None` where a sample was lost."""
        key = self._key()
        results = await together(self._called(function, item, (*key, index)) for index, item in enumerate(items))
        return [None if isinstance(result, SampleError) else result for result in results]

    async def score(self, verifier: Verifier, problem: Problem, candidates: Sequence[Candidate]) -> list[Score | None]:
        """One verdict a candidate. Where the budget has no room for verdicts there are none, and a note says so.

        Raises `VerifierError` if the verifier fails or breaks its contract.
        """
        with self._child(name_of(verifier), self._key(), verifying=True) as run:
            try:
                self.account.check_time()
                scores = await run._verdicts(verifier, problem, candidates)
            except BudgetExceeded as refused:
                self.note(f"not verified: {refused}")
                scores = [None] * len(candidates)
            run.span.detail["scores"] = [None if score is None else score.value for score in scores]
        return scores

    async def criticise(self, critic: Critic, problem: Problem, candidate: Candidate) -> Feedback | None:
        """What a critic says about a candidate, in a node of its own that tells information from opinion.

        Raises `VerifierError` if the critic fails or breaks its contract, and `BudgetExceeded` after the deadline.
        """
        with self._child(name_of(critic), self._key()) as run:
            self.account.check_time()
            feedback = await _feedback(critic, problem, candidate, run)
            if feedback is not None:
                run.span.detail["opinion" if feedback.opinion else "information"] = feedback.text
        return feedback

    async def call(self, tool: Tool, text: str, *, seconds: float = 60.0, characters: int = 20_000) -> str:
        """What a tool says to `text`, in a node of its own.

        Raises `ToolRefusal` if it refuses the text, `ToolError` if it raises, takes longer than `seconds` or says more
        than `characters`, and `BudgetExceeded` after the deadline.
        """
        with self._child(name_of(tool), self._key()) as run:
            run.span.detail["input"] = text
            self.account.check_time()
            said = await _said(tool, text, seconds, characters)
            run.span.detail["refusal" if isinstance(said, ToolRefusal) else "output"] = str(said)
        if isinstance(said, ToolRefusal):
            raise said
        return said

    async def generate(self, model: str, request: Request) -> list[Completion]:
        """Send one request to a model, within the budget. This is where generators end; strategies use `sample`.

        A completion that the budget cuts short ends by length. If there is no room for all `n` at once, they are asked
        for one by one, and those that find no room are lost. Raises `BudgetExceeded` if all are. The first request of a
        node stands on its own span, each other one on a span below.
        """
        (number,) = self._key()
        if not number:
            return await self._generate(model, request)
        with self._child("request", (number,)) as run:
            return await run._generate(model, request)

    async def rate(self, model: str, reading: Reading) -> tuple[float, ...]:
        """Let a reward model read, within the budget, and return its scores. This is where verifiers end.

        Raises `BudgetExceeded` if there is no room for it, and `GenerationError` if the model cannot read it.
        """
        backend = self._rewarder(model)
        self.account.check_time()
        reading = replace(reading, deadline=self.account.deadline)
        held = await self._reserved_for(backend, reading) if self.account.limited else Hold()
        try:
            with self._metered(backend, 1) as meter:
                return await backend.rate(reading, meter)
        finally:
            self.account.settle(held)

    def within(self, budget: Budget) -> "Run":
        """The same node under a tighter budget."""
        account = Account(budget, self.account)
        return Run(self._scope, self.span, account, verifying=self._verifying, memory=self.memory)

    def spend(self, usage: Usage) -> None:
        """Book what was used: a verifier that calls a model on its own reports it here.

        It is booked and not reserved, so the last such call may take a budget past its limit. All that is used inside a
        verifier is the verifier's.
        """
        usage = usage.of_verifier() if self._verifying else usage
        self.span.usage += usage
        self.account.spend(usage)

    def random(self) -> Random:
        """Random numbers for decisions; their seed follows from this node's place, and is kept on its span."""
        seed = self._seed()
        self.span.detail["seed"] = randbits(48) if seed is None else seed
        return Random(self.span.detail["seed"])

    def note(self, text: str) -> None:
        """Say how this answer came about, on the span and in the `Solution`."""
        self.span.detail.setdefault("notes", []).append(text)

    def identity(self, model: str) -> str:
        """Which model stands behind a name: token ids belong to it. Two that are called alike are told apart."""
        backend = self._backend(model)
        alike = [name for name, other in self._scope.backends.items() if other.name == backend.name]
        if all(self._scope.backends[name] is backend for name in alike):
            return backend.name
        return f"{backend.name} ({next(name for name in alike if self._scope.backends[name] is backend)})"

    def _resolve(self, generator: Generator | None) -> Generator:
        return self._scope.model if generator is None else generator

    def _key(self) -> tuple[Key, ...]:
        self.span.calls += 1
        return (self.span.calls - 1,)

    def _named(self, key: str) -> tuple[Key, ...]:
        if not isinstance(key, str):
            raise TypeError(f"a key must be a text, since numbers are given by the node itself; it is {key!r}")
        self.span.keys = self.span.keys or set()
        if key in self.span.keys:
            raise ValueError(f"the key {key!r} was given to another call of this node: each needs its own")
        self.span.keys.add(key)
        return (key,)

    def _backend(self, model: str) -> Backend:
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

    @contextmanager
    def _child(self, name: str, key: tuple[Key, ...], *, verifying: bool = False) -> Iterator["Run"]:
        """A node below this one; its span ends with the context."""
        begun = self.account.clock()
        span = Span(name, self.span.path + key, begun - self._scope.begun, verifying=verifying)
        self.span.children.append(span)
        try:
            memory = self.memory if verifying else None
            yield Run(self._scope, span, self.account, verifying=self._verifying or verifying, memory=memory)
        except BaseException as error:
            span.status = _status(error)
            span.error = "" if span.status == "cancelled" else f"{type(error).__name__}: {error}"
            raise
        else:
            span.status = "ok"
        finally:
            span.seconds = self.account.clock() - begun

    async def _ask(self, generator: Generator, problem: Problem, key: tuple[Key, ...]) -> Candidate:
        with self._child(name_of(generator), key) as run:
            candidate = await generator(problem, run)
            if not isinstance(candidate, Candidate):
                raise TypeError(f"{name_of(generator)} returned {type(candidate).__name__}, not a Candidate")
            return candidate

    async def _called(
        self, function: Callable[[Item, "Run"], Awaitable[Result]], item: Item, key: tuple[Key, ...]
    ) -> Result | SampleError:
        """The result of an async function in a node of its own, or the error that cost it."""
        try:
            with self._child(name_of(function), key) as run:
                return await function(item, run)
        except SampleError as error:
            return error

    async def _attempt(self, generator: Generator, problem: Problem, key: tuple[Key, ...]) -> Candidate | SampleError:
        """A sample that may be lost: then its span says why."""
        try:
            return await self._ask(generator, problem, key)
        except SampleError as error:
            return error

    @asynccontextmanager
    async def _queue(self) -> AsyncIterator["Begun"]:
        """Tasks by the keys of their nodes; those that nobody took are marked as cancelled."""
        begun: Begun | None = None
        try:
            async with queue() as begun:
                yield begun
        finally:
            self._mark_cancelled({(*self.span.path, *key) for key in begun.keys} if begun else set())

    def _mark_cancelled(self, paths: set[tuple[Key, ...]]) -> None:
        """What nobody consumed is marked alike, finished or not: which it was depends on the clock."""
        for span in self.span.children:
            if span.path in paths:
                span.status = "cancelled"

    async def _verdicts(
        self, verifier: Verifier, problem: Problem, candidates: Sequence[Candidate]
    ) -> list[Score | None]:
        try:
            scores = list(await verifier(problem, candidates, self))
        except MetagenError:
            raise
        except Exception as error:  # whatever a user's verifier raises is a verifier's failure
            raise VerifierError(f"{name_of(verifier)} raised {type(error).__name__}: {error}") from error
        if len(scores) != len(candidates):
            raise VerifierError(f"{name_of(verifier)} gave {len(scores)} verdicts for {len(candidates)} candidates")
        return [None if score is None else _verdict(score, verifier) for score in scores]

    async def _generate(self, model: str, request: Request) -> list[Completion]:
        backend = self._backend(model)
        request = self._numbered(request, self.identity(model))
        self.span.detail.update(prompt=request.prompt, partial=request.partial, n=request.n)
        self.account.check_time()
        send = self._send_reserved if self.account.limited else self._send
        return await send(backend, request)

    def _numbered(self, request: Request, model: str) -> Request:
        """The request with its seed, its deadline, and the number of its first sample among equal requests."""
        drawn = (model, request.prompt, request.partial, request.sampling)
        draw = self._scope.draws[drawn]
        self._scope.draws[drawn] += request.n
        return replace(request, draw=draw, seed=self._seed(), deadline=self.account.deadline)

    def _seed(self) -> int | None:
        if self._scope.seed is None:
            return None
        text = f"{self._scope.seed}\n{self._scope.problem}\n{self.span.path}"
        return int.from_bytes(blake2b(text.encode(), digest_size=6).digest())

    async def _send_reserved(self, backend: Backend, request: Request) -> list[Completion]:
        prompt = await backend.count(request)
        limit = max(1, request.limit(backend.context - prompt))
        price = self._price(backend, prompt, request.n)
        if request.n > 1 and not self.account.fits(prompt + request.n * limit, price(request.n * limit)):
            return await self._send_singly(backend, request)
        held = Hold()

        async def reserved() -> Request:
            nonlocal held
            self.account.settle(held)
            held = Hold()
            held = await self.account.reserve(prompt, request.n * limit, price)
            return replace(request, room=held.output // request.n, renew=reserved)

        try:
            return await self._send(backend, await reserved())
        finally:
            self.account.settle(held)

    async def _send_singly(self, backend: Backend, request: Request) -> list[Completion]:
        singles = await together(self._send_single(backend, request, index) for index in range(request.n))
        completions = [completion for single in singles for completion in single]
        if not completions:
            raise BudgetExceeded(f"no room for any of {request.n} samples{self._why_lost()}")
        return completions

    async def _send_single(self, backend: Backend, request: Request, index: int) -> list[Completion]:
        try:
            with self._child("request", ("single", index)) as run:
                return await run._send_reserved(backend, request.part(index, 1))
        except SampleError:
            return []

    async def _reserved_for(self, backend: RewardBackend, reading: Reading) -> Hold:
        """What a reading may cost at most: its tokens, and a pass of the head for each score."""
        tokens, scores = max(await backend.count(reading), 1), len(reading.steps) + 1
        price = self._price(backend, tokens, 1)
        return await self.account.reserve(tokens - 1, 1, lambda _: price(scores))

    def _price(self, backend: AnyBackend, prompt: int, n: int) -> Price:
        """What a request costs at most, by how many tokens its samples write together."""
        if not self.account.priced:
            return unpriced
        if (card := card_of(backend)) is None:
            raise InputError(
                f"a budget in FLOPs needs the sizes of {backend.name}, and its backend does not know them: "
                "give it card=ModelCard.read(...), or --card on the command line"
            )
        return lambda output: card.flops(max(prompt, 1), output, samples=n)

    async def _send(self, backend: Backend, request: Request) -> list[Completion]:
        with self._metered(backend, request.n) as meter:
            completions = await backend.generate(request, meter)
        if len(completions) != request.n:
            raise GenerationError(f"{backend.name} gave {len(completions)} completions where {request.n} were asked")
        self.span.detail.update(
            completions=[completion.text for completion in completions],
            lengths=[completion.length for completion in completions],
            cut=[number for number, completion in enumerate(completions) if completion.end == "length"],
        )
        return completions

    @contextmanager
    def _metered(self, backend: AnyBackend, samples: int) -> Iterator[Meter]:
        """Book what the backend reports, with its price in FLOPs, and the seconds that it took."""
        card, begun = card_of(backend), self.account.clock()

        def book(usage: Usage) -> None:
            if card and usage.prompt_tokens:
                read, written = usage.prompt_tokens, usage.completion_tokens
                cached = min(usage.cached_tokens, read)  # a server may say anything
                usage = replace(usage, flops=card.flops(read, written, cached, samples=samples))
            self.spend(usage)

        try:
            with self.account.sending(samples):
                yield book
        finally:
            self.spend(Usage(seconds=self.account.clock() - begun))

    def _why_lost(self) -> str:
        error = self.span.why_lost()
        return f"; the first: {error}" if error else ""


Begun = Queue[tuple[Key, ...], Any]


class Spawned(Generic[Item, Result]):
    """Calls under way: see `Run.spawn`."""

    __slots__ = ("_begun", "_function", "_items", "_run")

    def __init__(self, run: Run, function: Callable[[Item, Run], Awaitable[Result]], begun: Begun) -> None:
        self._run = run
        self._function = function
        self._begun = begun
        self._items: dict[tuple[Key, ...], Item] = {}

    def __len__(self) -> int:
        """How many were begun and not taken."""
        return len(self._begun)

    def begin(self, key: str, item: Item) -> None:
        """Call the function on an item, in a node with this key, which no other call of this run may have."""
        named = self._run._named(key)
        self._items[named] = item
        self._begun.begin(named, self._run._called(self._function, item, named))

    async def take(self) -> tuple[Item, Result | SampleError]:
        """The oldest item and its result, or the error that cost it."""
        key, result = await self._begun.take()
        return self._items.pop(key), result


def name_of(of: object) -> str:
    """How a generator or verifier is called in a trace."""
    return cast(str, getattr(of, "__name__", type(of).__name__))


def _is_batched(generator: Generator) -> TypeGuard[Batched]:
    """What `isinstance` would say, at a hundredth of its time."""
    return callable(getattr(generator, "sample", None))


async def _feedback(critic: Critic, problem: Problem, candidate: Candidate, run: Run) -> Feedback | None:
    try:
        feedback = await critic(problem, candidate, run)
    except MetagenError:
        raise
    except Exception as error:  # whatever a user's critic raises is a critic's failure
        raise VerifierError(f"{name_of(critic)} raised {type(error).__name__}: {error}") from error
    if feedback is not None and not isinstance(feedback, Feedback):
        raise VerifierError(f"{name_of(critic)} gave {feedback!r}: a critic gives Feedback, or None")
    return feedback


async def _said(tool: Tool, text: str, seconds: float, characters: int) -> str | ToolRefusal:
    name = name_of(tool)
    try:
        async with asyncio.timeout(seconds) as limit:
            said = await tool(text)
    except ToolRefusal as refusal:
        return refusal
    except MetagenError:
        raise
    except Exception as error:  # whatever a user's tool raises is a tool's failure
        said = f"took longer than {seconds:g} s" if limit.expired() else f"raised {type(error).__name__}: {error}"
        raise ToolError(f"{name} {said}") from error
    if not isinstance(said, str):
        raise ToolError(f"{name} returned {type(said).__name__}, not a text")
    if len(said) > characters:
        raise ToolError(f"{name} said {len(said)} characters, and at most {characters} are read")
    return said


def is_joint(strategy: Generator) -> TypeGuard[Joint]:
    """Whether it decides over many problems together."""
    return callable(getattr(strategy, "members", None))


def _verdict(score: Score, verifier: Verifier) -> Score:
    """The score in plain floats."""
    if isinstance(score, Score):
        numbers = (score.value, *score.steps)
        if all(map(_is_number, numbers)):
            return replace(score, value=float(score.value), steps=tuple(map(float, score.steps)))
    raise VerifierError(f"{name_of(verifier)} gave {score!r}: a verdict is a Score with a number, or None")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isnan(value)


def _status(error: BaseException) -> Status:
    if isinstance(error, asyncio.CancelledError):
        return "cancelled"
    return "lost" if isinstance(error, SampleError) else "failed"
