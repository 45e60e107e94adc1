import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from metagen.cli.stopping import until_stopped


@pytest.fixture
def ignored() -> Iterator[None]:
    """SIGINT is ignored, as for what a script begins in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ignored")
def test_a_stop_cancels_the_task_that_runs_also_where_ctrl_c_is_ignored() -> None:
    came: list[str] = []

    async def main() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            came.append("the next line")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            came.append("the end")
            raise

    with until_stopped() as stopped, pytest.raises((asyncio.CancelledError, KeyboardInterrupt)):
        asyncio.run(main())
    assert (came, stopped) == (["the next line", "the end"], [signal.SIGTERM])


IGNORING = """
import asyncio, os, signal
from metagen.cli.stopping import until_stopped

with until_stopped() as stopped:
    os.kill(os.getpid(), signal.SIGINT)
    asyncio.run(asyncio.sleep(0))
    os.kill(os.getpid(), signal.SIGINT)
os.kill(os.getpid(), signal.SIGINT)
assert stopped == []
assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
"""


@pytest.mark.usefixtures("ignored")
def test_what_is_ignored_stays_so() -> None:
    """In a process of its own, which like a command has one thread: a signal goes to any that does not block it."""
    subprocess.run([sys.executable, "-c", IGNORING], check=True)


def test_a_stop_is_ctrl_c_where_no_task_runs() -> None:
    with until_stopped() as stopped, pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGHUP)
    assert stopped == [signal.SIGHUP]


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_a_command_whose_streams_are_closed_ends_as_any_other(closed: str) -> None:
    call = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "metagen", "--version"]
    ended = subprocess.run(call, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


OPENING = """
import os
from metagen.cli.stopping import open_what_is_closed

open_what_is_closed()
assert open(os.devnull).fileno() > 2
print("said")
"""


def test_no_file_of_ours_becomes_a_standard_stream() -> None:
    call = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-c", OPENING]
    assert subprocess.run(call, capture_output=True, check=False).returncode == 0
