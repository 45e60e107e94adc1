"""Programs that nobody has read, in a sandbox: Python's and Coq's, with limits of work and of memory."""

import shutil
import sys
from collections.abc import Mapping

from metagen.errors import InputError
from metagen.execution.limits import MIB, Limits
from metagen.execution.processes import Finished
from metagen.execution.sandbox import Sandbox
from metagen.settings import is_number, require_whole

PYTHON_MEMORY = 128 * MIB
"""Bytes; with less, Python itself might not start, and that would read as a wrong program."""
COQ_MEMORY = 512 * MIB
"""The same for Coq."""
PYTHON_OPTIONS = ("-P", "-s", "-X", "utf8")
"""It sees no modules but its own and the installed. `-I` would leave out the settings in its environment."""
MOST_SECONDS = 86400.0
PATIENCE = 4
"""Seconds by the clock for each second of work, for programs that wait and machines that are busy."""


def checked_settings(of: object, /, seconds: float, memory: int, least: int, sandbox: object) -> None:
    """Refuse limits that are none, for one that runs something that needs `least` bytes of memory itself."""
    if not isinstance(sandbox, Sandbox):
        raise InputError(f"{type(of).__name__}: sandbox must be a Sandbox, not {sandbox!r}")
    if not is_number(seconds) or not 0 < seconds <= MOST_SECONDS:
        raise InputError(f"{type(of).__name__}: seconds must be positive and at most {MOST_SECONDS:g}, not {seconds!r}")
    require_whole(of, least, memory=memory)


def limits(seconds: float, memory: int, output: int = MIB) -> Limits:
    """So many seconds of work, and patience by the clock."""
    return Limits(seconds, clock=seconds * PATIENCE, memory=memory, output=output)


async def run_python(
    program: str, files: Mapping[str, bytes | str], stdin: str, sandbox: Sandbox, limits: Limits
) -> Finished:
    """Run one of `files` by this Python, with `PYTHON_OPTIONS`.

    Raises:
        InputError: no sandbox can be had here.
        ToolError: the sandbox did not start.
    """
    command = [sys.executable, *PYTHON_OPTIONS, program]
    return await sandbox.run(command, files=files, stdin=stdin.encode(errors="replace"), limits=limits)


def find_coq() -> str:
    """The path of Coq's compiler. Raises `InputError` if it is missing."""
    if (coqc := shutil.which("coqc")) is None:
        raise InputError("there is no command coqc to check proofs with: install Coq (apt-get install coq)")
    return coqc


async def run_coq(files: Mapping[str, bytes | str], sandbox: Sandbox, limits: Limits) -> Finished:
    """Compile `files` in their order, up to the first that fails: what the last one prints is the output.

    Raises:
        InputError: Coq is missing, or no sandbox can be had here.
        ToolError: the sandbox did not start.
    """
    coqc = find_coq()
    *before, last = files
    script = "".join(f'"$0" -q -w none {name} 1>&2 && ' for name in before) + f'"$0" -q -w none {last}'
    finished = await sandbox.run(["sh", "-c", script, coqc], files=files, limits=limits)
    if finished.code in {126, 127}:
        raise InputError("coqc cannot be started in the sandbox: name its folder in Sandbox(readable=...)")
    return finished


def worked(finished: Finished) -> bool:
    """Whether a program ended by itself and says that all went well."""
    return finished.ended == "exit" and not finished.code


def why(finished: Finished, seconds: float) -> str:
    """Say in one line why a program did not do what it should."""
    if finished.ended == "exit":
        lines = finished.err.decode(errors="replace").split("\n")
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), f"exit code {finished.code}")
    if finished.ended == "signal":
        return f"ended by signal {finished.code - 128}"
    limits = {"time": f"no end within {seconds:g} s", "memory": "too much memory", "output": "too much output"}
    return limits[finished.ended]


def coqs_message(finished: Finished, seconds: float) -> str:
    """What Coq says is wrong, in one line."""
    if finished.ended not in {"exit", "signal"}:  # after an anomaly, Coq ends with 129
        return why(finished, seconds)
    _, found, message = finished.err.decode(errors="replace").rpartition("Error:")
    return " ".join(message.split())[:300] if found else why(finished, seconds)
