"""The system calls that code which nobody has read may not make, as a program for the kernel's filter (seccomp).

Refused are calls that open more of the kernel than a program needs, reach another process, or leave the sandbox's
namespaces. The program is classic BPF over `struct seccomp_data`: see the kernel's `filter.h`, `seccomp.h`, and
`asm/unistd_64.h` for the numbers.
"""

import errno
import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from metagen.errors import InputError


class Calls(NamedTuple):
    """What differs from one architecture to the other."""

    audit: int
    """`AUDIT_ARCH_*`: calls made in the way of another one, such as of i386, have another."""
    numbers: Mapping[str, int]


NEW = {
    "clone3": 435, "fsconfig": 431, "fsmount": 432, "fsopen": 430, "fspick": 433, "io_uring_enter": 426,
    "io_uring_register": 427, "io_uring_setup": 425, "listmount": 458, "lsm_set_self_attr": 460, "memfd_secret": 447,
    "mount_setattr": 442, "move_mount": 429, "open_tree": 428, "open_tree_attr": 467, "pidfd_getfd": 438,
    "process_madvise": 440, "process_mrelease": 448, "quotactl_fd": 443, "set_mempolicy_home_node": 450,
    "statmount": 457,
}  # fmt: skip
"""Calls that have the same number everywhere."""
OLD = {
    "acct": (163, 89), "add_key": (248, 217), "bpf": (321, 280), "chroot": (161, 51), "clock_adjtime": (305, 266),
    "clock_settime": (227, 112), "clone": (56, 220), "delete_module": (176, 106), "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263), "finit_module": (313, 273), "init_module": (175, 105), "io_setup": (206, 0),
    "io_submit": (209, 2), "ioctl": (16, 29), "kcmp": (312, 272), "kexec_file_load": (320, 294),
    "kexec_load": (246, 104), "keyctl": (250, 219), "lookup_dcookie": (212, 18), "mbind": (237, 235),
    "memfd_create": (319, 279), "migrate_pages": (256, 238), "mount": (165, 40), "move_pages": (279, 239),
    "mq_open": (240, 180), "msgget": (68, 186), "name_to_handle_at": (303, 264), "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265), "perf_event_open": (298, 241), "personality": (135, 92), "pivot_root": (155, 41),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "ptrace": (101, 117), "quotactl": (179, 60),
    "reboot": (169, 142), "request_key": (249, 218), "semget": (64, 190), "set_mempolicy": (238, 237),
    "setdomainname": (171, 162), "sethostname": (170, 161), "setns": (308, 268), "settimeofday": (164, 170),
    "shmget": (29, 194), "socket": (41, 198), "socketpair": (53, 199), "swapoff": (168, 225), "swapon": (167, 224),
    "syslog": (103, 116), "umount2": (166, 39), "unshare": (272, 97), "userfaultfd": (323, 282), "vhangup": (153, 58),
    "vmsplice": (278, 75),
}  # fmt: skip
"""Calls with their numbers on x86_64 and on aarch64."""
X86_64 = {name: number for name, (number, _) in OLD.items()} | {
    "create_module": 174, "get_kernel_syms": 177, "ioperm": 173, "iopl": 172, "modify_ldt": 154, "query_module": 178,
    "_sysctl": 156, "sysfs": 139, "uselib": 134, "ustat": 136,
}  # fmt: skip
AARCH64 = {name: number for name, (_, number) in OLD.items()}
MACHINES = {"x86_64": Calls(0xC000003E, X86_64 | NEW), "aarch64": Calls(0xC00000B7, AARCH64 | NEW)}
"""By what `platform.machine` says."""

X32 = 0x40000000
"""Set in the numbers of x32, a second way to call the kernel of x86_64."""
NEW_NAMESPACES = 0x7E020000
"""The flags of `clone` that make namespaces: `CLONE_NEWNS`, `NEWCGROUP`, `NEWUTS`, `NEWIPC`, `NEWUSER`, `NEWPID`,
`NEWNET`."""
AF_UNIX = 1
ORDINARY = (0, 0xFFFFFFFF)
"""Arguments of `personality`: Linux's own, and the question which it is."""
TERMINAL = (0x5412, 0x541C)
"""`TIOCSTI` and `TIOCLINUX`: they type into the terminal of somebody else."""

_NUMBER, _ARCHITECTURE, _ARGUMENT = 0, 4, 16
"""Where `struct seccomp_data` has them; `_ARGUMENT` is the first of six, of 8 bytes each."""
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW = 0x7FFF0000
_ERROR = 0x00050000

Instruction = tuple[int, int, int, int]
"""Of `struct sock_filter`: the code, how many to skip if true and if false, and the value."""


def program(machine: str) -> bytes:
    """The filter for a machine, as `bwrap --seccomp` reads it. Raises `InputError` for one that is not known."""
    if machine not in MACHINES:
        raise InputError(
            f"there is no filter of system calls for {machine}: a sandbox needs {' or '.join(MACHINES)}, "
            "or see docs/sandbox.md on Sandbox(unsafe=True)"
        )
    return b"".join(struct.pack("=HBBI", *each) for each in _instructions(machine))


def _instructions(machine: str) -> Iterator[Instruction]:
    calls = MACHINES[machine]
    numbers = dict(calls.numbers)
    yield _load(_ARCHITECTURE)
    yield from _unless(_EQUAL, calls.audit, errno.ENOSYS)
    yield _load(_NUMBER)
    if machine == "x86_64":
        yield from _if(_ANY_BIT, X32, errno.ENOSYS)
    yield from _if(_EQUAL, numbers.pop("clone3"), errno.ENOSYS)  # so the C library takes `clone`, which can be read
    argument = {name: numbers.pop(name) for name in ("clone", "socket", "socketpair", "personality", "ioctl")}
    for number in sorted(numbers.values()):
        yield from _if(_EQUAL, number, errno.EPERM)
    yield from _of(argument["clone"], 0, [*_if(_ANY_BIT, NEW_NAMESPACES, errno.EPERM)])
    for name in ("socket", "socketpair"):
        yield from _of(argument[name], 0, [*_unless(_EQUAL, AF_UNIX, errno.EAFNOSUPPORT)])
    ordinary = [(_EQUAL, len(ORDINARY) - place, 0, value) for place, value in enumerate(ORDINARY)]
    yield from _of(argument["personality"], 0, [*ordinary, _refuse(errno.EPERM)])
    yield from _of(argument["ioctl"], 1, [each for code in TERMINAL for each in _if(_EQUAL, code, errno.EPERM)])
    yield _RETURN, 0, 0, _ALLOW


def _of(number: int, argument: int, checks: list[Instruction]) -> Iterator[Instruction]:
    """Checks of the lower half of one argument of one call. What passes them is allowed."""
    yield _EQUAL, 0, len(checks) + 2, number
    yield _load(_ARGUMENT + 8 * argument)
    yield from checks
    yield _RETURN, 0, 0, _ALLOW


def _if(test: int, value: int, error: int) -> Iterator[Instruction]:
    """Refuse if the test is true."""
    yield test, 0, 1, value
    yield _refuse(error)


def _unless(test: int, value: int, error: int) -> Iterator[Instruction]:
    yield test, 1, 0, value
    yield _refuse(error)


def _load(offset: int) -> Instruction:
    return _LOAD, 0, 0, offset


def _refuse(error: int) -> Instruction:
    return _RETURN, 0, 0, _ERROR | error
