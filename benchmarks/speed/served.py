"""What a server costs a real engine: Vote(8) by clients over HTTP, beside `solve_all` over the same engine.

    python benchmarks/speed/served.py [--rounds 5] [--problems 64] [--tokens 128]

The engine is opened once, in the process of the server, and both ways take turns. The clients, one a problem, are a
process of their own. Printed are completion tokens/s of each round, the median of their ratios, and on the idle engine
the milliseconds to the first streamed byte and to the first progress of some strategies, medians of the rounds.
"""

import asyncio
import json
import os
import statistics
import sys
import time
from itertools import islice
from typing import Annotated

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")

import aiohttp
import typer
import uvicorn

from metagen import Model, Problem, ProblemFile, VLLMEngine, Vote, solve_all
from metagen.data import EVALUATION
from metagen.models import SMALL
from metagen.serve import Limits, app

STREAMED = ("Model()", "Vote(16)", "Refine(rounds=2)", "Beam(2, 2, by=MeanLogprob())", "Chain(CoT(), Vote(4))")
"""Strategies whose first bytes are waited for."""


def main(
    rounds: int = 5,
    problems: int = 64,
    tokens: int = 128,
    *,
    url: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    if url:
        asyncio.run(clients(url, read(problems)))
    else:
        asyncio.run(compare(rounds, problems, tokens))


def read(count: int) -> list[Problem]:
    return list(islice(ProblemFile(EVALUATION), count))


async def compare(rounds: int, count: int, tokens: int) -> None:
    engine, strategy = VLLMEngine(SMALL), Vote(8, of=Model(max_tokens=tokens))
    served = app(engine, {"math": strategy}, limits=Limits(in_flight=count))
    server = uvicorn.Server(uvicorn.Config(served, port=0, lifespan="off", log_level="warning"))
    async with served.router.lifespan_context(served):
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 (uvicorn sets no event)
            await asyncio.sleep(0.01)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
        ratios = []
        for turn in range(rounds + 1):
            ways = [alone(engine, read(count), strategy), over_http(url, count)]
            speeds = [0.0, 0.0]
            for way in (0, 1) if turn % 2 else (1, 0):  # neither is always the first
                await engine.forget()
                speeds[way] = await ways[way]
            if turn:  # the first round warms up
                ratios.append(speeds[1] / speeds[0])
                print(f"round {turn}: alone {speeds[0]:,.0f}, served {speeds[1]:,.0f} tokens/s, {ratios[-1]:.3f}")
        print(f"median of the ratios: {statistics.median(ratios):.3f}", flush=True)
        await first_bytes(url, rounds)
        server.should_exit = True
        await serving


async def alone(engine: VLLMEngine, problems: list[Problem], strategy: Vote) -> float:
    begun, written = time.perf_counter(), 0
    async for solution in solve_all(problems, strategy, engine, concurrency=len(problems)):
        written += solution.usage.completion_tokens
    return written / (time.perf_counter() - begun)


async def over_http(url: str, problems: int) -> float:
    command = (sys.executable, __file__, "--url", url, "--problems", str(problems))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return float(out)


async def clients(url: str, problems: list[Problem]) -> None:
    """Print the tokens a second that all clients together get."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask(problem: Problem) -> int:
            body = {"model": "math", "messages": [{"role": "user", "content": problem.prompt}]}
            async with session.post(f"{url}/chat/completions", json=body) as reply:
                return int((await reply.json())["usage"]["completion_tokens"])

        begun = time.perf_counter()
        written = sum(await asyncio.gather(*map(ask, problems)))
        print(written / (time.perf_counter() - begun))


async def first_bytes(url: str, rounds: int) -> None:
    async with aiohttp.ClientSession() as session:
        for spec in STREAMED:
            found = [await first(session, url, spec, number) for number in range(rounds)]
            byte, progress = (1000 * statistics.median(column) for column in zip(*found, strict=True))
            print(f"{spec:30} first byte after {byte:6.1f} ms, first progress or text after {progress:6.1f} ms")


async def first(session: aiohttp.ClientSession, url: str, spec: str, number: int) -> tuple[float, float]:
    """Seconds to the first byte, and to the first words."""
    turns = [{"role": "user", "content": f"What is 3 + {number}?"}]
    body = {"model": "math", "messages": turns, "stream": True, "metagen": {"strategy": spec}}
    begun, byte, words = time.perf_counter(), 0.0, 0.0
    async with session.post(f"{url}/chat/completions", json=body) as reply:
        assert reply.status == 200, await reply.text()
        async for line in reply.content:
            byte = byte or time.perf_counter() - begun
            if not words and line.startswith(b"data: {"):
                delta = json.loads(line[6:])["choices"][0]["delta"]
                if delta.get("content") or delta.get("reasoning"):
                    words = time.perf_counter() - begun
    return byte, words


if __name__ == "__main__":
    typer.run(main)
