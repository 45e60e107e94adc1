"""What a request costs us: processor time of the client over HTTP, and of the server's application.

    python benchmarks/speed/client.py [--before WORKTREE] [--rounds 5] [--requests 256]

- client: `Vote(16)` over a mock server that replies at once, 64 problems at a time, beside bare requests with n=16 by
  aiohttp (no answers, no votes, no traces)
- application: `Vote(8)` behind `/v1/chat/completions` over a model that costs nothing, 32 requests at a time, without a
  network

This code and that of another worktree take turns, each in a process of its own. Printed are microseconds per request,
medians of the rounds.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer

ROOT = Path(__file__).parents[2]
N, AT_ONCE = 16, 64
Request = Callable[[int], Awaitable[object]]


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
    for name in every[0][0]:
        parts = [part for part in zip(*every, strict=True) if name in part[0]]
        now, *old = (statistics.median(each[name] for each in part) for part in parts)
        print(f"| {name} | {now:,.0f} |" + "".join(f" {each:,.0f} | {now / each:.2f} |" for each in old))
    ratios = [[each["client"] / each["bare requests"] for each in part] for part in zip(*every, strict=True)]
    print(
        "client to bare requests, median of rounds: " + ", ".join(f"{statistics.median(part):.2f}" for part in ratios)
    )


def in_tree(tree: Path, url: str, requests: int) -> dict[str, float]:
    """One round over the code of a worktree."""
    command = [sys.executable, __file__, "--url", url, "--requests", str(requests)]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(command, env=environment, cwd=tree, stdout=subprocess.PIPE, text=True, check=True)
    read: dict[str, float] = json.loads(done.stdout)
    return read


async def measure(url: str, requests: int) -> dict[str, float]:
    found = {"bare requests": await bare(url, requests), "client": await client(url, requests)}
    if (Path(os.environ["PYTHONPATH"]) / "metagen" / "serve" / "application.py").exists():  # older code has no server
        found["application"] = await application(requests)
    return found


async def bare(url: str, requests: int) -> float:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(number: int) -> list[str]:
            body = {"model": "mock", "n": N, "messages": [{"role": "user", "content": question(number)}]}
            async with session.post(f"{url}/chat/completions", json=body) as reply:
                return [choice["message"]["content"] for choice in (await reply.json())["choices"]]

        return await timed(one, requests, AT_ONCE)


async def client(url: str, requests: int) -> float:
    from metagen import OpenAIServer, Problem, Retrying, Vote, solve  # noqa: PLC0415 (one tree's)

    async with Retrying(OpenAIServer(url)) as server:

        async def one(number: int) -> object:
            return await solve(Problem(str(number), question(number), answer="7"), Vote(N), server)

        return await timed(one, requests, AT_ONCE)


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
        return await timed(one, requests, 32)


async def timed(one: Request, requests: int, at_once: int) -> float:
    """Microseconds of processor time per request; the first `at_once` warm up."""
    await asyncio.gather(*map(one, range(at_once)))
    begun = time.process_time()
    for start in range(0, requests, at_once):
        await asyncio.gather(*map(one, range(start, start + at_once)))
    return (time.process_time() - begun) / requests * 1e6


def question(number: int) -> str:
    return f"What is {number} + 4? " * 10


if __name__ == "__main__":
    typer.run(main)
