"""Clients that leave, hostile requests, and 50,000 requests with faults, against our server in a process of its own.

    python benchmarks/torture/serve.py [--leaving 1000] [--requests 50000]

It prints what it counted, and ends with 1 if anything was left: a request, a reserved token, a file descriptor, or a
reply that is no error of OpenAI's form. The model is a function that takes a few milliseconds and fails now and then.
It notes when its last sample for each client that leaves ended. Few of these clients come at a time, so that the server
is not always busy: the figures are those of leaving, and not of waiting for a turn.
"""

import asyncio
import json
import random
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import aiohttp
import psutil
import typer
import uvicorn
from starlette.responses import JSONResponse

from metagen import GenerationError, Request, Scripted
from metagen.serve import Key, Limits, app
from metagen.serve.keys import hashed

KEY = {"Authorization": "Bearer secret"}
BODY: dict[str, Any] = {"model": "math", "messages": [{"role": "user", "content": "What is 3 + 4?"}]}
SPECS = ("Vote(8)", "Refine(rounds=2)", "Chain(CoT(), Vote(4))", "Vote(3, of=Refine(rounds=1))", "CoT()", "Fuse(3)")
HOSTILE: tuple[bytes, ...] = (
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe\x00",
    b"[" * 200_000,
    b'{"a":' * 100_000,
    b'{"model": "math"}',
    b'{"model": "math", "messages": "x"}',
    b'{"model": 7, "messages": []}',
    b'{"model": "math", "messages": [{"role": "user", "content": {"a": 1}}]}',
    b'{"model": "math", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}',
    b'{"model": "math", "messages": [{"role": "system", "content": "no question"}]}',
    b'{"model": "math", "messages": [{"role": "user", "content": "?"}], "n": 1e99}',
    b'{"model": "math", "messages": [{"role": "user", "content": "?"}], "temperature": NaN}',
    b'{"model": "math", "messages": [{"role": "user", "content": "?"}], "stop": [[[]]]}',
    b'{"model": "math", "messages": [{"role": "user", "content": "?"}], "logit_bias": {"x": {}}}',
    b'{"model": "math", "messages": [{"role": "user", "content": "?"}], "metagen": {"strategy": "exec(1)"}}',
    b'{"model": "__import__(\'os\').system(\'id\')", "messages": [{"role": "user", "content": "?"}]}',
    b'{"model": "open(\'/etc/passwd\')", "messages": [{"role": "user", "content": "?"}]}',
    b'{"model": "DSP(Search(\'/etc/passwd\'))", "messages": [{"role": "user", "content": "?"}]}',
    b'{"model": "Vote(999999999)", "messages": [{"role": "user", "content": "?"}]}',
    b'{"model": "../../etc/passwd", "messages": [{"role": "user", "content": "?"}]}',
    b'{"model": "' + b"Vote(2, of=" * 300 + b'", "messages": [{"role": "user", "content": "?"}]}',
    b'{"model": "math", "messages": [{"role": "user", "content": "' + b"x" * 9_000_000 + b'"}]}',
)


LEAVING = "Leaving client "
"""The question of a client that leaves begins so, and ends with its number."""
ENDS: dict[str, float] = {}
"""When the last sample for each of them ended, by the clock that all processes share."""


async def model(request: Request) -> str:
    chance = random.Random(f"{request.prompt} {request.draw}")
    try:
        await asyncio.sleep(chance.random() * 0.01)
    finally:
        if found := re.search(f"{LEAVING}([0-9]+)", request.prompt):
            ENDS[found[1]] = time.monotonic()
    if chance.random() < 0.05:
        raise GenerationError("no power")
    return f"The answer is {chance.choice((7, 7, 8))}."


async def ends(_: object) -> JSONResponse:
    return JSONResponse(ENDS)


def serve() -> None:
    """The server, until it is ended."""
    limits = Limits(in_flight=256, queue=100_000)
    application = app(Scripted(model, name="m"), {"math": "Vote(8)"}, keys=[Key("a", hashed("secret"))], limits=limits)
    application.add_route("/ends", ends)
    config = uvicorn.Config(application, port=0, log_level="critical", access_log=False)

    async def main() -> None:
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 (uvicorn sets no event)
            await asyncio.sleep(0.01)
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
        await task

    asyncio.run(main())


@contextmanager
def server() -> Iterator[tuple[str, psutil.Process]]:
    with subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}", psutil.Process(process.pid)
        finally:
            process.terminate()


def cpu(process: psutil.Process) -> float:
    """Seconds of computing so far; on a busy machine they say more than the clock."""
    times = process.cpu_times()
    return float(times.user + times.system)


async def metrics(session: aiohttp.ClientSession, url: str) -> dict[str, float]:
    async with session.get(f"{url}/metrics") as reply:
        lines = re.findall(r"^(\w+(?:\{[^}]*\})?) (\S+)$", await reply.text(), re.MULTILINE)
    return {name: float(value) for name, value in lines}


def open_work(counts: dict[str, float]) -> float:
    """All that is under way: requests, samples, reserved tokens."""
    names = ("requests_at_work", "requests_waiting", "samples_in_flight", "held_tokens")
    return sum(counts[f"metagen_{name}"] for name in names)


