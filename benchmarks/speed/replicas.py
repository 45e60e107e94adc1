"""Two real servers of one model: what share of the prompt tokens their prefix caches hold.

    python benchmarks/speed/replicas.py [--problems 24] [--rounds 3]

Two of vLLM's own servers with the shipped model, behind `Balanced`. A problem's requests stay with the server that
served it last, or, for comparison, go to the less busy one each time. `one server` is the most that can be had. All
ways solve the same problems and begin with cold caches. The shares are the servers' own counts.
"""

import asyncio
import os
import statistics
import time
import urllib.request
from contextlib import ExitStack
from itertools import islice
from typing import Any

import typer
from server import serving, told

from metagen import Balanced, Beam, Model, OpenAIServer, Problem, ProblemFile, Refine, Retrying, Score, solve_all
from metagen.data import EVALUATION

NEVER = -(10**9)
"""No server is so much less busy that a problem would stay where it is."""
WAYS = {"one server": (1, 32), "two, by problem": (2, 32), "two, the less busy one": (2, NEVER)}


async def brief(_: Problem, candidates: Any, __: Any) -> list[Score]:
    """Prefers short steps; it costs nothing."""
    return [Score(1 / (1 + len(each.text))) for each in candidates]


STRATEGIES = {
    "Beam(4, 4)": Beam(4, 4, of=Model(max_tokens=200), by=brief),
    "Refine(rounds=3)": Refine(of=Model(max_tokens=200), rounds=3),
}


def main(problems: int = 24, rounds: int = 3) -> None:
    every = list(islice(ProblemFile(EVALUATION), problems))
    os.environ["VLLM_SERVER_DEV_MODE"] = "1"  # a server that can be told to empty its cache
    with ExitStack() as stack:
        urls = [stack.enter_context(serving(real=True))[0] for _ in range(2)]
        for url in urls:
            asyncio.run(solve([url], 32, STRATEGIES["Beam(4, 4)"], every[:2]))
        print("| strategy | servers | prompt tokens in the cache | seconds |\n|---|---|---|---|", flush=True)
        for name, strategy in STRATEGIES.items():
            found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
            for _ in range(rounds):
                for way, (count, lean) in WAYS.items():
                    found[way].append(measured(urls[:count], lean, strategy, every))
            for way, figures in found.items():
                share, seconds = (statistics.median(each) for each in zip(*figures, strict=True))
                print(f"| `{name}` | {way} | {share:.1%} | {seconds:.1f} |", flush=True)


def measured(urls: list[str], lean: int, strategy: Any, problems: list[Problem]) -> tuple[float, float]:
    """The share of prompt tokens that the caches held, and the seconds."""
    for url in urls:
        request = urllib.request.Request(url.removesuffix("/v1") + "/reset_prefix_cache", method="POST")
        urllib.request.urlopen(request).close()
    before, begun = counted(urls), time.perf_counter()
    asyncio.run(solve(urls, lean, strategy, problems))
    seconds = time.perf_counter() - begun
    read, cached = (now - then for now, then in zip(counted(urls), before, strict=True))
    return cached / read, seconds


def counted(urls: list[str]) -> tuple[float, float]:
    """Prompt tokens of all servers, and those that their caches held."""
    every = [told(url, real=True) for url in urls]
    return sum(each["prompt_tokens"] for each in every), sum(each["cached"] for each in every)


async def solve(urls: list[str], lean: int, strategy: Any, problems: list[Problem]) -> None:
    async with Retrying(Balanced(*(OpenAIServer(url) for url in urls), lean=lean)) as model:
        solved = [each async for each in solve_all(problems, strategy, model, concurrency=16)]
    assert len(solved) == len(problems)
    assert not any(each.error for each in solved)


if __name__ == "__main__":
    typer.run(main)
