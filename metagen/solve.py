"""The data flow: a problem goes in, a strategy runs on it, a solution comes out. Read this first."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from itertools import islice
from numbers import Integral
from typing import Any, TypeVar

from metagen.answers.protocol import verdicts
from metagen.budget import Account, Budget
from metagen.candidate import Candidate
from metagen.errors import InputError, SampleError, VerifierError
from metagen.model import Model, check_settings, named_models
from metagen.problem import Problem
from metagen.request import AnyBackend, generates, scores
from metagen.run import Generator, Run
from metagen.run.node import Scope
from metagen.run.protocols import is_joint
from metagen.settings import require_strategy
from metagen.solution import Solution
from metagen.trace import Span

CONCURRENCY = 256
"""Problems at once. An engine queues what it cannot run yet, so more costs only memory."""

Result = TypeVar("Result")
Models = AnyBackend | Mapping[str, AnyBackend]


async def solve(
    problem: Problem | str,
    strategy: Generator | None = None,
    model: Models | None = None,
    *,
    seed: int | None = None,
    budget: Budget | None = None,
) -> Solution:
    """Answer one problem with a strategy (default: one sample) over an opened model, or several by name.

    An omitted `of` in the strategy means the first model. With a `seed` each request is seeded. If every sample is
    lost the solution says so in `error`; whether it is right it says in `correct`, if the problem has an answer.
    Raises `InputError` for settings that cannot work and `BackendGone` if the model cannot be reached.
    """
    require_strategy("solve", strategy=strategy)
    _check_numbers(seed, budget)
    asked, models = _as_problem(problem, 1), name_models(model, strategy)
    check_settings(strategy or Model(), models)
    return await _solve(asked, strategy or Model(), models, seed, Account(budget))


async def solve_all(
    problems: Iterable[Problem | str],
    strategy: Generator | None = None,
    model: Models | None = None,
    *,
    seed: int | None = None,
    account: Account | None = None,
    concurrency: int = CONCURRENCY,
) -> AsyncGenerator[Solution, None]:
    """Answer problems, `concurrency` at a time, and hand over each solution as it is done.

    A question that is a text is called by its number, from 1.
    Problems are taken from the iterable only when they are begun, so a stream of any length will do. A strategy that
    decides over many together, such as `Allocate`, takes them in groups, and samples for `concurrency` at a time. The
    `account` keeps the books of the whole: its budget ends the taking of new problems, its counts can be read at any
    time. Whoever stops early should close the generator (`contextlib.aclosing`), which cancels what is under way.
    """
    require_strategy("solve_all", strategy=strategy)
    _check_numbers(seed, concurrency=concurrency)
    account = account or Account()
    models = name_models(model, strategy)
    check_settings(strategy or Model(), models)
    for tasks, at_once in _parts(_as_problems(problems), strategy or Model(), concurrency):
        calls = (partial(_solve, problem, member, models, seed, account) for problem, member in tasks)
        async with aclosing(_in_turn(calls, account, at_once)) as solutions:
            async for solution in solutions:
                yield solution
        if account.refused:
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
    _check_numbers(seed, concurrency=concurrency)
    account, opened = account or Account(), name_models(models, None)
    calls = (partial(_called, function, problem, opened, seed, account) for problem in _as_problems(problems))
    async with aclosing(_in_turn(calls, account, concurrency)) as results:
        async for result in results:
            yield result


def _check_numbers(seed: object, budget: object = None, concurrency: object = 1) -> None:
    if not isinstance(concurrency, int) or concurrency < 1:
        raise InputError(f"concurrency must be 1 or more, not {concurrency!r}")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, Integral)):
        raise InputError(f"seed must be a whole number, not {seed!r}")
    if budget is not None and not isinstance(budget, Budget):
        raise InputError(f"budget must be a Budget, such as Budget(tokens=1000), not {budget!r}")


def _as_problems(problems: Iterable[Problem | str]) -> Iterable[Problem]:
    """The problems; those of a list are all checked before the first is begun, those of a stream one by one."""
    if isinstance(problems, str | bytes | Mapping) or not isinstance(problems, Iterable):
        raise InputError(f"problems must be a list of texts or Problems, not {problems!r}; solve(...) takes one")
    checked = (_as_problem(problem, number) for number, problem in enumerate(problems, 1))
    return list(checked) if isinstance(problems, Sequence) else checked


def _as_problem(problem: object, number: int) -> Problem:
    if isinstance(problem, str):
        return Problem(str(number), problem)
    if not isinstance(problem, Problem):
        raise InputError(f"problem {number} must be a text or a Problem, such as Problem('1', '?'), not {problem!r}")
    return problem


def _parts(
    problems: Iterable[Problem], strategy: Generator, concurrency: int
) -> Iterator[tuple[Iterable[tuple[Problem, Generator]], int]]:
    """Problems, each with what answers it, and how many of them to begin at once.

    All are one part, unless the strategy decides over several together: then each group is a part, begun as a whole.
    """
    if not is_joint(strategy):
        yield ((problem, strategy) for problem in problems), concurrency
        return
    waiting = iter(problems)
    while group := list(islice(waiting, strategy.among)):
        yield zip(group, strategy.members(len(group), concurrency), strict=True), len(group)


async def _in_turn(
    calls: Iterable[Callable[[], Coroutine[Any, Any, Result]]], account: Account, at_once: int
) -> AsyncGenerator[Result, None]:
    """Begin calls, `at_once` at a time, while the budget refuses nothing; yield each result as it is done."""
    waiting, done = iter(calls), asyncio.Queue[asyncio.Task[Result]]()
    begun: set[asyncio.Task[Result]] = set()
    try:
        while True:
            for call in () if account.refused else islice(waiting, at_once - len(begun)):
                task = asyncio.create_task(call())
                task.add_done_callback(done.put_nowait)
                begun.add(task)
            if not begun:
                return
            begun.discard(task := await done.get())
            yield task.result()
    finally:
        await cancel(begun)


def _root(
    problem: Problem, models: Mapping[str, AnyBackend], seed: int | None, account: Account
) -> tuple[Run, Span, Account]:
    """The run of one problem, with the span and the account that it writes to."""
    inner, span = account.inner(), Span("solve")
    return Run(Scope(problem.id, models, Model(), inner.clock(), seed), span, inner), span, inner


async def _solve(
    problem: Problem, strategy: Generator, models: Mapping[str, AnyBackend], seed: int | None, account: Account
) -> Solution:
    root, span, inner = _root(problem, models, seed, account)
    candidate, error = None, ""
    try:
        candidate = await root.ask(strategy, problem)
    except SampleError as lost:
        error = f"{type(lost).__name__}: {lost}"
    span.seconds, span.status = inner.seconds(), "lost" if error else "ok"
    return await _judged(problem, candidate, error, span, inner)


async def _called(
    function: Callable[[Problem, Run], Awaitable[Result]],
    problem: Problem,
    models: Mapping[str, AnyBackend],
    seed: int | None,
    account: Account,
) -> tuple[Problem, Result | SampleError]:
    try:
        return problem, await function(problem, _root(problem, models, seed, account)[0])
    except SampleError as lost:
        return problem, lost


async def _judged(problem: Problem, candidate: Candidate | None, error: str, trace: Span, account: Account) -> Solution:
    """The solution, with the grader's verdicts on the answer and on the samples it was chosen from."""
    samples = (trace.compared(candidate) or [candidate]) if candidate else []
    notes = trace.all_notes()
    answer, *answers = [None]
    try:
        answer, *answers = _answers(problem, [each for each in (candidate, *samples) if each]) or [None]
        judged = await _verdicts(problem, (answer, *answers))
    except VerifierError as failed:
        samples, judged = samples[: len(answers)], dict.fromkeys((answer, *answers))
        notes.append(f"not graded: {failed}")
    verdict, right = judged[answer], [judged[each] for each in answers]
    verifiers = list(trace.verified())
    silent = [each for each, given in zip(samples, answers, strict=True) if given is None]
    return Solution(
        problem=problem.id,
        answer=answer,
        text=candidate.text if candidate else "",
        correct=verdict,
        unjudged=problem.answer is not None and verdict is None,
        samples=sum(one is not None for one in right),
        samples_correct=right.count(True),
        compared=len(samples),
        unanswered=len(silent),
        cut=sum(each.cut for each in silent),
        scored=sum(len(span.verdicts or ()) for span in verifiers),
        unscored=sum(span.unscored for span in verifiers),
        why_unscored=next((span.why_unscored() for span in verifiers if span.unscored), ""),
        lost=trace.count_lost(),
        why_lost=trace.why_lost(),
        notes=tuple(notes),
        error=error,
        usage=account.spent,
        seconds=trace.seconds,
        trace=trace,
    )


def _answers(problem: Problem, candidates: Iterable[Candidate]) -> list[str | None]:
    return [problem.answers.extract(each.text, finished=each.finished) for each in candidates]


async def _verdicts(problem: Problem, answers: Iterable[str | None]) -> dict[str | None, bool | None]:
    """Which answers are right; without a reference there are no verdicts."""
    if problem.answer is None:
        return dict.fromkeys(answers)
    return await verdicts(problem.answers, answers, problem.answer)


def name_models(model: Models | None, strategy: Generator | None) -> Mapping[str, AnyBackend]:
    """The run's models by name, once it is sure that the strategy mentions no others."""
    models = {} if model is None else model if isinstance(model, Mapping) else {"model": model}
    for name, backend in models.items():
        if isinstance(backend, type) or not (generates(backend) or scores(backend)):
            raise InputError(f"{name} must be a backend, such as VLLMEngine('small-moe'), not {backend!r}")
    for name in named_models(strategy):
        if name and name not in models:
            raise InputError(f"the strategy names a model {name!r}, and this run has {', '.join(models) or 'none'}")
    return models


async def cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
