"""What metagen counts over vLLM's own server, beside what that server says it made.

    python benchmarks/torture/counts.py [--url http://localhost:8000/v1] [--problems 100]

Each strategy cancels requests in its own way. The server's own books (`/metrics`) are read before and after.
Without `--url` a server is started with the shipped model. The table is in Markdown; a deviation of more than two per
cent is bad.
"""

import asyncio
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Annotated

import typer

from metagen import Account, OpenAIServer, ProblemFile, parse, solve_all
from metagen.data import EVALUATION
from metagen.models import SMALL

STRATEGIES = (
    "Vote(8)",
    "Until(MatchesReference(), limit=16, window=8)",
    "Vote(16, until=BetaStop(0.9), window=8)",
    "Until(MatchesReference(), limit=8, window=4, of=Vote(4))",
    "Beam(4, 2, by=LowestGroupConfidence(), of=Model(top_logprobs=2), until=MatchesReference())",
    "BestFirst(16, 2, by=MeanLogprob(), of=Model(logprobs=True), until=MatchesReference(), window=4)",
)
WORST = 0.02


@contextmanager
def serving() -> Iterator[str]:
    """VLLM's server with the shipped model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--enforce-eager", "--dtype", "float32", "--block-size", "32", "--max-num-seqs", "256"]
    where = ["--model", str(SMALL), "--served-model-name", "small", "--host", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *where, *options]
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


def read_metric(url: str, name: str) -> int:
    text = urllib.request.urlopen(url.removesuffix("/v1") + "/metrics", timeout=10).read().decode()
    return int(sum(float(value) for value in re.findall(rf"^vllm:{name}\{{.*\}} (\S+)$", text, re.MULTILINE)))


async def made(url: str) -> int:
    """The completion tokens of the server's books, once it runs nothing. It counts a prompt once a sample."""
    while await asyncio.to_thread(read_metric, url, "num_requests_running"):  # noqa: ASYNC110 (it tells by polling)
        await asyncio.sleep(0.1)
    await asyncio.sleep(1.0)  # its books are closed a moment later
    return read_metric(url, "generation_tokens_total")


async def measure(url: str, problems: int) -> bool:
    print(
        "| strategy | completion tokens: counted | made | prompt tokens: estimated | deviation |\n|---"
        + "|---" * 4
        + "|"
    )
    sound = True
    for spec in STRATEGIES:
        before, account = await made(url), Account()
        async with OpenAIServer(url) as server:
            async for _ in solve_all(islice(ProblemFile(EVALUATION), problems), parse(spec), server, account=account):
                pass
        written, spent = await made(url) - before, account.spent
        off = spent.completion_tokens / written - 1
        sound = sound and abs(off) <= WORST
        counts = f"{spent.completion_tokens:,} | {written:,} | {spent.estimated_tokens:,}"
        print(f"| `{spec}` | {counts} | {off:+.2%} |", flush=True)
    return sound


def main(
    url: Annotated[str, typer.Option(help="A vLLM server; without one, the shipped model is served.")] = "",
    problems: int = 100,
) -> None:
    if url:
        sound = asyncio.run(measure(url, problems))
    else:
        with serving() as address:
            sound = asyncio.run(measure(address, problems))
    raise typer.Exit(not sound)


if __name__ == "__main__":
    typer.run(main)
