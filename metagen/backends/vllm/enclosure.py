"""Where an engine's processes live: their output goes to a log file, Ctrl-C does not reach them, none outlives us."""

import logging
import multiprocessing.spawn
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path

from metagen.backends.vllm import warden
from metagen.errors import InputError

_WARDEN = [sys.executable, "-I", "-S", warden.__file__]
_BUILDING = threading.Lock()
"""Held while a process-wide setting (environment, executable, warnings) is not the caller's own."""

_NOWHERE = logging.NullHandler()

_FAILURE = re.compile(r"^(?:\(.*?\) )?(?:[A-Z]+ \S+ \S+ \[.*?\] )?((?:\w+\.)*\w*(?:Error|Exception|Interrupt)\b.*)$")


class Enclosure:
    """The surroundings of one engine.

    Guaranteed on Linux: what was started inside `building` is dead when `close` returns, and soon after this process
    has ended, however it ended. A small process of its own, the warden, sees to that: it waits for a pipe to close
    that only we hold. Not guaranteed: anything if the warden is killed first, if a plain `fork` of this process lives
    on (it holds the pipe too), or for processes on other machines.
    """

    def __init__(self) -> None:
        if warden.VARIABLE in os.environ:
            raise InputError(
                "the program was started again by its own engine: put what it runs under `if __name__ == '__main__':`"
            )
        self._mark = uuid.uuid4().hex
        self._folder = Path(tempfile.mkdtemp(prefix="metagen-engine-"))
        self.log = self._folder / "engine.log"
        enter = [*_WARDEN, "enter", str(self.log), self._mark, sys.executable]
        self._entrance = self._program("python", f'exec {shlex.join(enter)} "$@"')
        self._muted = self._program("muted", f'exec {shlex.quote(sys.executable)} "$@" 2>/dev/null')
        self._warden = subprocess.Popen(
            [*_WARDEN, "watch", self._mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._handler = logging.FileHandler(self.log)

    def _program(self, name: str, command: str) -> Path:
        """A program that multiprocessing is to start in Python's place; it becomes Python."""
        path = self._folder / name
        path.write_text(f"#!/bin/sh\n{command}\n")
        path.chmod(0o700)
        return path

    @contextmanager
    def building(self) -> Iterator[None]:
        """While open, processes that multiprocessing spawns live inside, and foreign code is kept quiet here.

        One engine at a time is built in a process. The environment and the warnings filter belong to the whole
        process, so another thread sees them changed meanwhile; both are put back. Standard output and error of this
        process are not touched.
        """
        with _BUILDING, warnings.catch_warnings(), _own_environment(), self._own_executable():
            warnings.simplefilter("ignore")
            self._check_open()
            self._listen()
            yield

    @contextmanager
    def _own_executable(self) -> Iterator[None]:
        before = multiprocessing.spawn.get_executable()
        # The tracker serves this whole process, so it starts outside. It removes the shared memory that a killed
        # engine leaves, and is not to complain of it.
        multiprocessing.spawn.set_executable(str(self._muted))
        resource_tracker.ensure_running()
        multiprocessing.spawn.set_executable(str(self._entrance))
        try:
            yield
        finally:
            multiprocessing.spawn.set_executable(before)

    def _check_open(self) -> None:
        if not self._entrance.exists():
            raise RuntimeError("closed before the engine was built")

    def _listen(self) -> None:
        """Send what vLLM logs in this process to the log file."""
        logger = logging.getLogger("vllm")
        logger.propagate = False
        logger.addHandler(_NOWHERE)
        logger.addHandler(self._handler)

    def processes(self) -> list[int]:
        """The ids of the processes that live inside."""
        return warden.marked(self._mark)

    def failure(self) -> str:
        """The last error that was logged, in one line; empty if there is none."""
        lines = self.log.read_text(errors="replace").splitlines()
        errors = [match[1] for line in lines if (match := _FAILURE.match(line))]
        causes = [error for error in errors if "root cause" not in error and "initialization failed" not in error]
        return (causes or errors or [""])[-1]

    def close(self, *, keep_log: bool = False) -> None:
        """Kill what is left inside and wait until it is gone; may be called again."""
        logging.getLogger("vllm").removeHandler(self._handler)
        self._handler.close()
        self._entrance.unlink(missing_ok=True)
        self._warden.communicate()
        if not keep_log:
            shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def _own_environment() -> Iterator[None]:
    """Settings for vLLM, which sets more by itself (LD_PRELOAD even); afterwards all is as it was."""
    before = dict(os.environ)
    os.environ |= {"VLLM_WORKER_MULTIPROC_METHOD": "spawn", "VLLM_CONFIGURE_LOGGING": "0"}
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
