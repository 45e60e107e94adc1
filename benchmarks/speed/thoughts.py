"""What keeping thoughts apart costs: Vote(16) of the small reasoner, with thoughts split from texts and without.

    python benchmarks/speed/thoughts.py [--rounds 6] [--problems 64] [--tokens 256]

Two engines over one model take turns: one knows the marks of thoughts, the other is told that the model does not think,
so that it keeps each reply whole. All replies have the same length limit. The report gives completion tokens/s, the
median over rounds, and the median of the ratios round by round.
"""

import asyncio
import gc
import os
import statistics
import time
from itertools import islice

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")

import typer

from metagen import Model, Problem, ProblemFile, VLLMEngine, Vote, solve_all
from metagen.data import EVALUATION
from metagen.models import SMALL_REASONER

N = 16


def main(rounds: int = 6, problems: int = 64, tokens: int = 256) -> None:
    asyncio.run(compare(rounds, problems, tokens))


async def compare(rounds: int, problems: int, tokens: int) -> None:
    every = list(islice(ProblemFile(EVALUATION), problems))
    async with VLLMEngine(SMALL_REASONER) as apart, VLLMEngine(SMALL_REASONER, thinking="none") as whole:
        ratios = []
        for turn in range(rounds + 1):
            order = (apart, whole) if turn % 2 else (whole, apart)  # neither is always the first
            speeds = {engine: await speed(engine, every, tokens) for engine in order}
            if turn:  # the first round warms up
                ratios.append(speeds[apart] / speeds[whole])
                print(
                    f"round {turn}: apart {speeds[apart]:,.0f}, whole {speeds[whole]:,.0f} tokens/s, {ratios[-1]:.3f}"
                )
    print(f"median of the ratios: {statistics.median(ratios):.3f}")


async def speed(engine: VLLMEngine, problems: list[Problem], tokens: int) -> float:
    await engine.forget()
    gc.collect()
    begun, written = time.perf_counter(), 0
    async for solution in solve_all(problems, Vote(N, of=Model(max_tokens=tokens)), engine):
        written += solution.usage.completion_tokens
    return written / (time.perf_counter() - begun)


if __name__ == "__main__":
    typer.run(main)
