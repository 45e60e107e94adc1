"""Control groups: what all processes of a sandbox have in memory together, in files and pipes too. For Linux."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from metagen.execution.processes import read_if_there

ROOT = Path("/sys/fs/cgroup")
LIMITS = ("memory.max", "memory.limit_in_bytes")
"""The file that holds the limit, in the second and the first version of control groups."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group with a limit of memory, empty until a process writes 0 to `entrance`."""

    folder: Path

    @property
    def entrance(self) -> Path:
        return self.folder / "cgroup.procs"

    def overflowed(self) -> bool:
        """Whether the kernel has ended a process because the group was at its limit."""
        texts = (read_if_there(self.folder / name) for name in ("memory.events", "memory.oom_control"))
        counts = (line.split() for text in texts for line in text.splitlines())
        return any(count[0] == "oom_kill" and count[1] != "0" for count in counts if len(count) == 2)


@contextmanager
def memory_group(limit: int) -> Iterator[Group | None]:
    """A group for processes that use at most `limit` bytes together; `None` where this process may make none."""
    parent = _parent()
    made = _made(parent, limit) if parent else None
    try:
        yield made
    finally:
        if made:
            with suppress(OSError):  # a process that the kernel still takes apart; the empty group harms nobody
                made.folder.rmdir()


def _made(parent: Path, limit: int) -> Group | None:
    try:
        folder = parent / f"{_prefix()}{os.getpid()}-{secrets.token_hex(8)}"
        folder.mkdir()
    except OSError:
        return None
    try:
        name = next(name for name in LIMITS if (folder / name).exists())
        (folder / name).write_text(str(limit))
        os.close(os.open(folder / "cgroup.procs", os.O_WRONLY))
    except (OSError, StopIteration):
        folder.rmdir()
        return None
    return Group(folder)


@cache
def _parent() -> Path | None:
    """Where this process may make groups: below its own, or beside it."""
    for line in read_if_there(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        mounts = (ROOT, ROOT / "unified") if not controllers else (ROOT / controllers,)
        if controllers and "memory" not in controllers.split(","):
            continue
        for own in (mount / path.lstrip("/") for mount in mounts):
            for folder in (own, own.parent):
                if folder.is_relative_to(ROOT) and (made := _made(folder, 1 << 30)):
                    made.folder.rmdir()
                    _sweep(folder)
                    return folder
    return None


def _prefix() -> str:
    """How the groups of this process's namespace are named: its numbers of processes say nothing in another one."""
    return f"metagen-{Path('/proc/self/ns/pid').stat().st_ino}-"


def _sweep(parent: Path) -> None:
    """Remove the groups of processes that were killed before they could; one that is in use cannot be removed."""
    for left in parent.glob(f"{_prefix()}*-*"):
        process = left.name.split("-")[2]
        if process.isdecimal() and not Path("/proc", process).exists():
            with suppress(OSError):
                left.rmdir()
