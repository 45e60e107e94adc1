import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from metagen import Finished, InputError, Limits, Sandbox, ToolError
from metagen.execution import bubblewrap
from metagen.execution import sandbox as module
from metagen.execution.limits import MIB
from tests.support.confined import needs_sandbox
from tests.support.timing import block_until, until

ROOT = Path(__file__).parents[2]
LIMITS = Limits(seconds=20, clock=120)
"""For what must come out on a busy machine too."""


async def python(code: str, *arguments: str, limits: Limits = LIMITS, sandbox: Sandbox | None = None) -> Finished:
    command = [sys.executable, "-I", "-c", code, *arguments]
    return await (sandbox or Sandbox()).run(command, limits=limits)


def text(finished: Finished) -> str:
    assert (finished.ended, finished.code) == ("exit", 0), finished
    return finished.out.decode()


def alive(token: str) -> list[psutil.Process]:
    """All processes on the machine that name `token` in their command line."""
    return [process for process in psutil.process_iter() if token in " ".join(_command(process))]


def begun(token: str) -> bool:
    """Whether the program that `python` runs is there, and not only what leads to it."""
    return any(_command(process)[1:3] == ["-I", "-c"] for process in alive(token))


def _command(process: psutil.Process) -> list[str]:
    try:
        return [] if process.status() == psutil.STATUS_ZOMBIE else process.cmdline()
    except psutil.Error:
        return []


@pytest.mark.parametrize(
    "settings",
    [
        {"seconds": 0},
        {"seconds": "5"},
        {"seconds": True},
        {"clock": float("inf")},
        {"clock": None},
        {"memory": 0},
        {"processes": 1.5},
        {"output": -1},
    ],
)
def test_limits_that_are_none_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"Limits: {next(iter(settings))}"):
        Limits(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "a\0"])
async def test_files_have_bare_names(name: str) -> None:
    with pytest.raises(InputError, match="bare name"):
        await Sandbox(unsafe=True).run(["true"], files={name: ""})


def test_folders_to_read_are_absolute() -> None:
    with pytest.raises(InputError, match="absolute"):
        Sandbox(readable=("data",))


async def test_without_bubblewrap_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    bubblewrap.check_bubblewrap.cache_clear()
    monkeypatch.setattr(bubblewrap, "which", lambda name: None if name == "bwrap" else f"/usr/bin/{name}")
    try:
        with pytest.raises(InputError, match=r"no command bwrap.*install bubblewrap.*unsafe=True"):
            await Sandbox().run(["true"])
    finally:
        bubblewrap.check_bubblewrap.cache_clear()


async def test_where_bubblewrap_does_not_work_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    bubblewrap.check_bubblewrap.cache_clear()
    monkeypatch.setattr(bubblewrap, "which", lambda name: "/bin/false" if name == "bwrap" else f"/usr/bin/{name}")
    try:
        with pytest.raises(InputError, match=r"bubblewrap does not work here \(exit code 1\): install"):
            await Sandbox().run(["true"])
    finally:
        bubblewrap.check_bubblewrap.cache_clear()


@needs_sandbox
async def test_a_sandbox_that_does_not_start_says_nothing_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    Sandbox().check()
    monkeypatch.setattr(bubblewrap, "with_limits", lambda *_, **__: ["false"])
    with pytest.raises(ToolError, match="did not start"):
        await Sandbox().run(["true"])
    monkeypatch.setattr(module, "with_limits", lambda *_, **__: ["nonesuch"])
    with pytest.raises(ToolError, match="nonesuch"):
        await Sandbox(unsafe=True).run(["true"])


async def test_a_folder_that_is_not_there_is_an_error() -> None:
    with pytest.raises(InputError, match=r"nonesuch|bwrap"):
        await Sandbox(readable=("/nonesuch",)).run(["true"])


@pytest.fixture(params=[pytest.param(Sandbox(), marks=needs_sandbox), Sandbox(unsafe=True)], ids=["bwrap", "unsafe"])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    assert isinstance(request.param, Sandbox)
    return request.param


async def test_a_command_reads_its_input_and_files_and_ends_with_its_code(sandbox: Sandbox) -> None:
    command = ["sh", "-c", "cat a b -; echo wrong >&2; exit 7"]
    done = await sandbox.run(command, files={"a": "1\n", "b": b"\xff"}, stdin=b"in", limits=LIMITS)
    assert (done.code, done.out, done.err, done.ended) == (7, b"1\n\xffin", b"wrong\n", "exit")
    assert 0 < done.seconds < 120


