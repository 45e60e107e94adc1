"""Runs a job while a bar shows how it goes, and says what came out."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, aclosing, asynccontextmanager, nullcontext
from dataclasses import replace
from functools import cache, partial
from itertools import chain
from math import isnan
from pathlib import Path
from shlex import quote

from rich.table import Table

from metagen import backends, strategies
from metagen.analysis.share import Share
from metagen.analysis.tally import Tally
from metagen.budget import PARTS, Account
from metagen.cli.clusters import Cluster, check_used, table_of_workers, with_workers, workers_of
from metagen.cli.console import err, out, progress
from metagen.cli.traces import sending
from metagen.disk.folders import would_find
from metagen.disk.records import Record
from metagen.disk.rows import SolutionRow
from metagen.disk.runs import RunDirectory
from metagen.errors import InputError
from metagen.jobs.cores import threads_for
from metagen.jobs.job import Job
from metagen.jobs.remarks import of_problems, remarks
from metagen.leaves import find_drawing
from metagen.request import AnyBackend, Backend, generates
from metagen.run import Generator
from metagen.settings import counted, literal
from metagen.solution import Solution
from metagen.solve import solve_all

Solutions = AsyncGenerator[Solution | Record, None]
REASON = 60
"""Characters of the reason of failures that are shown beside a bar."""
LINE_SECONDS = 30.0
"""Between two lines that say how a run goes, where there is no terminal."""


async def solve_file(job: Job, path: Path, otlp: str | None = None, cluster: Cluster | None = None) -> int:
    """Solve what is not solved yet, send traces to a collector if one is named, and say what came out.

    Returns the exit code.
    """
    tally, account = Tally(), Account(job.budget)
    say_surprises([job])
    with sending(otlp, path, literal(job.strategy)) as send, _threads(job, cluster) as threads:
        _say(threads)
        code = await fill(job, path, tally, account, send, cluster)
    out.print(summary(tally, f"{literal(job.strategy)} on {job.problems.path.name}", account))
    out.print(f"Kept in {path}/ (run.json, trace.jsonl, solutions.jsonl).", soft_wrap=True)
    out.print(f"Look at it: metagen view {quote(str(path))}", soft_wrap=True)
    return code


async def fill(
    job: Job,
    path: Path,
    tally: Tally,
    account: Account,
    send: Callable[[Solution], None] | None = None,
    cluster: Cluster | None = None,
) -> int:
    """Solve what a run's folder lacks, and send each solution on once it is written; return the exit code."""
    wanted = cache(job.ids)

    def seen(row: SolutionRow) -> None:
        """Count what is solved of these problems: a folder may hold more, under another limit."""
        if row.problem in wanted():
            tally.add(row)

    with RunDirectory(path, job.configuration(), seen) as run:
        solved = run.solved
        if tally.problems:
            err.print(f"Continuing {path}: {counted(tally.problems, 'problem')} solved already.")

        def keep(solution: Solution | Record) -> Solution | Record:
            kept = run.add(solution)
            if send:
                send(kept.solution() if isinstance(kept, Record) else kept)
            return kept

        await _work(job, job.strategy, solved, tally, account, keep, cluster)
    return _exit_code(job, solved, tally, account)


async def sample_file(job: Job, n: int, path: Path, cluster: Cluster | None = None) -> int:
    """Draw what the pool lacks; return the exit code."""
    drawing(job)
    check_pool(job, path)
    say_surprises([job])
    check_used(cluster, [job.order])
    with _threads(job, cluster) as threads, with_workers(cluster, job) as opened:
        _say(threads)
        return await _sample(opened, n, path)


async def _sample(job: Job, n: int, path: Path) -> int:
    tally = Tally()
    name, backend = drawing(job)
    pool = backends.Recorded(path, backend, origin=job.origin(name), asked=job.asked(name))
    recorded = replace(job, models={**job.models, name: pool})
    account = Account(job.budget)
    drawn: set[str] = set()
    short = 0

    def count(solution: Solution | Record) -> Solution | Record:
        nonlocal short
        row = row_of(solution)
        short += row.lost > 0 and row.final
        return solution

    before = _size(path)
    await _work(recorded, strategies.Vote(n, of=job.strategy), drawn, tally, account, count)
    title = f"{counted(n, 'sample')} of {literal(job.strategy)} on {job.problems.path.name}"
    out.print(summary(tally, title, account, chosen="majority"))
    out.print(f"Kept in {path}; play it with --model {quote(str(path))}", soft_wrap=True)
    if not short and _size(path) == before:
        err.print("Nothing was drawn: the pool held these samples already.")
    if short:
        err.print(
            f"Short of samples: {short:,} of {counted(job.size(), 'problem')}. Run the same command to draw the rest."
        )
    return max(short > 0, _exit_code(job, drawn, tally, account))


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def check_pool(job: Job, path: Path) -> None:
    """Raise `InputError` for a file that `--model` does not take for a pool, or that would be read as problems."""
    if path.suffix.lower() != ".jsonl":
        raise InputError(f"{path}: name a file that ends in .jsonl, so that --model takes it for a pool of samples")
    if would_find(job.problems.path, path):
        raise InputError(f"{path}: lies among the problems of {job.problems.path}: name another place with --out")


