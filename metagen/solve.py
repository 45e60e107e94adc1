"""The data flow: a problem goes in, a strategy runs on it, a solution comes out. Read this first."""

import asyncio
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from inspect import iscoroutinefunction
from itertools import islice
from numbers import Integral
from typing import Any, Self, TypeVar

from metagen.answers.protocol import groups_of, read_each
from metagen.budget import Account, Budget, Usage
from metagen.candidate import Candidate
from metagen.errors import InputError, SampleError
from metagen.events import Event, Listener, Solved
from metagen.leaves import check_costs, check_kinds, check_settings, named_models
from metagen.model import USUAL, Model
from metagen.problem import Problem
from metagen.request import AnyBackend, Backend, generates, is_backend
from metagen.run import Generator, Run, Verifier
from metagen.run.contracts import awaited
from metagen.run.node import Scope
from metagen.run.protocols import is_joint
from metagen.run.telling import Teller
from metagen.settings import CONCURRENCY, MOST, require_grade, require_strategy
from metagen.solution import NOT_GRADED, Solution, solved
from metagen.system import collecting_seldom
from metagen.trace import Span, notes_of
from metagen.verifiers.grading import REFERENCE, by_reference, grades, oracle_of
from metagen.verifiers.needs import Check, checks_of

Result = TypeVar("Result")
Models = AnyBackend | Mapping[str, AnyBackend]
EXAMPLE = "VLLMEngine('small-moe')"
"""A backend that everybody has, for messages."""


async def solve(
    problem: Problem | str,
    strategy: Generator | None = None,
    model: Models | None = None,
    *,
    grade: Verifier | None = None,
    seed: int | None = None,
    budget: Budget | None = None,
    account: Account | None = None,
    default: Model | None = None,
    listener: Listener | None = None,
) -> Solution:
    """Answer one problem with a strategy (default: one sample) over an opened model, or several by name.

    An omitted `of` in the strategy means the first model, or `default`, which can set how it draws. With a `seed` each
    request is seeded. If every sample is lost the solution says so in `error`. Whether it is right it says in
    `correct`: a verifier `grade` decides by a verdict of 1 or more, else the problem's own tests, its theorem or its
    reference answer. What grading uses is not counted. The `budget` is this problem's; an `account` around it keeps
    the books of several calls. A `listener` is called with each event on the way (`metagen.events`).
    Raises `InputError` for settings that cannot work and `BackendGone` if the model cannot be reached.
    """
    whole, problem, strategy = _prepared("solve", problem, strategy, model, grade, seed, budget, account, default)
    if listener is not None and (not callable(listener) or iscoroutinefunction(listener)):
        raise InputError(f"listener must be a plain function of an event, without async, not {listener!r}")
    return await whole.solve(problem, strategy, listener)


async def stream(
    problem: Problem | str,
    strategy: Generator | None = None,
    model: Models | None = None,
    *,
    grade: Verifier | None = None,
    seed: int | None = None,
    budget: Budget | None = None,
    account: Account | None = None,
    default: Model | None = None,
) -> AsyncGenerator[Event, None]:
    """Answer one problem as `solve` does, and yield what happens meanwhile; the last event is `Solved`.

        async with aclosing(stream("What is 3 + 4?", Vote(16), model)) as events:
            async for event in events: ...

    `metagen.events` says which events there are. To stop early, close the generator, as above: that cancels the work
    and frees its requests. Raises what `solve` raises.
    """
    whole, problem, strategy = _prepared("stream", problem, strategy, model, grade, seed, budget, account, default)
    events = asyncio.Queue[Event | None]()
    task = asyncio.create_task(whole.solve(problem, strategy, events.put_nowait))
    task.add_done_callback(lambda _: events.put_nowait(None))
    try:
        while event := await events.get():
            yield event
        yield Solved(task.result())
    finally:
        await cancel([task])


async def solve_all(
    problems: Iterable[Problem | str],
    strategy: Generator | None = None,
    model: Models | None = None,
    *,
    grade: Verifier | None = None,
    seed: int | None = None,
    account: Account | None = None,
    concurrency: int = CONCURRENCY,
    default: Model | None = None,
) -> AsyncGenerator[Solution, None]:
    """Answer problems, `concurrency` at a time, and yield each solution as it is done.

    A question that is a text is called by its number, from 1. `grade` and `default` mean what they mean to `solve`.
    Each needs an id of its own. They are taken from the iterable only when they are begun, so a stream of any length
    will do; those of a list are all checked before. A strategy that decides over many together, such as `Allocate`,
    takes them in groups, and samples for `concurrency` at a time. The `account` keeps the books of the whole: when its
    budget is spent, no new problem is taken. Its counts can be read at any time. To stop early, close the generator
    (`contextlib.aclosing`): that cancels the work under way.
    """
    check_arguments(seed, concurrency=concurrency, account=account, default=default)
    account = account or Account()
    whole = Whole.of("solve_all", strategy, model, grade=grade, seed=seed, account=account, default=default)
    checked = as_problems(problems, checks_of(strategy))
    for tasks, at_once in _parts(checked, strategy or whole.default, concurrency):
        calls = (partial(whole.solve, problem, member) for problem, member in tasks)
        async with aclosing(_in_turn(calls, account, at_once)) as solutions:
            async for solution in solutions:
                yield solution
        if account.exhausted:
            return


