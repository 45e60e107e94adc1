"""Published tables over recorded data: what they say, and what metagen makes of the same data.

    python benchmarks/studies/published.py gsm8k pools/gsm8k_200x16.jsonl
    python benchmarks/studies/published.py math rewards/math_100x8_orm.jsonl
    python benchmarks/studies/published.py rewardmath rewards/rewardmath.jsonl
    python benchmarks/studies/published.py graders graders/math_verify.jsonl
    python benchmarks/studies/published.py thoughts reasoning/aime24_caps.jsonl
    python benchmarks/studies/published.py puzzles choices/puzzles.csv

Each prints a table: what is measured, the figure that was published with the data, and the one that comes out.
"""

import asyncio
import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import typer
from choose import rewards, trajectories

from metagen import canonical, extract
from metagen.analysis.curve import Samples
from metagen.analysis.rules import best_of, coverage, majority_vote
from metagen.answers.grade import grade
from metagen.tasks import together
from metagen.thinking import split
from metagen.verifiers.aggregates import AGGREGATES

SECONDS = 60.0
"""Of work for one comparison, for a busy machine."""


class Figure(NamedTuple):
    what: str
    expected: str
    obtained: str


def main(table: str, data: Path) -> None:
    print("| figure | expected | obtained |\n|---|---|---|")
    for each in TABLES[table](data):
        print(f"| {each.what} | {each.expected} | {each.obtained} |")


def gsm8k(data: Path) -> Iterator[Figure]:
    samples = trajectories(rows(data)).samples
    ks = (1, 2, 4, 8, 16)
    yield Figure("one sample, per cent", "36.2", percent(samples.right.mean()))
    yield from curve("coverage", (36.1, 47.2, 57.3, 66.8, 74.5), ks, coverage(samples, ks).means.tolist())
    yield from curve("majority", (36.1, 40.6, 47.1, 52.8, 54.8), ks, majority_vote(samples, ks).means.tolist())
    yield Figure("samples without an answer, per cent", "28.7", percent((samples.groups < 0).mean()))
    yield Figure("tokens", "985,545", f"{total(samples):,}")


def math(data: Path) -> Iterator[Figure]:
    pool = rewards(rows(data))
    samples = Samples(pool.samples.groups, pool.samples.right, pool.verifiers[0].scores)
    yield Figure("one sample, per cent", "91.0", percent(samples.right.mean()))
    for name, rule, expected in (("coverage", coverage, "96.0"), ("majority", majority_vote, "93.0")):
        yield Figure(f"{name} at 8", expected, percent(rule(samples, (8,)).means[0]))
    yield Figure("best of 8 by the reward", "94.0", percent(best_of(samples, (8,)).means[0]))


REWARDMATH = {
    "Math_Shepherd": (15.32, 17.18, 15.11, 18.22),
    "ReasonEval_34B": (19.46, 15.94, 18.22, 18.63),
    "ReasonEval_7B": (19.46, 18.22, 20.08, 14.91),
    "Easy_to_hard": (12.84, 14.08, 18.63, 13.25),
}
"""Accuracy by min, prod, mean and last, in per cent (Kim et al. 2024)."""


def rewardmath(data: Path) -> Iterator[Figure]:
    problems = [row["scores"] for row in rows(data)]
    for model, expected in REWARDMATH.items():
        for (name, aggregate), published in zip(AGGREGATES.items(), expected, strict=True):
            scores = [[aggregate(steps) for steps in scored[model]] for scored in problems]
            won = fmean(first > max(others) for first, *others in scores)
            yield Figure(f"{model}, {name}", f"{published:.2f}", f"{100 * won:.2f}")


def graders(data: Path) -> Iterator[Figure]:
    cases = rows(data)
    verdicts = asyncio.run(graded(cases))
    agreed = sum(verdict is case["equal"] for verdict, case in zip(verdicts, cases, strict=True))
    yield Figure("cases on which the grader agrees, of 254", "248 (math-verify 0.9.0)", str(agreed))


async def graded(cases: list[dict[str, Any]]) -> list[bool | None]:
    return await together(grade(case["pred"], case["gold"], SECONDS) for case in cases)


def thoughts(data: Path) -> Iterator[Figure]:
    closed, right = (defaultdict[int, int](int) for _ in range(2))
    for row in rows(data):
        reply = split(row["text"])
        answer = None if reply.open else extract(reply.text)
        closed[row["cap"]] += not reply.open
        right[row["cap"]] += answer is not None and canonical(answer) == canonical(row["answer"])
    yield Figure("thoughts that are closed, by cap", "0, 0, 0, 0, 1, 9, 16", listed(closed))
    yield Figure("right answers, by cap", "0, 0, 0, 0, 1, 7, 9", listed(right))


PUZZLES = {
    ("game24", "tot-prototype"): ".820",
    ("game24", "react"): ".268",
    ("game24", "cot-sc"): ".142",
    ("game24", "single-path"): ".134",
    ("linear2", "react"): ".930",
    ("linear2", "tot-prototype"): ".533",
}


def puzzles(data: Path) -> Iterator[Figure]:
    cells = defaultdict[tuple[str, str], list[float]](list)
    with data.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["model"] == "Qwen3-Coder-Next":
                cells[row["task"], row["strategy"]].append(float(row["success"]))
    for cell, expected in PUZZLES.items():
        yield Figure(f"{' by '.join(cell)}", expected, f"{fmean(cells[cell]):.3f}".lstrip("0"))


TABLES: dict[str, Callable[[Path], Iterator[Figure]]] = {
    "gsm8k": gsm8k,
    "math": math,
    "rewardmath": rewardmath,
    "graders": graders,
    "thoughts": thoughts,
    "puzzles": puzzles,
}


def rows(data: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in data.read_text(encoding="utf-8").splitlines()]


def curve(name: str, expected: tuple[float, ...], ks: tuple[int, ...], obtained: list[float]) -> Iterator[Figure]:
    for k, published, mean in zip(ks, expected, obtained, strict=True):
        yield Figure(f"{name} at {k}", f"{published:.1f}", percent(mean))


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def total(samples: Samples) -> int:
    return 0 if samples.tokens is None else int(samples.tokens.sum())


def listed(counts: dict[int, int]) -> str:
    return ", ".join(str(counts[cap]) for cap in sorted(counts))


if __name__ == "__main__":
    typer.run(main)
