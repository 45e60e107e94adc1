"""Code that runs where it can do no harm: one command in bubblewrap, with limits, and nothing of it left afterwards.

`docs/sandbox.md` says what this stops and what it does not. For Linux.
"""

import asyncio
import os
import re
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import KW_ONLY, dataclass, replace
from functools import cache
from math import ceil, inf
from pathlib import Path
from platform import machine
from shutil import which
from tempfile import TemporaryDirectory
from typing import NamedTuple
from weakref import WeakKeyDictionary

from metagen.errors import InputError, ToolError
from metagen.execution.groups import Group, memory_group
from metagen.execution.processes import Finished, until_ended, watched
from metagen.execution.seccomp import program
from metagen.settings import require_whole, spelled
from metagen.system import processors

MIB = 2**20
WORK = "/sandbox"
"""The working folder, as the command sees it."""
SLACK = 64 * MIB
"""Bytes that bubblewrap and the kernel's own books may need in the control group of a sandbox."""
PROBE_SECONDS = 20.0
END_SECONDS = 10.0
"""How long killed processes may take to end, on a machine that is busy."""
USERS = range(61184, 65520)
"""User ids that nobody owns: those that systemd gives to services for the time they run."""
SETTINGS = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/ocamlfind.conf", "/etc/ocamlfind.conf.d")
"""What programs and libraries need to find one another; the last are for Coq."""
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}

ENTRANCE = Path(__file__).with_name("entrance.py")
HIDDEN = (
    *("/proc/keys", "/proc/key-users", "/proc/kcore", "/proc/kallsyms", "/proc/timer_list", "/proc/slabinfo"),
    *(f"/proc/1/{name}" for name in ("environ", "mem", "maps", "smaps", "cmdline", "auxv", "mountinfo", "mounts")),
)
"""What the kernel says there of the machine, of others and of bubblewrap is nobody's business inside."""

