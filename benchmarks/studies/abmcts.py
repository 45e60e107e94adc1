"""`ABMCTS` beside treequest's AB-MCTS-A: the best reward at equal calls, and the time that bookkeeping takes.

    python benchmarks/studies/abmcts.py [--seeds 200] [--calls 64,256]

Needs treequest 0.3.3, in an environment of its own. Both search with the same two generate functions, whose replies
are their rewards, a number from 0 to 1: one writes good first replies, the other improves what it is shown. At 64 and
256 calls, with 1 and 16 under way, it prints the mean best reward over seeds, the difference in pairs of seeds with its
95 % bootstrap interval, how many calls each kept, and microseconds of bookkeeping a node: choosing and adding, without
the generate functions. treequest asks for 16 at a time and waits for all of them; `Tree` always has 16 under way.
"""

import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import treequest  # type: ignore[import-not-found, unused-ignore]
import typer

from metagen.analysis.compare import difference
from metagen.candidate import Candidate
from metagen.strategies.tree.adaptive import Reply, Rewards, Tree

Generate = Callable[[float | None], tuple[float, float]]


@dataclass(frozen=True)
class Found:
    """What a search of one seed came to."""

    best: float
    kept: int
    seconds: float
    """Of bookkeeping."""


def generators(seed: int) -> dict[str, Generate]:
    """Two models: by name, from a reply (or none) to a new one and its reward."""
    chance = random.Random(seed)

    def clipped(value: float) -> tuple[float, float]:
        return (min(1.0, max(0.0, value)),) * 2

    def drafts(before: float | None) -> tuple[float, float]:
        return clipped(chance.betavariate(3, 4) if before is None else before + chance.gauss(-0.05, 0.1))

    def revises(before: float | None) -> tuple[float, float]:
        return clipped(chance.betavariate(2, 6) if before is None else before + chance.gauss(0.01, 0.08))

    return {"drafts": drafts, "revises": revises}


def ours(calls: int, window: int, rewards: Rewards, seed: int) -> Found:
    """`Tree` as `ABMCTS` drives it: results are taken in the order in which they were asked for."""
    chance, begun, seconds = random.Random(seed), 0, 0.0
    tree, models = Tree(2, rewards), list(generators(seed).values())
    waiting: deque[tuple[Reply, int, float]] = deque()
    made: dict[int, float] = {}
    while begun < calls or waiting:
        since = time.process_time()
        chosen: list[tuple[Reply, int]] = []
        while begun < calls and len(waiting) + len(chosen) < window:
            chosen.append(tree.choose(chance))
            begun += 1
        seconds += time.process_time() - since
        for above, arm in chosen:
            waiting.append((above, arm, models[arm](made.get(id(above)))[1]))
        above, arm, value = waiting.popleft()
        since = time.process_time()
        tree.add(above, (), arm, Candidate(("",)), value)
        seconds += time.process_time() - since
        made[id(tree.replies[-1])] = value
    return Found(max(made.values()), len(tree.replies), seconds)


def theirs(calls: int, window: int, rewards: Rewards, seed: int) -> Found:
    """Treequest, in batches of `window`."""
    np.random.seed(seed)
    models, seconds = generators(seed), 0.0
    search = treequest.ABMCTSA(dist_type=rewards)
    state = search.init_tree()
    for _ in range(calls // window):
        since = time.process_time()
        state, trials = search.ask_batch(state, window, list(models))
        seconds += time.process_time() - since
        results = [(trial.trial_id, models[trial.action](trial.parent_state)) for trial in trials]
        since = time.process_time()
        for trial, result in results:
            state = search.tell(state, trial, result)
        seconds += time.process_time() - since
    scores = [score for _, score in search.get_state_score_pairs(state)]
    return Found(max(scores), len(scores), seconds)


def main(seeds: Annotated[int, typer.Option(min=2)] = 200, calls: str = "64,256") -> None:
    print("| rewards | calls | at once | ours | treequest | difference | kept | µs a node, ours | treequest | times |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    kinds: tuple[Rewards, ...] = ("gaussian", "beta")
    for rewards in kinds:
        for most in map(int, calls.split(",")):
            for window in (1, 16):
                one = [ours(most, window, rewards, seed) for seed in range(seeds)]
                other = [theirs(most, window, rewards, seed) for seed in range(seeds)]
                bests = [np.array([each.best for each in found]) for found in (one, other)]
                apart = difference(bests[1], bests[0])
                each = [1e6 * sum(found.seconds for found in part) / seeds / most for part in (one, other)]
                kept = " and ".join(str(min(found.kept for found in part)) for part in (one, other))
                print(
                    f"| {rewards} | {most} | {window} | {bests[0].mean():.4f} | {bests[1].mean():.4f} "
                    f"| {apart.value:+.4f} [{apart.low:+.4f}, {apart.high:+.4f}] | {kept} "
                    f"| {each[0]:.1f} | {each[1]:.0f} | {each[1] / each[0]:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    typer.run(main)
