"""Run as a program, by its path and with nothing but the standard library: stands beside an engine's processes.

    python -I -S _warden.py enter LOG MARK PROGRAM ARGUMENTS…   becomes PROGRAM: marked, logged, in its own session
    python -I -S _warden.py watch MARK                          kills all that bear MARK once its standard input closes

The mark is an environment variable, so every descendant inherits it. It is looked up in `/proc`: where there is none
(off Linux), nothing is found and nothing is killed.
"""

import os
import signal
import sys
import time
from pathlib import Path

VARIABLE = "METAGEN_ENGINE"


def marked(mark: str) -> list[int]:
    """The ids of the living processes that bear the mark."""
    wanted = f"{VARIABLE}={mark}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:  # gone meanwhile, or not ours to read
            continue
    return found


def kill(mark: str, patience: float = 10.0) -> None:
    """Kill all that bear the mark, and those that they start meanwhile, until none is left or patience ends."""
    end = time.monotonic() + patience
    while (pids := marked(mark)) and time.monotonic() < end:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.02)


def enter(log: str, mark: str, program: str, *arguments: str) -> None:
    """Become `program`, out of reach of the terminal: of its Ctrl-C (another session) and of its screen."""
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    # A process that writes its title over its environment would lose the mark; a caller's `-W error` is not for vLLM.
    os.environ |= {VARIABLE: mark, "SPT_NOENV": "1", "PYTHONWARNINGS": "ignore"}
    os.execv(program, [program, *(argument for argument in arguments if not argument.startswith("-W"))])


def watch(mark: str) -> None:
    """Sleep until every copy of the other end of standard input is closed, then kill."""
    while os.read(0, 4096):
        pass
    kill(mark)


if __name__ == "__main__":
    _, part, *given = sys.argv
    if part == "enter":
        enter(*given)
    else:
        watch(*given)
