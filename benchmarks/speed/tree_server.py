"""Beams over vLLM's own server: seconds, and the processor time of the client and of the server.

    python benchmarks/speed/tree_server.py [--before WORKTREE] [--rounds 3] [--problems 64]

The server is vLLM's with the shipped model, and the verifier costs nothing (a number that follows from the text). All
problems are searched at once with `Beam(4, 4)`. This code and that of another worktree take turns, each in a process of
its own, which first warms up. The processor time of the server is that of all its processes. Printed are medians.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Annotated

import psutil
import typer
from server import serving
from tree import free

from metagen import Beam, OpenAIServer, ProblemFile, Retrying, solve_all
from metagen.data import EVALUATION

ROOT = Path(__file__).parents[2]
COLUMNS = ("seconds", "client", "server")
Figures = dict[str, float]


def main(
    before: Annotated[Path | None, typer.Option(help="A worktree of the commit to compare with.")] = None,
    rounds: int = 3,
    problems: int = 64,
    url: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    if url:
        print(json.dumps(asyncio.run(searched(url, problems))))
        return
    trees = {"now": ROOT} | ({"before": before.resolve()} if before else {})
    rows: dict[str, list[Figures]] = {name: [] for name in trees}
    with serving(real=True) as (address, _):
        for _ in range(rounds):
            for name, tree in trees.items():
                rows[name].append(in_tree(tree, address, problems))
    print("| | " + " | ".join(COLUMNS) + " | tokens/s |\n|" + "---|" * (len(COLUMNS) + 2))
    for name, figures in rows.items():
        medians = [f"{statistics.median(each[column] for each in figures):.2f}" for column in COLUMNS]
        speed = statistics.median(each["tokens"] / each["seconds"] for each in figures)
        print(f"| {name} | {' | '.join(medians)} | {speed:,.0f} |")
    if before:
        pairs = list(zip(rows["now"], rows["before"], strict=True))
        ratios = [f"{statistics.median(now[each] / old[each] for now, old in pairs):.2f}" for each in COLUMNS]
        print(f"| now / before | {' | '.join(ratios)} | |")


def in_tree(tree: Path, url: str, problems: int) -> Figures:
    """One round over the code of a worktree, with the server's share."""
    command = [sys.executable, __file__, "--url", url, "--problems", str(problems)]
    begun = of_servers()
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(command, env=environment, cwd=tree, stdout=subprocess.PIPE, text=True, check=True)
    read: Figures = json.loads(done.stdout)
    return read | {"server": (of_servers() - begun) / 2}  # of both searches, which do the same


def of_servers() -> float:
    """Seconds of processor time of the server's processes, which this process has started."""
    times = [each.cpu_times() for each in psutil.Process().children(recursive=True)]
    return float(sum(each.user + each.system for each in times))


async def searched(url: str, problems: int) -> Figures:
    """One search to warm up, and one that counts."""
    every = list(islice(ProblemFile(EVALUATION), problems))
    async with Retrying(OpenAIServer(url)) as server:
        for _ in range(2):
            wall, cpu, tokens = time.perf_counter(), time.process_time(), 0
            async for solution in solve_all(every, Beam(4, 4, by=free), server):
                tokens += solution.usage.completion_tokens
    return {"seconds": time.perf_counter() - wall, "client": time.process_time() - cpu, "tokens": tokens}


if __name__ == "__main__":
    typer.run(main)