def drawing(job: Job) -> tuple[str, Backend]:
    """The name of the model that draws the samples of a pool, and the model. Raises `InputError` for several."""
    writing = {name: model for name, model in job.models.items() if generates(model)}
    first = next(iter(writing))
    named = {leaf.name or first for leaf in find_drawing(job.strategy)} or {first}
    found = {name: model for name, model in writing.items() if name in named}
    if len(found) > 1:
        raise InputError(
            f"{literal(job.strategy)} asks several models, {', '.join(found)}, and a pool keeps the samples of one: "
            "draw a pool for each"
        )
    return next(iter(found.items()))


def _threads(job: Job, cluster: Cluster | None) -> AbstractContextManager[str]:
    """What sets the threads of the engine in this process; workers have engines of their own."""
    return nullcontext("") if cluster else threads_for(job)


def _say(line: str) -> None:
    if line:
        err.print(line, soft_wrap=True)


def say_surprises(jobs: Iterable[Job]) -> None:
    """Say what may surprise about the problems of jobs, each thing once."""
    for line in dict.fromkeys(chain.from_iterable(map(of_problems, jobs))):
        err.print(line, soft_wrap=True)


async def _work(
    job: Job,
    strategy: Generator,
    done: set[str],
    tally: Tally,
    account: Account,
    keep: Callable[[Solution | Record], Solution | Record],
    cluster: Cluster | None = None,
) -> None:
    """Open the models, solve, add to `done`, and show how it goes. Loads nothing where nothing is left to do."""
    left = job.left(done)
    if (first := next(left, None)) is None:
        return
    async with AsyncExitStack() as stack:
        solve = await (_on_workers(job, cluster, stack) if cluster else _here(job, strategy, stack))
        account.start()
        solutions = solve(
            chain([first], left),
            strategy,
            grade=job.grade,
            seed=job.seed,
            account=account,
            concurrency=job.concurrency,
        )
        async with aclosing(solutions), _progress(job, tally, account):
            async for solution in solutions:
                tally.add(row := row_of(keep(solution)))
                done.add(row.problem)


async def _here(job: Job, strategy: Generator, stack: AsyncExitStack) -> Callable[..., Solutions]:
    """What solves problems in this process."""
    await _open(job.models, stack)
    for remark in await remarks(strategy, job.models, job.seed):
        err.print(remark, soft_wrap=True)
    return partial(solve_all, model=job.models)


async def _on_workers(job: Job, cluster: Cluster, stack: AsyncExitStack) -> Callable[..., Solutions]:
    """What solves problems on workers, about which there is a table at the end."""
    assert job.order
    workers = workers_of(cluster, job.order)
    with err.status(f"Starting {counted(cluster.workers, 'worker')} ..."):
        await stack.enter_async_context(workers)
    stack.callback(lambda: out.print(table_of_workers(workers.slots, workers.seconds)))
    return workers.records


def row_of(solution: Solution | Record) -> Solution | SolutionRow:
    """What is counted of a solution."""
    return solution.row if isinstance(solution, Record) else solution


async def _open(models: Mapping[str, AnyBackend], stack: AsyncExitStack) -> None:
    for backend in models.values():
        with err.status(f"Loading {backend.name} ..."):
            await stack.enter_async_context(backend)
        say_missing(backend)
        stack.callback(say_missing, backend, backend.missing)


def say_missing(backend: AnyBackend, known: Sequence[str] = ()) -> None:
    """Print what a backend lacks beside what is known: some servers tell only when they are asked."""
    for what in backend.missing:
        if what not in known:
            err.print(f"{backend.name}: {what}.", soft_wrap=True)


@asynccontextmanager
async def _progress(job: Job, tally: Tally, account: Account) -> AsyncIterator[None]:
    """A live line: problems solved, accuracy so far, speed, samples in flight, time left, what is waited for."""
    size, before = job.size(), tally.problems

    def state() -> str:
        waits = [backend.waits for backend in job.models.values()]
        parts = (*_figures(tally, account), time_left(tally.problems - before, size - tally.problems, account), *waits)
        return ", ".join(filter(None, parts))

    with progress() as bar:
        task = bar.add_task("Solving", total=size, state="")

        async def watch() -> None:
            while True:
                bar.update(task, completed=tally.solved, state=state())
                await asyncio.sleep(0.2)

        async def report() -> None:
            """For those who read a file: a bar is drawn on terminals only."""
            while True:
                await asyncio.sleep(LINE_SECONDS)
                err.print(f"{tally.solved:,} of {counted(size, 'problem')} solved, {state()}.", soft_wrap=True)

        watcher = asyncio.create_task(watch() if err.is_terminal else report())
        try:
            yield
        finally:
            watcher.cancel()


