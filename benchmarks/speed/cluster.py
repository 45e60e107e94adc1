"""Workers on Ray: what one driver carries, how throughput grows with simulated workers, and the driver's memory.

    python benchmarks/speed/cluster.py driver [PROBLEMS] [WORKERS]   # workers that replay a solution of Vote(16)
    python benchmarks/speed/cluster.py profile                       # the same, with the driver's profile
    python benchmarks/speed/cluster.py scale [1 2 4 8 16 32]         # workers whose answers take time

`driver` measures all that the command line does with a solution: it arrives, is counted, and is written to a run's
folder with its trace. The replaying workers leave the processor to the driver. `scale` runs the whole strategy in each
worker over a simulated engine: up to 256 samples at once, and a token takes the longer the more of them there are.
"""

import asyncio
import cProfile
import pstats
import re
import resource
import shutil
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import ray
from rich.console import Console
from rich.table import Table

from metagen import Account, Problem, Scripted, Vote, solve
from metagen.analysis.tally import Tally
from metagen.budget import Amounts, Usage
from metagen.cluster.leases import NOTHING
from metagen.cluster.parcels import Letter, News
from metagen.cluster.rays import Actor
from metagen.cluster.workers import Workers
from metagen.disk.records import Record
from metagen.disk.runs import RunDirectory
from metagen.jobs.job import ModelOrder

MARK = b'"problem": "ID"'
PART = 64
"""Solutions in one report of a worker that replays."""
PER_WORKER = 150
"""Problems for each simulated worker."""
ENGINE = '''
import asyncio
from random import Random

from metagen import Scripted

SLOTS, LOAD, PER_SAMPLE = 256, 0.010, 0.00005
running, slots = 0, asyncio.Semaphore(SLOTS)


async def reply(request):
    """Up to 256 samples at once; a token takes 10 ms, and 0.05 ms more for each sample beside it."""
    global running
    tokens = Random(request.seed).randrange(50, 150)
    async with slots:
        running += 1
        try:
            await asyncio.sleep(tokens * (LOAD + PER_SAMPLE * running))
        finally:
            running -= 1
    return "x" * (tokens - 17) + " The answer is 7."


def engine():
    return Scripted(reply, name="simulated")
'''


class Player:
    """A worker that knows the solution of every problem, so that nothing but the driver has much to do."""

    def __init__(self, line: bytes, trace: bytes) -> None:
        self._line, self._trace = line, trace

    async def host(self) -> str:
        return "here"

    async def open(self, _: object) -> list[str]:
        return []

    async def begin(self, _: object) -> list[str]:
        return []

    async def turn(self, letters: list[Letter]) -> News:
        if not letters:
            await asyncio.sleep(0.002)
        return News([self._solved(letter) for letter in letters], PART)

    async def end(self) -> None:
        return None

    async def recall(self) -> tuple[Amounts, Usage]:
        return NOTHING, Usage()

    async def close(self) -> None:
        return None

    def _solved(self, letter: Letter) -> tuple[int, bytes, bytes]:
        mark = b'"problem": "%s"' % letter.id.encode()
        return letter.number, self._line.replace(MARK, mark), self._trace.replace(MARK, mark)


@asynccontextmanager
async def players(count: int) -> AsyncIterator[Workers]:
    solution = await solve(Problem("ID", "What is 3 + 4?", "7"), Vote(16), Scripted("x" * 300 + " The answer is 7."))
    record = Record.of(solution)
    actor = ray.remote(Player)

    async def launch(_: int) -> Actor:
        made: Any = actor.options(num_cpus=0, max_concurrency=100)
        return Actor(made.remote(record.line, record.trace), ray)

    async with Workers(count, launch=launch) as workers:
        yield workers


async def carry(problems: int, count: int) -> float:
    """Solutions a second through one driver, into a run's folder."""
    folder = Path(mkdtemp(prefix="cluster-"))
    tally, account = Tally(), Account()
    stream: Iterator[Problem] = (Problem(str(number), "What is 3 + 4?", "7") for number in range(problems))
    try:
        async with players(count) as workers:
            begun, tenth = time.perf_counter(), max(1, problems // 10)
            with RunDirectory(folder / "run", {}) as run:
                async with aclosing(workers.records(stream, Vote(16), seed=1, account=account)) as records:
                    async for record in records:
                        run.add(record)
                        tally.add(record.row)
                        if tally.problems % tenth == 0:
                            megabytes = resident()
                            print(f"{tally.problems:>8,} solutions, driver's memory {megabytes:,.0f} MB", flush=True)
            seconds = time.perf_counter() - begun
        assert tally.problems == problems
        return problems / seconds
    finally:
        shutil.rmtree(folder)


def resident() -> float:
    """Megabytes that this process has in memory now."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def drive(problems: int, count: int) -> None:
    begun = time.process_time()
    speed = await carry(problems, count)
    used = time.process_time() - begun
    print(
        f"{speed:,.0f} solutions a second, {16 * speed:,.0f} samples a second; "
        f"{used / problems * 1e6:,.0f} µs of the driver's processor each"
    )


async def scale(counts: list[int]) -> None:
    folder = Path(mkdtemp(prefix="cluster-"))
    (folder / "engine.py").write_text(ENGINE)
    order = ModelOrder(models={"model": "engine"}, load=[folder / "engine.py"], engine={})
    table = Table(
        "workers", "problems", "seconds", "problems/s", "of linear", "driver's processor", title="Simulated workers"
    )
    one = 0.0
    for count in counts:
        problems = [Problem(str(number), "What is 3 + 4?", "7") for number in range(PER_WORKER * count)]
        async with Workers(count, order) as workers:
            await asyncio.wait([slot.ready for slot in workers.slots])
            begun, used, done = time.perf_counter(), time.process_time(), 0
            async with aclosing(workers.records(problems, Vote(16), seed=1)) as records:
                async for _ in records:
                    done += 1
            seconds = time.perf_counter() - begun
            busy = (time.process_time() - used) / seconds
        assert done == len(problems)
        one = one or done / seconds / count
        row = (
            f"{count}",
            f"{done:,}",
            f"{seconds:.1f}",
            f"{done / seconds:.1f}",
            f"{done / seconds / count / one:.3f}",
        )
        table.add_row(*row, f"{busy:.0%}")
        print(*row, f"{busy:.0%}", flush=True)
    Console().print(table)
    shutil.rmtree(folder)


def main(what: str = "driver", *rest: str) -> None:
    ray.init(num_cpus=64, include_dashboard=False, object_store_memory=200 * 2**20, log_to_driver=False)
    try:
        if what == "scale":
            asyncio.run(scale([int(each) for each in rest] or [1, 2, 4, 8]))
        elif what == "profile":
            with cProfile.Profile() as profile:
                asyncio.run(drive(8000, 2))
            pstats.Stats(profile).sort_stats("tottime").print_stats(30)
        else:
            problems, count, *_ = [*map(int, rest), *(10_000, 2)[len(rest) :]]
            asyncio.run(drive(problems, count))
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
