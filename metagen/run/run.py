"""`Run`: the one place for effects.

A strategy decides and `Run` acts: it starts tasks, gives seeds, keeps spans and budgets. A strategy keeps nothing
between calls, so one object can serve any number of problems at once.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from itertools import islice
from typing import Any, Generic, TypeVar

from metagen.budget import Budget, Usage
from metagen.candidate import Candidate, Feedback, Score
from metagen.errors import (
    BudgetExceeded,
    InputError,
    MetagenError,
    NoCandidate,
    SampleError,
    ToolRefusal,
    VerifierError,
)
from metagen.events import Expanded, Judged, ToolCalled
from metagen.problem import Problem
from metagen.run.contracts import (
    awaited,
    call_tool,
    check_candidates,
    check_count,
    check_part,
    check_problem,
    check_samples,
    check_verdict,
    list_verdicts,
    obtain_feedback,
    raised,
    settled,
)
from metagen.run.node import Key, Part
from metagen.run.protocols import Critic, Generator, Tool, Verifier, is_batched, name_of
from metagen.run.sending import Sending
from metagen.settings import counted, literal
from metagen.tasks import Queue, queue, together
from metagen.trace import Call, Expansion

Item = TypeVar("Item")


Result = TypeVar("Result")


class Run(Sending):
    """A node of a running strategy: what a strategy acts through, for one problem.

    Children are numbered in the order in which the node makes them, and a seed follows from the run's seed, the
    problem's id and this structural path. So code that calls `ask` from several tasks at once must name its children
    with `key`, each differently, or use `sample`, `stream` or `map`, which number their own.
    """

    __slots__ = ()

    async def ask(
        self, generator: Generator | None, problem: Problem, *, key: str | None = None, part: Part = "draft"
    ) -> Candidate:
        """Draw one candidate. Raises what the generator raises.

        `part` says what it is to the answer of this node: `"last"` if it is returned as it comes, so that its text can
        be read while it is written; `"stage"` if it is only read on the way; else it may become the answer.
        """
        number = self._key() if key is None else self._named(key)
        candidate = await self._ask(self._resolve(generator, problem, part), problem, number, part=part)
        self._tell_sample((*self._span.path, *number), 0, 1, candidate)
        return candidate

    async def sample(self, generator: Generator | None, problem: Problem, n: int) -> list[Candidate]:
        """Draw `n` candidates at once and wait for all; return the survivors, in the order of their numbers.

        A generator that is `Batched` is asked for them in one request, and what that raises is raised. Else raises
        `NoCandidate` if all are lost.
        """
        check_count(n)
        generator, key = self._resolve(generator, problem), self._key()
        if is_batched(generator):
            with self._child(name_of(generator), key) as run:
                candidates = check_samples(await awaited(generator.sample(problem, run, n), generator), generator, n)
            path = (*self._span.path, *key)
            told = self._scope.teller is None or self._scope.teller.has_told(path)  # as the request's samples came
            for number, candidate in () if told else enumerate(candidates):
                self._tell_sample(path, number, n, candidate)
        else:
            attempts = await together(self._sampled(generator, problem, key, number, n) for number in range(n))
            candidates = [attempt for attempt in attempts if isinstance(attempt, Candidate)]
        if not candidates:
            raise NoCandidate.of(n, self.why_lost())
        self.compare(candidates)
        return candidates

    @asynccontextmanager
    async def stream(
        self, generator: Generator | None, problem: Problem, limit: int, window: int = 1
    ) -> AsyncIterator["Stream"]:
        """Draw up to `limit` candidates, `window` in flight, and yield survivors in the order of their numbers.

        That order, not the order of arrival, is what a decision to stop may depend on: else short answers would
        be favoured. Leaving the context cancels what was not consumed. When a budget around this node has refused a
        sample, no more are begun. Use as

            async with run.stream(of, problem, limit=64, window=8) as candidates:
                async for candidate in candidates: ...

        where `candidates.left` is how many may still come.
        """
        if window < 1:
            raise InputError(f"a stream needs a window of 1 or more, not {window}")
        generator, key = self._resolve(generator, problem), self._key()
        numbers = iter(range(limit))
        stream = Stream(limit)

        async def survivors(begun: Begun) -> AsyncGenerator[Candidate, None]:
            refused = False
            while True:
                for number in () if refused else islice(numbers, window - len(begun)):
                    begun.begin((*key, number), self._attempt(generator, problem, (*key, number), passing=True))
                if not begun:
                    return
                taken, attempt = await begun.take()
                refused = refused or (isinstance(attempt, SampleError) and self.out_of_budget(*taken))
                stream.left = len(begun) if refused else limit - 1 - int(taken[-1])
                if isinstance(attempt, Candidate):
                    self.compare([attempt])
                    self._tell_sample((*self._span.path, *key), int(taken[-1]), limit, attempt)
                    yield attempt

        async with self._queue() as begun, aclosing(survivors(begun)) as stream.candidates:
            yield stream

    @asynccontextmanager
    async def spawn(
        self, function: Callable[[Item, "Run"], Awaitable[Result]], *, passing: bool = True
    ) -> AsyncIterator["Spawned[Item, Result]"]:
        """Call an async function on items that are begun one by one, each in a node of its own, named by its key.

        So a search begins what it decides on while earlier work is under way, and takes results in the order in which
        it began them, as with `stream`. Leaving the context cancels what was not taken. Where that cannot happen, say
        so with `passing=False`: then a server sends each reply in one piece, which costs it less. Use as

            async with run.spawn(function) as spawned:
                spawned.begin("/0", item)
                item, result = await spawned.take()
        """
        async with self._queue() as begun:
            yield Spawned(self, function, begun, passing=passing)

    async def map(
        self, function: Callable[[Item, "Run"], Awaitable[Result]], items: Iterable[Item], *, part: Part = "draft"
    ) -> list[Result | None]:
        """Apply an async function to all items at once, each in a node of its own; `None` where a sample was lost.

        `part` is what the results are to the answer, as in `ask`.
        """
        key = self._key()
        results = await together(
            self._called(function, item, (*key, index), part=part) for index, item in enumerate(items)
        )
        return [None if isinstance(result, SampleError) else result for result in results]

    async def score(self, verifier: Verifier, problem: Problem, candidates: Sequence[Candidate]) -> list[Score | None]:
        """One verdict per candidate. Where the budget has no room for verdicts there are none, and a note says so.

        Raises `VerifierError` if the verifier fails or breaks its contract.
        """
        check_part(verifier, "run.score")
        check_candidates(candidates)
        with self._child(name_of(verifier), self._key(), verifying=True) as run:
            try:
                self._account.check_time()
                scores = await run._verdicts(verifier, problem, candidates)
            except BudgetExceeded as refused:
                self.note(f"not verified: {refused}")
                run._span.error = str(refused)
                scores = [None] * len(candidates)
            except SampleError:
                run._span.verdicts = [None] * len(candidates)
                raise
            run._span.verdicts = [None if score is None else score.value for score in scores]
            if teller := self._scope.teller:
                teller.tell(Judged(run._span.path, run._span.name, run._span.verdicts))
            run._span.steps = [() if score is None else score.steps for score in scores]
        return scores

    async def criticise(self, critic: Critic, problem: Problem, candidate: Candidate) -> Feedback | None:
        """What a critic says about a candidate, in a node of its own that tells information from opinion.

        Raises `VerifierError` if the critic fails or breaks its contract, and `BudgetExceeded` after the deadline.
        """
        check_part(critic, "run.criticise")
        with self._child(name_of(critic), self._key(), part="stage") as run:
            self._account.check_time()
            feedback = await obtain_feedback(critic, problem, candidate, run)
            run._span.feedback = feedback
        return feedback

    async def call(self, tool: Tool, text: str, *, seconds: float = 60.0, characters: int = 20_000) -> str:
        """What a tool says to `text`, in a node of its own.

        Raises `ToolRefusal` if it refuses the text, `ToolError` if it raises, takes longer than `seconds` or says more
        than `characters`, and `BudgetExceeded` after the deadline.
        """
        check_part(tool, "run.call")
        if not isinstance(text, str):
            raise InputError(f"run.call gives a tool a text, not {literal(text)}")
        with self._child(name_of(tool), self._key()) as run:
            run._span.call = Call(text)
            self._account.check_time()
            said = await call_tool(tool, text, seconds, characters)
            run._span.call = Call(text, refusal=str(said)) if isinstance(said, ToolRefusal) else Call(text, said)
            if teller := self._scope.teller:
                teller.tell(ToolCalled(run._span.path, run._span.name, run._span.call))
        if isinstance(said, ToolRefusal):
            raise said
        return said

    @contextmanager
    def within(self, budget: Budget) -> Iterator["Run"]:
        """The same node under a tighter budget; how far it ran past a deadline is written on its span."""
        account = self._account.inner(budget)
        try:
            yield Run(
                self._scope,
                self._span,
                account,
                verifying=self._verifying,
                passing=self._passing,
                memory=self.memory,
                part=self._part,
            )
        finally:
            self._span.overshoot = account.overshoot()

    @property
    def exhausted(self) -> bool:
        """Whether this node's budget, or one around it, has turned something away."""
        return self._account.exhausted

    @property
    def spent(self) -> Usage:
        """What this node's books hold: since the problem was begun, or inside `within` since that was entered."""
        return self._account.spent

    def compare(self, candidates: Iterable[Candidate]) -> None:
        """Say which candidates the answer is chosen among, where they came from deeper than `sample` and `stream`."""
        self._span.samples = [*self._span.samples, *candidates]

    def record(self, expansion: Expansion, texts: Sequence[str] = ()) -> None:
        """Write on the span what a search asked for here, and later again what came of it.

        `texts` is what each child adds to the reply; it goes to the listener, and is not written.
        """
        self._span.expansion = expansion
        if teller := self._scope.teller:
            teller.tell(Expanded(self._span.path, expansion, texts))

    def _resolve(self, generator: Generator | None, problem: object, part: Part = "draft") -> Generator:
        check_problem(problem)
        if generator is not None:
            check_part(generator, "run.ask and run.sample")
            return generator
        return self._scope.aside if "stage" in (self._part, part) else self._scope.model

    def _tell_sample(self, path: tuple[Key, ...], number: int, wanted: int, candidate: Candidate) -> None:
        if (teller := self._scope.teller) and not self._verifying:
            teller.sample(path, number, wanted, candidate.text, finished=candidate.finished)

    async def _ask(
        self,
        generator: Generator,
        problem: Problem,
        key: tuple[Key, ...],
        *,
        passing: bool = False,
        part: Part = "draft",
    ) -> Candidate:
        with self._child(name_of(generator), key, passing=passing, part=part) as run:
            candidate = await awaited(generator(problem, run), generator)
            if not isinstance(candidate, Candidate):
                raise InputError(
                    f"{name_of(generator)} returned {type(candidate).__name__}, not a Candidate: return what "
                    "`await run.ask(...)` gave, one of the list of `await run.sample(...)`, or Candidate((text,))"
                )
            return candidate

    async def _called(
        self,
        function: Callable[[Item, "Run"], Awaitable[Result]],
        item: Item,
        key: tuple[Key, ...],
        *,
        passing: bool = False,
        part: Part = "draft",
    ) -> Result | SampleError:
        """The result of an async function in a node of its own, or the error that cost it."""
        try:
            with self._child(name_of(function), key, passing=passing, part=part) as run:
                return await awaited(function(item, run), function)
        except SampleError as error:
            return error

    async def _sampled(
        self, generator: Generator, problem: Problem, key: tuple[Key, ...], number: int, wanted: int
    ) -> Candidate | SampleError:
        """One of the samples that are drawn at once, of which is told when it is there."""
        attempt = await self._attempt(generator, problem, (*key, number))
        if isinstance(attempt, Candidate):
            self._tell_sample((*self._span.path, *key), number, wanted, attempt)
        return attempt

    async def _attempt(
        self, generator: Generator, problem: Problem, key: tuple[Key, ...], *, passing: bool = False
    ) -> Candidate | SampleError:
        """A sample that may be lost: then its span says why."""
        try:
            return await self._ask(generator, problem, key, passing=passing)
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
            self._mark_cancelled({(*self._span.path, *key) for key in begun.keys} if begun else set())

    def _mark_cancelled(self, paths: set[tuple[Key, ...]]) -> None:
        """What nobody consumed is marked alike, finished or not: which it was depends on the clock."""
        for span in self._span.children:
            if span.path in paths:
                span.status = "cancelled"

    async def _verdicts(
        self, verifier: Verifier, problem: Problem, candidates: Sequence[Candidate]
    ) -> list[Score | None]:
        try:
            scores = list_verdicts(await awaited(verifier(problem, candidates, self), verifier), verifier)
        except MetagenError:
            raise
        except Exception as error:  # whatever a user's verifier raises is a verifier's failure
            raise VerifierError(f"{name_of(verifier)} {raised(error)}") from error
        if len(scores) != len(candidates):
            gave = f"{name_of(verifier)} gave {counted(len(scores), 'verdict')}"
            raise VerifierError(f"{gave} for {counted(len(candidates), 'candidate')}")
        return settled([check_verdict(score, verifier) for score in scores], self)


