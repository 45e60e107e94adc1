import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import InputError
from metagen.execution.seccomp import AARCH64, MACHINES, NEW, X32, X86_64, program

ALLOWED = 0
CALLS = {"x86_64": X86_64 | NEW, "aarch64": AARCH64 | NEW}
BY_ARGUMENT = {"clone", "clone3", "socket", "socketpair", "personality", "ioctl"}
MASK = (1 << 64) - 1


def verdict(machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    """Run the filter as the kernel does: the error that a call gets, or `ALLOWED`."""
    filled = [*(each & MASK for each in arguments), *[0] * 6][:6]
    data = struct.pack("=IIQ6Q", number & 0xFFFFFFFF, audit or MACHINES[machine].audit, 0, *filled)
    instructions = list(struct.iter_unpack("=HBBI", program(machine)))
    value, at = 0, 0
    while True:
        code, if_true, if_false, k = instructions[at]
        at += 1
        if code == 0x20:
            (value,) = struct.unpack_from("=I", data, k)
        elif code == 0x15:
            at += if_true if value == k else if_false
        elif code == 0x45:
            at += if_true if value & k else if_false
        else:
            assert code == 0x06
            return ALLOWED if k == 0x7FFF0000 else int(k) & 0xFFFF


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_what_is_named_is_refused_whatever_its_arguments(machine: str) -> None:
    for name in CALLS[machine].keys() - BY_ARGUMENT:
        assert verdict(machine, CALLS[machine][name], *[MASK] * 6) == errno.EPERM, name


@given(number=st.integers(0, 600), arguments=st.lists(st.integers(0, MASK), max_size=6))
def test_everything_else_is_allowed(number: int, arguments: list[int]) -> None:
    for machine, calls in CALLS.items():
        if number not in calls.values():
            assert verdict(machine, number, *arguments) == ALLOWED


def test_namespaces_cannot_be_made_and_threads_can(machine: str) -> None:
    clone = CALLS[machine]["clone"]
    for bit in (17, 25, 26, 27, 28, 29, 30):
        assert verdict(machine, clone, 1 << bit | 17) == errno.EPERM
    assert verdict(machine, clone, 0x3D0F00) == ALLOWED  # of a thread, by the C library
    assert verdict(machine, clone, 17) == ALLOWED  # of a fork
    assert verdict(machine, CALLS[machine]["clone3"], 0, 0) == errno.ENOSYS


def test_only_sockets_of_the_machine_itself_can_be_made(machine: str) -> None:
    for name in ("socket", "socketpair"):
        call = CALLS[machine][name]
        assert verdict(machine, call, 1, 1, 0) == ALLOWED
        assert {verdict(machine, call, family, 1, 0) for family in range(50) if family != 1} == {errno.EAFNOSUPPORT}
        assert verdict(machine, call, (1 << 32) | 2, 1, 0) == errno.EAFNOSUPPORT


def test_the_personality_can_be_asked_for_and_not_changed(machine: str) -> None:
    call = CALLS[machine]["personality"]
    assert [verdict(machine, call, each) for each in (0, 0xFFFFFFFF)] == [ALLOWED, ALLOWED]
    assert {verdict(machine, call, 1 << bit) for bit in range(32)} == {errno.EPERM}


def test_nothing_is_typed_into_a_terminal(machine: str) -> None:
    call = CALLS[machine]["ioctl"]
    assert verdict(machine, call, 0, 0x5401) == ALLOWED
    for code in (0x5412, 0x541C, (1 << 32) | 0x5412):
        assert verdict(machine, call, 0, code) == errno.EPERM


@given(number=st.integers(0, 600))
def test_calls_in_the_way_of_another_architecture_are_refused(number: int) -> None:
    assert verdict("x86_64", number, audit=0x40000003) == errno.ENOSYS
    assert verdict("aarch64", number, audit=0x40000028) == errno.ENOSYS
    assert verdict("x86_64", number | X32) == errno.ENOSYS


def test_the_kernel_takes_a_program_of_this_length(machine: str) -> None:
    assert len(program(machine)) % 8 == 0
    assert 100 < len(program(machine)) // 8 <= 4096


def test_another_machine_is_named() -> None:
    with pytest.raises(InputError, match=r"no filter of system calls for riscv64: .* x86_64 or aarch64"):
        program("riscv64")
