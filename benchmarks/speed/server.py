"""A client's part: Vote(16) on 64 problems over one server, beside its-hub 1.2.0 and bare requests.

    python -m venv /tmp/peer && /tmp/peer/bin/pip install "its_hub[lm]==1.2.0"
    python benchmarks/speed/server.py --peer /tmp/peer/bin/python [--rounds 3] [--real]

Each way is a process of its own; they take turns on one server: the mock (`mock_server.py`, 10 ms per token), or with
`--real` vLLM's own server with the shipped model.

- metagen: `solve_all` with `Vote(16)` over `Retrying(OpenAIServer(url))`
- bare: one request with n=16 a problem, by aiohttp, all at once; the reply is read and its text taken
- its-hub: `SelfConsistency` with a budget of 16 on all problems at once, with its best setting, `LMOrchestrator(-1)`;
  left out without `--peer`

Wall time and the client's CPU time begin when everything is imported and built. The ideal on the mock is what the same
samples would take if all began at once.
"""

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import typer

from metagen import OpenAIServer, ProblemFile, Retrying, Vote, solve_all
from metagen.data import EVALUATION
from metagen.models import SMALL

N = 16
ITS_HUB = """
import asyncio, json, re, sys, time, warnings
warnings.simplefilter("ignore")
from its_hub.core.algorithms.self_consistency import SelfConsistency
from its_hub.core.lms.openai_lm import OpenAICompatibleLanguageModel
from its_hub.core.orchestrator import LMOrchestrator

url, model, problems = sys.argv[1], sys.argv[2], json.load(sys.stdin)

def answer(text):
    found = re.findall(r"answer is (.*?)\\\\.", text)
    return found[-1] if found else ""

async def main():
    lm = OpenAICompatibleLanguageModel(url, "none", model)
    vote = SelfConsistency(answer, orchestrator=LMOrchestrator(-1))
    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(vote.ainfer(lm, problem, budget=16) for problem in problems))
    print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]))

asyncio.run(main())
"""


def main(
    peer: Path = Path("-"), rounds: int = 3, problems: int = 64, real: bool = False, way: str = "", url: str = ""
) -> None:
    prompts = list(islice(ProblemFile(EVALUATION), problems))
    if way:
        print(json.dumps(asyncio.run(metagen(url, prompts) if way == "metagen" else bare(url, prompts))))
        return
    with serving(real) as (address, model):
        names = ["metagen", "bare", *(["its-hub"] if peer.is_file() else [])]
        figures: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        for turn in range(rounds + real):
            for name, rows in figures.items():
                before = told(address, real)
                row = timed(name, peer, address, model, problems, [each.prompt for each in prompts])
                row |= {key: value - before.get(key, 0) * real for key, value in told(address, real).items()}
                if turn or not real:  # a real server's first round warms it up
                    rows.append(row)
                    print(f"round {turn}  {name:8} {row['seconds']:6.2f} s", flush=True)
    report(figures, problems)


def timed(name: str, peer: Path, url: str, model: str, problems: int, prompts: list[str]) -> dict[str, float]:
    ours = [sys.executable, __file__, "--way", name, "--url", url, "--problems", str(problems)]
    theirs = [str(peer), "-c", ITS_HUB, url, model]
    command = theirs if name == "its-hub" else ours
    done = subprocess.run(command, input=json.dumps(prompts), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    seconds, cpu = json.loads(done.stdout.splitlines()[-1])
    return {"seconds": seconds, "cpu_ms": 1000 * cpu / (N * problems)}


async def metagen(url: str, problems: list[Any]) -> tuple[float, float]:
    async with Retrying(OpenAIServer(url)) as server:
        wall, cpu = time.perf_counter(), time.process_time()
        solutions = [each async for each in solve_all(problems, Vote(N), server)]
        assert all(each.samples == N for each in solutions)
        return time.perf_counter() - wall, time.process_time() - cpu


async def bare(url: str, problems: list[Any]) -> tuple[float, float]:
    import aiohttp  # noqa: PLC0415

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        async with session.get(f"{url}/models") as response:
            model = (await response.json())["data"][0]["id"]

        async def one(problem: Any) -> list[str]:
            body = {"model": model, "n": N, "messages": [{"role": "user", "content": problem.prompt}]}
            async with session.post(f"{url}/chat/completions", json=body) as response:
                return [choice["message"]["content"] for choice in (await response.json())["choices"]]

        wall, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*map(one, problems))
        return time.perf_counter() - wall, time.process_time() - cpu


@contextmanager
def serving(real: bool) -> Iterator[tuple[str, str]]:
    if not real:
        mock = [sys.executable, str(Path(__file__).with_name("mock_server.py"))]
        with subprocess.Popen(mock, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            yield process.stdout.readline().strip(), "mock"
            process.terminate()
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--enforce-eager", "--dtype", "float32", "--block-size", "32", "--max-num-seqs", "256"]
    where = ["--model", str(SMALL), "--served-model-name", "small", "--port", str(port)]
    command = [
        sys.executable,
        "-m",
        "vllm.entrypoints.openai.api_server",
        *where,
        *options,
        "--disable-uvicorn-access-log",
    ]
    environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "2", "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:
        while process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1", "small"
        process.terminate()


def told(url: str, real: bool) -> dict[str, float]:
    """What the server counted so far; the mock begins anew each time."""
    root = url.removesuffix("/v1")
    if not real:
        with urllib.request.urlopen(f"{root}/stats?reset=1") as answer:
            return dict(json.load(answer)) | {"in_flight": 0}
    names = {"prompt_tokens": "prompt_tokens", "completion_tokens": "generation_tokens", "cached": "prefix_cache_hits"}
    with urllib.request.urlopen(f"{root}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return {
        name: sum(float(line.split()[-1]) for line in lines if line.startswith(f"vllm:{metric}_total{{"))
        for name, metric in names.items()
    }


def report(figures: dict[str, list[dict[str, float]]], problems: int) -> None:
    columns = sorted({key for rows in figures.values() for row in rows for key in row} - {"in_flight"})
    print(f"\n{problems} problems x {N} samples, medians\n")
    print(f"{'':8}" + "".join(f"{column:>18}" for column in columns) + f"{'its-hub to it':>16}{'its CPU to it':>16}")
    for name, rows in figures.items():
        values = [statistics.median(row.get(column, 0) for row in rows) for column in columns]
        ratios = [
            statistics.median(theirs[key] / ours[key] for ours, theirs in zip(rows, figures["its-hub"], strict=True))
            for key in ("seconds", "cpu_ms")
            if "its-hub" in figures
        ]
        print(f"{name:8}" + "".join(f"{value:18,.3f}" for value in values) + "".join(f"{one:16.2f}" for one in ratios))
    pairs = zip(figures["metagen"], figures["bare"], strict=True)
    ratio = statistics.median(ours["cpu_ms"] / bare["cpu_ms"] for ours, bare in pairs)
    print(f"client CPU to bare requests, median of rounds: {ratio:.2f}")


if __name__ == "__main__":
    typer.run(main)