async def test_input_that_nobody_reads_is_dropped(sandbox: Sandbox) -> None:
    assert (await sandbox.run(["true"], stdin=b"x" * 4 * MIB, limits=LIMITS)).ended == "exit"


async def test_a_command_that_is_not_there_ends_as_shells_say(sandbox: Sandbox) -> None:
    done = await sandbox.run(["nonesuch"], limits=LIMITS)
    assert (done.code, done.ended) == (127, "exit")
    assert b"not found" in done.err


async def test_an_endless_loop_ends_by_its_work(sandbox: Sandbox) -> None:
    done = await python("while True: pass", limits=Limits(seconds=1, clock=300), sandbox=sandbox)
    assert done.ended == "time"


async def test_one_that_ignores_the_limit_of_work_ends_all_the_same(sandbox: Sandbox) -> None:
    code = "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass"
    done = await python(code, limits=Limits(seconds=1, clock=300), sandbox=sandbox)
    assert (done.code, done.ended) == (128 + signal.SIGKILL, "signal")


async def test_one_that_sleeps_ends_by_the_clock(sandbox: Sandbox) -> None:
    token = secrets.token_hex(8)
    done = await python("import signal; signal.pause()", token, limits=Limits(clock=1), sandbox=sandbox)
    assert done.ended == "time"
    assert done.seconds < 60
    assert not alive(token)


async def test_memory_has_a_limit(sandbox: Sandbox) -> None:
    done = await python("b = bytearray(3 << 30)", limits=Limits(clock=120, memory=512 * MIB), sandbox=sandbox)
    assert (done.code, done.ended) == (1, "exit")
    assert done.err.endswith(b"MemoryError\n")


async def test_memory_has_a_limit_for_all_processes_together(sandbox: Sandbox) -> None:
    code = """
import os, signal
for _ in range(6):
    if not os.fork():
        memory = b"1" * (100 << 20)
        signal.pause()
signal.pause()
"""
    done = await python(code, limits=Limits(clock=120, memory=400 * MIB), sandbox=sandbox)
    assert done.ended == "memory"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_a_flood_of_output_is_cut(sandbox: Sandbox, stream: str) -> None:
    code = f"import sys\nwhile True: sys.{stream}.write('x' * 100000)"
    done = await python(code, limits=Limits(clock=120, output=1000), sandbox=sandbox)
    assert done.ended == "output"
    assert {"stdout": done.out, "stderr": b"x" * 1000}[stream] == b"x" * 1000
    assert len(done.err) <= 1000


async def test_a_small_limit_of_output_is_one_of_the_command_alone(sandbox: Sandbox) -> None:
    command = ["sh", "-c", "echo 1234567; echo 7654321 >&2"]
    done = await sandbox.run(command, limits=Limits(clock=120, output=8))
    assert (done.code, done.out, done.err, done.ended) == (0, b"1234567\n", b"7654321\n", "exit")
    assert (await sandbox.run(command, limits=Limits(clock=120, output=7))).ended == "output"


async def test_a_file_has_a_limit(sandbox: Sandbox) -> None:
    code = "open('f', 'wb').write(b'x' * (9 << 20))"
    done = await python(code, limits=Limits(clock=120, disk=8 * MIB), sandbox=sandbox)
    assert done.code == 1
    assert b"File too large" in done.err or b"No space left" in done.err


async def test_a_signal_that_ends_a_command_is_named(sandbox: Sandbox) -> None:
    done = await python("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", sandbox=sandbox)
    assert (done.code, done.ended) == (128 + signal.SIGSEGV, "signal")


async def test_cancelling_leaves_nothing(sandbox: Sandbox) -> None:
    token = secrets.token_hex(8)
    task = asyncio.create_task(python("import signal; signal.pause()", token, sandbox=sandbox))
    await until(lambda: begun(token))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive(token)


