"""What the user should know as a run starts: nothing is wrong, and something may surprise."""

from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import chain
from typing import Any

from metagen.backends import OpenAIServer, Recorded, Scripted
from metagen.backends.http.hardware import REMEDY
from metagen.backends.wrapper import Passing, innermost
from metagen.disk.fields import named_in
from metagen.jobs.job import Job
from metagen.leaves import find_leaves
from metagen.request import AnyBackend, Backend, generates
from metagen.run import Generator
from metagen.settings import counted


def of_problems(job: Job) -> Iterator[str]:
    """What may surprise about a file of problems: fields that nothing reads, and answers that are none."""
    name, contents = job.problems.path.name, job.contents
    if contents.unused:
        yield f"{name}: these fields are not used: {named_in(contents.unused)}."
    if contents.blank:
        yield (
            f"{name}: the answer of {contents.blank:,} of {counted(contents.total, 'problem')} is none, such as NaN or "
            "a solution without its result: they are solved, and count in no accuracy."
        )
    if contents.several:
        yield (
            f"{name}: the answer of {contents.several:,} of {contents.total:,} problems is a list: what equals any of "
            "its texts is right."
        )


async def remarks(strategy: Generator, models: Mapping[str, AnyBackend], seed: int | None = None) -> list[str]:
    """What may surprise about opened models: servers that are away, replies without a limit, an end by a seed."""
    by_seeds = [] if seed is None else [line async for line in _ended_by_seeds(models)]
    return [*servers_away(models), *_without_limit(strategy, models), *by_seeds]


def servers_away(models: Mapping[str, AnyBackend]) -> Iterator[str]:
    """Which of several servers of opened models are left out, and why."""
    for backend in models.values():
        for several in _within(backend):
            away: tuple[str, ...] = getattr(several, "away", ())
            if away and not isinstance(several.of[0], Passing):  # workers that start late are no news
                yield from (f"{backend.name}: a server is left out until it answers: {why}." for why in away)


def _without_limit(strategy: Generator, models: Mapping[str, AnyBackend]) -> Iterator[str]:
    first = next((name for name, backend in models.items() if generates(backend)), "")
    unlimited = dict.fromkeys(leaf.name or first for leaf in find_leaves(strategy) if leaf.max_tokens is None)
    for name in unlimited:
        backend = models.get(name)
        if backend is not None and generates(backend) and _writes(backend):
            yield (
                f"{backend.name}: no max_tokens is set, so a reply may run to the end of the context, "
                f"{backend.context:,} tokens; to limit it, write Model({_quoted(name, first)}max_tokens=1024) in the "
                "strategy."
            )


async def _ended_by_seeds(models: Mapping[str, AnyBackend]) -> AsyncIterator[str]:
    for server in chain.from_iterable(map(_within, models.values())):
        if isinstance(server, OpenAIServer) and await server.seems_cpu():
            yield f"{server.name}: it seems to be vLLM on a CPU, where a request with --seed can end it: {REMEDY}."


def _within(backend: Any) -> Iterator[Any]:
    """A backend, and those that it asks again, balances, or keeps the samples of."""
    yield backend
    of = getattr(backend, "of", None)
    for each in of if isinstance(of, tuple) else () if of is None else (of,):
        yield from _within(each)


def _writes(backend: Backend) -> bool:
    """Whether it asks a model, and does not play what is written already."""
    if isinstance(pool := innermost(backend), Recorded):
        return pool.of is not None and _writes(pool.of)
    return not isinstance(backend, Scripted)


def _quoted(name: str, first: str) -> str:
    return "" if name == first else f'"{name}", '
