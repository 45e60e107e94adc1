"""How a command ends before its time: by a signal, or because nobody takes its output."""

import errno
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

STOPS = (signal.SIGTERM, signal.SIGHUP)
"""They end a command as Ctrl-C does."""
UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EPIPE, errno.ENOTCONN}


@contextmanager
def until_stopped() -> Iterator[list[int]]:
    """Turn `STOPS` into Ctrl-C for a while; the list has the signals that came. One that was ignored stays so."""
    stopped: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.append(number)
        handler = signal.getsignal(signal.SIGINT)  # asyncio has one that cancels the task that runs
        if not callable(handler):
            raise KeyboardInterrupt
        handler(signal.SIGINT, frame)

    before = {number: signal.getsignal(number) for number in STOPS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        with _held_back(signal.SIGINT):
            yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _held_back(number: int) -> Iterator[None]:
    """Block a signal that is ignored, for a while, in place of ignoring it.

    asyncio sets its handler only where Python's own stands, and without it a stop would break into any line of the
    event loop.
    """
    if signal.getsignal(number) is not signal.SIG_IGN:
        yield
        return
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, signal.SIG_IGN)  # what has come meanwhile is forgotten
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def print_any_text() -> None:
    """Let what no output can hold, such as half of a surrogate pair in an id, be printed as an escape."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def open_what_is_closed() -> None:
    """Open to nothing the standard streams that the caller closed: else the first file of ours would become one."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:  # a file that is opened has the lowest number that is free
            setattr(sys, name, open(os.devnull, "w" if number else "r"))  # noqa: SIM115 (it stays open)


def is_unwritable(error: OSError) -> bool:
    """Whether it says that output cannot be written, and no more."""
    return error.errno in UNWRITABLE


def abandon_output() -> None:
    """Give up what standard output could not take, so that Python does not try again at its end."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        return
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