class Stream(AsyncIterator[Candidate]):
    """Candidates as they are drawn: see `Run.stream`."""

    candidates: AsyncIterator[Candidate]

    def __init__(self, limit: int) -> None:
        self.left = limit
        """How many may come after the last one that came: those that were lost do not."""

    async def __anext__(self) -> Candidate:
        return await anext(self.candidates)


Begun = Queue[tuple[Key, ...], Any]


class Spawned(Generic[Item, Result]):
    """Calls under way: see `Run.spawn`."""

    __slots__ = ("_begun", "_early", "_function", "_items", "_passing", "_run")

    def __init__(
        self, run: Run, function: Callable[[Item, Run], Awaitable[Result]], begun: Begun, *, passing: bool = True
    ) -> None:
        self._run = run
        self._passing = passing
        self._function = function
        self._begun = begun
        self._items: dict[tuple[Key, ...], Item] = {}
        self._early: dict[str, asyncio.Event] = {}
        """By key, whether a call that was begun early is wanted."""

    def __len__(self) -> int:
        """How many were begun and not taken; an early call counts from when it is wanted."""
        return len(self._begun)

    def begin(self, key: str, item: Item) -> None:
        """Call the function on an item, in a node with this key, which no other call of this run may have.

        A call with this key that was begun early is this one: from now on it is wanted.
        """
        if wanted := self._early.pop(key, None):
            wanted.set()
            self._begun.want((key,))
        else:
            self._begin(key, item)

    def begin_early(self, key: str, item: Item) -> None:
        """Call the function before it is known whether its result is wanted. It must await `wanted(key)`."""
        self._early[key] = asyncio.Event()
        self._begin(key, item, early=True)

    def _begin(self, key: str, item: Item, *, early: bool = False) -> None:
        named = self._run._named(key)
        self._items[named] = item
        called = self._run._called(self._function, item, named, passing=early or self._passing)
        self._begun.begin(named, called, early=early)

    async def wanted(self, key: str) -> None:
        """Return once the call with this key is wanted: at once, unless it was begun early."""
        if wanted := self._early.get(key):
            await wanted.wait()

    def drop_early(self) -> None:
        """Cancel all calls that were begun early and are not wanted."""
        self._early.clear()
        self._begun.drop_early()

    async def take(self) -> tuple[Item, Result | SampleError]:
        """The oldest item and its result, or the error that cost it."""
        key, result = await self._begun.take()
        return self._items.pop(key), result