async def leave(url: str, number: int) -> float:
    """Ask for something, and hang up at a random moment, which is returned."""
    chance = random.Random(number)
    _, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
    asked = {"model": chance.choice(SPECS), "messages": [{"role": "user", "content": f"{LEAVING}{number}"}]}
    body = json.dumps(asked | {"stream": chance.random() < 0.5}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: {KEY['Authorization']}\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body[: chance.choice((len(body), len(body), len(body) // 2))])
    await asyncio.sleep(chance.random() * 0.05)
    left = time.monotonic()
    writer.close()
    return left


async def leaving(
    session: aiohttp.ClientSession, url: str, process: psutil.Process, count: int, at_once: int
) -> list[str]:
    await metrics(session, url)
    before, used = process.num_fds(), cpu(process)
    moments: dict[str, float] = {}
    numbers = iter(range(count))

    async def clients() -> None:
        for number in numbers:
            moments[str(number)] = await leave(url, number)

    await asyncio.gather(*(clients() for _ in range(at_once)))
    while open_work(await metrics(session, url)):
        pass
    async with session.get(f"{url}/ends") as reply:
        last: dict[str, float] = await reply.json()
    later = [max(0.0, 1000 * (end - moments[name])) for name, end in last.items()]
    print(f"{count} clients left at random moments, {at_once} at a time; {len(later)} had samples drawn")
    shares = statistics.quantiles(later, n=100)
    print(
        f"  ms from leaving to the end of its last sample: p50 {shares[49]:.1f}, p99 {shares[98]:.1f}, {max(later):.1f}"
    )
    print(f"  {1000 * (cpu(process) - used) / count:.1f} ms of the server's CPU time for each")
    print(f"  descriptors: {before} before, {process.num_fds()} after", flush=True)
    return [] if process.num_fds() <= before + 1 else ["descriptors were left"]


async def hostile(session: aiohttp.ClientSession, url: str, process: psutil.Process) -> list[str]:
    memory, wrong, statuses = process.memory_info().rss, list[str](), Counter[int]()
    for number in range(200):
        body, path = HOSTILE[number % len(HOSTILE)], ("chat/completions", "responses")[number // len(HOSTILE) % 2]
        try:
            async with session.post(f"{url}/v1/{path}", data=body, headers=KEY) as reply:
                statuses[reply.status] += 1
                said = await reply.text()
        except aiohttp.ClientConnectionError:
            statuses[413] += 1  # it hung up before a body was whole that is too long
            continue
        if not (400 <= reply.status < 500 and "message" in json.loads(said)["error"]) or "Traceback" in said:
            wrong.append(f"{body[:60]!r}: {reply.status} {said[:100]}")
    grown = (process.memory_info().rss - memory) / 2**20
    print(f"200 hostile requests: statuses {dict(sorted(statuses.items()))}, memory {grown:+.0f} MiB", flush=True)
    return wrong


async def many(session: aiohttp.ClientSession, url: str, process: psutil.Process, count: int) -> list[str]:
    statuses, numbers, memory = Counter[int](), iter(range(count)), list[float]()

    async def ask(asked: dict[str, Any]) -> int:
        try:
            async with session.post(f"{url}/v1/chat/completions", json=asked, headers=KEY) as reply:
                await reply.read()
                return reply.status
        except aiohttp.ClientConnectionError:  # a connection that lay idle was closed while this was sent
            return await ask(asked)

    async def client() -> None:
        for number in numbers:
            statuses[await ask({**BODY, "model": SPECS[number % len(SPECS)], "user": str(number)})] += 1
            if not number % max(1, count // 10):
                memory.append(process.memory_info().rss / 2**20)

    before, begun, used = process.num_fds(), time.monotonic(), cpu(process)
    await asyncio.gather(*(client() for _ in range(64)))
    seconds = time.monotonic() - begun
    print(f"{count} requests in {seconds:.0f} s: statuses {dict(sorted(statuses.items()))}")
    print(f"  {1000 * (cpu(process) - used) / count:.1f} ms of the server's CPU time for each")
    print(f"  memory in MiB, every tenth: {', '.join(f'{each:.0f}' for each in memory)}")
    print(f"  descriptors: {before} before, {process.num_fds()} after")
    counts = await metrics(session, url)
    wrong = [f"{open_work(counts)} of work is left"] if open_work(counts) else []
    return wrong + (["memory grew"] if memory[-1] > 1.2 * memory[len(memory) // 2] else [])


async def run(count: int, at_once: int, requests: int) -> int:
    with server() as (url, process):
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            wrong = await leaving(session, url, process, count, at_once)
            wrong += await hostile(session, url, process)
            wrong += await many(session, url, process, requests)
    for line in wrong:
        print("WRONG:", line)
    return bool(wrong)


def main(
    leaving: int = 1000,
    at_once: int = 2,
    requests: int = 50_000,
    *,
    serve_only: Annotated[bool, typer.Option("--serve", hidden=True)] = False,
) -> None:
    if serve_only:
        serve()
        return
    raise typer.Exit(asyncio.run(run(leaving, at_once, requests)))


if __name__ == "__main__":
    typer.run(main)
