"""How good the choices of `metagen choose` are: regret, and how often its intervals hold the truth.

    python benchmarks/studies/choose.py POOL [--problems FILE] [--sizes 50 --sizes 100] [--samples 16] [--draws 100]
    python benchmarks/studies/choose.py puzzles.csv

POOL is what `metagen sample` keeps, beside the file of its problems; lines of `{"gold", "trajectories": [{"answer",
"n_tokens", "logprob"}]}`; or lines of `{"pred": [answers], "score": [right], "pred_score": [[logit]]}`. The truth is
what each strategy gives on all problems and samples. A draw takes some of the problems, with replacement, and some of
their samples, without, and chooses for the cost of 2.5, 5 and 10 samples. Where every sample of a problem is taken,
half of the problems are held out too: the choice is made on one half and judged on the other.

puzzles.csv has a row a run: `task`, `item`, `model`, `strategy`, `success`, `tokens_in`, `tokens_out`. Each pair of
model and strategy is chosen from by 20 items of a task, for three budgets, and is judged on all items.
"""

import csv
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer

from metagen import ProblemFile, canonical
from metagen.analysis.arms import Pool, Unit, Verdicts, arms, pool_of
from metagen.analysis.choice import best_within, choose
from metagen.analysis.curve import Samples
from metagen.analysis.intervals import Array, Index
from metagen.analysis.reading import LIKELIHOOD, gather

LOOSE = 0.005
"""The Monte Carlo error of votes, where a draw of problems errs far more."""
MULTIPLES = (2.5, 5, 10)
"""Budgets, in the cost of one sample; none is just that of a vote."""
ITEMS, BUDGETS = 20, 3
"""Items that choose, and budgets: each in one of the widest gaps between the costs of the arms. A budget that is just
what an arm costs is a toss-up, since 20 items do not tell whether the arm is within it."""

HEAD = """| problems | budget | best | regret | coverage | error of it | of the best mean | over budget |
|---|---|---|---|---|---|---|---|"""


class Table(NamedTuple):
    """[P, C] each."""

    values: Array
    costs: Array


class Outcome(NamedTuple):
    regret: float
    covered: bool
    error: float
    """Of the accuracy that is printed."""
    apparent: float
    """Of the mean on the problems that chose."""
    over: bool
    """Whether the choice costs more than the budget on all problems."""


def main(
    source: Path,
    problems: Path | None = None,
    sizes: Annotated[list[int] | None, typer.Option(help="Problems of a draw.")] = None,
    samples: int = 16,
    draws: int = 100,
) -> None:
    if source.suffix == ".csv":
        puzzles(source, draws)
        return
    pool = read(source, problems)
    whole = pool.samples.n <= samples
    truth = table(pool, min(samples, pool.samples.n))
    print(f"{pool.samples.problems} problems x {pool.samples.n} samples, {truth.values.shape[1]} strategies\n")
    print(HEAD)
    for size in sizes or [each for each in (50, 100, 200) if each <= pool.samples.problems]:
        drawn = [table_of(pool, truth, size, samples, seed, whole=whole) for seed in range(draws)]
        for multiple in MULTIPLES:
            budget = multiple * float(truth.costs[:, 0].mean()) * (1 + 1e-9)
            best = truth.values.mean(0)[best_within(truth.values.mean(0), truth.costs.mean(0), budget)]
            print(line(str(size), multiple, best, [outcome(each, truth, budget) for each in drawn]), flush=True)
    if whole:
        halves(truth, draws)


def line(name: str, multiple: object, best: float, found: list[Outcome]) -> str:
    regret, covered, error, apparent, over = (np.array(each) for each in zip(*found, strict=True))
    points = f"{100 * regret.mean():.2f} ± {100 * regret.std() / len(regret) ** 0.5:.2f}"
    return (
        f"| {name} | {multiple} | {100 * best:.1f} | {points} | {100 * covered.mean():.0f} % "
        f"| {100 * error.mean():+.2f} | {100 * apparent.mean():+.2f} | {100 * over.mean():.0f} % |"
    )


def outcome(drawn: Table, truth: Table, budget: float, width: float = 1.0) -> Outcome:
    """The choice from a draw, beside the truth; `width` widens the interval where the truth is an estimate too."""
    found = choose(*drawn, budget)
    means = truth.values.mean(0)
    worth = float(means[found.place])
    best = float(means[best_within(means, truth.costs.mean(0), budget)])
    estimate = found.accuracy
    low, high = (estimate.value + width * (end - estimate.value) for end in (estimate.low, estimate.high))
    is_over = float(truth.costs[:, found.place].mean()) > budget
    return Outcome(best - worth, low <= worth <= high, estimate.value - worth, found.apparent - worth, is_over)


def halves(truth: Table, draws: int) -> None:
    """Choose on half of the problems, and judge on the other half.

    The accuracy on the held-out half varies as much as that on the half that chose, so the interval is √2 as wide.
    """
    problems = len(truth.values)
    for multiple in MULTIPLES:
        budget, found = multiple * float(truth.costs[:, 0].mean()) * (1 + 1e-9), []
        for seed in range(draws):
            order = np.random.default_rng(seed).permutation(problems)
            ours, held = (Table(*(each[rows] for each in truth)) for rows in np.array_split(order, 2))
            found.append(outcome(ours, held, budget, 2**0.5))
        best = truth.values.mean(0)[best_within(truth.values.mean(0), truth.costs.mean(0), budget)]
        print(line(f"half of {problems}, judged on the other", multiple, best, found), flush=True)