@pytest.mark.parametrize("confined", [True], ids=["bwrap"])
async def test_cancelling_leaves_nothing_where_bubblewrap_does_not_end_with_its_parent(
    confined: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does for a moment after it has made its first process."""
    command = bubblewrap.bubblewrap
    monkeypatch.setattr(
        module, "bubblewrap", lambda *given: [part for part in command(*given) if part != "--die-with-parent"]
    )
    await test_cancelling_leaves_nothing(Sandbox())


async def test_cancelling_at_any_moment_leaves_nothing(sandbox: Sandbox) -> None:
    """Also bubblewrap has moments in which it does not yet end with its parent."""
    token = secrets.token_hex(8)
    for moment in range(0, 40, 2):
        task = asyncio.create_task(python("import signal; signal.pause()", token, sandbox=sandbox))
        await asyncio.sleep(moment / 1000)  # at none of these moments is it assumed how far it has come
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not alive(token)


async def test_nothing_stays_open_and_no_folder_stays(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    await sandbox.run(["true"], files={"a": "1"}, limits=LIMITS)
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(3):
        await sandbox.run(["sh", "-c", "echo 1 > b; mkdir -p c/d"], files={"a": "1"}, limits=LIMITS)
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert os.listdir(tmp_path) == []


async def test_the_environment_is_empty(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    done = await python(
        "import os; print(sorted(set(os.environ) - {'PWD', 'LC_CTYPE', 'OLDPWD', '_'}))", sandbox=sandbox
    )
    assert text(done) == "['LANG', 'PATH', 'PYTHONHASHSEED']\n"


async def test_descriptors_are_not_handed_on(sandbox: Sandbox, tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "secret", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(descriptor, True)
    try:
        assert "secret" not in text(await sandbox.run(["ls", "-l", "/proc/self/fd"], limits=LIMITS))
    finally:
        os.close(descriptor)


async def test_as_many_run_at_once_as_there_are_processors(sandbox: Sandbox) -> None:
    processors = len(os.sched_getaffinity(0))
    code = "import time; a = time.time(); time.sleep(0.5); print(a, time.time())"
    done = await asyncio.gather(*(python(code, sandbox=sandbox) for _ in range(2 * processors + 1)))
    spans = [tuple(map(float, text(each).split())) for each in done]
    at_once = max(sum(begun <= moment < ended for begun, ended in spans) for moment, _ in spans)
    assert at_once <= processors


def test_every_event_loop_has_its_own_turn(sandbox: Sandbox) -> None:
    async def many() -> set[bytes]:
        return {done.out for done in await asyncio.gather(*(sandbox.run(["echo", "1"]) for _ in range(6)))}

    assert [asyncio.run(many()) for _ in range(2)] == [{b"1\n"}] * 2


@needs_sandbox
def test_none_outlives_a_parent_that_is_killed() -> None:
    token = secrets.token_hex(8)
    code = f"""
import asyncio
from metagen import Limits, Sandbox
command = [{sys.executable!r}, "-I", "-c", "import signal; signal.pause()", {token!r}]
asyncio.run(Sandbox().run(command, limits=Limits(clock=600)))
"""
    with subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)}) as parent:
        try:
            block_until(lambda: begun(token))
        finally:
            parent.kill()
    block_until(lambda: not alive(token))


@pytest.fixture
def readable(tmp_path: Path) -> Path:
    """A folder with a file `f`, readable by all."""
    (tmp_path / "f").write_text("data")
    tmp_path.chmod(0o755)
    return tmp_path


@needs_sandbox
class TestConfined:
    async def test_a_fork_bomb_goes_off_inside(self) -> None:
        """The bomb is a small one, of 2⁷ processes: should the limit fail, the machine must live."""
        token = secrets.token_hex(8)
        code = """
import os, signal
first, log = os.getpid(), os.open("log", os.O_CREAT | os.O_APPEND | os.O_RDWR)
for _ in range(7):
    try: os.fork() and os.write(log, b"+")
    except OSError: pass
os.write(log, b"-")
if os.getpid() != first: signal.pause()
while (lines := os.pread(log, 1000, 0)).count(b"-") < lines.count(b"+") + 1: os.sched_yield()
print(lines.count(b"-"))
"""
        done = await python(code, token, limits=Limits(seconds=60, clock=240, processes=40))
        assert 5 < int(text(done)) <= 40
        assert not alive(token)

    async def test_two_do_not_share_a_limit_of_processes(self) -> None:
        token, limits = secrets.token_hex(8), Limits(clock=600, processes=12)
        code = """
import os, signal, sys
for _ in range(8): os.fork() or signal.pause()
if sys.argv[1] == "stay": signal.pause()
"""
        other = asyncio.create_task(python(code, "stay", token, limits=limits))
        await until(lambda: len(alive(token)) >= 9)
        assert (await python(code, "leave", limits=limits)).code == 0
        other.cancel()
        await asyncio.wait([other])

    async def test_nobody_is_left_behind(self) -> None:
        token = secrets.token_hex(8)
        code = """
import os, signal, sys
if not os.fork():
    os.setsid()
    if not os.fork():
        for descriptor in range(3): os.close(descriptor)
        signal.pause()
    os._exit(0)
os.wait()
print("left")
"""
        for _ in range(10):
            assert text(await python(code, token)) == "left\n"
            assert not alive(token)

    async def test_files_can_be_written_in_the_working_folder_alone(self) -> None:
        code = """
import os
for folder in (".", "/tmp", "/dev/shm", "/", "/usr", "/usr/bin", "/etc", "/dev", "/proc", "/proc/sys", "/root",
               "/var", "/home", *os.sys.argv[1:]):
    try: open(os.path.join(folder, "f"), "w"); print(folder)
    except OSError: pass
"""
        folders = (sys.prefix, sys.base_prefix, str(ROOT), str(Path.home()))
        assert text(await python(code, *folders)).split() == [".", "/tmp", "/dev/shm"]

    async def test_folders_have_a_limit(self) -> None:
        code = """
import errno
for folder in (".", "/tmp", "/dev/shm"):
    try:
        for number in range(64): open(f"{folder}/{number}", "wb").write(bytes(1 << 20))
    except OSError as error: print(errno.errorcode[error.errno], 5 < number < 9)
"""
        done = await python(code, limits=Limits(clock=120, disk=8 * MIB))
        assert text(done) == "ENOSPC True\n" * 3

    async def test_home_and_project_cannot_be_read(self) -> None:
        code = """
import os, sys
known = sys.argv[1].split(":")
for path in sys.argv[2:]:
    for folder, folders, files in os.walk(path):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in known]
        print(*(path for path in (os.path.join(folder, name) for name in files) if path not in known))
