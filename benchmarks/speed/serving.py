"""Our server's part: self-consistency with 8 samples for 64 clients, beside its-hub's, optillm's and no server.

    python -m venv /tmp/hub && /tmp/hub/bin/pip install "its-hub[iaas,lm]==1.2.0"
    python -m venv /tmp/opt && /tmp/opt/bin/pip install optillm==0.4.0
    python benchmarks/speed/serving.py [--hub /tmp/hub/bin] [--optillm /tmp/opt/bin] [--rounds 3] [--requests 256] \
        [--seconds-per-token 0]

All ask one mock server (`mock_server.py`). Servers are processes of their own and take turns in each round. `direct`
asks the mock for n=8, without a server between. `scripted` is our server over a function instead of the mock. With 0
seconds per token, the figures are those of servers that never wait for the model: the most requests they can answer.
With 0.01, replies take about two seconds. Printed are medians over the rounds: requests/s, latencies, and the CPU time
of the server for each request. Then the latency that our server adds: over a function that sleeps for one to two
seconds a sample, what a request takes beyond its longest sample.
"""

import asyncio
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import aiohttp
import psutil
import typer

N, CLIENTS = 8, 64
TURNS = [{"role": "user", "content": "What is 3 + 4?"}]
SLEEPER = """
import asyncio
from random import Random

from metagen import Scripted


def seconds(prompt, draw):
    return 1 + Random(f"{prompt} {draw}").random()


def sleeper():
    async def sleep(request):
        await asyncio.sleep(seconds(request.prompt, request.draw))
        return "The answer is 7."

    return Scripted(sleep)
"""
Way = tuple[str, str, dict[str, Any], psutil.Process | None]
"""A name, an address, a body, and the process that is measured."""


@contextmanager
def process_of(*command: str | Path) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def ours(stack: ExitStack, name: str, model: str, *options: str | Path) -> Way:
    command = (sys.executable, "-m", "metagen", "serve", "--model", model, "--alias", f"math=Vote({N})", "--port", "0")
    process = stack.enter_context(process_of(*command, *options))
    assert process.stdout
    url = process.stdout.readline().removeprefix("Serving at ").strip()
    return name, url, {"model": "math", "messages": TURNS}, psutil.Process(process.pid)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def until_up(session: aiohttp.ClientSession, url: str) -> None:
    for _ in range(600):
        try:
            async with session.get(f"{url}/models"):
                return
        except aiohttp.ClientError:
            await asyncio.sleep(0.1)
    raise SystemExit(f"{url} does not answer")


async def hub(stack: ExitStack, session: aiohttp.ClientSession, binaries: Path, mock: str) -> Way:
    port = free_port()
    process = stack.enter_context(process_of(binaries / "its-iaas", "--host", "127.0.0.1", "--port", str(port)))
    url = f"http://127.0.0.1:{port}"
    await until_up(session, f"{url}/v1")
    wanted: dict[str, Any] = {"endpoint": mock, "api_key": "none", "model": "mock", "alg": "self-consistency"}
    wanted |= {"budget": N, "regex_patterns": [r"The answer is (\d+)"]}
    async with session.post(f"{url}/configure", json=wanted) as reply:
        assert reply.status == 200, await reply.text()
    body = {"model": "mock", "messages": TURNS, "budget": N}
    return "its-hub", f"{url}/v1", body, psutil.Process(process.pid)


async def optillm(stack: ExitStack, session: aiohttp.ClientSession, binaries: Path, mock: str) -> Way:
    port = free_port()
    options = ("--base-url", mock, "--approach", "self_consistency", "--port", str(port), "--n", "1")
    process = stack.enter_context(process_of("env", "OPENAI_API_KEY=none", binaries / "optillm", *options))
    url = f"http://127.0.0.1:{port}/v1"
    await until_up(session, url)
    body = {"model": "self_consistency-mock", "messages": TURNS}
    return "optillm", url, body, psutil.Process(process.pid)


def cpu(process: psutil.Process | None) -> float:
    if process is None:
        return 0.0
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(float(each.user + each.system) for each in times)


