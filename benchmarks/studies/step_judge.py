"""How well a model that is asked judges the steps of solutions: ProcessBench by `StepJudge` (Zheng et al. 2024).

    python benchmarks/studies/step_judge.py processbench_gsm8k.json --model MODEL [--number 200] [--n 1]

Prints how many cases have a verdict for every step, and the same shares as `processbench.py`, beside those of a judge
that calls every step right.
"""

import asyncio
import os
from collections import Counter
from pathlib import Path

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")

import typer

from metagen import Model, StepJudge, VLLMEngine
from metagen.analysis.processbench import ALL_RIGHT, END, Case, Findings, first_error, found, read_cases, step_scores
from metagen.models import SHIPPED


def main(cases: Path, model: str = "small-reasoner", number: int = 200, n: int = 1, max_tokens: int = 512) -> None:
    asyncio.run(measure(read_cases(cases), model, number, n, max_tokens))


async def measure(every: list[Case], model: str, number: int, n: int, max_tokens: int) -> None:
    """Every second case has an error, as far as there are enough of both kinds."""
    wrong = [case for case in every if case.label != ALL_RIGHT][: number // 2]
    cases = wrong + [case for case in every if case.label == ALL_RIGHT][: number - len(wrong)]
    labels = [case.label for case in cases]
    judge = StepJudge(of=Model("judge", max_tokens=max_tokens), n=n, step=END)
    async with VLLMEngine(SHIPPED.get(model, model), max_model_len=2048) as backend:
        rows = await step_scores(judge, cases, {"judge": backend})
    read = [row for row in rows if row is not None]
    kinds = Counter("all right" if min(row) >= 0.5 else "an error" for row in read)
    print(f"{model}, {n} verifications: {len(read)} of {len(rows)} cases with a verdict for every step, {dict(kinds)}")
    show("all right", found(labels, [ALL_RIGHT] * len(cases)))
    show(f"{judge!r}", found(labels, [first_error(row) for row in rows]))


def show(name: str, findings: Findings) -> None:
    print(
        f"{name}: errors found {findings.erroneous:.1%}, right ones left {findings.correct:.1%}, "
        f"F1 {100 * findings.f1:.1f}, unread {findings.unread}"
    )


if __name__ == "__main__":
    typer.run(main)