"""
        secret = Path.home() / f".metagen-{secrets.token_hex(8)}"
        secret.write_text("secret")
        known = ":".join((sys.prefix, sys.base_prefix, *bubblewrap.SETTINGS))
        folders = ("/etc", "/var", "/opt", "/home", "/root", "/mnt", "/srv", "/boot", "/run", "/sys")
        try:
            done = await python(code, known, str(Path.home()), str(ROOT), *folders)
        finally:
            secret.unlink()
        assert text(done).split() == []
        reading = await python("import sys; open(sys.argv[1])", __file__)
        assert reading.err.splitlines()[-1].startswith(b"FileNotFoundError")

    async def test_a_folder_can_be_added_to_read(self, readable: Path) -> None:
        code = "import sys; print(open(sys.argv[1]).read()); open(sys.argv[1], 'w')"
        done = await python(code, str(readable / "f"), sandbox=Sandbox(readable=(str(readable),)))
        assert done.out == b"data\n"
        assert b"Read-only file system" in done.err

    async def test_there_is_no_network(self) -> None:
        code = """
import socket, sys
for family, address in ((socket.AF_INET, ("127.0.0.1", int(sys.argv[1]))), (socket.AF_INET, ("1.1.1.1", 53)),
                        (socket.AF_INET6, ("::1", int(sys.argv[1]))), (socket.AF_UNIX, sys.argv[2]),
                        (socket.AF_UNIX, chr(0) + sys.argv[3])):
    try: socket.socket(family).connect(address); print("connected", address)
    except OSError as error: print("refused")
"""
        name = secrets.token_hex(8)
        path = Path("/tmp") / f"metagen.{name}"
        unix = socket.AF_UNIX
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.socket(unix) as file,
            socket.socket(unix) as abstract,
        ):
            file.bind(str(path))
            abstract.bind(f"\0{name}")
            file.listen()
            abstract.listen()
            done = await python(code, str(server.getsockname()[1]), str(path), name)
        path.unlink()
        assert text(done) == "refused\n" * 5

    async def test_no_process_outside_is_seen_or_signalled(self) -> None:
        code = """