async def map_problems(
    function: Callable[[Problem, Run], Awaitable[Result]],
    problems: Iterable[Problem | str],
    models: Models,
    *,
    seed: int | None = None,
    account: Account | None = None,
    concurrency: int = CONCURRENCY,
) -> AsyncGenerator[tuple[Problem, Result | SampleError], None]:
    """Apply an async function to problems, each with a `Run` of its own, `concurrency` at a time.

    This is `solve_all` for what is no strategy: labelling samples, scoring recorded solutions. Each problem comes with
    what the function returned, or with the `SampleError` that it raised, in the order in which they are done.
    """
    check_arguments(seed, concurrency=concurrency, account=account)
    whole = Whole(name_models(models), seed, account or Account())
    calls = (partial(_called, function, problem, whole) for problem in as_problems(problems))
    async with aclosing(_in_turn(calls, whole.account, concurrency)) as results:
        async for result in results:
            yield result


def _prepared(
    where: str,
    problem: Problem | str,
    strategy: Generator | None,
    model: Models | None,
    grade: Verifier | None,
    seed: int | None,
    budget: Budget | None,
    account: Account | None,
    default: Model | None,
) -> "tuple[Whole, Problem, Generator]":
    """One problem's call, once it is sure that its settings can work."""
    given: object = problem
    if isinstance(given, list | tuple):
        raise InputError(f"{where} answers one problem, not {len(given)}: solve_all(problems, ...) answers several")
    check_arguments(seed, budget, account=account, default=default)
    books = account.inner(budget) if account else Account(budget)
    whole = Whole.of(where, strategy, model, grade=grade, seed=seed, account=books, default=default)
    return whole, _as_problem(problem, 1, checks_of(strategy)), strategy or whole.default


def costly(account: Account) -> list[str]:
    """What of an account's limits needs to be known of each model."""
    return [name for name in ("flops", "money") if account.limits(name)]


def check_strategy(where: str, strategy: object) -> None:
    """Refuse what no run can start with; `where` names the call that was given it."""
    if not callable(strategy) and is_backend(strategy):
        raise InputError(f"{where}: the second argument is a strategy, and this is a model: write model= before it")
    require_strategy(where, strategy=strategy)


def check_arguments(
    seed: object, budget: object = None, concurrency: object = 1, account: object = None, default: object = None
) -> None:
    if not isinstance(concurrency, int) or not 1 <= concurrency <= MOST:
        raise InputError(f"concurrency must be 1 or more, and at most {MOST:,}, not {concurrency!r}")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, Integral)):
        raise InputError(f"seed must be a whole number, not {seed!r}")
    if budget is not None and not isinstance(budget, Budget):
        raise InputError(f"budget must be a Budget, such as Budget(tokens=1000), not {budget!r}")
    if account is not None and not isinstance(account, Account):
        raise InputError(f"account must be an Account, such as Account(Budget(tokens=1000)), not {account!r}")
    if default is not None and not isinstance(default, Model):
        raise InputError(f"default must be a Model, such as Model(temperature=0.6), not {default!r}")


def as_problems(problems: Iterable[Problem | str], checks: Sequence[Check] = ()) -> Iterable[Problem]:
    """The problems; those of a list are all checked before the first is begun, those of a stream one by one."""
    if isinstance(problems, str | bytes | Mapping) or not isinstance(problems, Iterable):
        raise InputError(f"problems must be a list of texts or Problems, not {problems!r}; solve(...) takes one")
    checked = _distinct(_as_problem(problem, number, checks) for number, problem in enumerate(problems, 1))
    return list(checked) if isinstance(problems, Sequence) else checked


def _as_problem(problem: object, number: int, checks: Sequence[Check]) -> Problem:
    """Raises `InputError` for what is no problem, and for one that a verifier of the strategy cannot judge."""
    made = Problem(str(number), problem) if isinstance(problem, str) else problem
    if not isinstance(made, Problem):
        raise InputError(f"problem {number} must be a text or a Problem, such as Problem('1', '?'), not {problem!r}")
    for check in checks:
        check(made)
    return made


