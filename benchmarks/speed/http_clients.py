"""Which HTTP client: aiohttp beside httpx, 500 requests at once to one mock server.

    python benchmarks/speed/http_clients.py [--requests 500] [--rounds 3]

Each client posts the same body and reads a reply of 16 samples as JSON; they take turns. The server answers them
together
and is a process of its own. Reported are medians of wall time and of the client's CPU time a request.
"""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import typer

BODY: dict[str, Any] = {"model": "mock", "n": 16, "messages": [{"role": "user", "content": "What is 3 + 4?" * 10}]}


def main(requests: int = 500, rounds: int = 3) -> None:
    mock = [sys.executable, str(Path(__file__).with_name("mock_server.py")), "--seconds-per-token", "0.0001"]
    with subprocess.Popen(mock, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = process.stdout.readline().strip() + "/chat/completions"
        figures: dict[str, list[tuple[float, float]]] = {"aiohttp": [], "httpx": []}
        for _ in range(rounds):
            for name, rows in figures.items():
                rows.append(asyncio.run(timed(with_aiohttp if name == "aiohttp" else with_httpx, url, requests)))
        process.terminate()
    for name, rows in figures.items():
        wall, cpu = (statistics.median(row[part] for row in rows) for part in (0, 1))
        print(f"{name:8} {wall:6.2f} s  {1000 * cpu / requests:6.3f} ms of CPU a request")


async def timed(way: Callable[[str, int], Awaitable[None]], url: str, requests: int) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    await way(url, requests)
    return time.perf_counter() - wall, time.process_time() - cpu


async def with_aiohttp(url: str, requests: int) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one() -> None:
            async with session.post(url, json=BODY) as response:
                assert len((await response.json())["choices"]) == 16

        await asyncio.gather(*(one() for _ in range(requests)))


async def with_httpx(url: str, requests: int) -> None:
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=None), timeout=None) as client:

        async def one() -> None:
            assert len((await client.post(url, json=BODY)).json()["choices"]) == 16

        await asyncio.gather(*(one() for _ in range(requests)))


if __name__ == "__main__":
    typer.run(main)
