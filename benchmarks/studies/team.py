"""The shipped models as a team: strategies over several models beside those over one, at equal FLOPs.

    python benchmarks/studies/team.py runs/team [--problems 500]

The solver, the corrector, the model that thinks first and the process reward model answer the evaluation set together.
Runs each strategy with cold caches, and goes on where it stopped. The table is that of `tree_front.py`: accuracy with
its interval, FLOPs per problem, the verifier's share, and the difference to the vote of the solver at equal
FLOPs, in pairs over problems. Then come the front, of those to which no cheaper one is equal, and the difference of
each team to the best of the votes and weighted votes of one generator, the solver or the corrector, at its FLOPs.
"""

import asyncio
import json
import os
from contextlib import AsyncExitStack
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")

import typer
from tree_front import Results, table

from metagen import ProblemFile, VLLMEngine, VLLMReward, parse, solve_all
from metagen.analysis.compare import difference
from metagen.data import EVALUATION
from metagen.disk.runs import RunDirectory
from metagen.models import SMALL, SMALL_CORRECTOR, SMALL_PRM, SMALL_REASONER

CONTEXT = 1024
CORRECTED = 'Correct(Model("corrector"))'
REASONER = 'Think(256, of=Model("reasoner"))'
BY = 'by=ProcessReward("prm", aggregate="last")'
ONE = {
    "vote1": "Model()",
    "vote4": "Vote(4)",
    "vote16": "Vote(16)",
    "vote32": "Vote(32)",
    "weighted4": f"Vote(4, {BY})",
    "weighted16": f"Vote(16, {BY})",
    "reasoner1": REASONER,
    "corrector1": 'Model("corrector")',
    "corrector4": 'Vote(4, of=Model("corrector"))',
    "corrector16": 'Vote(16, of=Model("corrector"))',
    "weighted-corrector4": f'Vote(4, of=Model("corrector"), {BY})',
    "weighted-corrector8": f'Vote(8, of=Model("corrector"), {BY})',
}
"""Strategies over one generator, some with the reward model; the corrector answers questions, too."""
SEVERAL = {
    "corrected1": 'Correct(Model("corrector"), rounds=3)',
    "corrected8": f"Vote(8, of={CORRECTED})",
    "weighted-corrected8": f"Vote(8, of={CORRECTED}, {BY})",
    "escalate4": f"Escalate((Model(), {CORRECTED}), until=BetaStop(0.9), n=4)",
    "escalate-reasoner4": f"Escalate((Model(), {REASONER}), until=BetaStop(0.9), n=4)",
    "panel8": f"Vote(8, of=Panel((Model(), {CORRECTED})))",
    "panel-weighted8": f"Vote(8, of=Panel((Model(), {CORRECTED})), {BY})",
    "panel-reasoner8": f"Vote(8, of=Panel((Model(), {REASONER})))",
    "abmcts8": f'ABMCTS(8, of=(Model(), Model("corrector")), {BY}, answer="weighted")',
    "abmcts16": f'ABMCTS(16, of=(Model(), Model("corrector")), {BY}, answer="weighted")',
}
"""Strategies over several."""
STRATEGIES = ONE | SEVERAL
FAMILIES = (
    ("vote1", "vote4", "vote16", "vote32"),
    ("weighted4", "weighted16"),
    ("corrector1", "corrector4", "corrector16"),
    ("weighted-corrector4", "weighted-corrector8"),
)
"""Of strategies over one generator, each from cheap to dear."""


def main(out: Path, problems: int = 500, run: bool = True) -> None:
    if run:
        asyncio.run(run_all(out, problems))
    table(out, STRATEGIES)
    rows = json.loads((out / "table.json").read_text())
    front = [row for row in rows if all(row["accuracy"][0] > other["accuracy"][0] for other in cheaper(row, rows))]
    for name, group in (("one generator", ONE), ("several", SEVERAL)):
        print(f"on the front, {name}:", ", ".join(row["strategy"] for row in front if row["strategy"] in group))
    against_one(Results.read(out, STRATEGIES))


def cheaper(row: dict[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [other for other in rows if other["flops"] < row["flops"]]


def against_one(found: Results) -> None:
    """Print the difference to the best family over one generator at equal FLOPs, in pairs."""
    for name in [name for name in SEVERAL if name in found.right]:
        cost = found.costs[name]
        rivals = {family[0]: found.at(cost, family) for family in FAMILIES if found.costs[family[0]] <= cost}
        best = max(rivals, key=lambda rival: float(rivals[rival].mean()))
        gain = difference(rivals[best], found.right[name])
        print(
            f"{name:20} against {best.rstrip('0123456789'):18} at equal FLOPs, {100 * rivals[best].mean():.1f}: "
            f"{100 * gain.value:+5.1f} [{100 * gain.low:+5.1f}, {100 * gain.high:+5.1f}]"
        )


async def run_all(out: Path, problems: int) -> None:
    every = list(islice(ProblemFile(EVALUATION), problems))
    folders = {"model": SMALL, "corrector": SMALL_CORRECTOR, "reasoner": SMALL_REASONER}
    async with AsyncExitStack() as stack:
        models: dict[str, Any] = {
            name: await stack.enter_async_context(VLLMEngine(folder, max_model_len=CONTEXT))
            for name, folder in folders.items()
        }
        models["prm"] = await stack.enter_async_context(VLLMReward(SMALL_PRM, max_model_len=CONTEXT))
        for name, spec in STRATEGIES.items():
            for model in models.values():
                await model.forget()
            with RunDirectory(out / name, {"strategy": spec, "problems": problems, "seed": 0}) as kept:
                solved = {solution.problem for solution in kept.solutions()}
                missing = [problem for problem in every if problem.id not in solved]
                async for solution in solve_all(missing, parse(spec), models, seed=0, concurrency=64):
                    kept.add(solution)
            print(name, flush=True)


if __name__ == "__main__":
    typer.run(main)
