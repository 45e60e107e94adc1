"""What a fixed number of samples over a whole file gains by going where the votes are in doubt.

    python benchmarks/studies/allocate.py POOL.jsonl [--problems FILE] [--orders 10]

POOL is as for `adaptive.py`. For every order of the samples it is written as a pool of metagen's and played through
`solve_all`: `Vote(n)`, `Allocate(n)` and, for comparison, `Vote(most, until=PredictiveStop(…))`. Means over orders.

Reported is the accuracy of each, what was written and read for it, and the difference to the plain vote at equal tokens
written, interpolated between votes on the logarithm of the cost, with the 95 % interval by a paired bootstrap over
problems.
"""

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from adaptive import Row, of_pool, of_trajectories

from metagen import Allocate, Generator, PredictiveStop, Problem, Recorded, Usage, Vote, canonical, solve_all
from metagen.analysis.compare import at_equal_cost
from metagen.analysis.curve import Curve
from metagen.analysis.intervals import Array
from metagen.settings import literal

PROMPT_TOKENS = 100
"""Of a question, where the pool does not say."""


def main(
    pool: Annotated[Path, typer.Argument(help="Recorded samples, as JSON Lines.")],
    problems: Annotated[Path | None, typer.Option(help="Their problems, for a pool of metagen's.")] = None,
    orders: int = 10,
) -> None:
    rows = list(of_pool(pool, problems) if problems else of_trajectories(pool))
    most = len(rows[0].keys)
    ns = [n for n in (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64) if n <= most]
    print(f"{len(rows)} problems x {most} samples, {orders} orders\n")
    print("| strategy | accuracy | written | read | points over an equal vote [95 %] |\n|---|---|---|---|---|")
    with TemporaryDirectory() as folder:
        pools = [recorded(rows, order, Path(folder) / f"{order}.jsonl") for order in range(orders)]
        votes = [measured(rows, pools, Vote(n)) for n in ns]
        plain = Curve("vote", tuple(ns), *columns([(right, written) for right, written, _ in votes]))
        for n, vote in zip(ns, votes, strict=True):
            print(line(Vote(n), vote, None))
        allocated: list[Generator] = [Allocate(n, most=most) for n in ns if n < most]
        stopped: list[Generator] = [Vote(most, until=PredictiveStop(threshold)) for threshold in (0.8, 0.85, 0.9, 0.95)]
        for strategy in (*allocated, *stopped):
            print(line(strategy, measured(rows, pools, strategy), plain), flush=True)


def recorded(rows: list[Row], order: int, path: Path) -> Recorded:
    """The samples in a random order, the same for all strategies, as a pool whose texts are answers."""
    path.write_text("".join(json.dumps(each) + "\n" for each in samples(rows, order)))
    return Recorded(path)


def samples(rows: list[Row], order: int) -> Iterator[dict[str, object]]:
    """The lines of a pool."""
    for number, row in enumerate(rows):
        places = list(range(len(row.keys)))
        random.Random(order).shuffle(places)
        for draw, place in enumerate(places):
            key = row.keys[place]
            text = "" if key is None else f"The answer is \\boxed{{{key}}}"
            asked = {"problem": str(number), "prompt": str(number), "prompt_tokens": PROMPT_TOKENS}
            yield asked | {"draw": draw, "text": text, "tokens": row.tokens[place]}


def measured(rows: list[Row], pools: list[Recorded], strategy: Generator) -> tuple[Array, Array, Array]:
    """([P], [P], [P]): how often each problem is right, and the tokens written and read for it: means over orders."""
    right, usages = zip(*(asyncio.run(play(rows, pool, strategy)) for pool in pools), strict=True)
    written = np.mean([[usage.completion_tokens for usage in each] for each in usages], 0)
    read = np.mean([[usage.prompt_tokens for usage in each] for each in usages], 0)
    return np.mean(right, 0), written, read


async def play(rows: list[Row], pool: Recorded, strategy: Generator) -> tuple[list[bool], list[Usage]]:
    """Which problems come out right, and what each spends."""
    problems = [Problem(str(number), str(number)) for number in range(len(rows))]
    found = {each.problem: each async for each in solve_all(problems, strategy, pool)}
    solutions = [found[str(number)] for number in range(len(rows))]
    keys = [None if each.answer is None else canonical(each.answer) for each in solutions]
    return [key == row.right for key, row in zip(keys, rows, strict=True)], [each.usage for each in solutions]


def line(strategy: Generator, of: tuple[Array, Array, Array], plain: Curve | None) -> str:
    right, written, read = of
    shown = f"| `{literal(strategy)}` | {100 * right.mean():.2f} | {written.mean():,.0f} | {read.mean():,.0f} |"
    if plain is None:
        return f"{shown} |"
    found = at_equal_cost(plain, Curve("one", (1,), *columns([(right, written)])))
    if not found:
        return f"{shown} |"
    gain = found[0].difference
    return f"{shown} {100 * gain.value:+.2f} [{100 * gain.low:+.2f}, {100 * gain.high:+.2f}] |"


def columns(points: list[tuple[Array, Array]]) -> tuple[Array, Array, Array]:
    """Values, variances and costs of a curve: [P, K] each."""
    values, costs = (np.stack(part, axis=1) for part in zip(*points, strict=True))
    return values, np.zeros_like(values), costs


if __name__ == "__main__":
    typer.run(main)
