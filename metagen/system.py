"""What not every system has, in one place. Nothing here is imported before it is used.

metagen imports on any system. Linux has everything. On macOS there is no sandbox (`Sandbox.check` says so), nothing
watches the memory of a process, and an engine that outlives its parent is not killed. Windows can solve problems in
Python; it keeps no runs and pools on disk, because it cannot lock their files as they need it.
"""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EACCES, EAGAIN, EWOULDBLOCK
from pathlib import Path
from typing import IO, Any

from metagen.errors import InputError

CLAIMED = {EACCES, EAGAIN, EWOULDBLOCK}
"""Errors of a lock that another process has."""
NEW_OBJECTS = 50_000
"""The garbage collector looks for cycles after so many new objects, where Python's own number is 700 or 2,000."""


def lock(file: IO[Any] | int, path: object) -> None:
    """Claim the open file at `path`, or its descriptor, for this process, until it is closed.

    Raises:
        OSError: another process has claimed it.
        InputError: this system, or the file system that the file is on, has no such locks.
    """
    try:
        import fcntl  # noqa: PLC0415 (not on Windows)
    except ImportError:
        raise InputError(f"{path}: this system cannot lock files: keep runs and pools on Linux or macOS") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in CLAIMED:
            raise
        raise InputError(
            f"{path}: cannot be locked: {error.strerror}: keep runs and pools on a file system that can lock files"
        ) from None


def cache_folder() -> Path:
    """Where what can be made again is kept between runs: `METAGEN_CACHE`, else as the XDG specification has it."""
    if named := os.environ.get("METAGEN_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "metagen"


@contextmanager
def collecting_seldom() -> Iterator[None]:
    """Let the garbage collector look for cycles less often, for a while, unless it does so already.

    The work keeps most of what it makes, in traces, and the rest is freed without the collector. A threshold that is
    set meanwhile stays.
    """
    first, *others = before = gc.get_threshold()
    if 0 < first < NEW_OBJECTS:  # 0 is never
        gc.set_threshold(NEW_OBJECTS, *others)
    during = gc.get_threshold()
    try:
        yield
    finally:
        if gc.get_threshold() == during:
            gc.set_threshold(*before)


def processors() -> int:
    """How many processors this process may use; on systems that do not say, how many there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def speedup() -> float:
    """How much more two threads do than one just now: about 2 where two processors are free, 1 where one is.

    It is tried twice, for about a quarter of a second in all, and the larger counts: a moment's work of another process
    is no load. Counts of the system would not tell of a processor that a host shares among several machines.
    """
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 (of a run with an engine alone)
    from hashlib import sha256  # noqa: PLC0415
    from time import perf_counter  # noqa: PLC0415

    block = bytes(1 << 20)

    def work(_: int) -> None:
        for _ in range(8):
            sha256(block).digest()  # without the lock of the interpreter

    def seconds(workers: int) -> float:
        begun = perf_counter()
        list(threads.map(work, range(workers)))
        return perf_counter() - begun

    with ThreadPoolExecutor(2) as threads:
        seconds(2)  # starts both
        return max(2 * seconds(1) / seconds(2) for _ in range(2))


def page_size() -> int:
    """Bytes of a page of memory. For Linux and macOS."""
    return os.sysconf("SC_PAGE_SIZE")