import os, signal, sys
print(max(map(int, filter(str.isdigit, os.listdir("/proc")))) < 20, os.getppid() < 20)
try: os.kill(int(sys.argv[1]), signal.SIGKILL); print("sent")
except ProcessLookupError: print("nobody")
for process in (1, -1):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try: os.kill(process, signal.SIGTERM)
    except OSError: pass
print("alive")
"""
        other = await asyncio.create_subprocess_exec("sleep", "60")
        done = await python(code, str(other.pid))
        assert other.returncode is None
        other.kill()
        await other.wait()
        assert text(done).split() == ["True", "True", "nobody", "alive"]

    async def test_there_are_no_privileges(self) -> None:
        done = await Sandbox().run(["cat", "/proc/self/status"], limits=LIMITS)
        status = dict(line.split(":\t", 1) for line in text(done).splitlines())
        assert status["Uid"].split()[0] != "0"
        assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
        assert status["NoNewPrivs"] == "1"
        mounting = await Sandbox().run(["mount", "-t", "tmpfs", "none", "/tmp"], limits=LIMITS)
        assert mounting.code != 0

    async def test_the_kernel_ends_it_first_when_memory_runs_out(self) -> None:
        assert text(await Sandbox().run(["cat", "/proc/self/oom_score_adj"], limits=LIMITS)) == "1000\n"

    async def test_the_terminal_is_out_of_reach(self) -> None:
        assert b"No such device" in (await Sandbox().run(["sh", "-c", ": </dev/tty"], limits=LIMITS)).err


class TestUnsafe:
    async def test_its_process_group_is_ended(self) -> None:
        token = secrets.token_hex(8)
        code = "import os, signal\nif not os.fork(): signal.pause()"
        done = await python(code, token, limits=Limits(clock=600), sandbox=Sandbox(unsafe=True))
        assert done.ended == "exit"
        assert done.seconds < 60, "it has not waited for the others"
        assert not alive(token)

    async def test_files_stand_in_a_folder_of_their_own(self) -> None:
        done = await Sandbox(unsafe=True).run(["sh", "-c", "pwd; ls"], files={"a": ""}, limits=LIMITS)
        folder, file = text(done).split()
        assert file == "a"
        assert folder.startswith("/tmp/metagen-")
        assert os.path.basename(folder) not in os.listdir("/tmp")


AS_A_USER = """
import asyncio, os, resource, sys
from metagen import Limits, Sandbox
os.setgroups([])
os.setresgid(61000, 61000, 61000)
os.setresuid(61000, 61000, 61000)
sys.prefix = sys.base_prefix = "/usr"
sys.executable = "/usr/bin/python3"
FORKS = '''
import os, signal
try:
    for number in range(100):
        if not os.fork(): signal.pause()
except OSError: print(number)
'''

async def main():
    limits = Limits(seconds=20, clock=120, processes=20)
    for command in (["id", "-u"], ["cat", "a", "/proc/self/oom_score_adj"], ["unshare", "-U", "true"],
                    ["touch", "/x", "/usr/x", "b"], [sys.executable, "-c", FORKS], ["sh", "-c", "kill -9 $$"]):
        done = await Sandbox().run(command, files={"a": "1 "}, limits=limits)
        print(done.code, done.ended, done.out.decode().strip())
    done = await Sandbox().run(["sleep", sys.argv[1]], limits=Limits(clock=1))
    print(done.code, done.ended)

asyncio.run(main())
"""


@needs_sandbox
@pytest.mark.skipif(os.geteuid() != 0 or not os.path.exists("/usr/bin/python3"), reason="only root can be another user")
def test_users_are_confined_as_root_is() -> None:
    call = [sys.executable, "-c", AS_A_USER, "600.123"]
    done = subprocess.run(call, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False)
    if "does not work here" in done.stderr:
        pytest.skip("users of this machine may not make namespaces")
    first, *others = done.stdout.splitlines()
    assert first == "0 exit 1000", done.stderr
    assert others[:3] == ["0 exit 1 1000", "1 exit ", "1 exit "]
    assert 10 < int(others[3].removeprefix("0 exit ")) < 20
    assert others[4:] == ["137 signal ", "137 time"]
    assert not alive("600.123")
