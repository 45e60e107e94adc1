"""The processes that compare answers symbolically, seen from this side: they are few, and each can be killed.

They start when they are first needed, serve every event loop and run of this process, are replaced after a check that
they did not survive, and end with it. What they find out is remembered, also on disk, for the versions of the packages
that decide. That there was no verdict is not: a busy machine at one moment must not settle an answer for good.
"""

import asyncio
import atexit
import json
import os
import select
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from hashlib import blake2b
from pathlib import Path
from queue import LifoQueue
from threading import Lock
from typing import TYPE_CHECKING

from metagen.errors import VerifierError
from metagen.system import processors

if TYPE_CHECKING:
    from metagen.answers.remembered import Remembered

CHECKERS = min(max(2, processors()), 8)
"""Processes at most, each of up to 2 GiB (see `checker_program.MEMORY`) and one core."""
DECIDING = ("math-verify", "latex2sympy2-extended", "antlr4-python3-runtime", "sympy", "mpmath")
"""The packages on whose versions a verdict depends."""
REMEMBERED = 4096
"""Verdicts."""
LONGEST_LINE = 60_000
"""Bytes, less than a pipe holds: the writer never waits for the reader. A longer pair of answers gets no verdict."""
PATIENCE = 8
"""Seconds by the clock for each second of work: the process itself ends by its work, however busy the machine."""
START_SECONDS = 60.0
"""math-verify loads in one or two seconds on an idle machine."""

_SOURCE = Path(__file__).with_name("checker_program.py")
PROGRAM = (sys.executable, "-P", "-W", "ignore", str(_SOURCE))
_VERDICTS = {b"true\n": True, b"false\n": False}


async def compare(reference: str, answer: str, seconds: float) -> bool | None:
    """Whether `answer` equals `reference` symbolically; `None` if that did not turn out within `seconds`.

    A caller that is cancelled stops waiting, and the check continues to its end or its limit.

    Raises:
        VerifierError: the checking process does not start.
    """
    threads = _checkers(os.getpid()).threads
    try:
        return await asyncio.get_running_loop().run_in_executor(threads, _verdict, reference, answer, seconds)
    except _NoVerdict:
        return None


class _NoVerdict(Exception):
    """An exception, as those are what `lru_cache` does not remember."""


@lru_cache(REMEMBERED)
def _verdict(reference: str, answer: str, seconds: float) -> bool:
    verdict = _checkers(os.getpid()).check(reference, answer, seconds)
    if verdict is None:
        raise _NoVerdict
    return verdict


class Checker:
    """One process, started when needed. Serves one caller at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def check(self, reference: str, answer: str, seconds: float) -> bool | None:
        """Block until there is a verdict or the limit is reached; a process without a verdict is ended."""
        line = _line(reference, answer, seconds)
        if len(line) > LONGEST_LINE:
            return None
        reply = _asked(self._ready(), line, seconds)
        if reply not in _VERDICTS:
            self.stop()
        return _VERDICTS.get(reply)

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)

    def _ready(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.stop()
            self._process = _started()
        return self._process


class Checkers:
    """A few processes behind as many threads, so that waiting for one never blocks an event loop."""

    def __init__(self, size: int) -> None:
        self.threads = ThreadPoolExecutor(size, thread_name_prefix="metagen-checker")
        self._all = [Checker() for _ in range(size)]
        self._idle: LifoQueue[Checker] = LifoQueue()
        """The last one in is the first one out, so that a second process starts only for a second check at a time."""
        for checker in self._all:
            self._idle.put(checker)
        self._lock = Lock()
        self._known: Remembered | None = None

    def check(self, reference: str, answer: str, seconds: float) -> bool | None:
        """Return what is known, else block until one of the processes is done with this check."""
        question = _line(reference, answer, seconds)
        remembered = self._remembered()
        if (known := remembered.find(question)) is not None:
            return known
        checker = self._idle.get()
        try:
            verdict = checker.check(reference, answer, seconds)
        finally:
            self._idle.put(checker)
        if verdict is not None:
            remembered.keep(question, verdict)
        return verdict

    def stop(self) -> None:
        """End all processes."""
        for checker in self._all:
            checker.stop()
        if self._known:
            self._known.close()

    def _remembered(self) -> "Remembered":
        """What is known on disk. Opened by the thread that asks first, since an event loop must not wait for it."""
        from metagen.answers.remembered import Remembered  # noqa: PLC0415 (few runs compare symbols)

        with self._lock:
            if self._known is None:
                self._known = Remembered(f"verdicts-{_decided_by()}.sqlite")
            return self._known


@cache
def _checkers(_process: int) -> Checkers:
    """The checkers of this process, by its id: after a fork, threads are gone and pipes are the parent's."""
    checkers = Checkers(CHECKERS)
    atexit.register(checkers.stop)
    return checkers


def _decided_by() -> str:
    """A digest of all that a verdict depends on beside the two answers and the limit: versions, and our own program."""
    from importlib import metadata  # noqa: PLC0415 (few runs compare symbols)

    versions = [distribution.version for name in DECIDING for distribution in metadata.distributions(name=name)]
    return blake2b(repr((sys.version, versions)).encode() + _SOURCE.read_bytes(), digest_size=8).hexdigest()


def _line(reference: str, answer: str, seconds: float) -> bytes:
    return json.dumps([reference, answer, seconds]).encode() + b"\n"


def _started() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    if _reply(process, START_SECONDS) != b"\n":
        _end(process)
        raise VerifierError(
            f"the process that compares answers did not start (exit code {process.returncode}); "
            f"see the error stream, and try: {sys.executable} -c 'import math_verify'"
        )
    return process


def _asked(process: subprocess.Popen[bytes], line: bytes, seconds: float) -> bytes:
    """What the process says to `line`; nothing if it is gone, or still at it after far more than `seconds`."""
    assert process.stdin is not None
    try:
        process.stdin.write(line)
    except BrokenPipeError:
        return b""
    return _reply(process, seconds * PATIENCE)


def _reply(process: subprocess.Popen[bytes], seconds: float) -> bytes:
    assert process.stdout is not None
    poller = select.poll()
    poller.register(process.stdout, select.POLLIN)
    return os.read(process.stdout.fileno(), 16) if poller.poll(seconds * 1000) else b""


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process, close its pipes and collect its exit code."""
    with process:
        process.kill()
