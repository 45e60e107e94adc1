"""How well a process reward model finds the first wrong step: ProcessBench (Zheng et al. 2024).

    python benchmarks/studies/processbench.py processbench_gsm8k.json [--prm small-prm] [--threshold 0.5]

Prints the shares found among solutions with an error and without, and F1, at the threshold and at the best one for
these very cases (an upper bound, to be chosen on others), beside whoever calls all right, or each wrong from its first
step on.
"""

import asyncio
from pathlib import Path

import typer

from metagen import ProcessReward, TorchReward
from metagen.analysis.processbench import (
    ALL_RIGHT,
    END,
    Findings,
    best_threshold,
    first_error,
    found,
    read_cases,
    step_scores,
)
from metagen.models import SHIPPED


def main(cases: Path, prm: str = "small-prm", threshold: float = 0.5) -> None:
    asyncio.run(measure(cases, SHIPPED.get(prm, Path(prm)), threshold))


async def measure(path: Path, prm: Path, threshold: float) -> None:
    cases = read_cases(path)
    labels = [case.label for case in cases]
    async with TorchReward(prm) as reward:
        rows = await step_scores(ProcessReward("prm", step=END), cases, {"prm": reward})
    best = best_threshold(labels, rows)
    show("all right", found(labels, [ALL_RIGHT] * len(cases)))
    show("wrong from the first step on", found(labels, [0] * len(cases)))
    for chosen in (threshold, best):
        show(f"{prm.name}, below {chosen:.3f}", found(labels, [first_error(row, chosen) for row in rows]))


def show(name: str, findings: Findings) -> None:
    print(
        f"{name:32}errors found {findings.erroneous:6.1%}   right ones left {findings.correct:6.1%}"
        f"   F1 {100 * findings.f1:5.1f}   unread {findings.unread}"
    )


if __name__ == "__main__":
    typer.run(main)
