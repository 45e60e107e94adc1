"""How full tree searches keep the engine: beside Vote(16), and beside a beam with barriers.

    python benchmarks/speed/tree.py [--rounds 3] [--problems 64] [--real] [--backend mp]

Over the shipped model, with a verifier that costs nothing (a number that follows from the text), on all problems at
once, taking turns on one engine:

- Vote(16), Beam(4, 4), Rebase(16), DVTS(4, 4): completion tokens per second, and the part of the prompt tokens that can
  be in the prefix cache were there: of a request that continues a reply, 32 * floor((L - 1) / 32) of its L tokens
- barriers: the same beam as published scripts do it: one problem at a time, and at each depth all requests are awaited
  before anything is judged

With `--real` the shipped process reward model judges, on an engine of its own, and each search is run three ways, with
cold caches: the pair; the generator alone, with the verdicts of the pair from memory; the reward model alone, which
reads all that the pair had judged, at once. Were the two engines never in each other's way, the pair would take as long
as the slower of them alone; did they take turns, as long as both together.

`--backend mp` schedules in a process and computes in another, as vLLM does by itself on a CPU.
"""

import asyncio
import gc
import statistics
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from hashlib import blake2b
from itertools import islice
from typing import Any

import typer

from metagen import (
    DVTS,
    Beam,
    Candidate,
    Completion,
    Problem,
    ProblemFile,
    ProcessReward,
    Reading,
    Rebase,
    Request,
    Run,
    Sampling,
    Score,
    VLLMEngine,
    VLLMReward,
    Vote,
    solve_all,
)
from metagen.backends.wrapper import RewardWrapper
from metagen.data import EVALUATION
from metagen.models import SMALL, SMALL_PRM
from metagen.request import Meter, RewardBackend

BLOCK = 32
WIDTH, BRANCH, DEPTH = 4, 4, 64
Figures = dict[str, float]


def main(rounds: int = 3, problems: int = 64, real: bool = False, backend: str = "") -> None:
    arguments = {"distributed_executor_backend": backend} if backend else {}
    asyncio.run((pairs if real else compare)(rounds, list(islice(ProblemFile(EVALUATION), problems)), arguments))


async def compare(rounds: int, problems: list[Problem], arguments: dict[str, Any]) -> None:
    searches = {
        "Vote(16)": Vote(16),
        "Beam(4, 4)": Beam(WIDTH, BRANCH, by=free),
        "Rebase(16)": Rebase(16, by=free),
        "DVTS(4, 4)": DVTS(4, 4, by=free),
    }
    async with VLLMEngine(SMALL, block_size=BLOCK, **arguments) as engine:
        ways: dict[str, Callable[[], Awaitable[Figures]]] = {
            name: partial(searched, engine, search, problems) for name, search in searches.items()
        }
        ways["barriers"] = partial(with_barriers, engine, problems)
        rows: defaultdict[str, list[Figures]] = defaultdict(list)
        for turn in range(rounds + 1):
            for name, way in ways.items():
                gc.collect()
                begun = time.perf_counter()
                figures = await way()
                figures["seconds"] = time.perf_counter() - begun
                if turn:  # the first round warms up
                    rows[name].append(figures)
                    print(
                        f"round {turn}  {name:10} {figures['seconds']:7.2f} s  {speed(figures):8,.0f} tokens/s",
                        flush=True,
                    )
    report(rows)


def speed(figures: Figures) -> float:
    return figures["tokens"] / figures["seconds"]


async def free(_problem: Problem, candidates: Sequence[Candidate], _run: Run) -> list[Score | None]:
    return [Score(worth(candidate.text)) for candidate in candidates]


def worth(text: str) -> float:
    """A number from 0 to 1 that follows from the text."""
    return int.from_bytes(blake2b(text.encode(), digest_size=6).digest()) / 2**48


