"""The command that confines another one: bubblewrap, what can be seen inside, and as which user it runs."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from platform import machine
from shutil import which

from metagen.errors import InputError
from metagen.execution.groups import Group
from metagen.execution.limits import Limits, with_limits
from metagen.execution.seccomp import program

WORK = "/sandbox"
"""The working folder, as the command sees it."""
SYSTEM = "/usr"
"""The folder of the system's programs and libraries."""
PROBE_SECONDS = 20.0
USERS = range(61184, 65520)
"""User ids that nobody owns: those that systemd gives to services for the time they run."""
SETTINGS = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/ocamlfind.conf", "/etc/ocamlfind.conf.d")
"""What programs and libraries need to find one another; the last are for Coq."""
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
"""Python writes a set of texts in the same order each time, so that equal programs do the same."""

ENTRANCE = Path(__file__).with_name("entrance.py")
HIDDEN = (
    *("/proc/keys", "/proc/key-users", "/proc/kcore", "/proc/kallsyms", "/proc/timer_list", "/proc/slabinfo"),
    *(
        f"/proc/1{task}/{name}"
        for task in ("", "/task/1")
        for name in ("environ", "mem", "maps", "smaps", "cmdline", "auxv", "mountinfo", "mounts")
    ),
)
"""What the kernel says there of the machine, of others and of bubblewrap is nobody's business inside."""

_PROBE = ("sh", "-c", 'true & wait; exec "$0" -I -S -c ""')
_HINT = "install bubblewrap 0.8 or newer (apt-get install bubblewrap), or see docs/sandbox.md on Sandbox(unsafe=True)"
_USERS_NAMESPACES = ("--unshare-all", "--unshare-user", "--disable-userns", "--uid", "1000", "--gid", "1000")
_ROOTS_NAMESPACES = (
    *("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--cap-drop", "ALL"),
    *("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP"),
)
"""Root becomes a user that nobody is, not a user of a namespace, who would be root to the kernel all the same: whose
number of processes has no limit."""


def bubblewrap(readable: Sequence[str], limits: Limits, placed: Sequence[str] = ()) -> list[str]:
    """The command up to, and without, what is to be run."""
    size = ["--perms", "0777", "--size", str(limits.disk), "--tmpfs"]
    return [
        which("bwrap") or "bwrap",
        *(_ROOTS_NAMESPACES if _is_root() else _USERS_NAMESPACES),
        *("--die-with-parent", "--new-session", "--proc", "/proc", "--dev", "/dev"),
        *_system(),
        *size, "/tmp", *size, "/dev/shm", *size, WORK,
        *_bound(folders(readable)),
        *placed,
        *_hidden(),
        *("--remount-ro", "/dev", "--remount-ro", "/proc", "--remount-ro", "/", "--chdir", WORK, "--"),
        *(_other_user() if _is_root() else ()),
        *with_limits(limits, limits.processes),
    ]  # fmt: skip


def entering(group: Group | None) -> list[str]:
    """What leaves the caller behind, and then becomes bubblewrap."""
    return [sys.executable, "-I", "-S", str(ENTRANCE), str(os.getpid()), str(group.entrance) if group else "-"]


def _hidden() -> Iterator[str]:
    for path in filter(os.path.exists, HIDDEN):
        yield from ("--ro-bind", "/dev/null", path)


def _is_root() -> bool:
    return os.geteuid() == 0


def _other_user() -> list[str]:
    """One for each command: then no other's processes count for its limit."""
    user = secrets.choice(USERS)
    nothing = ("--clear-groups", "--bounding-set=-all", "--inh-caps=-all")
    return ["setpriv", f"--reuid={user}", f"--regid={user}", *nothing]


def _system() -> Iterator[str]:
    """The system's programs and libraries."""
    yield from ("--ro-bind", SYSTEM, SYSTEM)
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


def folders(readable: Sequence[str]) -> list[str]:
    """What is seen beside `SYSTEM`: this Python, if it is not the system's own, and what the user adds."""
    paths = dict.fromkeys((sys.base_prefix, sys.prefix, *readable))
    return [path for path in paths if not Path(path).is_relative_to(SYSTEM)]


@cache
def check_bubblewrap(readable: tuple[str, ...]) -> None:
    if which("bwrap") is None:
        raise InputError(f"there is no command bwrap to confine code with: {_HINT}")
    if _is_root() and which("setpriv") is None:
        raise InputError("as root, a sandbox needs the command setpriv of util-linux")
    try:
        with in_memory(program(machine())) as calls:
            probe = [*entering(None), *bubblewrap(readable, Limits(), ["--seccomp", str(calls)]), *_PROBE]
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


@contextmanager
def in_memory(content: bytes) -> Iterator[int]:
    """A descriptor to read `content` from."""
    descriptor = os.memfd_create("metagen")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)
