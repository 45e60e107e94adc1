"""`Learned` beside `Mean` and each verifier alone, on recorded scores of many reward models.

    python benchmarks/studies/learned.py rewardmath.jsonl

A row holds the scores of several reward models for ten solutions, the first of which is right. A scorer that scores
each step counts by its lowest. The weights are learned on four fifths of the problems and judged on the last fifth,
five times. Printed is how often the right solution has the highest score of all ten, with its 95 % interval over
problems, and the difference to the best single one.
"""

import json
from pathlib import Path

import numpy as np
import typer

from metagen.analysis.compare import difference
from metagen.verifiers.learned import FOLDS, Array, fit

SOLUTIONS = 10


def is_scorer(scores: object) -> bool:
    """Whether these are scores of the solutions; judges that compare pairs have none."""
    return isinstance(scores, list) and len(scores) == SOLUTIONS


def read(path: Path) -> tuple[list[str], Array]:
    """The scorers that all rows have, and their scores [problems, solutions, scorers]."""
    rows = [json.loads(line)["scores"] for line in path.read_text().splitlines()]
    names = sorted(name for name in rows[0] if all(is_scorer(row.get(name)) for row in rows))

    def number(score: float | list[float] | None) -> float:
        if isinstance(score, list):
            return min(score, default=np.nan)
        return np.nan if score is None else score

    every = np.array([[[number(score) for score in row[name]] for name in names] for row in rows], float)
    kept = ~np.isnan(every).any((1, 2))
    return names, every[kept].transpose(0, 2, 1)


def first_is_best(scores: Array) -> Array:
    """[problems]: whether the first of [problems, solutions] is above all others."""
    return np.asarray(scores[:, 0] > scores[:, 1:].max(1), float)


def learned(scores: Array) -> Array:
    """[problems, solutions]: the logit of each, by weights that were learned on other problems."""
    problems, solutions, _ = scores.shape
    right = np.tile(np.arange(solutions) == 0, (problems, 1)).astype(float)
    logits = np.empty((problems, solutions))
    folds = np.random.default_rng(0).permutation(problems) % FOLDS
    for fold in range(FOLDS):
        train = folds != fold
        groups = np.repeat(np.arange(train.sum()), solutions)
        found = fit(scores[train].reshape(-1, scores.shape[2]), right[train].ravel(), groups)
        logits[~train] = scores[~train] @ np.array(found.weights)
    return logits


def main(path: Path) -> None:
    names, scores = read(path)
    found = {name: first_is_best(scores[:, :, place]) for place, name in enumerate(names)}
    best = max(found, key=lambda name: float(found[name].mean()))
    flat = scores.reshape(-1, len(names))
    found["Mean"] = first_is_best(scores.mean(2))
    found["Mean, standardised"] = first_is_best(((scores - flat.mean(0)) / flat.std(0)).mean(2))
    found["Learned"] = first_is_best(learned(scores))
    print(f"{len(scores)} problems, the best single one: {best}")
    for name, right in found.items():
        own, apart = difference(np.zeros(len(right)), right), difference(found[best], right)
        shown = [f"{100 * each.value:+.1f} [{100 * each.low:+.1f}, {100 * each.high:+.1f}]" for each in (own, apart)]
        print(f"{name:24} {shown[0]:24} {shown[1]}")


if __name__ == "__main__":
    typer.run(main)
