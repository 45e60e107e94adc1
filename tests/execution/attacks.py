"""Attempts to get out of a sandbox, or at more of the kernel than a program needs. Run as a program inside one.

    python attacks.py            prints one line for each attempt: its name, and `open` or why it was refused

Each asks whether a thing can be opened or made, and does nothing with it. What is not refused outright, but fails later
for its senseless arguments, has reached the kernel, and counts as open.
"""

import ctypes
import errno
import mmap
import os
import platform
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

REFUSED = {
    errno.EPERM,
    errno.ENOSYS,
    errno.EACCES,
    errno.EAFNOSUPPORT,
    errno.EROFS,
    errno.ENOENT,
    errno.ENXIO,
    errno.EXDEV,
}
LIBC = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"

Attack = Callable[[], object]

CALLS: dict[str, tuple[tuple[int, int], tuple[object, ...]]] = {
    "io_uring_setup": ((425, 425), (1, 0)),
    "io_uring_enter": ((426, 426), (-1, 1, 1, 0, 0)),
    "io_uring_register": ((427, 427), (-1, 0, 0, 0)),
    "io_setup": ((206, 0), (1, 0)),
    "bpf": ((321, 280), (0, 0, 0)),
    "perf_event_open": ((298, 241), (0, 0, -1, -1, 0)),
    "keyctl, the session's keyring": ((250, 219), (0, -3, 0)),
    "keyctl, the user's keyring": ((250, 219), (0, -4, 0)),
    "keyctl, read": ((250, 219), (11, -3, 0, 0)),
    "keyctl, join a session": ((250, 219), (1, 0)),
    "add_key": ((248, 217), (b"user", b"name", b"x", 1, -3)),
    "request_key": ((249, 218), (b"user", b"name", 0, 0)),
    "userfaultfd": ((323, 282), (0,)),
    "unshare, users": ((272, 97), (0x10000000,)),
    "unshare, users and mounts": ((272, 97), (0x10020000,)),
    "unshare, mounts": ((272, 97), (0x20000,)),
    "unshare, network": ((272, 97), (0x40000000,)),
    "unshare, processes": ((272, 97), (0x20000000,)),
    "unshare, time": ((272, 97), (0x80,)),
    "unshare, files": ((272, 97), (0x400,)),
    "clone3": ((435, 435), (0, 0)),
    "setns": ((308, 268), (0, 0)),
    "pidfd_getfd": ((438, 438), (-1, 0, 0)),
    "ptrace, be traced": ((101, 117), (0, 0, 0, 0)),
    "ptrace, seize": ((101, 117), (0x4206, 1, 0, 0)),
    "process_vm_readv": ((310, 270), (1, 0, 0, 0, 0, 0)),
    "process_vm_writev": ((311, 271), (1, 0, 0, 0, 0, 0)),
    "process_madvise": ((440, 440), (-1, 0, 0, 0, 0)),
    "process_mrelease": ((448, 448), (-1, 0)),
    "kcmp": ((312, 272), (1, 1, 0, 0, 0)),
    "mount": ((165, 40), (b"none", b"/tmp", b"tmpfs", 0, 0)),
    "mount, bind": ((165, 40), (b"/", b"/tmp", 0, 0x1000, 0)),
    "umount2": ((166, 39), (b"/proc", 2)),
    "pivot_root": ((155, 41), (b"/tmp", b"/tmp")),
    "chroot": ((161, 51), (b"/tmp",)),
    "open_tree": ((428, 428), (-100, b"/", 1)),
    "move_mount": ((429, 429), (-1, b"", -1, b"", 0)),
    "fsopen": ((430, 430), (b"tmpfs", 0)),
    "fsconfig": ((431, 431), (-1, 0, 0, 0, 0)),
    "fsmount": ((432, 432), (-1, 0, 0)),
    "fspick": ((433, 433), (-100, b"/", 0)),
    "mount_setattr": ((442, 442), (-100, b"/", 0, 0, 0)),
    "statmount": ((457, 457), (0, 0, 0, 0)),
    "listmount": ((458, 458), (0, 0, 0, 0)),
    "swapon": ((167, 224), (b"/tmp/none", 0)),
    "quotactl": ((179, 60), (0, 0, 0, 0)),
    "name_to_handle_at": ((303, 264), (-100, b"/", 0, 0, 0)),
    "open_by_handle_at": ((304, 265), (-1, 0, 0)),
    "kexec_load": ((246, 104), (0, 0, 0, 0)),
    "kexec_file_load": ((320, 294), (-1, -1, 0, 0, 0)),
    "init_module": ((175, 105), (0, 0, 0)),
    "finit_module": ((313, 273), (-1, 0, 0)),
    "delete_module": ((176, 106), (b"none", 0)),
    "acct": ((163, 89), (b"/tmp/none",)),
    "reboot, with no magic": ((169, 142), (0, 0, 0, 0)),
    "syslog": ((103, 116), (10, 0, 0)),
    "clock_settime": ((227, 112), (0, 0)),
    "sethostname": ((170, 161), (b"x", 1)),
    "fanotify_init": ((300, 262), (0, 0)),
    "memfd_create": ((319, 279), (b"x", 0)),
    "memfd_secret": ((447, 447), (0,)),
    "shmget": ((29, 194), (0, 4096, 0o1600)),
    "semget": ((64, 190), (0, 1, 0o1600)),
    "msgget": ((68, 186), (0, 0o1600)),
    "mq_open": ((240, 180), (b"x", 0o102, 0o600, 0)),
    "vmsplice": ((278, 75), (-1, 0, 0, 0)),
    "mbind": ((237, 235), (0, 0, 0, 0, 0, 0)),
    "move_pages": ((279, 239), (0, 0, 0, 0, 0, 0)),
    "personality, readable is executable": ((135, 92), (0x400000,)),
    "personality, no random addresses": ((135, 92), (0x40000,)),
    "ioctl, type into a terminal": ((16, 29), (0, 0x5412, b"x")),
    "ioctl, paste into a terminal": ((16, 29), (0, 0x541C, b"x")),
    "ioctl, with upper bits set": ((16, 29), (0, 0x100005412, b"x")),
}
"""By name: the numbers on x86_64 and aarch64, and arguments that could do no harm."""
ON_X86 = {"iopl": (172, (3,)), "ioperm": (173, (0, 1, 1)), "modify_ldt": (154, (0, 0, 0)), "uselib": (134, (b"x",))}
FAMILIES = {
    "AX25": 3,
    "NETLINK": 16,
    "PACKET": 17,
    "RDS": 21,
    "CAN": 29,
    "TIPC": 30,
    "BLUETOOTH": 31,
    "ALG": 38,
    "INET": 2,
    "INET6": 10,
    "KEY": 15,
    "LLC": 26,
    "NFC": 39,
    "VSOCK": 40,
    "KCM": 41,
    "QIPCRTR": 42,
    "SMC": 43,
    "XDP": 44,
    "MCTP": 45,
    "PPPOX": 24,
    "IEEE802154": 36,
    "PHONET": 35,
    "RXRPC": 33,
}
READ = (
    *("/proc/kcore", "/proc/1/root/etc/passwd", "/proc/kpageflags", "/dev/mem"),
    *("/dev/kmsg", "/dev/kvm", "/dev/vsock", "/dev/fuse", "/dev/net/tun", "/dev/userfaultfd", "/dev/tty", "/dev/vda"),
    *("/etc/shadow", "/etc/passwd", "/sys/kernel", "/run", "/var", "/dev/input", "/dev/disk"),
)
WRITE = (
    *("/proc/self/oom_score_adj", "/proc/self/mem", "/proc/self/uid_map", "/proc/self/setgroups", "/proc/1/mem"),
    *("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/user/max_user_namespaces", "/usr/bin/x"),
    *("/proc/self/attr/current", "/dev/x", "/x", "/etc/ld.so.preload", "/proc/self/clear_refs", "/lib/x"),
)


