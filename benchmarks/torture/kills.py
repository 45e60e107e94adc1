"""`solve` and `sample` are killed at random moments and run again, until they are done: nothing is lost or doubled.

    python benchmarks/torture/kills.py [--kills 100] [--seed 0]

A process is killed by SIGKILL, SIGTERM or SIGHUP in turn, at a moment between its first import and its end.
"""

import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import typer
from trust_page import command, file_of, keys, prepare, publish, wanted

COUNT = 20_000
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
ENDS = (-9, -15, -1, 143, 129)
"""By a signal, or with its exit code; without one before the command has begun to listen to it."""
SAID = "said.txt"
"""What the last command printed."""
FORKS = multiprocessing.get_context("forkserver")


def main(kills: int = 100, seed: int = 0) -> None:
    FORKS.set_forkserver_preload(["metagen.cli"])
    rows = []
    for name in ("solve", "sample"):
        with tempfile.TemporaryDirectory() as place:
            rows.append(killed(name, Path(place), kills // 2, random.Random(seed)))
    publish("kills", ("command", "kills", "while it wrote", "lines", "lost", "doubled", "bad"), rows)


def killed(name: str, folder: Path, kills: int, rng: random.Random) -> tuple[object, ...]:
    prepare(folder, COUNT)
    wrote = bad = before = 0
    for number in range(kills):
        process = FORKS.Process(target=metagen, args=(folder, command(name, "slow", "--concurrency", "8")))
        process.start()
        time.sleep(rng.uniform(0.2, 3.0))
        if process.exitcode is None:
            os.kill(process.pid or 0, SIGNALS[number % len(SIGNALS)])
        process.join()
        bad += failed(name, process.exitcode, folder, *ENDS)
        size = (folder / file_of(name)).stat().st_size if (folder / file_of(name)).exists() else 0
        wrote, before = wrote + (size > before), size
    process = FORKS.Process(target=metagen, args=(folder, command(name, "fast")))
    if name == "solve":  # which must be the same to go on
        process = FORKS.Process(target=metagen, args=(folder, command(name, "slow", "--concurrency", "2000")))
    process.start()
    process.join()
    found, all_of_them = Counter(keys(folder / file_of(name))), Counter(wanted(name, COUNT))
    lost, doubled = (all_of_them - found).total(), (found - all_of_them).total()
    bad += lost + doubled + failed(name, process.exitcode, folder, 0)
    return f"`{name}`", kills, wrote, found.total(), lost, doubled, bad


def failed(name: str, code: int | None, folder: Path, *sound: int) -> bool:
    """Whether a command ended with another code than it may; then the end of what it said is printed."""
    if code in sound:
        return False
    said = (folder / SAID).read_text(encoding="utf-8", errors="replace")[-2000:] if (folder / SAID).exists() else ""
    print(f"{name} ended with {code}:\n{said}", flush=True)
    return True


def metagen(folder: Path, arguments: list[str]) -> None:
    """The command, in a process whose imports are done."""
    from metagen.cli import main as cli  # noqa: PLC0415 (in the other process)

    os.chdir(folder)
    said = os.open(SAID, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.argv = ["metagen", *arguments]
    cli()


if __name__ == "__main__":
    typer.run(main)