def _distinct(problems: Iterable[Problem]) -> Iterator[Problem]:
    """The same problems. Raises `InputError` at one that has the id of an earlier one.

    Seeds, samples of pools and rows on disk are found by the id: what is drawn for one would pass for the other's.
    """
    places: dict[str, int] = {}
    for number, problem in enumerate(problems, 1):
        if (first := places.setdefault(problem.id, number)) != number:
            raise InputError(
                f"problem {number} has the id {problem.id!r}, as problem {first} does: give each an id of its own "
                "(a text is called by its number)"
            )
        yield problem


def together_in(problems: Iterable[Problem], size: int) -> Iterator[list[Problem]]:
    """Problems in groups of a size, the last perhaps smaller."""
    waiting = iter(problems)
    while group := list(islice(waiting, size)):
        yield group


def _parts(
    problems: Iterable[Problem], strategy: Generator, concurrency: int
) -> Iterator[tuple[Iterable[tuple[Problem, Generator]], int]]:
    """Problems, each with what answers it, and how many of them to begin at once.

    All are one part, unless the strategy decides over several together: then each group is a part, begun as a whole.
    """
    if not is_joint(strategy):
        yield ((problem, strategy) for problem in problems), concurrency
        return
    for group in together_in(problems, strategy.among):
        yield zip(group, strategy.members(len(group), concurrency), strict=True), len(group)


async def _in_turn(
    calls: Iterable[Callable[[], Coroutine[Any, Any, Result]]], account: Account, at_once: int
) -> AsyncGenerator[Result, None]:
    """Begin calls, `at_once` at a time, while the budget refuses nothing; yield each result as it is done.

    When a call fails, those under way are cancelled; when the next cannot be had, they are waited for. Either error is
    raised once every result that is there is yielded: all of them are paid for.
    """
    waiting, done = iter(calls), asyncio.Queue[asyncio.Task[Result]]()
    begun: set[asyncio.Task[Result]] = set()
    with collecting_seldom():
        try:
            while True:
                for call in () if account.exhausted else islice(waiting, at_once - len(begun)):
                    task = asyncio.create_task(call())
                    task.add_done_callback(done.put_nowait)
                    begun.add(task)
                if not begun:
                    return
                begun.discard(task := await done.get())
                for each in () if _has_result(task) else begun:
                    each.cancel()
                yield task.result()
        except Exception:
            while begun:
                begun.discard(task := await done.get())
                if _has_result(task):
                    yield task.result()
            raise
        finally:
            await cancel(begun)


def _has_result(task: asyncio.Task[Any]) -> bool:
    return not task.cancelled() and task.exception() is None


