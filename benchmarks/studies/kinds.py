"""Whether votes over other kinds of answers come to what votes over mathematics do, on the same samples.

    metagen sample metagen/data/evaluation.jsonl --n 8 --seed 0 --out POOL.jsonl
    python benchmarks/studies/kinds.py metagen/data/evaluation.jsonl POOL.jsonl [--n 8]

Each problem with samples, whose answer is a number, is recast: as a number (`Number`), as a choice among the different
answers of its samples and its reference (`Choice`), and as one of these as labels (`Label`). The samples are played,
and each vote is graded by its own kind.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from string import ascii_letters, digits

import typer

from metagen import Choice, Label, Number, Problem, ProblemFile, Recorded, Vote, canonical, extract, solve_all
from metagen.answers.protocol import Answers
from metagen.disk.pool import read_samples

LETTERS = ascii_letters[26:] + digits
Recast = Callable[[Problem, list[str]], Problem]


def main(problems: Path, pool: Path, n: int = 8) -> None:
    """Report the accuracy of the vote for each kind."""
    drawn = {sample.id for _, _, sample in read_samples(pool)}
    asyncio.run(report([problem for problem in ProblemFile(problems) if problem.id in drawn], pool, n))


async def report(problems: list[Problem], pool: Path, n: int) -> None:
    given: dict[str, dict[str, None]] = {problem.id: {canonical(problem.answer or ""): None} for problem in problems}
    for _, _, sample in read_samples(pool):
        if (answer := extract(sample.text, finished=sample.end != "length")) is not None:
            given[sample.id].setdefault(canonical(answer))
    values = {name: list(keys) for name, keys in given.items()}
    recasts: dict[str, Recast] = {
        "Maths": lambda problem, _: problem,
        "Number": lambda problem, _: replace(problem, answers=Number()),
        "Choice": lambda problem, keys: replace(problem, answer=LETTERS[0], answers=choice(keys)),
        "Label": lambda problem, keys: replace(problem, answer=keys[0], answers=label(keys)),
    }
    for name, recast in recasts.items():
        asked = [recast(problem, values[problem.id]) for problem in problems]
        solutions = [each async for each in solve_all(asked, Vote(n), Recorded(pool))]
        right, silent = sum(each.correct is True for each in solutions), sum(each.unanswered for each in solutions)
        print(f"{name}: {right} of {len(solutions)} right, {silent} of {len(solutions) * n} samples without an answer")


def choice(keys: list[str]) -> Answers:
    """The reference is the first choice: no reply sees the letters."""
    texts = keys if len(keys) > 1 else [*keys, "none of them"]
    return Choice(LETTERS[: len(texts)], texts=tuple(texts))


def label(keys: list[str]) -> Answers:
    return Label(*keys, "none of them")


if __name__ == "__main__":
    typer.run(main)