async def measure(session: aiohttp.ClientSession, way: Way, requests: int) -> tuple[float, float, float, float]:
    """Requests a second, the latency of half of them and of 99 of 100 in ms, and CPU time in ms for each."""
    _, url, body, process = way
    latencies: list[float] = []
    numbers = iter(range(requests))

    async def client() -> None:
        for _ in numbers:
            begun = time.perf_counter()
            async with session.post(f"{url}/chat/completions", json=body) as reply:
                said = await reply.read()
                assert reply.status == 200, said
            assert json.loads(said)["choices"], said
            latencies.append(1000 * (time.perf_counter() - begun))

    begun, used = time.perf_counter(), cpu(process)
    await asyncio.gather(*(client() for _ in range(min(CLIENTS, requests))))
    seconds = time.perf_counter() - begun
    shares = statistics.quantiles(latencies, n=100)
    return requests / seconds, shares[49], shares[98], 1000 * (cpu(process) - used) / requests


async def added(session: aiohttp.ClientSession, way: Way, requests: int) -> tuple[float, float]:
    """The milliseconds that the server adds to half of the requests, and to 99 of 100."""
    names: dict[str, Any] = {}
    exec(SLEEPER, names)  # noqa: S102 (the text above)
    later: list[float] = []
    numbers = iter(range(requests))

    async def client() -> None:
        for number in numbers:
            prompt = f"What is {number} + 4?"
            slept = max(names["seconds"](prompt, draw) for draw in range(N))
            begun = time.perf_counter()
            body = {"model": "math", "messages": [{"role": "user", "content": prompt}]}
            async with session.post(f"{way[1]}/chat/completions", json=body) as reply:
                assert (await reply.json())["choices"]
            later.append(1000 * (time.perf_counter() - begun - slept))

    await asyncio.gather(*(client() for _ in range(min(CLIENTS, requests))))
    shares = statistics.quantiles(later[CLIENTS:], n=100)  # not the first of each client, which come all at once
    return shares[49], shares[98]


async def run(hub_at: Path | None, optillm_at: Path | None, rounds: int, requests: int, per_token: float) -> None:
    with ExitStack() as stack, TemporaryDirectory() as folder:
        mock_server = Path(__file__).with_name("mock_server.py")
        process = stack.enter_context(process_of(sys.executable, mock_server, "--seconds-per-token", str(per_token)))
        assert process.stdout
        mock = process.stdout.readline().strip()
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=1)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout()) as session:
            ways: list[Way] = [("direct", mock, {"model": "mock", "messages": TURNS, "n": N}, None)]
            ways += [ours(stack, "metagen", mock), ours(stack, "scripted", "Scripted:The answer is 7.")]
            ways += [await hub(stack, session, hub_at, mock)] if hub_at else []
            ways += [await optillm(stack, session, optillm_at, mock)] if optillm_at else []
            for way in ways:
                await measure(session, way, 8)
            found: dict[str, list[tuple[float, ...]]] = {way[0]: [] for way in ways}
            for _ in range(rounds):
                for way in ways:
                    found[way[0]].append(await measure(session, way, requests))
            (Path(folder) / "sleeper.py").write_text(SLEEPER)
            sleeper = ours(stack, "sleeper", "sleeper", "--load", Path(folder) / "sleeper.py")
            more = await added(session, sleeper, 2 * requests)
    print(f"{'':10} {'requests/s':>10} {'p50 ms':>8} {'p99 ms':>8} {'CPU ms':>8}")
    for name, rows in found.items():
        figures = [statistics.median(column) for column in zip(*rows, strict=True)]
        print(f"{name:10} {figures[0]:10.1f} {figures[1]:8.1f} {figures[2]:8.1f} {figures[3]:8.2f}")
    print(f"our server adds {more[0]:.1f} ms to a request of {CLIENTS} clients (p50), {more[1]:.1f} ms (p99)")


def main(
    hub: Annotated[Path | None, typer.Option(help="The folder of its-iaas.")] = None,
    optillm: Annotated[Path | None, typer.Option(help="The folder of optillm.")] = None,
    rounds: int = 3,
    requests: int = 256,
    seconds_per_token: Annotated[float, typer.Option(help="Of the mock server, for one sample alone.")] = 0.0,
) -> None:
    asyncio.run(run(hub, optillm, rounds, requests, seconds_per_token))


if __name__ == "__main__":
    typer.run(main)