@dataclass(frozen=True, slots=True)
class Whole:
    """What all problems of a call share."""

    models: Mapping[str, AnyBackend]
    seed: int | None
    account: Account
    grade: Verifier | None = None
    default: Generator = USUAL
    """What an omitted generator means."""
    aside: Generator = USUAL
    """What it means where no answer is drawn."""
    writer: Backend | None = field(init=False)
    """The first model that generates."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "writer", next(filter(generates, self.models.values()), None))

    @classmethod
    def of(
        cls,
        where: str,
        strategy: Generator | None,
        model: Models | None,
        *,
        grade: Verifier | None,
        seed: int | None,
        account: Account,
        default: Model | None = None,
    ) -> Self:
        """Over opened models, once it is sure that these settings can work. Raises `InputError`, naming the call."""
        check_strategy(where, strategy)
        require_grade(where, grade=grade)
        default = default or USUAL
        whole = cls(name_models(model, strategy or default, grade), seed, account, grade, default)
        check_settings(strategy or default, whole.models, default)
        check_costs(strategy or default, costly(account), whole.models, default)
        return whole

    async def solve(self, problem: Problem, strategy: Generator, listener: Listener | None = None) -> Solution:
        """Answer one problem, and grade the answer."""
        root, span, inner = self.root(problem, listener)
        candidate, error = None, ""
        try:
            candidate = await root.ask(strategy, problem, part="last")
        except SampleError as lost:
            error = f"{type(lost).__name__}: {lost}"
        span.seconds, span.status = inner.seconds(), "lost" if error else "ok"
        return await _judged(problem, candidate, error, span, inner.spent, self, unfinished=inner.short)

    def root(self, problem: Problem, listener: Listener | None = None) -> tuple[Run, Span, Account]:
        """The run of one problem, with the span and the account that it writes to, and who is told what happens."""
        inner, span = self.account.inner(), Span("solve")
        return self._run(problem, span, inner, listener), span, inner

    def grading(self, problem: Problem) -> tuple[Run, Span]:
        """The run of the grade: it is no part of the answer, so it has books of its own, without a limit."""
        span = Span("grade")
        return self._run(problem, span, Account()), span

    def _run(self, problem: Problem, span: Span, account: Account, listener: Listener | None = None) -> Run:
        teller = Teller(listener, problem.answers) if listener else None
        begun = account.clock()
        session = blake2b(f"{problem.id}\n{problem.prompt}".encode(errors="replace"), digest_size=8).hexdigest()
        scope = Scope(
            problem.id,
            self.models,
            self.writer,
            self.default,
            self.aside,
            begun,
            self.seed,
            teller=teller,
            session=session,
        )
        return Run(scope, span, account)


async def _called(
    function: Callable[[Problem, Run], Awaitable[Result]], problem: Problem, whole: Whole
) -> tuple[Problem, Result | SampleError]:
    try:
        return problem, await awaited(function(problem, whole.root(problem)[0]), function)
    except SampleError as lost:
        return problem, lost


async def _judged(
    problem: Problem,
    candidate: Candidate | None,
    error: str,
    trace: Span,
    spent: Usage,
    whole: Whole,
    *,
    unfinished: bool,
) -> Solution:
    """The solution, with the grader's verdicts on the answer and on the samples it was chosen from."""
    comparing = trace.comparing(candidate) if candidate else None
    samples = comparing.samples if comparing else [candidate] if candidate else []
    chosen = next((place for place, each in enumerate(samples) if each is candidate), 0)
    gradable = (whole.grade or oracle_of(problem)) is not None
    answers, unread = _answers(problem, samples)
    if len(unread) == len(samples):
        answers = []
    right, notes = await _verdicts(problem, samples, answers, unread, whole) if samples else ([], [])
    verdict = right[chosen] if right else False if gradable and not candidate else None
    spans = list(trace.counted())
    notes = [*notes_of(spans), *dict.fromkeys([*notes, *unread.values()])]
    verifiers, lost = list(trace.verified()), trace.count_lost()
    silent = [samples[place] for place, given in enumerate(answers) if given is None and place not in unread]
    return solved(
        problem=problem.id,
        answer=answers[chosen] if answers else None,
        text=candidate.text if candidate else "",
        candidate=candidate,
        correct=verdict,
        unjudged=verdict is None and gradable,
        samples=sum(one is not None for one in right),
        samples_correct=right.count(True),
        compared=len(answers),
        unanswered=len(silent),
        cut=sum(each.cut for each in silent),
        scored=sum(len(span.verdicts or ()) for span in verifiers),
        unscored=sum(span.unscored for span in verifiers),
        why_unscored=next((span.why_unscored() for span in verifiers if span.unscored), ""),
        lost=lost,
        why_lost=trace.why_lost() if lost else "",
        notes=tuple(notes),
        error=error,
        usage=spent,
        seconds=trace.seconds,
        prompt=problem.prompt,
        reference=problem.answer,
        tags=dict(problem.tags),
        answers=tuple(answers),
        verdicts=tuple(right),
        groups=tuple(groups_of(problem.answers, answers)),
        unfinished=unfinished,
        at=comparing.place if comparing else "",
        trace=trace,
    )


def _answers(problem: Problem, candidates: Sequence[Candidate]) -> tuple[list[str | None], dict[int, str]]:
    """The answers of candidates, and by its place what is noted of one that the kind of answers fails to read."""
    read, failures = read_each(problem.answers, [(each.text, each.finished) for each in candidates])
    return [answer for answer, _ in read], {place: f"{NOT_GRADED}{each}" for place, each in failures.items()}


async def _verdicts(
    problem: Problem,
    candidates: Sequence[Candidate],
    answers: Sequence[str | None],
    unread: Collection[int],
    whole: Whole,
) -> tuple[Sequence[bool | None], list[str]]:
    """Which candidates are right, with the notes of the grade; there is no verdict where that fails."""
    if whole.grade is None and oracle_of(problem) is REFERENCE:
        try:
            right, failures = await by_reference(problem, answers)
        except SampleError as failed:
            return [], [f"{NOT_GRADED}{failed}"]
        notes = [f"{NOT_GRADED}{each}" for each in failures]
        return [None if place in unread else one for place, one in enumerate(right)] if unread else right, notes
    run, span = whole.grading(problem)
    try:
        return await grades(whole.grade, problem, candidates, run), span.all_notes()
    except (InputError, SampleError) as failed:  # the answer is paid for, and is not lost with its verdict
        return [], [*span.all_notes(), f"{NOT_GRADED}{failed}"]


def name_models(model: Models | None, *parts: object) -> Mapping[str, AnyBackend]:
    """The run's models by name, once it is sure that its strategy and its grade mention no others."""
    models = {} if model is None else model if isinstance(model, Mapping) else {"model": model}
    for name, backend in models.items():
        if not is_backend(backend):
            raise InputError(f"{name} must be a backend, such as {EXAMPLE}, not {backend!r}")
    for name in named_models(parts):
        if name and name not in models:
            raise InputError(f"the strategy names a model {name!r}, and this run has {', '.join(models) or 'none'}")
    check_kinds(parts, models)
    return models


async def cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
