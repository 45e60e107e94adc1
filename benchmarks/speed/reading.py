"""What it takes to read and to report: curves, `metagen report` on a large pool, and grades that need symbols.

    OPENBLAS_NUM_THREADS=1 python benchmarks/speed/reading.py [--before WORKTREE] [--rounds 1] [--problems 20000]

- curves: four rules with intervals over 1,000 problems x 256 samples (benchmarks/speed/curves.py)
- report: `metagen report` on a pool of `--problems` x 16 samples, as `metagen sample` writes them; it reads in as many
  processes as there are processors
- grades: 60 symbolic comparisons at once, with no verdict on the disk yet, and again by another process

Programs of this code and of another worktree take turns. Figures are the processor time of a program and of those that
it started (user and system), seconds by the clock, and the peak of the memory of all, looked at fifty times a second;
each the least of all rounds.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

ROOT = Path(__file__).parents[2]
DRAWS = 16
PAGE = os.sysconf("SC_PAGESIZE") / (1 << 20)
"""Megabytes."""
CURVES = """
import sys
import numpy as np
from metagen.analysis.curve import Samples
from metagen.analysis.rules import all_rules, powers_of_two
rng = np.random.default_rng(0)
shares = rng.dirichlet([1.0, *[0.1] * 39], 1000).cumsum(1)
groups = (rng.random((1000, 256, 1)) > shares[:, None, :]).sum(2).clip(max=39)
groups[rng.random(groups.shape) < 0.1] = -1
samples = Samples(groups, groups == 0, rng.random(groups.shape) * 0.7 + 0.3 * (groups == 0))
for curve in all_rules(samples, powers_of_two(256)).values() if sys.argv[1:] else ():
    curve.interval()
"""
GRADES = r"""
import asyncio
from metagen.answers.grade import grade
async def main():
    pairs = [(rf"\frac{{{n}x+1}}{{2}}", rf"\frac{{{n}x}}{{2}}+\frac12") for n in range(2, 62)]
    found = await asyncio.gather(*(grade(answer, reference, 60.0) for answer, reference in pairs))
    assert all(found), found
asyncio.run(main())
"""


class Cost(NamedTuple):
    """Of a program and those that it started: seconds of work and by the clock, and megabytes at the peak."""

    work: float
    clock: float
    memory: float


def cost(tree: Path, place: Path, program: list[str]) -> Cost:
    environment = os.environ | {"PYTHONPATH": str(tree), "METAGEN_CACHE": str(place / "cache")}
    begun, ended, most = time.monotonic(), 0, 0.0
    process = subprocess.Popen([sys.executable, *program], cwd=place, env=environment, stdout=subprocess.DEVNULL)
    while not ended:
        most = max(most, memory(process.pid))
        time.sleep(0.02)
        ended, status, used = os.wait4(process.pid, os.WNOHANG)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{program} ended with {process.returncode}")
    return Cost(used.ru_utime + used.ru_stime, time.monotonic() - begun, most)


def memory(process: int) -> float:
    """Megabytes of a process and all below it."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        below = [each.read_text().split() for each in Path(f"/proc/{process}/task").glob("*/children")]
    except (OSError, IndexError):  # it has ended
        return 0.0
    return pages * PAGE + sum(memory(int(child)) for each in below for child in each)


def measured(tree: Path, problems: int, place: Path) -> dict[str, Cost]:
    """What each costs once. Of the curves, what the program costs without them is taken off."""
    every, none = (cost(tree, place, ["-c", CURVES, *given]) for given in (["all"], []))
    report = ["-m", "metagen", "report", "--problems", str(place / "problems.jsonl"), str(place / "pool.jsonl")]
    with tempfile.TemporaryDirectory() as cache:
        return {
            "curves of 1,000 x 256": every._replace(work=every.work - none.work, clock=every.clock - none.clock),
            f"report on {problems:,} x {DRAWS}": cost(tree, place, report),
            "60 grades with symbols": cost(tree, Path(cache), ["-c", GRADES]),
            "the same again": cost(tree, Path(cache), ["-c", GRADES]),
        }


def write(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("wb") as file:
        file.writelines(msgspec.json.encode(row) + b"\n" for row in rows)


def questions(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        prompt = (
            f"Ida has {number} keys, gets {number % 7} keys and buys 3 bags of 5 keys. How many has she in the end?"
        )
        yield {"id": f"p{number}", "prompt": prompt, "answer": str(number + number % 7 + 15), "level": f"{number % 5}"}


def samples(count: int) -> Iterator[dict[str, Any]]:
    """Half of them are right, and three in a hundred were cut off."""
    chance = random.Random(0)
    for row in questions(count):
        for draw in range(DRAWS):
            given = int(row["answer"]) + (chance.random() < 0.5) * chance.randrange(1, 40)
            cut = chance.random() < 0.03
            text = (
                f"At first she has {row['id'][1:]} keys.\n\nThe bags hold 3 x 5 = 15 keys. Together it makes {given}."
            )
            text += "" if cut else f"\n\nThe answer is {given}."
            yield {
                "problem": row["id"],
                "text": text,
                "draw": draw,
                "prompt": row["prompt"],
                "model": "small",
                "sampling": {"temperature": 0.8, "max_tokens": 256},
                "tokens": len(text) // 3,
                "prompt_tokens": 40,
                "end": "length" if cut else "eos",
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="a worktree of the commit to compare with")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--problems", type=int, default=20_000)
    options = parser.parse_args()
    trees = [ROOT] if options.before is None else [ROOT, options.before]
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        write(place / "problems.jsonl", questions(options.problems))
        write(place / "pool.jsonl", samples(options.problems))
        rounds = [[measured(tree, options.problems, place) for tree in trees] for _ in range(options.rounds)]
    print("| what | work, s | clock, s | peak, MB |" + (" work before | clock before | peak before |" * len(trees[1:])))
    print("|---|---|---|---|" + "---|---|---|" * len(trees[1:]))
    for what in rounds[0][0]:
        every = [
            Cost(*map(min, zip(*(each[tree][what] for each in rounds), strict=True))) for tree in range(len(trees))
        ]
        print(f"| {what} |" + "".join(f" {cost.work:.2f} | {cost.clock:.2f} | {cost.memory:.0f} |" for cost in every))


if __name__ == "__main__":
    main()