_LAUNCH = 'echo "$0" >&2; exec "$@"'
"""The line on the error stream says that there is a sandbox."""
_PROBE = ("sh", "-c", 'true & wait; exec "$0" -I -S -c ""')
_HINT = "install bubblewrap 0.8 or newer (apt-get install bubblewrap), or see docs/sandbox.md on Sandbox(unsafe=True)"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one command may use."""

    seconds: float = 10.0
    """Of work, for each process: CPU time, so that a busy machine changes no verdict. Rounded up to whole ones."""
    clock: float = 60.0
    """Seconds by the clock."""
    memory: int = 2048 * MIB
    """Bytes of address space for each process, and of memory in use by all of them."""
    disk: int = 64 * MIB
    """Bytes of one file, and of each of the folders that can be written to; they are in memory."""
    processes: int = 64
    """Processes and threads."""
    output: int = MIB
    """Bytes of the output, and of the errors."""

    def __post_init__(self) -> None:
        for name, value in (("seconds", self.seconds), ("clock", self.clock)):
            if not 0 < value < inf:
                raise InputError(f"Limits: {name} must be positive and finite, not {value}")
        require_whole(self, memory=self.memory, disk=self.disk, processes=self.processes, output=self.output)


@dataclass(frozen=True, slots=True, repr=False)
class Sandbox:
    """Runs commands that nobody has read.

    A command sees the system's programs and this Python, read-only, and an empty working folder that it may write to;
    no home folder, no network, no process but its own, no environment but `PATH` and `LANG`. `readable` adds folders;
    where metagen runs as root, commands do not, so that these must be readable by all. With `unsafe`, all of that is
    missing and there are but the kernel's limits of each process.
    """

    _: KW_ONLY
    readable: tuple[str, ...] = ()
    unsafe: bool = False

    __repr__ = spelled

    def __post_init__(self) -> None:
        if not isinstance(self.readable, tuple) or not all(os.path.isabs(path) for path in self.readable):
            raise InputError(f"Sandbox: readable must be a tuple of absolute paths, not {self.readable!r}")

    def check(self) -> None:
        """Find out, once in a process, whether commands can be confined here.

        Raises:
            InputError: bubblewrap is missing or does not work on this machine.
        """
        if not sys.platform.startswith("linux") or not which("prlimit"):
            raise InputError("a sandbox needs Linux and the command prlimit of util-linux")
        if not self.unsafe:
            check_bubblewrap(self.readable)

    async def run(
        self,
        command: Sequence[str],
        *,
        files: Mapping[str, bytes | str] | None = None,
        stdin: bytes = b"",
        limits: Limits | None = None,
    ) -> Finished:
        """Run `command` in a folder of its own that holds `files`, by their bare names, and wait for its end.

        As many run at once as there are processors; the others wait. When this returns or is cancelled, all processes
        of the command have ended and their files are gone.

        Raises:
            InputError: no sandbox can be had here.
            ToolError: the sandbox did not start, so that nothing is known of the command.
        """
        self.check()
        limits = limits or Limits()
        contents = {_bare(name): _bytes(content) for name, content in (files or {}).items()}
        enclose = _in_folder if self.unsafe else self._in_bubblewrap
        async with _slots(), enclose(contents, limits) as enclosure:
            return await _run(enclosure, command, stdin, limits)

    @asynccontextmanager
    async def _in_bubblewrap(self, files: dict[str, bytes], limits: Limits) -> AsyncIterator["_Enclosure"]:
        with ExitStack() as stack:
            descriptors = {name: stack.enter_context(_in_memory(content)) for name, content in files.items()}
            placed: list[str] = []
            for name, descriptor in descriptors.items():
                placed += ["--perms", "0666", "--file", str(descriptor), f"{WORK}/{name}"]
            told, telling = stack.enter_context(_pipe())
            calls = stack.enter_context(_in_memory(program(machine())))
            group = stack.enter_context(memory_group(limits.memory + 3 * limits.disk + SLACK))
            prefix = [
                *_entering(group),
                *_bubblewrap(self.readable, limits, [*placed, "--info-fd", str(telling), "--seccomp", str(calls)]),
            ]
            try:
                yield _Enclosure(prefix, None, (*descriptors.values(), telling, calls), group)
            finally:
                await _gone(told)


CONFINED = Sandbox()
"""What verifiers use unless they are told otherwise."""


class _Enclosure(NamedTuple):
    prefix: list[str]
    """What stands before a command."""
    folder: str | None
    """Where it starts."""
    descriptors: tuple[int, ...] = ()
    """What it is handed."""
    group: Group | None = None


@asynccontextmanager
async def _in_folder(files: dict[str, bytes], limits: Limits) -> AsyncIterator[_Enclosure]:
    with TemporaryDirectory(prefix="metagen-", ignore_cleanup_errors=True) as folder:
        _write(folder, files)
        # the kernel would count all processes of this user, so their number has no limit here
        yield _Enclosure(with_limits(limits, processes=None), folder)


def _write(folder: str, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        Path(folder, name).write_bytes(content)


def _bubblewrap(readable: Sequence[str], limits: Limits, placed: Sequence[str] = ()) -> list[str]:
    """The command up to, and without, what is to be run."""
    size = ["--perms", "0777", "--size", str(limits.disk), "--tmpfs"]
    return [
        which("bwrap") or "bwrap",
        *(_ROOTS_NAMESPACES if _is_root() else _USERS_NAMESPACES),
        *("--die-with-parent", "--new-session", "--proc", "/proc", "--dev", "/dev"),
        *_system(),
        *size, "/tmp", *size, "/dev/shm", *size, WORK,
        *_bound(_folders(readable)),
        *placed,
        *_hidden(),
        *("--remount-ro", "/dev", "--remount-ro", "/proc", "--remount-ro", "/", "--chdir", WORK, "--"),
        *(_other_user() if _is_root() else ()),
        *with_limits(limits, limits.processes),
    ]  # fmt: skip


def _entering(group: Group | None) -> list[str]:
    """What leaves the caller behind, and then becomes bubblewrap."""
    return [sys.executable, "-I", "-S", str(ENTRANCE), str(os.getpid()), str(group.entrance) if group else "-"]


def _hidden() -> Iterator[str]:
    for path in filter(os.path.exists, HIDDEN):
        yield from ("--ro-bind", "/dev/null", path)


_USERS_NAMESPACES = ("--unshare-all", "--unshare-user", "--disable-userns", "--uid", "1000", "--gid", "1000")
_ROOTS_NAMESPACES = (
    *("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--cap-drop", "ALL"),
    *("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP"),
)
"""Root becomes a user that nobody is, not a user of a namespace, who would be root to the kernel all the same: whose
number of processes has no limit."""


def _is_root() -> bool:
    return os.geteuid() == 0


def _other_user() -> list[str]:
    """One for each command: then no other's processes count for its limit."""
    user = secrets.choice(USERS)
    nothing = ("--clear-groups", "--bounding-set=-all", "--inh-caps=-all")
    return ["setpriv", f"--reuid={user}", f"--regid={user}", *nothing]


def with_limits(limits: Limits, processes: int | None) -> list[str]:
    import resource  # noqa: PLC0415 (not on Windows)

    seconds = ceil(limits.seconds)
    values = {
        "cpu": (resource.RLIMIT_CPU, seconds, seconds + 1),
        "as": (resource.RLIMIT_AS, limits.memory, limits.memory),
        "fsize": (resource.RLIMIT_FSIZE, limits.disk, limits.disk),
        "core": (resource.RLIMIT_CORE, 0, 0),
        "nofile": (resource.RLIMIT_NOFILE, 256, 256),
    }
    if processes is not None:
        values["nproc"] = (resource.RLIMIT_NPROC, processes, processes)
    return ["prlimit", *(f"--{name}={_below(*value)}" for name, value in values.items())]


