"""Why a beam with its reward model takes longer than the slower of the two alone, on a machine with two cores.

    python benchmarks/speed/tree_pair.py [--rounds 4] [--problems 64]

Run it as root: nobody else may take a process out of the way `idle` again.

`Beam(4, 4)` over the two shipped models, each on an engine of its own, in six ways that take turns:

- generator: the verdicts come from memory at once
- late: they come from memory after 30 ms, so nothing else computes
- beside: as generator, while the reward model reads for nobody, nine answers at a time
- pair: the reward model judges
- idle: the same, and the reward model's process has the cores only where nobody else wants them
- apart: the same as pair, and the thread that computes for the generator has one core, all else the other

Printed are medians of the rounds: the seconds, also to those of the generator in the same round; the steps of its
engine; the seconds in which the thread that computes in it had a core, and in which it waited for one, by Linux's own
count; and the processor time of the reward model's engine and of this program.
"""

import asyncio
import os
import statistics
import time
from collections import defaultdict
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import typer
from tree import BRANCH, WIDTH, Remembering

from metagen import Beam, Problem, ProblemFile, ProcessReward, Reading, VLLMEngine, VLLMReward, solve_all
from metagen.data import EVALUATION
from metagen.models import SMALL, SMALL_PRM
from metagen.request import Meter

WAYS = ("generator", "late", "beside", "pair", "idle", "apart")
LATE = 0.03
"""Seconds."""
TOGETHER = 9
"""Answers that the reward model reads at a time, about as many as a step of the generator ends."""
Row = tuple[float, ...]


def main(rounds: int = 4, problems: int = 64) -> None:
    asyncio.run(compare(rounds, list(islice(ProblemFile(EVALUATION), problems))))


class Late(Remembering):
    late = False

    async def rate(self, reading: Reading, spend: Meter) -> tuple[float, ...]:
        if self.late:
            await asyncio.sleep(LATE)
        return await super().rate(reading, spend)


async def compare(rounds: int, problems: list[Problem]) -> None:
    rows: defaultdict[str, list[Row]] = defaultdict(list)
    steps = 0
    engine = VLLMEngine(SMALL)
    record = engine._gauge.record

    def count(*given: Any, **named: Any) -> None:
        nonlocal steps
        steps += 1
        record(*given, **named)

    engine._gauge.record = count  # type: ignore[method-assign]
    async with engine, VLLMReward(SMALL_PRM) as prm:
        reward = Late(prm)
        await searched("pair", engine, prm, reward, problems)  # warms up, and is read for nobody later
        for _ in range(rounds):
            for way in WAYS:
                steps = 0
                seconds, *others = await searched(way, engine, prm, reward, problems)
                rows[way].append((seconds, steps, *others))
    print("way          s  to alone  steps  computes, s  waits, s  reward, s  program, s")
    for way, found in rows.items():
        ratio = statistics.median(one[0] / alone[0] for one, alone in zip(found, rows["generator"], strict=True))
        s, n, computes, waits, judge, program = map(statistics.median, zip(*found, strict=True))
        print(f"{way:9} {s:5.2f} {ratio:9.2f} {n:6.0f} {computes:12.2f} {waits:9.2f} {judge:10.2f} {program:11.2f}")


async def searched(way: str, engine: VLLMEngine, prm: VLLMReward, reward: Late, problems: list[Problem]) -> Row:
    """Seconds, and of processor time: computed and waited by the generator, used by the reward model and by us."""
    (generating,), (judging,) = engine.processes(), prm.processes()
    await engine.forget()
    await prm.forget()
    reward.alone, reward.late = way in WAYS[:3], way == "late"
    place(generating, judging, way)
    before = counts(generating, judging)
    begun = time.perf_counter()
    reading = asyncio.create_task(read(prm, list(reward.read))) if way == "beside" else None
    search = Beam(WIDTH, BRANCH, by=ProcessReward("prm", aggregate="last"))
    async for _ in solve_all(problems, search, {"model": engine, "prm": reward}, seed=0):
        pass
    seconds = time.perf_counter() - begun
    spent = [now - then for now, then in zip(counts(generating, judging), before, strict=True)]
    if reading:
        reading.cancel()
        await asyncio.wait([reading])
    return seconds, *spent


async def read(prm: VLLMReward, readings: list[Reading]) -> None:
    """Read all again and again, so that it is busy as long as the generator is."""
    while True:
        await prm.forget()
        for first in range(0, len(readings), TOGETHER):
            await asyncio.gather(*[prm.rate(each, lambda _: None) for each in readings[first : first + TOGETHER]])


def place(generating: int, judging: int, way: str) -> None:
    """Say which threads may use which of the first two cores, and whether the reward model comes last."""
    first, second, *_ = sorted(CORES)
    for process in (os.getpid(), generating, judging):
        for thread in map(int, os.listdir(f"/proc/{process}/task")):
            cores: Any = CORES if way != "apart" else {second} if thread == generating else {first}
            policy = os.SCHED_IDLE if way == "idle" and process == judging else os.SCHED_OTHER
            with suppress(ProcessLookupError):  # it has ended
                os.sched_setaffinity(thread, cores)
                os.sched_setscheduler(thread, policy, os.sched_param(0))


def counts(generating: int, judging: int) -> Row:
    computed, waited, _ = map(int, Path(f"/proc/{generating}/task/{generating}/schedstat").read_text().split())
    used = Path(f"/proc/{judging}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return computed / 1e9, waited / 1e9, (int(used[11]) + int(used[12])) / ticks, time.process_time()


CORES = frozenset(os.sched_getaffinity(0))

if __name__ == "__main__":
    typer.run(main)