def _figures(tally: Tally, account: Account) -> Iterator[str]:
    if tally.judged:
        yield f"{tally.accuracy.value:.1%} right"
    yield f"{_speed(account):,.0f} tokens/s"
    yield f"{account.in_flight:,} in flight"
    if tally.failed:
        yield f"{tally.failed:,} failed ({tally.reason()[0][:REASON]})"


def time_left(done: int, left: int, account: Account) -> str:
    """How long what is left takes at the pace of what this call has done; empty before the first and after the last."""
    if not (done and left > 0):
        return ""
    seconds = account.seconds() * left / done
    unit, name = next((unit for unit in ((3600, "h"), (60, "min")) if seconds >= 2 * unit[0]), (1, "s"))
    return f"about {seconds / unit:,.0f} {name} left"


def _speed(account: Account) -> float:
    """Completion tokens per second, without those that are estimates."""
    spent = account.spent
    return max(0, spent.completion_tokens - spent.estimated_tokens) / max(account.seconds(), 1e-9)


def summary(tally: Tally, title: str, account: Account, chosen: str = "accuracy") -> Table:
    """The table at the end of a run; `chosen` is what to call the accuracy of the answers returned."""
    usage = tally.usage
    table = Table(title=title, title_justify="left", show_header=False)
    apart = "".join(f", {n:,} {what}" for n, what in ((tally.failed, "failed"), (tally.unfinished, "unfinished")) if n)
    table.add_row("problems", f"{tally.problems:,}" + apart)
    if tally.judged:
        table.add_row(chosen, _share(tally.accuracy))
    elif not (tally.unjudged or tally.unfinished):
        table.add_row(chosen, "not known: no problem has a reference answer or tests")
    if tally.samples > 1:
        table.add_row("one sample", f"{tally.single:.1%}  mean of the {tally.samples:.4g} samples it chose from")
        if not isnan(tally.gained):
            where = (
                "" if tally.sampled == tally.judged else f", on the {counted(tally.sampled, 'problem')} with samples"
            )
            table.add_row("gained", f"{100 * tally.gained:+.1f} points over one sample{where}")
        table.add_row("coverage", f"{_share(tally.coverage)}: some sample is right")
    if ungraded := tally.without_grade():
        table.add_row("not graded", ungraded)
    if unscored := tally.without_verdict():
        table.add_row("no verdict", unscored)
    if unrevised := tally.without_revision():
        table.add_row("not revised", unrevised)
    if silent := tally.silence():
        table.add_row("no answer", silent)
    table.add_row("tokens", f"{usage.tokens:,}")
    table.add_row("  prompt", f"{usage.prompt_tokens:,}, of them {usage.cached_tokens:,} cached")
    table.add_row("  completion", f"{usage.completion_tokens:,}")
    table.add_row("  verifier", f"{usage.verifier_tokens:,}")
    if usage.estimated_tokens:
        table.add_row("  estimated", f"{usage.estimated_tokens:,} of the tokens: no count came back for them")
    if usage.all_flops:
        verifier = f", of them {usage.verifier_flops:.3g} by verifiers" if usage.verifier_flops else ""
        table.add_row("FLOPs", f"{usage.all_flops:.4g}{verifier}")
    if usage.all_cost:
        verifier = f", of them {usage.verifier_cost / PARTS:.3g} by verifiers" if usage.verifier_cost else ""
        table.add_row("money", f"{usage.money:.4g}{verifier}")
    if account.spent.calls:
        seconds = account.seconds()
        late = f", {account.overshoot():,.1f} s past the limit" if account.overshoot() else ""
        table.add_row("wall time", f"{seconds:,.1f} s{late}, {_speed(account):,.0f} completion tokens/s")
    why = f"  {tally.losses.most_common(1)[0][0]}" if tally.lost and tally.losses else ""
    table.add_row("samples lost", f"{tally.lost:,}{why}")
    return table


def _share(share: Share) -> str:
    low, high = share.interval()
    return f"{share.value:.1%}  [{low:.1%}, {high:.1%}]  ({share.count} of {share.total})"


def _exit_code(job: Job, done: set[str], tally: Tally, account: Account) -> int:
    """1 if problems are left for another call, else 0."""
    if left := sum(1 for _ in job.left(done)):
        why = " because the budget is spent" if account.refused else ""
        err.print(f"Not begun{why}: {left:,} of {counted(job.size(), 'problem')}. Run the same command to continue.")
    if tally.unfinished:
        cut = f"Unfinished because the budget is spent: {tally.unfinished:,} of {counted(job.size(), 'problem')}"
        many = min(tally.unfinished, job.concurrency) > 1
        fewer = "; with a lower --concurrency, fewer are left unfinished" if many else ""
        err.print(f"{cut}. Run the same command to solve them again{fewer}.", soft_wrap=True)
    if tally.failed:
        reason, count = tally.reason()
        failed = (
            f"Failed: {tally.failed:,} of {counted(job.size(), 'problem')}, {count:,} of them for this reason: {reason}"
        )
        err.print(f"{failed}. Run the same command to try them again.", soft_wrap=True)
    return 1 if left or tally.failed or tally.unfinished else 0
