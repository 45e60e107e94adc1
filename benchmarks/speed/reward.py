"""Whether scoring stalls generating: BestOf(8) by a process reward model beside both kinds of work alone.

    python benchmarks/speed/reward.py [--rounds 3] [--problems 64] [--prm small-prm]

Two engines share this process's cores; vLLM's workers are bound to a core each, the same in all ways. They take turns:

- generate: `BestOf(8)` by a verifier that is free, so 8 samples per problem and nothing else
- score: those samples again, by `ProcessReward` alone, nothing drawn
- both: `BestOf(8, by=ProcessReward("prm"))`

Each runs all problems at once. `both` may overlap its two kinds of work, so it is compared with the sum of work: CPU
seconds of this process and all its children (what runs when the other is idle costs no more), and wall seconds beside.
The overhead is CPU seconds of `both` over the sum of the other two, minus 1: the median over rounds.
"""

import asyncio
import gc
import os
import statistics
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import psutil
import typer

from metagen import (
    BestOf,
    Candidate,
    Problem,
    ProblemFile,
    ProcessReward,
    Run,
    Score,
    VLLMEngine,
    VLLMReward,
    solve_all,
)
from metagen.data import EVALUATION
from metagen.models import SHIPPED, SMALL
from metagen.run import Generator
from metagen.solve import Models

N = 8
PRM = ProcessReward("prm")
Samples = dict[str, list[Candidate]]


@dataclass(frozen=True, slots=True)
class Spent:
    wall: float
    cpu: float
    written: int
    read: int
    """Tokens that the reward model read."""


def main(rounds: int = 3, problems: int = 64, prm: str = "small-prm") -> None:
    asyncio.run(compare(rounds, list(islice(ProblemFile(EVALUATION), problems)), SHIPPED.get(prm, Path(prm))))


async def compare(rounds: int, problems: list[Problem], prm: Path) -> None:
    overheads = []
    async with VLLMEngine(SMALL) as engine, VLLMReward(prm) as reward:
        models: Models = {"model": engine, "prm": reward}
        await both(problems, models, 0)  # warms both up
        for number in range(1, rounds + 1):
            drawn, samples = await generate(problems, models, number)
            scored = await score(problems, models, samples)
            mixed = await both(problems, models, number)
            overheads.append(mixed.cpu / (drawn.cpu + scored.cpu) - 1)
            for name, spent in (("generate", drawn), ("score", scored), ("both", mixed)):
                print(
                    f"round {number}  {name:9}{spent.wall:7.2f} s wall{spent.cpu:8.2f} s CPU"
                    f"{spent.written:8} tokens written{spent.read:8} read by the reward model"
                )
            wall = mixed.wall / (drawn.wall + scored.wall) - 1
            print(f"round {number}  overhead {overheads[-1]:+.1%} of CPU seconds, {wall:+.1%} of wall seconds")
    print(f"overhead over the sum of work: {statistics.median(overheads):+.1%} (median of {rounds} rounds)")


async def generate(problems: list[Problem], models: Models, seed: int) -> tuple[Spent, Samples]:
    samples: Samples = {}

    async def free(problem: Problem, candidates: Sequence[Candidate], _: Run) -> list[Score | None]:
        samples[problem.id] = list(candidates)
        return [Score(0.0)] * len(candidates)

    return await spent(problems, BestOf(N, by=free), models, seed), samples


async def score(problems: list[Problem], models: Models, samples: Samples) -> Spent:
    async def scored(problem: Problem, run: Run) -> Candidate:
        await run.score(PRM, problem, samples[problem.id])
        return samples[problem.id][0]

    return await spent(problems, scored, models, 0)


async def both(problems: list[Problem], models: Models, seed: int) -> Spent:
    return await spent(problems, BestOf(N, by=PRM), models, seed)


async def spent(problems: list[Problem], strategy: Generator, models: Models, seed: int) -> Spent:
    gc.collect()
    begun, before, written, read = time.perf_counter(), cpu_seconds(), 0, 0
    async with aclosing(solve_all(problems, strategy, models, seed=seed)) as solutions:
        async for solution in solutions:
            written += solution.usage.completion_tokens
            read += solution.usage.verifier_tokens
    return Spent(time.perf_counter() - begun, cpu_seconds() - before, written, read)


def cpu_seconds() -> float:
    """Of this process and all below it."""
    every = [psutil.Process(os.getpid()), *psutil.Process(os.getpid()).children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in every)


if __name__ == "__main__":
    typer.run(main)
