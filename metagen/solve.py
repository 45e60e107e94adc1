"""The data flow: a problem goes in, a strategy runs on it, a solution comes out. Read this first."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import aclosing
from itertools import islice

from metagen.answers import extract
from metagen.budget import Account, Budget
from metagen.candidate import Candidate
from metagen.errors import InputError, SampleError, VerifierError
from metagen.model import Model, named_models
from metagen.problem import Problem
from metagen.request import AnyBackend
from metagen.run import Generator, Run, Scope, is_joint
from metagen.solution import Solution
from metagen.tasks import together
from metagen.trace import Span
from metagen.verifiers.oracles import grade

CONCURRENCY = 256
"""Problems at once. An engine queues what it cannot run yet, so more costs only memory."""

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
    if isinstance(problem, str):
        problem = Problem(id="1", prompt=problem)
    return await _solve(problem, strategy or Model(), _named(model, strategy), seed, Account(budget))


async def solve_all(
    problems: Iterable[Problem],
    strategy: Generator | None = None,
    model: Models | None = None,
    *,
    seed: int | None = None,
    account: Account | None = None,
    concurrency: int = CONCURRENCY,
) -> AsyncGenerator[Solution, None]:
    """Answer problems, `concurrency` at a time, and hand over each solution as it is done.

    Problems are taken from the iterable only when they are begun, so a stream of any length will do. A strategy that
    decides over many together, such as `Allocate`, takes them in groups, and samples for `concurrency` at a time. The
    `account` keeps the books of the whole: its budget ends the taking of new problems, its counts can be read at any
    time. Whoever stops early should close the generator (`contextlib.aclosing`), which cancels what is under way.
    """
    if concurrency < 1:
        raise InputError(f"concurrency must be 1 or more, not {concurrency}")
    account = account or Account()
    models = _named(model, strategy)
    for tasks, at_once in _parts(problems, strategy or Model(), concurrency):
        async with aclosing(_solve_each(tasks, models, seed, account, at_once)) as solutions:
            async for solution in solutions:
                yield solution
        if account.refused:
            return


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


async def _solve_each(
    part: Iterable[tuple[Problem, Generator]],
    models: Mapping[str, AnyBackend],
    seed: int | None,
    account: Account,
    at_once: int,
) -> AsyncGenerator[Solution, None]:
    waiting, done = iter(part), asyncio.Queue[asyncio.Task[Solution]]()
    begun: set[asyncio.Task[Solution]] = set()
    try:
        while True:
            for problem, strategy in () if account.refused else islice(waiting, at_once - len(begun)):
                task = asyncio.create_task(_solve(problem, strategy, models, seed, account))
                task.add_done_callback(done.put_nowait)
                begun.add(task)
            if not begun:
                return
            begun.discard(task := await done.get())
            yield task.result()
    finally:
        await _cancel(begun)


async def _solve(
    problem: Problem, strategy: Generator, models: Mapping[str, AnyBackend], seed: int | None, account: Account
) -> Solution:
    inner = Account(parent=account)
    begun = inner.clock()
    root = Run(Scope(problem.id, models, Model(), begun, seed), Span("solve"), inner)
    candidate, error = None, ""
    try:
        candidate = await root.ask(strategy, problem)
    except SampleError as lost:
        error = f"{type(lost).__name__}: {lost}"
    root.span.seconds, root.span.status = inner.clock() - begun, "lost" if error else "ok"
    return await _judged(problem, candidate, error, root.span, inner)


async def _judged(problem: Problem, candidate: Candidate | None, error: str, trace: Span, account: Account) -> Solution:
    """The solution, with the grader's verdicts on the answer and on the samples it was chosen from."""
    samples = (trace.compared(candidate) or [candidate]) if candidate else []
    answer, *answers = [extract(each.text, finished=each.finished) for each in (candidate, *samples) if each] or [None]
    notes = trace.notes()
    try:
        verdicts = await _verdicts({answer, *answers}, problem.answer)
    except VerifierError as failed:
        verdicts = dict.fromkeys((answer, *answers))
        notes.append(f"not graded: {failed}")
    verdict, right = verdicts[answer], [verdicts[each] for each in answers]
    return Solution(
        problem=problem.id,
        answer=answer,
        text=candidate.text if candidate else "",
        correct=verdict,
        unjudged=problem.answer is not None and verdict is None,
        samples=sum(one is not None for one in right),
        samples_correct=right.count(True),
        lost=trace.lost(),
        notes=tuple(notes),
        error=error,
        usage=account.spent,
        seconds=trace.seconds,
        trace=trace,
    )


async def _verdicts(answers: set[str | None], reference: str | None) -> dict[str | None, bool | None]:
    """Which answers are right; without a reference there are no verdicts."""
    if reference is None:
        return dict.fromkeys(answers)
    verdicts = await together(grade(answer, reference) for answer in answers)
    return dict(zip(answers, verdicts, strict=True))


def _named(model: Models | None, strategy: Generator | None) -> Mapping[str, AnyBackend]:
    """The run's models by name, once it is sure that the strategy mentions no others."""
    models = {} if model is None else model if isinstance(model, Mapping) else {"model": model}
    for name in named_models(strategy):
        if name and name not in models:
            raise InputError(f"the strategy names a model {name!r}, and this run has {', '.join(models) or 'none'}")
    return models


async def _cancel(tasks: Iterable[asyncio.Task[Solution]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