async def searched(engine: VLLMEngine, search: Any, problems: list[Problem]) -> Figures:
    figures: Figures = {"tokens": 0, "steps": 0, "cached": 0, "cacheable": 0}
    async for solution in solve_all(problems, search, engine):
        figures["tokens"] += solution.usage.completion_tokens
        for span in solution.trace.walk():
            if span.request and span.request.partial:
                figures["cached"] += span.usage.cached_tokens
                figures["cacheable"] += BLOCK * ((span.usage.prompt_tokens - 1) // BLOCK)
            figures["steps"] += span.request.n if span.request else 0
    return figures


async def with_barriers(engine: VLLMEngine, problems: list[Problem]) -> Figures:
    figures: Figures = {"tokens": 0, "steps": 0}
    for problem in problems:
        beam: list[tuple[str, tuple[int, ...], bool]] = [("", (), False)]
        for depth in range(DEPTH):
            going = [(text, tokens) for text, tokens, finished in beam if not finished]
            if not going:
                break
            n = BRANCH if depth else WIDTH * BRANCH
            requests = [asked(problem, text, tokens, n) for text, tokens in going]
            outcomes = await asyncio.gather(*[engine.generate(request, lambda _: None) for request in requests])
            drawn = [[each for each in one if isinstance(each, Completion)] for one in outcomes]
            grown = [member for member in beam if member[2]]
            for (text, tokens), completions in zip(going, drawn, strict=True):
                figures["tokens"] += sum(each.length for each in completions)
                figures["steps"] += n
                grown += {
                    text + each.text: (text + each.text, tokens + each.tokens, each.end != "stop")
                    for each in completions
                }.values()
            beam = sorted(grown, key=lambda member: -worth(member[0]))[:WIDTH]
    return figures


def asked(problem: Problem, text: str, tokens: tuple[int, ...], n: int) -> Request:
    return Request(problem.id, problem.prompt, text, tokens, n, sampling=Sampling(stop=("\n",), keep_stop=True))


class Remembering(RewardWrapper):
    """Keeps what was read, and with `alone` answers from memory."""

    def __init__(self, of: RewardBackend) -> None:
        super().__init__(of)
        self.read: dict[Reading, tuple[float, ...]] = {}
        self.alone = False

    async def rate(self, reading: Reading, spend: Meter) -> tuple[float, ...]:
        if self.alone:
            return self.read.get(reading, (0.5,) * len(reading.steps))  # batches differ, and with them a few samples
        self.read[reading] = scores = await super().rate(reading, spend)
        return scores


async def pairs(rounds: int, problems: list[Problem], arguments: dict[str, Any]) -> None:
    by = ProcessReward("prm", aggregate="last")
    searches = {
        "Beam(4, 4)": Beam(WIDTH, BRANCH, by=by),
        "Rebase(16)": Rebase(16, by=by),
        "DVTS(4, 4)": DVTS(4, 4, by=by),
    }
    async with (
        VLLMEngine(SMALL, block_size=BLOCK, **arguments) as engine,
        VLLMReward(SMALL_PRM, **arguments) as prm,
    ):
        print(f"{'':10} {'pair':>7} {'generator':>9} {'reward':>7}   seconds; tokens/s, readings/s; to slower, to both")
        for turn in range(rounds + 1):
            for name, search in searches.items():
                found = await apart(engine, prm, search, problems)
                if turn:  # the first round warms up
                    slower, both = max(found["generator"], found["reward"]), found["generator"] + found["reward"]
                    print(
                        f"{name:10} {found['pair']:7.2f} {found['generator']:9.2f} {found['reward']:7.2f}   "
                        f"{found['tokens'] / found['pair']:7,.0f} {found['readings'] / found['pair']:7,.0f}   "
                        f"{found['pair'] / slower:5.2f} {found['pair'] / both:5.2f}",
                        flush=True,
                    )


async def apart(engine: VLLMEngine, prm: VLLMReward, search: Any, problems: list[Problem]) -> Figures:
    found: Figures = {}
    remembering = Remembering(prm)
    for way in ("pair", "generator"):
        await engine.forget()
        await prm.forget()
        remembering.alone = way == "generator"
        begun = time.perf_counter()
        tokens = 0
        async for solution in solve_all(problems, search, {"model": engine, "prm": remembering}, seed=0):
            tokens += solution.usage.completion_tokens
        found |= {way: time.perf_counter() - begun, "tokens": tokens}
    await prm.forget()
    begun = time.perf_counter()
    await asyncio.gather(*[prm.rate(reading, lambda _: None) for reading in remembering.read])
    return found | {"reward": time.perf_counter() - begun, "readings": len(remembering.read)}


def report(rows: dict[str, list[Figures]]) -> None:
    print(f"\n{'':10} {'seconds':>8} {'tokens/s':>9} {'to Vote':>8} {'cached':>7} {'steps':>7}   medians of rounds")
    votes = rows["Vote(16)"]
    for name, figures in rows.items():
        ratio = statistics.median(speed(each) / speed(vote) for each, vote in zip(figures, votes, strict=True))
        cached = [each["cached"] / each["cacheable"] for each in figures if each.get("cacheable")]
        print(
            f"{name:10} {statistics.median(each['seconds'] for each in figures):8.2f} "
            f"{statistics.median(map(speed, figures)):9,.0f} {ratio:8.2f} "
            f"{f'{statistics.median(cached):.3f}' if cached else '':>7} "
            f"{statistics.median(each['steps'] for each in figures):7,.0f}"
        )
    barred = [b["seconds"] / ours["seconds"] for b, ours in zip(rows["barriers"], rows["Beam(4, 4)"], strict=True)]
    print(f"\nthe beam with barriers takes {statistics.median(barred):.2f} times as long")


if __name__ == "__main__":
    typer.run(main)