def system_call(number: int, arguments: tuple[object, ...]) -> None:
    """Raise `OSError` if the call is refused; what fails in another way has reached the kernel."""
    given = [ctypes.c_char_p(each) if isinstance(each, bytes) else ctypes.c_long(int(str(each))) for each in arguments]
    ctypes.set_errno(0)
    if LIBC.syscall(ctypes.c_long(number), *given) == -1 and ctypes.get_errno() in REFUSED:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def clone(flags: int) -> None:
    """Make a process in other namespaces, which ends at once."""
    made = LIBC.syscall(
        ctypes.c_long(56 if X86 else 220), ctypes.c_long(flags | signal.SIGCHLD), None, None, None, None
    )
    if made == 0:
        os._exit(0)
    if made == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def machine_code(code: bytes) -> int:
    """Run a few bytes of it, which return a number."""
    memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    return int(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))())


def by_interrupt() -> None:
    """`getpid` in the way of i386."""
    if (said := machine_code(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")) < 0:
        raise OSError(-said, os.strerror(-said))


def read_keys() -> None:
    if not Path("/proc/keys").read_bytes():
        raise PermissionError("nothing in it")


def read_symbols() -> None:
    if not any(int(line.split()[0], 16) for line in Path("/proc/kallsyms").read_text().splitlines()[:100]):
        raise PermissionError("no addresses in it")


def raise_limit(limit: int) -> None:
    soft, hard = resource.getrlimit(limit)
    resource.setrlimit(limit, (soft, hard + 1))


def become(change: Callable[[], object]) -> None:
    try:
        change()
    except OSError as error:
        raise PermissionError(error.strerror) from error
    if 0 not in {*os.getresuid(), *os.getresgid()}:
        raise PermissionError("not root")


def have_capability() -> None:
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    if not any(int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")):
        raise PermissionError("none")


def see_processes() -> None:
    others = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) > 400]
    if not others:
        raise PermissionError("only its own")


def read_of_first(name: str) -> None:
    """Something of the namespace's first process, which is bubblewrap."""
    with open(f"/proc/1/{name}", "rb") as file:
        if not file.read(4096):
            raise PermissionError("nothing in it")


def have_descriptors() -> None:
    held = [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
    if not any(path.startswith("/") and not path.startswith(("/proc/", "/dev/null")) for path in held):
        raise PermissionError("none of others")


def network_there() -> None:
    if [name for _, name in socket.if_nameindex() if name != "lo"]:
        return
    raise PermissionError("no interface")


def files_beyond_disk() -> None:
    """As much as fits into the three folders is bounded: more than 256 MB is not."""
    chunk, written = bytes(1 << 20), 0
    for folder in ("/tmp", "/dev/shm", "/sandbox"):
        try:
            for number in range(300):
                Path(folder, str(number)).write_bytes(chunk)
                written += 1
        except OSError:
            continue
    if written < 256:
        raise PermissionError(f"{written} MB")


def attacks() -> Iterator[tuple[str, Attack]]:
    for name, (numbers, arguments) in CALLS.items():
        yield name, partial(system_call, numbers[not X86], arguments)
    for name, family in FAMILIES.items():
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
            yield f"socket, {name}, {kind.name}", partial(socket.socket, family, kind)
    yield "socketpair, TIPC", partial(socket.socketpair, 30, socket.SOCK_STREAM)
    namespaces = {"users": 0x10000000, "mounts": 0x20000, "network": 0x40000000, "processes": 0x20000000}
    for name, flags in (namespaces | {"cgroups": 0x2000000, "names": 0x4000000, "messages": 0x8000000}).items():
        yield f"clone, {name}", partial(clone, flags)
    for path in READ:
        yield f"read {path}", partial(os.open, path, os.O_RDONLY | os.O_NONBLOCK)
    for path in WRITE:
        yield f"write {path}", partial(os.open, path, os.O_WRONLY | os.O_CREAT)
    yield from OTHERS.items()
    if X86:
        for name, (number, arguments) in ON_X86.items():
            yield name, partial(system_call, number, arguments)
        yield "getpid by x32", partial(system_call, 39 | 0x40000000, ())
        yield "ptrace by x32", partial(system_call, 521 | 0x40000000, (0, 0, 0, 0))
        yield "getpid by i386", by_interrupt


OTHERS: dict[str, Attack] = {
    **{
        f"the first process's {name}": partial(read_of_first, name)
        for folder in ("", "task/1/")
        for name in (f"{folder}{file}" for file in ("environ", "mem", "maps", "cmdline", "auxv", "mountinfo", "mounts"))
    },
    "keys of others": read_keys,
    "addresses of the kernel": read_symbols,
    "capabilities": have_capability,
    "processes outside": see_processes,
    "descriptors of the caller": have_descriptors,
    "network interfaces": network_there,
    "more files than room": files_beyond_disk,
    "become root": partial(become, partial(os.setuid, 0)),
    "join root's group": partial(become, partial(os.setgid, 0)),
    "other groups": partial(os.setgroups, [0]),
    "more memory": partial(raise_limit, resource.RLIMIT_AS),
    "more work": partial(raise_limit, resource.RLIMIT_CPU),
    "larger files": partial(raise_limit, resource.RLIMIT_FSIZE),
    "a device": partial(os.mknod, "/tmp/device", 0o20600, os.makedev(1, 1)),
    "a link to a system file": partial(os.link, "/usr/bin/env", "/sandbox/env"),
    "be first for a processor": partial(os.setpriority, os.PRIO_PROCESS, 0, -20),
    "real time": partial(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1)),
}


def attempt(attack: Attack) -> str:
    """What comes of it, in a process of its own."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        try:
            attack()
            said = "open"
        except OSError as error:
            said = f"refused: {error.strerror or error}" if _is_refusal(error) else f"open: {error}"
        except ValueError as error:  # of a limit that may not be raised
            said = f"refused: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    return said or f"refused: ended by signal {os.WTERMSIG(status)}"


def _is_refusal(error: OSError) -> bool:
    return error.errno is None or error.errno in REFUSED


def main() -> None:
    chosen = sys.argv[1:]
    for name, attack in attacks():
        if not chosen or name in chosen:
            sys.stdout.write(f"{name}\t{attempt(attack)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
