"""Accuracy against FLOPs of tree searches, votes and best-of, generator and process reward model together.

    python benchmarks/studies/tree_front.py runs/trees [--problems 200] [--sizes 4,16,64]

Runs every strategy over the shipped generator and the shipped process reward model, each with cold caches, and goes on
where it stopped. The table gives accuracy with its interval, FLOPs per problem and the verifier's share, and the
difference to the majority vote of equal FLOPs, in pairs over problems, with its interval. That vote is interpolated on
the logarithm of its cost between the votes that were run; beyond the dearest of them it is that one, though it costs
less. The same is drawn as `sweep.png`, where matplotlib is there.
"""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import typer

from metagen import Problem, ProblemFile, Solution, VLLMEngine, parse, solve_all
from metagen.analysis import plots
from metagen.analysis.compare import Difference, difference
from metagen.analysis.fronts import Point
from metagen.backends import VLLMReward
from metagen.data import EVALUATION
from metagen.disk.runs import RunDirectory, read_solutions
from metagen.models import SHIPPED, SMALL
from metagen.request import AnyBackend

PRM = 'by=ProcessReward("prm", aggregate="{}")'
VOTES = ("vote1", "vote4", "vote16", "vote32", "vote64")
SEED = 0


def strategies(sizes: list[int], aggregate: str) -> dict[str, str]:
    """By name, in the order of their sizes: at size n each may finish about n replies."""
    by = PRM.format(aggregate)
    found = {"vote1": "Model()", "vote64": "Vote(64)"}
    for n in sizes:
        side = round(n**0.5)
        found |= {
            f"vote{n}": f"Vote({n})",
            f"weighted{n}": f"Vote({n}, {by})",
            f"best{n}": f"BestOf({n}, {by})",
            f"beam{n}": f'Beam({side}, {n // side}, {by}, answer="weighted")',
            f"dvts{n}": f'DVTS({side}, {n // side}, {by}, answer="weighted")',
            f"rebase{n}": f'Rebase({n}, {by}, answer="weighted")',
            f"particles{n}": f'ParticleFilter({n}, {by}, answer="majority")',
            f"first{n}": f'BestFirst({2 * n}, 4, {by}, answer="weighted")',
            f"mcts{n}": f'MCTS({2 * n}, 4, {by}, answer="weighted")',
        }
    return found


def main(out: Path, problems: int = 200, sizes: str = "4,16", aggregate: str = "last", run: bool = True) -> None:
    every = list(islice(ProblemFile(EVALUATION), problems))
    specs = strategies(list(map(int, sizes.split(","))), aggregate)
    if run:
        asyncio.run(run_all(out, specs, every))
    table(out, specs)


async def run_all(out: Path, specs: Mapping[str, str], problems: list[Problem]) -> None:
    async with VLLMEngine(SMALL) as small, VLLMReward(SHIPPED["small-prm"]) as prm:
        for name, spec in specs.items():
            begun = time.perf_counter()
            await small.forget()
            await prm.forget()
            models: dict[str, AnyBackend] = {"model": small, "prm": prm}
            with RunDirectory(out / name, {"strategy": spec, "problems": len(problems), "seed": SEED}) as kept:
                solved = {solution.problem for solution in kept.solutions()}
                missing = [problem for problem in problems if problem.id not in solved]
                async for solution in solve_all(missing, parse(spec), models, seed=SEED):
                    kept.add(solution)
            print(f"{name:12} {time.perf_counter() - begun:7.1f} s", flush=True)


@dataclass(frozen=True)
class Results:
    """What came of each strategy, on the problems that all have solved."""

    runs: Mapping[str, Mapping[str, Solution]]
    """By strategy and problem."""
    shared: Sequence[str]
    right: Mapping[str, Any]
    """By strategy, whether each problem is solved: [problems]."""
    costs: Mapping[str, float]
    """FLOPs per problem."""

    @classmethod
    def read(cls, out: Path, specs: Mapping[str, str]) -> "Results":
        there = [name for name in specs if (out / name / "solutions.jsonl").exists()]
        runs = {name: {each.problem: each for each in read_solutions(out / name)} for name in there}
        shared = sorted(set.intersection(*(set(solutions) for solutions in runs.values())))
        right = {name: np.array([bool(run[each].correct) for each in shared]) for name, run in runs.items()}
        costs = {name: fmean(run[each].usage.all_flops for each in shared) for name, run in runs.items()}
        return cls(runs, shared, right, costs)

    def at(self, cost: float, family: Sequence[str]) -> Any:
        """[problems]: how often strategies of this family, from cheap to dear, are right at this cost."""
        names = [name for name in family if name in self.right]
        places = np.interp(np.log(cost), np.log([self.costs[name] for name in names]), range(len(names)))
        below = int(places)
        above = min(below + 1, len(names) - 1)
        return (1 - places + below) * self.right[names[below]] + (places - below) * self.right[names[above]]


def table(out: Path, specs: Mapping[str, str]) -> None:
    found = Results.read(out, specs)
    runs, shared, right, costs = found.runs, found.shared, found.right, found.costs
    print(f"{len(shared)} problems")
    print(f"{'':12} {'accuracy':>20} {'FLOPs':>9} {'verifier':>8}  against the vote of equal FLOPs")
    rows: list[dict[str, Any]] = []
    for name, run in sorted(runs.items(), key=lambda item: costs[item[0]]):
        share = fmean(run[each].usage.verifier_flops for each in shared) / costs[name]
        own = difference(np.zeros(len(shared)), right[name])
        rival = difference(found.at(costs[name], VOTES), right[name])
        rows.append(row(name, specs[name], own, costs[name], share, rival))
        print(line(rows[-1]))
    (out / "table.json").write_text(json.dumps(rows, indent=1) + "\n")
    if plots.available():
        points = [point(each, [runs[each["strategy"]][problem] for problem in shared]) for each in rows]
        plots.draw_fronts({f"{len(shared)} problems": points}, out)


def row(name: str, spec: str, own: Difference, cost: float, share: float, rival: Difference) -> dict[str, Any]:
    return {
        "strategy": name,
        "spec": spec,
        "accuracy": [own.value, own.low, own.high],
        "flops": cost,
        "verifier": share,
        "against vote": [rival.value, rival.low, rival.high],
    }


def point(row: Mapping[str, Any], solutions: Sequence[Solution]) -> Point:
    accuracy, low, high = row["accuracy"]
    return Point(
        problems="evaluation",
        model="small-moe",
        strategy=row["strategy"],
        budget="",
        seeds=1,
        count=len(solutions),
        accuracy=accuracy,
        low=low,
        high=high,
        tokens=fmean(each.usage.tokens for each in solutions),
        flops=row["flops"],
        calls=fmean(each.usage.calls for each in solutions),
    )


def line(row: Mapping[str, Any]) -> str:
    accuracy, low, high = (100 * value for value in row["accuracy"])
    gain, least, most = (100 * value for value in row["against vote"])
    return (
        f"{row['strategy']:12} {accuracy:5.1f} [{low:5.1f}, {high:5.1f}] {row['flops']:9.3g} {row['verifier']:8.0%}"
        f"  {gain:+5.1f} [{least:+5.1f}, {most:+5.1f}]"
    )


if __name__ == "__main__":
    typer.run(main)
