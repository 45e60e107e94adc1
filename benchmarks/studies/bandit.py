"""`Bandit` replayed on recorded runs of 3 models and 3 methods on 4 kinds of puzzles.

    python benchmarks/studies/bandit.py puzzles.csv [--orders 200]

The file has a row for each run: task, item, model, strategy, success, tokens_in, tokens_out. Arms are the pairs of
model and method that were run on every item; where an arm is used on an item, one of its runs there is drawn. Over
random orders of the items it prints the mean success and tokens of `Bandit`, in all puzzles mixed and in each alone,
beside the best single arm in hindsight, the best arm of each puzzle, and an arm at random; the regret after so many
items; and how far the arm that it would recommend in the end is from the best. Intervals are 95 % of the orders for
regret, and of the mean over orders elsewhere. Each arm's success and tokens close the report.
"""

import asyncio
import csv
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import numpy as np
import typer

from metagen import Bandit, Candidate, Problem, Run, Scripted, Usage, solve_all
from metagen.strategies.bandit import Arm, posterior

Runs = dict[tuple[str, str], dict[str, list[tuple[float, int, int]]]]
"""By puzzle and item, then by arm: success, and tokens read and written, of each run."""
STEPS = (25, 50, 100, 200, 400)


def read(path: Path) -> tuple[Runs, list[str]]:
    """All runs, and the arms that every item has."""
    runs: Runs = defaultdict(lambda: defaultdict(list))
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            read, written = int(float(row["tokens_in"] or 0)), int(float(row["tokens_out"] or 0))
            arm = f"{row['model']} {row['strategy']}"
            runs[row["task"], row["item"]][arm].append((float(row["success"]), read, written))
    return runs, sorted(set.intersection(*(set(each) for each in runs.values())))


def make_arm(runs: Runs, name: str, order: int) -> Any:
    """A strategy that plays one of the recorded runs of an arm."""

    async def play(problem: Problem, run: Run) -> Candidate:
        recorded = runs[problem.tags["task"], problem.id][name]
        success, read, written = random.Random(f"{order} {name} {problem.id}").choice(recorded)
        run.spend(Usage(calls=1, prompt_tokens=read, completion_tokens=written))
        return Candidate(("right" if success else "wrong",))

    play.__name__ = name.replace(" ", "_").replace("-", "_").replace(".", "_")
    return play


async def is_right(_problem: Problem, candidates: Sequence[Candidate], _run: Run) -> list[float]:
    return [float(candidate.text == "right") for candidate in candidates]


async def replay(
    runs: Runs, arms: list[str], order: int, tasks: set[str], **settings: Any
) -> list[tuple[str, int, bool, int]]:
    """Puzzle, arm, success and tokens of each item, in the order in which they were asked."""
    items = [key for key in sorted(runs) if key[0] in tasks]
    random.Random(order).shuffle(items)
    problems = [Problem(item, "?", tags={"task": task}) for task, item in items]
    bandit = Bandit(tuple(make_arm(runs, arm, order) for arm in arms), by=is_right, per="task", **settings)
    found = {}
    async for each in solve_all(problems, bandit, Scripted(""), seed=order):
        arm = int(each.notes[-1].split()[1].rstrip(":"))
        found[each.problem] = arm, each.text == "right", each.usage.tokens
    return [(task, *found[item]) for task, item in items]


def recommended(played: list[tuple[str, int, bool, int]], arms: int, task: str, bandit: Bandit) -> int:
    """The arm whose posterior has the highest mean on one puzzle in the end."""
    here, every = [Arm() for _ in range(arms)], [Arm() for _ in range(arms)]
    for kind, arm, success, _ in played:
        every[arm].add(float(success), None)
        if kind == task:
            here[arm].add(float(success), None)
    means = []
    for one, all_of_it in zip(here, every, strict=True):
        a, b = posterior(one, all_of_it, bandit.shared, bandit.weight)
        means.append(a / (a + b))
    return means.index(max(means))


def with_interval(values: Sequence[float], scale: float = 100) -> str:
    half = 1.96 * float(np.std(values)) / len(values) ** 0.5
    return f"{scale * fmean(values):.1f} ± {scale * half:.1f}"


def main(path: Path, orders: Annotated[int, typer.Option(min=2)] = 200) -> None:
    runs, arms = read(path)
    tasks = sorted({task for task, _ in runs})

    def mean(task: str, arm: str, field: int) -> float:
        items = [each[arm] for (kind, _), each in runs.items() if kind == task]
        return fmean(fmean(run[field] for run in each) for each in items)

    truth = {task: [mean(task, arm, 0) for arm in arms] for task in tasks}
    tokens = {task: [mean(task, arm, 1) + mean(task, arm, 2) for arm in arms] for task in tasks}
    single = [fmean(truth[task][arm] for task in tasks) for arm in range(len(arms))]
    best = single.index(max(single))
    spent = fmean(tokens[task][best] for task in tasks)
    print(f"best single arm, {arms[best]}: {100 * single[best]:.1f} % at {spent:.0f} tokens")
    print(f"best arm of each puzzle: {100 * fmean(max(truth[task]) for task in tasks):.1f} %; ", end="")
    print(f"at random: {100 * fmean(single):.1f} % at {fmean(fmean(tokens[task]) for task in tasks):.0f} tokens\n")
    print("| what | settings | success | last quarter, expected | recommended, below the best | tokens |", end="")
    print("".join(f" regret at {step} |" for step in STEPS))
    print("|---" * (6 + len(STEPS)) + "|")
    settings: list[dict[str, Any]] = [{}, {"weight": 1.0}, {"weight": 1.0, "shared": 0.0}]
    settings += [{"average": average} for average in (400, 800)]
    parts = [(set(tasks), each) for each in settings] + [({task}, each) for task in tasks for each in settings[:2]]
    for part, setting in parts:
        every = [asyncio.run(replay(runs, arms, order, part, **setting)) for order in range(orders)]
        expected = np.array([[truth[task][arm] for task, arm, _, _ in played] for played in every])
        regret = np.cumsum([[max(truth[t]) - truth[t][arm] for t, arm, _, _ in played] for played in every], axis=1)
        shown = Bandit((make_arm(runs, arms[0], 0), make_arm(runs, arms[1], 0)), by=is_right, **setting)
        gaps = [
            fmean(max(truth[t]) - truth[t][recommended(played, len(arms), t, shown)] for t in part) for played in every
        ]
        name = next(iter(part)) if len(part) == 1 else "all mixed"
        said = ", ".join(f"{key}={value:g}" for key, value in setting.items())
        last = expected[:, -expected.shape[1] // 4 :].mean(1)
        used = fmean(fmean(each[3] for each in played) for played in every)
        success = with_interval([fmean(each[2] for each in played) for played in every])
        print(
            f"| {name} | {said} | {success} | {with_interval(last.tolist())} | {with_interval(gaps)} | {used:.0f} |",
            end="",
        )
        for step in STEPS:
            if step <= regret.shape[1]:
                low, high = np.percentile(regret[:, step - 1], [2.5, 97.5])
                print(f" {regret[:, step - 1].mean():.1f} [{low:.1f}, {high:.1f}] |", end="")
            else:
                print(" |", end="")
        print(flush=True)
    print("\n| arm |" + "".join(f" {task} | tokens |" for task in tasks))
    print("|---" * (1 + 2 * len(tasks)) + "|")
    for arm, label in enumerate(arms):
        print(f"| {label} |" + "".join(f" {100 * truth[t][arm]:.1f} | {tokens[t][arm]:.0f} |" for t in tasks))


if __name__ == "__main__":
    typer.run(main)
