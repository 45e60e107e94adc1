"""What a vote loses and saves by stopping early: every rule, over recorded samples, with what is in flight counted.

    python benchmarks/studies/adaptive.py POOL.jsonl [--problems FILE] [--orders 40]

POOL is what `metagen sample` keeps, beside the file of its problems, or lines of `{"gold", "trajectories": [{"answer",
"n_tokens"}]}`. For every order of the samples, each rule sees them one by one, as `Vote(n, until=…, window=…)` does.
Samples in flight advance together, a token at a time; at the stop, the unfinished are paid as far as they came.

Reported for each rule and window: accuracy, the points it loses to the majority of all samples (with the 95 % interval
over problems), and its share of their tokens.
"""

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Annotated, NamedTuple

import numpy as np
import typer

from metagen import (
    BetaStop,
    ConsensusStop,
    DirichletStop,
    ExactStop,
    PredictiveStop,
    ProblemFile,
    WindowStop,
    canonical,
    extract,
)
from metagen.analysis.compare import difference
from metagen.strategies.choosing import majority
from metagen.strategies.parallel.stopping import Stop

WINDOWS = (1, 4, 16)
THRESHOLDS = (0.8, 0.85, 0.9, 0.95, 0.99)
RULES: list[Stop] = [
    *(PredictiveStop(threshold) for threshold in THRESHOLDS),
    *(BetaStop(threshold) for threshold in THRESHOLDS),
    *(DirichletStop(threshold) for threshold in THRESHOLDS),
    *(WindowStop(size) for size in (2, 3, 4, 8)),
    *(ConsensusStop(threshold) for threshold in (0.6, 0.8, 0.95)),
    ExactStop(),
]


class Row(NamedTuple):
    """A problem: what each of its samples votes for, how many tokens each has, and what is right."""

    keys: list[str | None]
    tokens: list[int]
    right: str


class Outcome(NamedTuple):
    correct: bool
    tokens: int


def main(
    pool: Annotated[Path, typer.Argument(help="Recorded samples, as JSON Lines.")],
    problems: Annotated[Path | None, typer.Option(help="Their problems, for a pool of metagen's.")] = None,
    orders: int = 40,
) -> None:
    rows = list(of_pool(pool, problems) if problems else of_trajectories(pool))
    print(f"{len(rows)} problems x {len(rows[0].keys)} samples, {orders} orders\n")
    print("| rule | in flight | accuracy | points lost [95 %] | tokens |\n|---|---|---|---|---|")
    whole = [[vote(row, None, 1, order) for order in range(orders)] for row in rows]
    print(f"| all samples | | {100 * np.mean([[one.correct for one in each] for each in whole]):.2f} | | 100.0 % |")
    for rule in RULES:
        for window in WINDOWS:
            early = [[vote(row, rule, window, order) for order in range(orders)] for row in rows]
            print(line(repr(rule), window, whole, early), flush=True)


def line(name: str, window: int, whole: list[list[Outcome]], early: list[list[Outcome]]) -> str:
    correct, before = (np.array([fmean(one.correct for one in each) for each in side]) for side in (early, whole))
    spent, full = (sum(one.tokens for each in side for one in each) for side in (early, whole))
    lost = difference(correct, before)
    return (
        f"| `{name}` | {window} | {100 * correct.mean():.2f} "
        f"| {100 * lost.value:.2f} [{100 * lost.low:.2f}, {100 * lost.high:.2f}] "
        f"| {100 * spent / full:.1f} % |"
    )


def vote(row: Row, rule: Stop | None, window: int, order: int) -> Outcome:
    """One vote over the samples in a random order, the same for all rules."""
    numbers = list(range(len(row.keys)))
    random.Random(order).shuffle(numbers)
    keys, tokens = [row.keys[number] for number in numbers], [row.tokens[number] for number in numbers]
    judged, spent = settled(keys, tokens, rule, window)
    chosen = majority(keys[:judged])
    return Outcome(chosen is not None and keys[chosen] == row.right, spent)


def settled(keys: Sequence[str | None], tokens: Sequence[int], rule: Stop | None, window: int) -> tuple[int, int]:
    """How many samples are judged, and how many tokens are paid.

    Time is counted in tokens. A sample begins when the one `window` places before it was judged, and is judged when it
    and all before it are finished.
    """
    n = len(keys)
    if rule is None:
        return n, sum(tokens)
    judged_at: list[int] = []
    for number in range(n):
        begun = judged_at[number - window] if number >= window else 0
        judged_at.append(max(begun + tokens[number], judged_at[-1] if judged_at else 0))
        if rule(keys[: number + 1], [1.0] * (number + 1), n - number - 1):
            break
    judged, now = len(judged_at), judged_at[-1]
    in_flight = range(judged, min(n, judged - 1 + window))
    begun_at = [judged_at[number - window] if number >= window else 0 for number in in_flight]
    wasted = sum(min(tokens[number], now - begun) for number, begun in zip(in_flight, begun_at, strict=True))
    return judged, sum(tokens[:judged]) + wasted


def of_trajectories(pool: Path) -> Iterator[Row]:
    for text in pool.read_text().splitlines():
        row = json.loads(text)
        drawn = row["trajectories"]
        keys = [canonical(one["answer"]) if one["answer"] else None for one in drawn]
        yield Row(keys, [one["n_tokens"] for one in drawn], canonical(row["gold"]))


def of_pool(pool: Path, problems: Path) -> Iterator[Row]:
    """Problems with fewer samples than the first are left out."""
    samples = defaultdict(list)
    for text in pool.read_text().splitlines():
        row = json.loads(text)
        samples[row["problem"]].append(row)
    most = max(map(len, samples.values()))
    for problem in ProblemFile(problems):
        drawn = samples[problem.id]
        if len(drawn) == most and problem.answer is not None:
            answers = [extract(row["text"], finished=row.get("end", "eos") != "length") for row in drawn]
            keys = [None if answer is None else canonical(answer) for answer in answers]
            yield Row(keys, [row["tokens"] for row in drawn], canonical(problem.answer))


if __name__ == "__main__":
    typer.run(main)
