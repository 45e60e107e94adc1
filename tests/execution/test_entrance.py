import os
import subprocess
import sys

import pytest

from metagen.execution.bubblewrap import ENTRANCE

SEARCH = """
import ctypes, os
number = {"x86_64": 250, "aarch64": 219}.get(os.uname().machine, -1)
print(ctypes.CDLL(None).syscall(number, 10, -3, b"user", b"metagen-key", 0) > 0)
"""
WITH_A_KEY = """
import ctypes, os, subprocess, sys
entrance, search = sys.argv[1:]
keyctl, add_key = {"x86_64": (250, 248), "aarch64": (219, 217)}.get(os.uname().machine, (-1, -1))
call = ctypes.CDLL(None).syscall
if call(keyctl, 1, None) < 0 or call(add_key, b"user", b"metagen-key", b"x", 1, -3) < 0:
    sys.exit("no keys")
for prefix in ([], [sys.executable, "-I", "-S", entrance, str(os.getpid()), "-"]):
    subprocess.run([*prefix, sys.executable, "-c", search])
"""


def test_the_keyring_of_the_caller_is_left_behind() -> None:
    command = [sys.executable, "-c", WITH_A_KEY, str(ENTRANCE), SEARCH]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.stderr == "no keys\n":
        pytest.skip("this process may have no keys")
    assert done.stdout.split() == ["True", "False"], done.stderr


def test_it_ends_where_its_parent_has_ended() -> None:
    command = [sys.executable, "-I", "-S", str(ENTRANCE), "1", "-", "/bin/echo", "begun"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "the parent has ended\n")


def test_no_signal_that_the_caller_blocks_is_blocked_inside() -> None:
    """As in a command that a script begins in the background, where Ctrl-C is nobody's business."""
    code = "import os, signal; signal.pthread_sigmask(signal.SIG_BLOCK, {2}); os.execv(*eval(input()))"
    asked = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
    inside = [sys.executable, "-I", "-S", str(ENTRANCE), str(os.getpid()), "-", sys.executable, "-c", asked]
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=repr((sys.executable, inside)), capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
