"""Demonstrations that a program makes for itself: its own traces, where the answer came out right."""

from collections.abc import Iterable, Iterator
from contextlib import aclosing
from dataclasses import replace

from metagen.budget import Account
from metagen.errors import InputError
from metagen.problem import Problem
from metagen.prompts import Trace
from metagen.settings import literal, require_whole
from metagen.solution import Solution
from metagen.solve import Models, as_problems, solve_all
from metagen.strategies import DSP


async def bootstrap(
    program: DSP,
    problems: Iterable[Problem | str],
    models: Models,
    *,
    limit: int = 2,
    tries: int = 1,
    seed: int | None = None,
    account: Account | None = None,
) -> DSP:
    """The program with up to `limit` demonstrations, bootstrapped from training problems with reference answers.

    (The demonstrate stage of DSP; Khattab et al. 2022, section 3.2.) The program runs on all of them, and the traces
    whose answers equal the reference are kept: the first ones, in the order of the problems. Where fewer than `limit`
    are right, the problems are tried again, up to `tries` times, each time with another seed.
    """
    if not isinstance(program, DSP):
        raise InputError(f"bootstrap: makes the demonstrations of a DSP(...), not of {literal(program)}")
    require_whole(program, limit=limit, tries=tries)
    every = list(as_problems(problems))
    if lacking := [problem.id for problem in every if problem.answer is None]:
        raise InputError(f"problem {lacking[0]!r} has no reference answer, and a demonstration is one that is right")
    right: dict[str, Trace] = {}
    for attempt in range(tries):
        left = [problem for problem in every if problem.id not in right]
        again = None if seed is None else seed + attempt
        async with aclosing(solve_all(left, program, models, seed=again, account=account)) as solutions:
            async for solution in solutions:
                if solution.correct:
                    right[solution.problem] = _trace(solution, every)
        if len(right) >= limit:
            break
    kept = [right[problem.id] for problem in every if problem.id in right]
    return replace(program, shots=tuple(kept[:limit]))


def _trace(solution: Solution, problems: Iterable[Problem]) -> Trace:
    question = next(problem.prompt for problem in problems if problem.id == solution.problem)
    return question, tuple(_hops(solution)), solution.text.strip()


def _hops(solution: Solution) -> Iterator[tuple[str, str]]:
    """Each query with what it found, from the spans of the tool's calls."""
    for span in solution.trace.walk():
        if span.call and span.call.output is not None:
            yield span.call.input, span.call.output
