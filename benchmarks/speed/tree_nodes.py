"""What a tree costs besides its model: time and memory a node, up to 10,000 nodes in one tree.

    python benchmarks/speed/tree_nodes.py [--nodes 10000]

`tree` is the pure part: choosing, and taking children in. `solve` is all of a search over a scripted model that costs
next to nothing: tasks, spans, requests, verdicts, merging, the answer. Times are of the process's own work (CPU).
"""

import asyncio
import random
import time
import tracemalloc
from collections.abc import Sequence

import typer

from metagen import MCTS, BestFirst, Candidate, Problem, Rebase, Request, Run, Score, Scripted, solve
from metagen.strategies.tree.node import Node, expand
from metagen.strategies.tree.search import TreeSearch

BRANCH = 4


async def drawn(_problem: Problem, candidates: Sequence[Candidate], _run: Run) -> list[Score | None]:
    return [Score(random.Random(candidate.text).random()) for candidate in candidates]


def step(request: Request) -> str:
    return f"{random.Random(request.seed).getrandbits(32):08x}\n"


def main(nodes: int = 10_000) -> None:
    print(f"{'':28} {'nodes':>7} {'tree, ms per node':>16} {'solve, ms per node':>17} {'bytes per node':>13}")
    for count in (nodes // 4, nodes // 2, nodes):
        for search in (
            MCTS(count // BRANCH, BRANCH, by=drawn, window=16),
            BestFirst(count // BRANCH, BRANCH, by=drawn, window=16),
            Rebase(256, by=drawn, depth=max(1, count // 256)),
        ):
            pure, made = grown(search)
            seconds, size = asyncio.run(solved(search))
            each = f"{1000 * pure / made:16.3f} {1000 * seconds / made:17.3f} {size / made:13,.0f}"
            print(f"{search!r:.28} {made:7,} {each}", flush=True)


def grown(search: TreeSearch) -> tuple[float, int]:
    """Seconds of choosing and growing alone, and how many nodes came of it."""
    rng, made, root = random.Random(0), 0, Node(Candidate(()))
    child = Candidate(("x\n",), finished=False)
    begun = time.process_time()
    while True:
        root, draws = search.choose(root, rng)
        if not draws and not root.sums.drawing:
            return time.process_time() - begun, made
        children = {
            draw.path: [
                Node(child, rng.random(), state="closed" if len(draw.path) + 1 == search.depth else "open")
                for _ in range(draw.n)
            ]
            for draw in draws
        }
        made += sum(draw.n for draw in draws)
        for part in [children] if search.by_depth else [{path: grown} for path, grown in children.items()]:
            root = expand(root, part)


async def solved(search: TreeSearch) -> tuple[float, int]:
    """Seconds of a whole search, and the memory that is held at its end."""
    begun = time.process_time()
    await solve(Problem("p", "?"), search, Scripted(step), seed=1)
    seconds = time.process_time() - begun
    tracemalloc.start()
    solution = await solve(Problem("p", "?"), search, Scripted(step), seed=1)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert solution.trace.children
    return seconds, size


if __name__ == "__main__":
    typer.run(main)