def table(pool: Pool, most: int, error: float = 0.001) -> Table:
    """What each strategy that can be used gives and costs; in tokens, or in samples where there are no tokens."""
    found = [arm for arm in arms(pool, error=error, most=most) if not arm.is_bound]
    unit: Unit = "tokens" if "tokens" in found[0].costs else "samples"
    return Table(np.stack([arm.played.right for arm in found], 1), np.stack([arm.costs[unit] for arm in found], 1))


def table_of(pool: Pool, truth: Table, size: int, samples: int, seed: int, *, whole: bool) -> Table:
    """The same from some problems, drawn with replacement, and some samples of each, without."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(pool.samples.problems, size=size)
    if whole:
        return Table(truth.values[rows], truth.costs[rows])
    places = rng.permuted(np.broadcast_to(np.arange(pool.samples.n), (size, pool.samples.n)), axis=1)[:, :samples]
    return table(drawn_from(pool, rows, places), samples, LOOSE)


def drawn_from(pool: Pool, rows: Index, places: Index) -> Pool:
    """Some problems with some of the samples of each."""
    some = pool.samples.of(rows)
    groups, right = np.take_along_axis(some.groups, places, 1), np.take_along_axis(some.right, places, 1)
    tokens = None if some.tokens is None else np.take_along_axis(some.tokens, places, 1)
    verdicts = [Verdicts(each.by, np.take_along_axis(each.scores[rows], places, 1)) for each in pool.verifiers]
    return pool_of(Samples(groups, right, tokens=tokens, prompts=some.prompts), verdicts)


def read(source: Path, problems: Path | None) -> Pool:
    if problems:
        found = gather(source, ProblemFile(problems))
        scores = found.samples.scores
        weighs = scores is not None and found.scored_by != LIKELIHOOD
        return pool_of(found.samples, [Verdicts("V()", scores)] if weighs and scores is not None else [])
    rows = [json.loads(text) for text in source.read_text().splitlines()]
    return trajectories(rows) if "trajectories" in rows[0] else rewards(rows)


def trajectories(rows: list[dict[str, Any]]) -> Pool:
    drawn = [row["trajectories"] for row in rows]
    keys = [[canonical(one["answer"]) if one["answer"] else None for one in each] for each in drawn]
    right = np.array([[key == canonical(row["gold"]) for key in each] for row, each in zip(rows, keys, strict=True)])
    tokens, logprobs = (np.array([[one[name] for one in each] for each in drawn]) for name in ("n_tokens", "logprob"))
    samples = Samples(np.array([numbered(each) for each in keys]), right, tokens=tokens)
    return pool_of(samples, [Verdicts("Sigmoid(MeanLogprob())", 1 / (1 + np.exp(-logprobs)))])


def rewards(rows: list[dict[str, Any]]) -> Pool:
    groups = np.array([numbered([canonical(each) if each else None for each in row["pred"]]) for row in rows])
    logits = np.array([[each[0] for each in row["pred_score"]] for row in rows])
    samples = Samples(groups, np.array([row["score"] for row in rows], np.bool_))
    return pool_of(samples, [Verdicts("Sigmoid(RecordedScore())", 1 / (1 + np.exp(-logits)))])


def numbered(keys: list[str | None]) -> list[int]:
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys)) if key is not None}
    return [-1 if key is None else numbers[key] for key in keys]


def puzzles(source: Path, draws: int) -> None:
    print(
        "| task | arms | budget | best | regret | coverage of 95 % | error of the estimate | of the mean that chose |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for task, names, found in tasks(source):
        means, costs = found.values.mean(0), found.costs.mean(0)
        for budget in between(costs):
            outcomes = []
            for seed in range(draws):
                rows = np.random.default_rng(seed).choice(len(found.values), ITEMS, replace=False)
                outcomes.append(outcome(Table(found.values[rows], found.costs[rows]), found, budget))
            best = best_within(means, costs, budget)
            print(line(f"{task} | {len(names)}", f"{budget:,.0f} tokens: {names[best]}", means[best], outcomes))


def between(costs: Array) -> list[float]:
    """The middles of the widest gaps, on the logarithm of the cost; the last is above all."""
    logs = np.sort(np.log([*costs, 2 * costs.max()]))
    widest = np.sort(np.argsort(-np.diff(logs), kind="stable")[:BUDGETS])
    return [float(each) for each in np.exp((logs[widest] + logs[widest + 1]) / 2)]


def tasks(source: Path) -> Iterator[tuple[str, list[str], Table]]:
    """By task: its arms, and what each gives and costs on the items that all of them have; means over repeats."""
    cells: dict[str, dict[str, dict[str, list[tuple[float, float]]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    with source.open(newline="") as file:
        for row in csv.DictReader(file):
            spent = float(row["tokens_in"] or 0) + float(row["tokens_out"] or 0)
            cells[row["task"]][f"{row['model']} {row['strategy']}"][row["item"]].append((float(row["success"]), spent))
    for task, by_arm in sorted(cells.items()):
        most = max(map(len, by_arm.values()))
        names = sorted(name for name, items in by_arm.items() if len(items) == most)
        items = sorted(set.intersection(*(set(by_arm[name]) for name in names)))
        both = np.array([[np.mean(by_arm[name][item], 0) for name in names] for item in items])
        yield task, names, Table(both[..., 0], both[..., 1])


if __name__ == "__main__":
    typer.run(main)
