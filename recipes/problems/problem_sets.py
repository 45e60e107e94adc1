"""Write the problem files that ship with metagen: `python -m recipes.problems.problem_sets`.

Steps go round 2 to 8, and every third problem has a trap, so that any first part of a file is like the whole.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

import typer

from metagen.data import EVALUATION, VALIDATION
from recipes.problems.story import FEWEST_STEPS, MOST_STEPS
from recipes.problems.words import Split, WordProblem, draw, traps_within


def problem_set(split: Split, count: int, seed: int) -> Iterator[WordProblem]:
    """Different problems of a split, with the same shares of steps and traps all along."""
    rng = Random(f"{split} {seed}")
    seen: set[str] = set()
    while len(seen) < count:
        steps = FEWEST_STEPS + len(seen) % (MOST_STEPS - FEWEST_STEPS + 1)
        trap = rng.choice(traps_within(steps)) if len(seen) % 3 == 0 else None
        problem = draw(rng, split, steps, trap)
        if problem.text not in seen:
            seen.add(problem.text)
            yield problem


def as_line(problem: WordProblem, name: str) -> str:
    """A problem as a line of a problem file."""
    right = problem.right
    record = {
        "id": name,
        "prompt": problem.text,
        "answer": str(right.answer),
        "steps": len(right.steps),
        "trap": problem.trap,
    }
    return json.dumps(record)


def write(file: Path, split: Split, prefix: str, count: int, seed: int = 0) -> None:
    """Write a problem file with ids `prefix-0001` and on."""
    problems = enumerate(problem_set(split, count, seed), 1)
    file.write_text("".join(f"{as_line(problem, f'{prefix}-{number:04}')}\n" for number, problem in problems))


def main(
    evaluation: Path = EVALUATION, validation: Path = VALIDATION, training: Path | None = None, count: int = 6000
) -> None:
    """Write the evaluation set (500 problems), the validation set (300), and where a file is named a training set."""
    write(evaluation, "evaluation", "eval", 500)
    write(validation, "validation", "val", 300)
    if training is not None:
        write(training, "training", "train", count)


if __name__ == "__main__":
    typer.run(main)