def _below(which_limit: int, soft: int, hard: int) -> str:
    """Limits are never raised, which only root might."""
    import resource  # noqa: PLC0415 (not on Windows)

    most = resource.getrlimit(which_limit)[1]
    if most == resource.RLIM_INFINITY:
        return f"{soft}:{hard}"
    return f"{min(soft, most)}:{min(hard, most)}"


def _system() -> Iterator[str]:
    """The system's programs and libraries."""
    yield from ("--ro-bind", "/usr", "/usr")
    for path in (Path("/bin"), Path("/sbin"), Path("/lib"), Path("/lib32"), Path("/lib64")):
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.exists():
            yield from ("--ro-bind", str(path), str(path))
    yield from _bound(SETTINGS, "--ro-bind-try")


def _bound(paths: Sequence[str], how: str = "--ro-bind") -> Iterator[str]:
    """The folders, where they are on this machine, in folders that hold nothing else."""
    for path in paths:
        for parent in reversed(Path(path).parents[:-1]):
            yield from ("--perms", "0755", "--dir", str(parent))
        yield from (how, path, path)


def _folders(readable: Sequence[str]) -> list[str]:
    """This Python, if it is not the system's own, and what the user adds."""
    paths = dict.fromkeys((sys.base_prefix, sys.prefix, *readable))
    return [path for path in paths if not Path(path).is_relative_to("/usr")]


@cache
def check_bubblewrap(readable: tuple[str, ...]) -> None:
    if which("bwrap") is None:
        raise InputError(f"there is no command bwrap to confine code with: {_HINT}")
    if _is_root() and which("setpriv") is None:
        raise InputError("as root, a sandbox needs the command setpriv of util-linux")
    try:
        with _in_memory(program(machine())) as calls:
            probe = [*_entering(None), *_bubblewrap(readable, Limits(), ["--seccomp", str(calls)]), *_PROBE]
            done = subprocess.run(
                [*probe, sys.executable],
                capture_output=True,
                env=ENVIRONMENT,
                pass_fds=(calls,),
                timeout=PROBE_SECONDS,
                check=False,
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"bubblewrap does not work here ({error}): {_HINT}") from error
    if done.returncode or done.stderr:
        said = " ".join(done.stderr.decode(errors="replace").split()) or f"exit code {done.returncode}"
        raise InputError(f"bubblewrap does not work here ({said[:300]}): {_HINT}")


async def _run(enclosure: _Enclosure, command: Sequence[str], stdin: bytes, limits: Limits) -> Finished:
    mark = secrets.token_hex(16)
    finished = await watched(
        [*enclosure.prefix, "sh", "-c", _LAUNCH, mark, *command],
        stdin,
        clock=limits.clock,
        memory=limits.memory,
        output=limits.output,
        environment=ENVIRONMENT,
        folder=enclosure.folder,
        descriptors=enclosure.descriptors,
    )
    before, started, err = finished.err.partition(f"{mark}\n".encode())
    if not started:
        said = " ".join(before.decode(errors="replace").split())
        raise ToolError(f"the sandbox did not start: {said[:300] or finished.ended}")
    overflowed = finished.ended != "memory" and enclosure.group and enclosure.group.overflowed()
    return replace(finished, err=err, ended="memory" if overflowed else finished.ended)


def _bare(name: str) -> str:
    if not name or name in {".", ".."} or "/" in name or "\0" in name:
        raise InputError(f"a file in a sandbox needs a bare name, without folders, and not {name!r}")
    return name


def _bytes(content: bytes | str) -> bytes:
    """The content of a file; half a surrogate, which no file can hold, becomes a question mark."""
    return content.encode(errors="replace") if isinstance(content, str) else content


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """The two ends of a pipe; the first does not wait."""
    ends = os.pipe()
    os.set_blocking(ends[0], False)
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


async def _gone(told: int) -> None:
    """Wait for the first process inside, which ends last: bubblewrap itself ends with the command, a little before."""
    with suppress(BlockingIOError):  # nothing was begun
        if said := re.search(rb'"child-pid": *(\d+)', os.read(told, 4096)):
            await until_ended(int(said[1]), END_SECONDS)


@contextmanager
def _in_memory(content: bytes) -> Iterator[int]:
    """A descriptor to read `content` from."""
    descriptor = os.memfd_create("metagen")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


_SLOTS: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


def _slots() -> asyncio.Semaphore:
    """One for each processor that this process may use, for all runs of an event loop together."""
    return _SLOTS.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(processors()))
