"""What a request costs us: processor time of the client over HTTP, and of the server's application.

    python benchmarks/speed/client.py [--before WORKTREE] [--rounds 5] [--requests 256]

- client: `solve_all` with `Vote(16)` over a mock server that replies at once, 64 problems at a time, beside bare
  requests with n=16 by aiohttp (no answers, no votes, no traces)
- application: `Vote(8)` behind `/v1/chat/completions` over a model that costs nothing, 32 requests at a time, without a
  network

This code and that of another worktree take turns, each in a process of its own. In a process, bare requests and the
client take `TURNS` turns after a first one that warms up: a machine's speed differs more between processes than from
one moment to the next. Printed are microseconds per request, medians of the turns of all rounds.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer

ROOT = Path(__file__).parents[2]
N, AT_ONCE, TURNS = 16, 64, 5
Request = Callable[[int], Awaitable[object]]
Figures = dict[str, list[float]]


def main(
    before: Annotated[Path | None, typer.Option(help="A worktree of the commit to compare with.")] = None,
    rounds: int = 5,
    requests: int = 256,
    url: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    if url:
        print(json.dumps(asyncio.run(measure(url, requests))))
        return
    mock = [sys.executable, str(Path(__file__).with_name("mock_server.py")), "--seconds-per-token", "0"]
    trees = [ROOT, *([before] if before else [])]
    with subprocess.Popen(mock, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        address = process.stdout.readline().strip()
        every = [[in_tree(tree, address, requests) for tree in trees] for _ in range(rounds)]
        process.terminate()
    print("| us per request | now |" + (" before | ratio |" if before else ""))
    print("|---|---|" + ("---|---|" if before else ""))
    parts = [joined(part) for part in zip(*every, strict=True)]
    for name in parts[0]:
        now, *old = (statistics.median(part[name]) for part in parts if name in part)
        print(f"| {name} | {now:,.0f} |" + "".join(f" {each:,.0f} | {now / each:.2f} |" for each in old))
    for which, part in zip(("now", "before"), parts, strict=False):
        ratios = [ours / plain for ours, plain in zip(part["client"], part["bare requests"], strict=True)]
        low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
        print(f"client to bare requests, {which}: median of {len(ratios)} turns {middle:.2f}, {low:.2f} to {high:.2f}")


def joined(rounds: tuple[Figures, ...]) -> Figures:
    """The turns of all rounds."""
    return {name: [turn for each in rounds for turn in each[name]] for name in rounds[0]}


def in_tree(tree: Path, url: str, requests: int) -> Figures:
    """One round over the code of a worktree."""
    command = [sys.executable, __file__, "--url", url, "--requests", str(requests)]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(command, env=environment, cwd=tree, stdout=subprocess.PIPE, text=True, check=True)
    read: Figures = json.loads(done.stdout)
    return read


async def measure(url: str, requests: int) -> Figures:
    found: defaultdict[str, list[float]] = defaultdict(list)
    async with bare(url) as plain, client(url) as ours:
        for turn in range(TURNS + 1):
            for name, ask in (("bare requests", plain), ("client", ours)):
                begun = time.process_time()
                await ask(requests)
                if turn:
                    found[name].append((time.process_time() - begun) / requests * 1e6)
    if (Path(os.environ["PYTHONPATH"]) / "metagen" / "serve" / "application.py").exists():  # older code has no server
        found["application"] = [await application(requests)]
    return found


@asynccontextmanager
async def bare(url: str) -> AsyncIterator[Request]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        places = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> list[str]:
            body = {"model": "mock", "n": N, "messages": [{"role": "user", "content": question(number)}]}
            async with places, session.post(f"{url}/chat/completions", json=body) as reply:
                return [choice["message"]["content"] for choice in (await reply.json())["choices"]]

        async def every(requests: int) -> None:
            await asyncio.gather(*map(one, range(requests)))

        yield every


@asynccontextmanager
async def client(url: str) -> AsyncIterator[Request]:
    from metagen import OpenAIServer, Problem, Retrying, Vote, solve_all  # noqa: PLC0415 (one tree's)

    async with Retrying(OpenAIServer(url)) as server:

        async def every(requests: int) -> None:
            problems = [Problem(str(number), question(number), answer="7") for number in range(requests)]
            async for solution in solve_all(problems, Vote(N), server, concurrency=AT_ONCE):
                assert solution.samples == N, solution

        yield every


async def application(requests: int) -> float:
    from metagen import Scripted  # noqa: PLC0415 (one tree's)
    from metagen.serve import app  # noqa: PLC0415

    served = app(Scripted("Two and two make four. The answer is 4."), {"math": "Vote(8)"})
    body = json.dumps({"model": "math", "messages": [{"role": "user", "content": question(3)}]}).encode()
    sent = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b"", "headers": sent}

    async def one(_: int) -> None:
        came = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            return came.pop() if came else await asyncio.Event().wait()

        async def send(message: Any) -> None:
            assert message.get("status", 200) == 200, message

        await served(dict(scope), receive, send)

    async with served.router.lifespan_context(served):
        await asyncio.gather(*map(one, range(32)))  # warms up
        begun = time.process_time()
        for start in range(0, requests, 32):
            await asyncio.gather(*map(one, range(start, start + 32)))
        return (time.process_time() - begun) / requests * 1e6


def question(number: int) -> str:
    return f"What is {number} + 4? " * 10


if __name__ == "__main__":
    typer.run(main)
