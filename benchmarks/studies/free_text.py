"""What votes on whole texts gain: `Medoid` and `Select` beside the vote on answers and one sample.

    python benchmarks/studies/free_text.py POOL.jsonl [--n 8] [--select 4 --model MODEL --problems 50]

POOL has lines of `question`, `gold` and `trajectories`, each with a `text`. `Medoid` reads whole texts here, as it must
where no answer is marked. With `--select N`, the model `--model` also selects one of N samples of each of the first
problems.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import typer

from metagen import Candidate, Medoid, Model, Problem, Request, Scripted, Select, VLLMEngine, solve_all
from metagen.answers.grade import grade
from metagen.answers.kinds import MATHS
from metagen.strategies.choosing import majority, vote_keys
from metagen.strategies.parallel.medoid import medoid
from metagen.strategies.parallel.similarity import NAMED

Choose = Callable[[Sequence[str]], int]


def main(pool: Path, n: int = 8, select: int = 0, model: str = "", problems: int = 50) -> None:
    """Report the accuracy of each way to choose."""
    rows = [json.loads(line) for line in pool.read_text(encoding="utf-8").splitlines()]
    asyncio.run(chosen(rows, n))
    if select:
        asyncio.run(selected(rows[:problems], select, model))


async def right(row: dict[str, Any], texts: Sequence[str]) -> list[bool]:
    return [await grade(MATHS.extract(text), row["gold"]) is True for text in texts]


def voted(texts: Sequence[str]) -> int:
    return majority(vote_keys(Problem("-", "-"), [Candidate((text,)) for text in texts])) or 0


async def chosen(rows: Sequence[dict[str, Any]], n: int) -> None:
    """What pure choices come to."""
    ways: dict[str, Choose] = {"vote": voted}
    ways |= {f"medoid, {name}": partial(medoid, similarity=similarity) for name, similarity in NAMED.items()}
    sums, single = dict.fromkeys(ways, 0.0), 0.0
    for row in rows:
        texts = [each["text"] for each in row["trajectories"][:n]]
        marks = await right(row, texts)
        single += sum(marks) / len(marks)
        for name, choose in ways.items():
            sums[name] += marks[choose(texts)]
    print(f"{len(rows)} problems, {n} samples: one sample {single / len(rows):.1%}", end="")
    print("".join(f"; {name} {total / len(rows):.1%}" for name, total in sums.items()))


async def selected(rows: Sequence[dict[str, Any]], n: int, path: str) -> None:
    """What a model selects, and what it says that nobody can read."""
    texts = {str(number): [each["text"] for each in row["trajectories"][:n]] for number, row in enumerate(rows)}

    def play(request: Request) -> str:
        return str(texts[request.problem][request.draw])

    await chosen(rows, n)
    asked = [Problem(str(number), row["question"], row["gold"]) for number, row in enumerate(rows)]
    by = Model("selector", temperature=0, max_tokens=128)
    async with VLLMEngine(path) as engine:
        models = {"pool": Scripted(play, name="pool", context=10**6), "selector": engine}
        for strategy in (Select(n, of=Model("pool"), by=by), Medoid(n, of=Model("pool"))):
            solutions = [each async for each in solve_all(asked, strategy, models)]
            count, noted = sum(each.correct is True for each in solutions), sum(bool(each.notes) for each in solutions)
            print(f"{strategy}: {count / len(solutions):.1%} of {len(solutions)}, {noted} with a note")


if __name__ == "__main__":
    typer.run(main)
