"""How full tree searches keep the engine: beside Vote(16), and beside a beam with barriers.

    python benchmarks/bench_tree.py [--rounds 3] [--problems 64]

Over the shipped model, with a verifier that costs nothing (a number that follows from the text), on all problems at
once, taking turns on one engine:

- Vote(16), Beam(4, 4), Rebase(16), DVTS(4, 4): completion tokens a second, and what part of the prompt tokens that can
  be in the prefix cache were there: of a request that continues a reply, 32 * floor((L - 1) / 32) of its L tokens
- barriers: the same beam as published scripts do it: one problem at a time, and at each depth all requests are awaited
  before anything is judged
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
    Problem,
    ProblemFile,
    Rebase,
    Request,
    Run,
    Sampling,
    Score,
    VLLMEngine,
    Vote,
    solve_all,
)
from metagen.data import EVALUATION
from metagen.models import SMALL

BLOCK = 32
WIDTH, BRANCH, DEPTH = 4, 4, 64
Figures = dict[str, float]


def main(rounds: int = 3, problems: int = 64) -> None:
    asyncio.run(compare(rounds, list(islice(ProblemFile(EVALUATION), problems))))


async def compare(rounds: int, problems: list[Problem]) -> None:
    searches = {
        "Vote(16)": Vote(16),
        "Beam(4, 4)": Beam(WIDTH, BRANCH, by=free),
        "Rebase(16)": Rebase(16, by=free),
        "DVTS(4, 4)": DVTS(4, 4, by=free),
    }
    async with VLLMEngine(SMALL, block_size=BLOCK) as engine:
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
            if span.detail.get("partial"):
                figures["cached"] += span.usage.cached_tokens
                figures["cacheable"] += BLOCK * ((span.usage.prompt_tokens - 1) // BLOCK)
            figures["steps"] += span.detail.get("n", 0) if "partial" in span.detail else 0
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
            drawn = await asyncio.gather(*[engine.generate(request, lambda _: None) for request in requests])
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
    print(f"\nthe beam with barriers takes {statistics.median(barred):.1f} times as long")


if __name__ == "__main__":
    typer.run(main)
