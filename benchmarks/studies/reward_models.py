"""How well reward models know right from wrong, and what choosing by them is worth: step AUC, and accuracy against m.

    python benchmarks/studies/reward_models.py POOL.jsonl MODEL... [--problems 200] [--pictures docs/pictures]

POOL is what `metagen sample metagen/data/evaluation.jsonl --n 64 --out POOL.jsonl` keeps. The truth about each step is
recomputed: the problems are drawn again, with their operations, and a step is good up to the first one that departs
from the right solution. Scores are those of the folders MODEL, in torch, one a sample: that of its lowest step.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer

from metagen.analysis.curve import Curve, Samples
from metagen.analysis.over_optimisation import over_optimised
from metagen.analysis.plots import draw
from metagen.analysis.rules import all_rules, powers_of_two
from metagen.candidate import steps_of
from metagen.train.labels import samples_of
from metagen.train.metrics import auc, calibration_error
from metagen.train.rewards import Example, ProcessRewardModel, collate, encode, tokenizer_of

sys.path.insert(0, str(Path(__file__).parents[2]))
from recipes.problems.arithmetic import answer_of, first_error
from recipes.problems.problem_sets import problem_set
from recipes.problems.words import WordProblem

LONGEST = 1024
"""Tokens of the longest sample that is scored; longer ones never end well, and score 0."""
TOGETHER = 64
"""Samples that are scored in one batch."""


class Told(NamedTuple):
    """A sample, and the truth about it."""

    prompt: str
    steps: tuple[str, ...]
    good: tuple[float, ...]
    answer: int | None
    right: bool


def main(
    pool: Path,
    models: list[Path],
    problems: Annotated[int, typer.Option(help="So many of the 500.")] = 500,
    samples: Annotated[int, typer.Option(help="So many of each.")] = 64,
    pictures: Annotated[Path | None, typer.Option(help="A folder for the curves.")] = None,
) -> None:
    torch.set_num_threads(1)
    drawn, rows = samples_of(pool), []
    for number, problem in enumerate(problem_set("evaluation", problems, seed=0), 1):
        texts = drawn.get(f"eval-{number:04}", [])[:samples]
        if len(texts) == samples:
            rows.append([told(text, problem) for text in texts])
    panels = {}
    for model in models:
        scores = scored(model, [sample for row in rows for sample in row])
        arrays = Samples(
            groups_of(rows), np.array([[each.right for each in row] for row in rows]), lowest(scores, rows)
        )
        panels[model.name] = curves = all_rules(arrays, powers_of_two(arrays.n))
        show(model.name, scores, curves)
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
        draw(panels, pictures)


def show(name: str, scores: Mapping[Told, Sequence[float]], curves: Mapping[str, Curve]) -> None:
    """Print how well the steps of the distinct samples are distinguished, and each curve with its intervals."""
    steps = [score for each in scores.values() for score in each]
    good = [label for sample in scores for label in sample.good]
    print(f"{name}: step AUC {auc(steps, good):.3f}, calibration error {calibration_error(steps, good):.3f}, ", end="")
    whole = [min(each) for each in scores.values()]
    print(f"outcome AUC {auc(whole, [sample.right for sample in scores]):.3f}, over {len(scores)} distinct samples")
    for rule, curve in curves.items():
        low, high = curve.interval()
        spans = zip(curve.ks, 100 * curve.means, 100 * low, 100 * high, strict=True)
        print(f"  {rule}: " + ", ".join(f"{k}: {mean:.1f} [{a:.1f}, {b:.1f}]" for k, mean, a, b in spans))
        if fall := over_optimised(curve):
            print(f"  {rule} is best at {fall.best}, and worse from {fall.worse_from} on: {100 * fall.difference:.1f}")


def lowest(scores: Mapping[Told, Sequence[float]], rows: Sequence[Sequence[Told]]) -> np.ndarray:
    """[P, n]: the score of each sample's lowest step; 0 where there is none."""
    return np.array([[min(scores.get(sample, ()), default=0.0) for sample in row] for row in rows])


def told(text: str, problem: WordProblem) -> Told:
    """A sample with the truth about its steps: good up to the first that departs; the last is bad if the answer is."""
    steps, right = steps_of(text), answer_of(text) == problem.right.answer
    error = first_error(text, problem.right)
    good = len(steps) if error is None else error
    good = min(good, len(steps) - (not right))
    return Told(problem.text, steps, tuple(float(at < good) for at in range(len(steps))), answer_of(text), right)


def groups_of(rows: Sequence[Sequence[Told]]) -> np.ndarray:
    """[P, n]: equal numbers for equal answers, −1 for none."""
    return np.array([[-1 if sample.answer is None else sample.answer for sample in row] for row in rows])


def scored(folder: Path, samples: Sequence[Told]) -> dict[Told, list[float]]:
    """The scores of the steps of each distinct sample that has any and fits."""
    tokenizer = tokenizer_of(folder, marked=True)
    model = ProcessRewardModel.over(folder, tokenizer).eval()
    encoded = [
        (sample, encode(tokenizer, Example(sample.prompt, sample.steps, sample.good)))
        for sample in dict.fromkeys(samples)
        if sample.steps
    ]
    encoded = sorted((pair for pair in encoded if len(pair[1].ids) <= LONGEST), key=lambda pair: len(pair[1].ids))
    found: dict[Told, list[float]] = {}
    for at in range(0, len(encoded), TOGETHER):
        part = encoded[at : at + TOGETHER]
        with torch.no_grad():
            scores = torch.sigmoid(model(collate([item for _, item in part], tokenizer.pad_token_id))).tolist()
        for sample, item in part:
            found[sample], scores = scores[: len(item.places)], scores[len(item.places) :]
    return found


if __name__ == "__main__":
    typer.run(main)
