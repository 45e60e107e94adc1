"""A run that is killed and resumed, however often, solves every problem exactly once."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil
import pytest

from metagen.models import SMALL
from tests.support.timing import block_until

SLOW = """
import asyncio, random
from metagen import Scripted

def slow():
    async def script(request):
        await asyncio.sleep(random.expovariate(30))
        return f"The answer is {request.draw % 3}."
    return Scripted(script)
"""
Process = subprocess.Popen[bytes]
FORKS = multiprocessing.get_context("forkserver")


def metagen(*arguments: str) -> None:
    """The command, in a process whose imports are done."""
    from metagen.cli import main

    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.dup2(devnull, 2)
    sys.argv = ["metagen", *arguments]
    main()


def problems(folder: Path, count: int) -> Path:
    path = folder / "problems.jsonl"
    rows = (
        {"id": f"p{number}", "prompt": f"What is {number} + 1?", "answer": str(number + 1)} for number in range(count)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def solved(run: Path) -> Counter[str]:
    lines = (run / "solutions.jsonl").read_text().splitlines()
    return Counter(json.loads(line)["problem"] for line in lines)


def traced(run: Path) -> Counter[str]:
    rows = map(json.loads, (run / "trace.jsonl").read_text().splitlines())
    return Counter(row["problem"] for row in rows if row["path"] == "")


def test_killed_at_10_random_moments_and_resumed(tmp_path: Path) -> None:
    FORKS.set_forkserver_preload(["metagen.cli"])
    (tmp_path / "model.py").write_text(SLOW)
    run = tmp_path / "run"
    call = ["solve", str(problems(tmp_path, 800)), "--load", str(tmp_path / "model.py"), "--model", "slow"]
    call += ["--strategy", "Vote(3, of=Vote(2))", "--out", str(run), "--concurrency", "8", "--seed", "1"]
    rng = random.Random(0)
    progress: list[int] = []
    for _ in range(10):
        process = FORKS.Process(target=metagen, args=call)
        process.start()
        enough = lines(run) + rng.randrange(40)
        block_until(lambda: lines(run) >= enough)  # noqa: B023 (it is called in this round)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        progress.append(lines(run))
    assert progress == sorted(progress)
    assert 0 < progress[-1] < 800, "the kills came too early or too late to test anything"
    process = FORKS.Process(target=metagen, args=[*call, "--concurrency", "500"])
    process.start()
    process.join()
    assert process.exitcode == 0
    assert solved(run) == traced(run) == Counter(f"p{number}" for number in range(800))


@pytest.mark.engine
def test_killed_over_the_engine_no_process_is_left_and_the_run_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    call = [sys.executable, "-m", "metagen", "solve", str(problems(tmp_path, 3000)), "--model", str(SMALL)]
    call += ["--strategy", "Vote(4)", "--out", str(run), "--concurrency", "64"]
    process = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    block_until(lambda: lines(run) > 40)
    children = family(process)
    process.kill()
    process.wait()
    gone, alive = psutil.wait_procs(children, timeout=120)
    assert not alive
    assert gone
    assert lines(run) < 3000
    assert subprocess.run([*call, "--limit", "100"], capture_output=True, check=False).returncode == 0
    assert set(solved(run).values()) == {1}
    assert solved(run) == traced(run)
    assert {f"p{number}" for number in range(100)} <= solved(run).keys()


def family(process: Process) -> list[psutil.Process]:
    return [*psutil.Process(process.pid).children(recursive=True)]


def lines(run: Path) -> int:
    path = run / "solutions.jsonl"
    return len(path.read_bytes().splitlines()) if path.exists() else 0
