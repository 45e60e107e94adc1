"""Code that runs where it can do no harm: one command in bubblewrap, with limits, and nothing of it left afterwards.

`docs/sandbox.md` says what this stops and what it does not. For Linux.
"""

import asyncio
import os
import re
import secrets
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from platform import machine
from shutil import which
from tempfile import TemporaryDirectory
from typing import NamedTuple
from weakref import WeakKeyDictionary

from metagen.errors import InputError, ToolError
from metagen.execution.bubblewrap import ENVIRONMENT, WORK, bubblewrap, check_bubblewrap, entering, in_memory
from metagen.execution.groups import Group, memory_group
from metagen.execution.limits import MIB, Limits, with_limits
from metagen.execution.processes import Finished, end_namespace, watched
from metagen.execution.seccomp import program
from metagen.settings import require_switch, spelled
from metagen.system import processors

SLACK = 64 * MIB
"""Bytes that bubblewrap and the kernel's own books may need in the control group of a sandbox."""
END_SECONDS = 10.0
"""How long killed processes may take to end, on a machine that is busy."""

_LAUNCH = 'echo "$0" >&2; exec "$@"'
"""The line on the error stream says that there is a sandbox."""


@dataclass(frozen=True, slots=True, repr=False)
class Sandbox:
    """Runs commands that nobody has read.

    A command sees the system's programs and this Python, read-only, and an empty working folder that it may write to;
    no home folder, no network, no process but its own, no environment but `PATH`, `LANG` and
    `PYTHONHASHSEED`. `readable` adds folders;
    where metagen runs as root, commands do not, so that these must be readable by all. With `unsafe`, all of that is
    missing and there are but the kernel's limits of each process.
    """

    _: KW_ONLY
    readable: tuple[str, ...] = ()
    unsafe: bool = False

    __repr__ = spelled

    def __post_init__(self) -> None:
        readable = self.readable if isinstance(self.readable, tuple) else (None,)
        if not all(isinstance(path, str) and os.path.isabs(path) for path in readable):
            raise InputError(f"Sandbox: readable must be a tuple of absolute paths, not {self.readable!r}")
        require_switch(self, unsafe=self.unsafe)

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
            descriptors = {name: stack.enter_context(in_memory(content)) for name, content in files.items()}
            placed: list[str] = []
            for name, descriptor in descriptors.items():
                placed += ["--perms", "0666", "--file", str(descriptor), f"{WORK}/{name}"]
            told, telling = stack.enter_context(_pipe())
            calls = stack.enter_context(in_memory(program(machine())))
            group = stack.enter_context(memory_group(limits.memory + 3 * limits.disk + SLACK))
            prefix = [
                *entering(group),
                *bubblewrap(self.readable, limits, [*placed, "--info-fd", str(telling), "--seccomp", str(calls)]),
            ]
            try:
                yield _Enclosure(prefix, None, (*descriptors.values(), telling, calls), group)
            finally:
                await _emptied(told)


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


async def _run(enclosure: _Enclosure, command: Sequence[str], stdin: bytes, limits: Limits) -> Finished:
    mark = f"{secrets.token_hex(16)}\n".encode()
    finished = await watched(
        [*enclosure.prefix, "sh", "-c", _LAUNCH, mark.decode().strip(), *command],
        stdin,
        clock=limits.clock,
        memory=limits.memory,
        output=limits.output,
        before=len(mark),
        environment=ENVIRONMENT,
        folder=enclosure.folder,
        descriptors=enclosure.descriptors,
    )
    before, started, err = finished.err.partition(mark)
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


async def _emptied(told: int) -> None:
    """End the first process inside, and with it all others there.

    It ends after bubblewrap, even where all goes well. Where bubblewrap was killed just after making it, it has not
    yet asked to be killed too, and would run for ever.
    """
    with suppress(BlockingIOError):  # nothing was begun
        if said := re.search(rb'"child-pid": *(\d+)', os.read(told, 4096)):
            await end_namespace(int(said[1]), END_SECONDS)


_SLOTS: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


def _slots() -> asyncio.Semaphore:
    """One for each processor that this process may use, for all runs of an event loop together."""
    return _SLOTS.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(processors()))
