"""Weights of verifiers, learned from samples of problems with references."""

from collections.abc import Iterable, Sequence
from contextlib import aclosing
from math import isfinite

import numpy as np

from metagen.budget import Account
from metagen.errors import InputError, SampleError
from metagen.problem import Problem
from metagen.run import Generator, Run, Verifier
from metagen.settings import require_whole
from metagen.solve import Models, map_problems
from metagen.strategies.choosing import values
from metagen.verifiers.grading import grades
from metagen.verifiers.learned import Fit, Learned, fit

Row = tuple[list[float], bool]


async def learn_weights(
    verifiers: Sequence[Verifier],
    problems: Iterable[Problem],
    models: Models,
    *,
    n: int = 8,
    of: Generator | None = None,
    grade: Verifier | None = None,
    seed: int | None = None,
    account: Account | None = None,
) -> tuple[Learned, Fit]:
    """The verifier that joins these by learned weights, and how well it predicts problems that were held out.

    Of each problem n samples are drawn, from `of` or the first model; with `Recorded(pool)` they are those of a pool.
    `grade`, else the problem's own oracle, says which are right. Samples that lack a verdict, or have an infinite one,
    are left out. Raises `InputError` if too few are left, and the error of a problem if all were lost.
    """
    verifiers = tuple(verifiers)
    probe = Learned(*verifiers, weights=(0.0,) * len(verifiers))
    require_whole(probe, n=n)

    async def judged(problem: Problem, run: Run) -> list[Row]:
        candidates = await run.sample(of, problem, n)
        verdicts = [values(await run.score(by, problem, candidates)) for by in verifiers]
        right = await grades(grade, problem, candidates, run)
        rows = zip(zip(*verdicts, strict=True), right, strict=True)
        return [
            ([v for v in row if v is not None and isfinite(v)], is_right)
            for row, is_right in rows
            if is_right is not None
        ]

    every: dict[str, list[Row]] = {}
    lost: SampleError | None = None
    async with aclosing(map_problems(judged, problems, models, seed=seed, account=account)) as results:
        async for problem, result in results:
            if isinstance(result, SampleError):
                lost = result
            else:
                every[problem.id] = [row for row in result if len(row[0]) == len(verifiers)]
    if not any(every.values()):
        raise lost or InputError("learn_weights: no sample has all verdicts and is known to be right or wrong")
    groups = [number for number, name in enumerate(sorted(every)) for _ in every[name]]
    rows = [row for name in sorted(every) for row in every[name]]
    found = fit(np.array([row[0] for row in rows]), np.array([float(row[1]) for row in rows]), np.array(groups, float))
    return Learned(*verifiers, weights=found.weights, bias=found.bias), found
