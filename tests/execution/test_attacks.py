import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from metagen import Limits, Sandbox
from metagen.execution import sandbox
from metagen.execution.groups import memory_group
from metagen.execution.limits import MIB
from tests.execution import attacks
from tests.support.confined import needs_sandbox

ROOT = Path(__file__).parents[2]
CODE = Path(attacks.__file__).read_text()
LIMITS = Limits(seconds=120, clock=240)
pytestmark = [needs_sandbox, pytest.mark.skipif(platform.machine() not in {"x86_64", "aarch64"}, reason="no filter")]

AS_A_USER = """
import asyncio, json, os, resource, sys
from metagen import Limits, Sandbox
os.chdir("/")
os.setgroups([])
os.setresgid(61000, 61000, 61000)
os.setresuid(61000, 61000, 61000)
sys.prefix = sys.base_prefix = "/usr"
sys.executable = "/usr/bin/python3"
code = sys.stdin.read()
done = asyncio.run(Sandbox().run(["/usr/bin/python3", "-I", "a.py"], files={"a.py": code},
                                 limits=Limits(seconds=120, clock=240)))
print(json.dumps([done.code, done.ended, done.out.decode(), done.err.decode()]))
"""


def outcomes(printed: str) -> dict[str, str]:
    return dict(line.split("\t") for line in printed.splitlines())


async def test_no_attempt_gets_out() -> None:
    done = await Sandbox().run([sys.executable, "-I", "a.py"], files={"a.py": CODE}, limits=LIMITS)
    found = outcomes(done.out.decode())
    assert (done.code, done.err) == (0, b"")
    assert len(found) == len(list(attacks.attacks())) > 60
    assert {name: said for name, said in found.items() if not said.startswith("refused")} == {}


@pytest.mark.skipif(os.geteuid() != 0 or not os.path.exists("/usr/bin/python3"), reason="only root can be another user")
def test_no_attempt_of_a_user_gets_out() -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    call = [sys.executable, "-c", AS_A_USER]
    done = subprocess.run(call, input=CODE, capture_output=True, text=True, env=environment, check=False)
    if "does not work here" in done.stderr:
        pytest.skip("users of this machine may not make namespaces")
    code, ended, out, err = json.loads(done.stdout)
    assert (code, ended, err) == (0, "exit", ""), done.stderr
    assert len(outcomes(out)) == len(list(attacks.attacks()))
    assert {name: said for name, said in outcomes(out).items() if not said.startswith("refused")} == {}


HARMLESS = """
threads
from threading import Thread
thread = Thread(target=print, args=("x",)); thread.start(); thread.join()

many threads
from concurrent.futures import ThreadPoolExecutor
print(*ThreadPoolExecutor(8).map(len, ["x"] * 20))

processes
import subprocess
print(subprocess.run(["echo", "x"], capture_output=True, check=True).stdout)

a pool of processes
import multiprocessing
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(2) as pool: print(pool.map(abs, [1]))

spawned processes
import multiprocessing
if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=print)
    process.start(); process.join(); print(process.exitcode + 1)

an event loop
import asyncio
async def main():
    process = await asyncio.create_subprocess_exec("true")
    print(await process.wait())
asyncio.run(main())

files
import os, shutil
with open("f", "w") as file: file.write("x")
shutil.copy("f", "g"); os.remove("f"); print(open("g").read())

temporary files
import tempfile
with tempfile.TemporaryFile() as file: print(file.write(b"x"))

shared memory
from multiprocessing.shared_memory import SharedMemory
memory = SharedMemory(create=True, size=9); memory.close(); memory.unlink(); print(1)

a database
import sqlite3
database = sqlite3.connect("d"); database.execute("create table t(x)"); database.commit(); print(1)

sockets of its own
import socket
one, other = socket.socketpair(); one.send(b"x"); print(other.recv(1))

memory of a file
import mmap
with open("f", "wb") as file: file.write(bytes(9))
with open("f", "r+b") as file: print(mmap.mmap(file.fileno(), 9)[0])

alarms
import signal
signal.signal(signal.SIGALRM, lambda *_: print(1)); signal.setitimer(signal.ITIMER_REAL, 0.01); signal.pause()

a fork
import os
print(os.waitpid(os.fork() or os._exit(0), 0)[1])

locks, polls and clocks
import fcntl, select, time
with open("f", "w") as file: fcntl.flock(file, fcntl.LOCK_EX); print(select.epoll().fileno(), time.time())

numbers at random
import os, random, secrets, uuid
print(os.urandom(9), random.random(), secrets.token_hex(), uuid.uuid4())
"""
PROGRAMS = [text.partition("\n") for text in HARMLESS.strip().split("\n\n")]


@pytest.mark.parametrize("code", [code for _, _, code in PROGRAMS], ids=[name for name, _, _ in PROGRAMS])
async def test_a_harmless_program_works(code: str) -> None:
    done = await Sandbox().run([sys.executable, "-I", "a.py"], files={"a.py": code}, limits=LIMITS)
    assert (done.code, done.err) == (0, b""), done
    assert done.out


KEPT = """
import socket
kept = []
for _ in range(120):
    one, other = socket.socketpair()
    one.setblocking(False)
    try:
        while True: one.send(bytes(1 << 16))
    except BlockingIOError: pass
    kept += [one, other]
print(len(kept))
"""


async def test_memory_that_no_process_has_counts_where_it_can_be_counted() -> None:
    """What waits in sockets: about 25 MB, where the group of the sandbox leaves room for a tenth of it."""
    with memory_group(MIB) as group:
        if group is None:
            pytest.skip("this process may make no control groups")
    limits = Limits(clock=120, disk=1, memory=300 * MIB)
    assert (await Sandbox().run([sys.executable, "-I", "-c", KEPT], limits=limits)).out == b"240\n"


async def test_a_group_that_overflows_is_too_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    with memory_group(MIB) as group:
        if group is None:
            pytest.skip("this process may make no control groups")
    monkeypatch.setattr(sandbox, "SLACK", -280 * MIB)
    limits = Limits(clock=120, disk=1, memory=300 * MIB)
    done = await Sandbox().run([sys.executable, "-I", "-c", KEPT], limits=limits)
    assert done.ended == "memory"
