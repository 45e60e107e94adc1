"""What runs and pools of a million lines cost on disk: seconds to resume, bytes to report and to play.

    python benchmarks/speed/disk.py [solve|resume|report|play ...] [--scale 1.0] [--folder DIR]

- solve: problems per second of `metagen solve` with `Vote(2)` over `Scripted`, 200,000 problems, everything written
- resume: seconds from the start of `metagen solve` to the first new request, with 900,000 of 1,000,000 problems solved
- report: peak memory of `metagen report` on a pool of 1,000,000 problems x 2 samples, and on the folder of such a run
- play: peak memory of `Recorded` on a pool of 20,000 problems x 16 samples of 0.6 kB, opened and played once

Each is a process of its own; memory is its largest resident set. On a machine that others use too, seconds of work (of
the processor) say more than those of the clock. `--scale 0.01` does the same with a hundredth of it.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

MODELS = """
import os, time
from pathlib import Path
from metagen import Scripted

def right():
    return Scripted("The answer is 7.")

def first():
    def script(request):
        Path("first").write_text(str(time.time()))
        os._exit(0)
    return Scripted(script)
"""
PLAY = """
import asyncio, resource, sys, time
from metagen import Recorded, Vote, ProblemFile, solve_all
from pathlib import Path

async def main():
    begun = time.monotonic()
    async with Recorded(sys.argv[1]) as backend:
        opened = time.monotonic() - begun
        count = 0
        async for solution in solve_all(ProblemFile(Path(sys.argv[2])), Vote(16), backend):
            assert solution.samples == 16, solution
            count += 1
    print(count, "played; opened in", round(opened, 1), "s, all in", round(time.monotonic() - begun, 1), "s")

asyncio.run(main())
"""
VOTED = """
"path": "", "name": "solve", "status": "ok", "started": 0.0, "seconds": 0.012363}
"path": "0", "name": "Vote", "status": "ok", "started": 5.1e-05, "seconds": 0.012255}
"path": "0.0", "name": "Model", "status": "ok", "started": 8.2e-05, "seconds": 0.011747, "usage": {"calls": 1, \
"prompt_tokens": 19, "completion_tokens": 32}, "request": {"prompt": "What is 1 + 1 - -5?", "partial": "", \
"n": 2}, "completions": [{"text": "The answer is 7.", "tokens": 16}, {"text": "The answer is 7.", "tokens": 16}]}
"answer": "7", "text": "The answer is 7.", "correct": true, "unjudged": false, "samples": 2, "samples_correct": 2, \
"lost": 0, "notes": [], "error": "", "usage": {"calls": 1, "prompt_tokens": 19, "completion_tokens": 32, \
"seconds": 0.01149}, "seconds": 0.01236322099998688}
"""
"""What `Vote(2)` writes for one problem, behind its id: three spans and a solution."""
METAGEN = (sys.executable, "-m", "metagen")


def main(
    what: Annotated[list[str] | None, typer.Argument()] = None, scale: float = 1.0, folder: Path | None = None
) -> None:
    ways = {"solve": solve, "resume": resume, "report": report, "play": play}
    print("| what | seconds | of work | peak memory, MB | |\n|---|---|---|---|---|")
    for name in what or ways:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            ways[name](Path(place), scale)


def solve(place: Path, scale: float) -> None:
    count = int(200_000 * scale)
    problems(place, count)
    call = (*METAGEN, "solve", "problems.jsonl", "--load", models(place), "--model", "right")
    cost, _ = measured(place, *call, "-s", "Vote(2)", "--out", "run")
    show(f"solve {count:,}", cost, f"{count / cost.work:,.0f} problems per second of work")


def resume(place: Path, scale: float) -> None:
    count = int(1_000_000 * scale)
    problems(place, count)
    call = (*METAGEN, "solve", "problems.jsonl", "--load", models(place), "--model", "first", "-s", "Vote(2)")
    measured(place, *call, "--out", "run")  # which writes run.json
    solved(place / "run", int(count * 0.9))
    begun = time.time()
    cost, _ = measured(place, *call, "--out", "run")
    cost = cost._replace(seconds=float((place / "first").read_text()) - begun)
    show(f"resume {int(count * 0.9):,}", cost, "to the first request")


def report(place: Path, scale: float) -> None:
    count = int(1_000_000 * scale)
    problems(place, count)
    pool(place / "pool.jsonl", count, 2, "The answer is {answer}.")
    call = (*METAGEN, "report", "--problems", "problems.jsonl")
    show(f"report, pool of {count:,} x 2", measured(place, *call, "pool.jsonl")[0])
    (place / "pool.jsonl").unlink()
    models(place)
    run = (*METAGEN, "solve", "problems.jsonl", "--load", "models.py", "--model", "first", "-s", "Vote(2)")
    measured(place, *run, "--out", "run")
    solved(place / "run", count)
    show(f"report, run of {count:,} x 2", measured(place, *call, "run")[0])


def play(place: Path, scale: float) -> None:
    count = int(20_000 * scale)
    problems(place, count)
    pool(place / "pool.jsonl", count, 16, "x" * 450 + " The answer is {answer}.")
    call = (sys.executable, "-c", PLAY, "pool.jsonl", "problems.jsonl")
    show(f"play {count:,} x 16", *measured(place, *call))


class Cost(NamedTuple):
    """Of one process: seconds by the clock and of work, and megabytes at the peak."""

    seconds: float
    work: float
    memory: float


def measured(place: Path, *call: str) -> tuple[Cost, str]:
    """What a command cost, and the last line of its output."""
    begun = time.monotonic()
    with (place / "output").open("w+") as output:
        process = subprocess.Popen(call, cwd=place, stdout=output)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        last = (output.read().splitlines() or [""])[-1]
    if process.returncode:
        raise SystemExit(f"{call} ended with {process.returncode}")
    return Cost(time.monotonic() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024), last


def lines(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def problems(place: Path, count: int) -> None:
    rows = ({"id": f"p{n}", "prompt": f"What is {n} + 1 - {n - 6}?", "answer": "7"} for n in range(count))
    lines(place / "problems.jsonl", rows)


def models(place: Path) -> str:
    (place / "models.py").write_text(MODELS)
    return "models.py"


def pool(path: Path, count: int, draws: int, text: str) -> None:
    lines(path, (sample(n, draw, text) for n in range(count) for draw in range(draws)))


def sample(number: int, draw: int, text: str) -> dict[str, Any]:
    row = {"problem": f"p{number}", "prompt": f"What is {number} + 1 - {number - 6}?", "draw": draw, "sampling": {}}
    text = text.format(answer=7 + number % 3 * draw)
    return row | {"model": "scripted", "text": text, "tokens": len(text), "prompt_tokens": 20}


def solved(run: Path, count: int) -> None:
    """What `Vote(2)` writes for so many problems."""
    *spans, solution = VOTED.split("\n")[1:-1]
    with (run / "trace.jsonl").open("w") as trace, (run / "solutions.jsonl").open("w") as solutions:
        for number in range(count):
            trace.writelines(f'{{"problem": "p{number}", {rest}\n' for rest in spans)
            solutions.write(f'{{"problem": "p{number}", {solution}\n')


def show(what: str, cost: Cost, more: str = "") -> None:
    print(f"| {what} | {cost.seconds:.1f} | {cost.work:.1f} | {cost.memory:.0f} | {more} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
