"""Disks that take no more, at every size: one line, exit code 1, whole lines, and the same command goes on.

    python benchmarks/torture/full_disks.py [--sizes 6]

A full disk is imitated by a limit on the size of a file: it needs no rights, and can fall on any byte. Where this user
may mount disks, a small real one is filled too, and then made read-only.
"""

import os
import resource
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import typer
from trust_page import command, file_of, keys, prepare, publish, run, wanted

COUNT = 500


def main(sizes: int = 6) -> None:
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # compiled modules would be cut off, for all that import them later
    rows = [limited(name, sizes) for name in ("solve", "sample", "report")]
    rows += [row for name in ("solve", "sample") if (row := mounted(name))]
    publish("disks", ("command", "what takes no more", "times", "not one line", "lost or doubled", "bad"), rows)


def limited(name: str, sizes: int) -> tuple[object, ...]:
    """Of so many sizes, evenly spread over what the command writes."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepare(folder, COUNT)
        largest = whole(name, folder)
        unsaid = lost = 0
        for number in range(sizes):
            limit = largest * number // sizes
            done = run(folder, arguments(name), preexec_fn=at_most(limit))
            unsaid += (done.returncode, done.stderr.count("\n")) != (1, 1)
            if name != "report":
                unsaid += run(folder, arguments(name)).returncode != 0
                lost += difference(name, folder)
                clear(folder, name)
        return f"`{name}`", "a limit on a file's size", sizes, unsaid, lost, unsaid + lost


def whole(name: str, folder: Path) -> int:
    """Run it once; return the size of the largest file that it writes."""
    if name == "report":
        run(folder, command("sample", "fast"))
        run(folder, arguments(name))
        return max(path.stat().st_size for path in (folder / "report").iterdir())
    run(folder, arguments(name))
    size = max(path.stat().st_size for path in [*folder.glob("run/*"), *folder.glob("pool.jsonl")])
    clear(folder, name)
    return size


def arguments(name: str) -> list[str]:
    if name == "report":
        return ["report", "pool.jsonl", "--problems", "problems.jsonl", "--out", "report"]
    return command(name, "fast")


def clear(folder: Path, name: str) -> None:
    for path in (folder / file_of(name)).parent.iterdir():
        if path.name not in {"problems.jsonl", "models.py"} and path.is_file():
            path.unlink()


def difference(name: str, folder: Path) -> int:
    found, all_of_them = Counter(keys(folder / file_of(name))), Counter(wanted(name, COUNT))
    return (all_of_them - found).total() + (found - all_of_them).total()


def at_most(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def mounted(name: str) -> tuple[object, ...] | None:
    """A disk of 128 kB that is full, then read-only, then large enough."""
    with tempfile.TemporaryDirectory() as place:
        disk = Path(place)
        if mount(disk, "-t", "tmpfs", "-o", "size=128k", "none"):
            return None
        try:
            prepare(disk, COUNT)
            first = run(disk, arguments(name))
            unsaid = int((first.returncode, first.stderr.count("\n")) != (1, 1))
            mount(disk, "-o", "remount,ro")
            second = run(disk, arguments(name))
            unsaid += (second.returncode, second.stderr.count("\n")) != (1, 1)
            mount(disk, "-o", "remount,rw,size=64m")
            unsaid += run(disk, arguments(name)).returncode != 0
            lost = difference(name, disk)
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    return f"`{name}`", "a disk of 128 kB, then one that is read-only", 2, unsaid, lost, unsaid + lost


def mount(place: Path, *options: str) -> int:
    return subprocess.run(["mount", *options, str(place)], capture_output=True, check=False).returncode


if __name__ == "__main__":
    typer.run(main)
