"""Run as a program, by its path and with nothing but the standard library: the way into a sandbox.

    python -I -S entrance.py PARENT GROUP COMMAND…

Ends with its parent, whose process id is PARENT, also where that has ended already. Leaves behind what a new process
has of its caller and bubblewrap does not take away: its session keyring, its place among those that the kernel ends
when memory runs out, and its control group (GROUP, a file to write to, or -). Then it becomes COMMAND.
"""

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

KEYCTL = {"x86_64": 250, "aarch64": 219}
JOIN_SESSION_KEYRING = 1
SET_PARENT_DEATH_SIGNAL = 1

_C = ctypes.CDLL(None, use_errno=True)


def end_with(parent: int) -> None:
    """Be killed when the parent ends."""
    _C.prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit("the parent has ended")


def leave_keyring() -> None:
    """Join a new session keyring. Where the kernel has none, or none for us, there is nothing to leave."""
    if number := KEYCTL.get(os.uname().machine):
        _C.syscall(ctypes.c_long(number), ctypes.c_long(JOIN_SESSION_KEYRING), None)


def main(parent: str, group: str, *command: str) -> None:
    end_with(int(parent))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # which a caller that ignores it blocks
    leave_keyring()
    if group != "-":
        Path(group).write_text("0")
    with suppress(OSError):  # where the caller may not be ended first, neither may this
        Path("/proc/self/oom_score_adj").write_text("1000")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
