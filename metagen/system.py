"""What not every system has, in one place. Nothing here is imported before it is used.

metagen imports on any system. Linux has everything. On macOS there is no sandbox (`Sandbox.check` says so), nothing
watches the memory of a process, and an engine that outlives its parent is not killed. Windows can solve problems in
Python; it keeps no runs and pools on disk, because it cannot lock their files as they need it.
"""

import os
from pathlib import Path
from typing import IO, Any

from metagen.errors import InputError


def lock(file: IO[Any] | int, path: object) -> None:
    """Claim the open file at `path`, or its descriptor, for this process, until it is closed.

    Raises:
        OSError: another process has claimed it.
        InputError: this system has no such locks.
    """
    try:
        import fcntl  # noqa: PLC0415 (not on Windows)
    except ImportError:
        raise InputError(f"{path}: this system cannot lock files: keep runs and pools on Linux or macOS") from None
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def cache_folder() -> Path:
    """Where what can be made again is kept between runs: `METAGEN_CACHE`, else as the XDG specification has it."""
    if named := os.environ.get("METAGEN_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "metagen"


def processors() -> int:
    """How many processors this process may use; on systems that do not say, how many there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def busy() -> float:
    """How many processors are busy, measured over a fifth of a second. Needs psutil, which vLLM installs."""
    import psutil  # noqa: PLC0415 (no dependency of ours)

    percent: float = psutil.cpu_percent(interval=0.2)
    return percent / 100 * (os.cpu_count() or 1)


def page_size() -> int:
    """Bytes of a page of memory. For Linux and macOS."""
    return os.sysconf("SC_PAGE_SIZE")
