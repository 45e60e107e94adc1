"""Which HTTP client: ours over libcurl beside aiohttp and httpx, requests at once to one mock server.

    python benchmarks/speed/http_clients.py [--requests 500] [--rounds 3]

Each client posts the same body and reads a reply of 16 samples as JSON; they take turns. The server answers them
together and is a process of its own. Reported are medians of wall time and of the client's CPU time a request, and
what it takes to import the client.
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

from metagen.backends.http.connection import Http

BODY: dict[str, Any] = {"model": "mock", "n": 16, "messages": [{"role": "user", "content": "What is 3 + 4?" * 10}]}


def main(requests: int = 500, rounds: int = 3) -> None:
    mock = [sys.executable, str(Path(__file__).with_name("mock_server.py")), "--seconds-per-token", "0.0001"]
    with subprocess.Popen(mock, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = process.stdout.readline().strip() + "/chat/completions"
        ways = {"pycurl": with_pycurl, "aiohttp": with_aiohttp, "httpx": with_httpx}
        figures: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, rows in figures.items():
                rows.append(asyncio.run(timed(ways[name], url, requests)))
        process.terminate()
    for name, rows in figures.items():
        wall, cpu = (statistics.median(row[part] for row in rows) for part in (0, 1))
        imported = statistics.median(importing(name) for _ in range(rounds))
        print(f"{name:8} {wall:6.2f} s  {1000 * cpu / requests:6.3f} ms of CPU a request, {imported:.3f} s to import")


def importing(name: str) -> float:
    """Seconds of importing a client where asyncio is there already."""
    program = f"import asyncio, time; begun = time.perf_counter(); import {name}; print(time.perf_counter() - begun)"
    return float(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)


async def with_pycurl(url: str, requests: int) -> None:
    http = Http(url, key_env="", connect=60, silence=600)
    await http.open()

    async def one() -> None:
        assert len((await http.post(url, BODY))["choices"]) == 16

    await asyncio.gather(*(one() for _ in range(requests)))
    await http.close()


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
