"""A process and all below it, seen from outside: fed, read, watched for what it uses, and ended. For Linux."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast

from metagen.errors import ToolError
from metagen.system import page_size

Ended: TypeAlias = Literal["exit", "signal", "time", "memory", "output"]

POLL_SECONDS = 0.05
"""How often the memory of a process is looked at."""
GRACE_SECONDS = 1.0
"""How long output may follow the end of a process, and how long its killed group may take to end."""
CLEARED_SECONDS = 0.01
"""How often it is looked whether anyone of the group is left."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended. `code` is its exit code, or 128 plus the signal that ended it, as shells count.

    So a program that ends by itself with such a code looks as if a signal had ended it.
    """

    code: int
    out: bytes
    err: bytes
    seconds: float
    """By the clock."""
    ended: Ended
    """By itself (`exit`), by a signal, or because it reached a limit."""


async def watched(
    command: Sequence[str],
    stdin: bytes = b"",
    *,
    clock: float,
    memory: int,
    output: int,
    before: int = 0,
    environment: Mapping[str, str],
    folder: str | None = None,
    descriptors: Sequence[int] = (),
) -> Finished:
    """Run a command until it ends, or uses more than `clock` seconds, `memory` bytes or `output` bytes a stream.

    `before` bytes more may stand before its errors, which are the caller's own.
    When this returns or is cancelled, the process and its process group have ended.

    Raises:
        ToolError: the system cannot start it.
    """
    watcher = _Watcher({1: output, 2: output + before})
    begun = time.monotonic()
    starting = asyncio.get_running_loop().subprocess_exec(
        lambda: watcher,
        *command,
        env=environment,
        cwd=folder,
        pass_fds=descriptors,
        start_new_session=True,
    )
    transport = await _started(asyncio.ensure_future(starting), watcher)
    try:
        _feed(transport, stdin)
        ended = await _ended(watcher, transport.get_pid(), begun + clock, memory)
    finally:
        await _cleared(watcher, transport)
    return _finished(ended, transport.get_returncode(), watcher, time.monotonic() - begun)


_Starting: TypeAlias = "asyncio.Future[tuple[asyncio.SubprocessTransport, _Watcher]]"


async def _started(starting: _Starting, watcher: "_Watcher") -> asyncio.SubprocessTransport:
    """Wait until it has started, also when cancelled: asyncio would end the process and none of its group."""
    try:
        return (await asyncio.shield(starting))[0]
    except OSError as error:
        raise ToolError(f"the command does not start: {error}") from error
    except asyncio.CancelledError:
        with suppress(OSError):
            await _cleared(watcher, (await starting)[0])
        raise


async def end_namespace(first: int, seconds: float) -> None:
    """Kill the first process of a namespace, and with it all in there, and wait for its end, for a while."""
    try:
        descriptor = os.pidfd_open(first)
    except ProcessLookupError:  # it has ended
        return
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        if not _is_first(first):  # it has ended, and its number is another's
            return
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _is_first(process: int) -> bool:
    """Whether it is number 1 in a namespace of processes below ours."""
    lines = read_if_there(f"/proc/{process}/status").splitlines()
    numbers = next((line.split()[1:] for line in lines if line.startswith("NSpid:")), [])
    return len(numbers) > 1 and numbers[-1] == "1"


class _Watcher(asyncio.SubprocessProtocol):
    """Keeps what comes out, as much as there is room for."""

    def __init__(self, rooms: Mapping[int, int]) -> None:
        loop = asyncio.get_running_loop()
        self.rooms = rooms
        self.received = {1: bytearray(), 2: bytearray()}
        self.done: asyncio.Future[Ended] = loop.create_future()
        """Set when the process has ended and its output with it, or there was too much of that."""
        self.exited: asyncio.Future[None] = loop.create_future()

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:
        kept = self.received[fd]
        room = self.rooms[fd] - len(kept)
        kept += cast(bytes, data)[:room]
        if len(data) > room:
            self._end("output")

    def process_exited(self) -> None:
        self.exited.set_result(None)
        # one who left the process group may hold the pipes open for ever
        asyncio.get_running_loop().call_later(GRACE_SECONDS, self._end, "exit")

    def connection_lost(self, _: Exception | None, /) -> None:
        self._end("exit")

    def _end(self, ended: Ended) -> None:
        if not self.done.done():
            self.done.set_result(ended)


def _feed(transport: asyncio.SubprocessTransport, stdin: bytes) -> None:
    pipe = cast(asyncio.WriteTransport, transport.get_pipe_transport(0))
    pipe.write(stdin)
    pipe.write_eof()


async def _ended(watcher: _Watcher, process: int, deadline: float, memory: int) -> Ended:
    while not watcher.done.done():
        if time.monotonic() > deadline:
            return "time"
        if _in_use(process, memory) > memory:
            return "memory"
        await asyncio.wait([watcher.done], timeout=POLL_SECONDS)
    return watcher.done.result()


async def _cleared(watcher: _Watcher, transport: asyncio.SubprocessTransport) -> None:
    """End all that is left of the process group, and wait for its end, which the kernel takes a moment for."""
    group = transport.get_pid()
    _killed(group)
    await asyncio.shield(watcher.exited)
    transport.close()
    for _ in range(int(GRACE_SECONDS / CLEARED_SECONDS)):
        if not _killed(group):
            return
        await asyncio.sleep(CLEARED_SECONDS)


def _killed(group: int) -> bool:
    """Whether there was anyone left to kill."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _finished(ended: Ended, code: int | None, watcher: _Watcher, seconds: float) -> Finished:
    code = 0 if code is None else code
    code = 128 - code if code < 0 else code
    if ended == "exit" and 128 < code <= 128 + signal.SIGRTMAX:
        ended = "time" if code == 128 + signal.SIGXCPU else "signal"
    return Finished(code, bytes(watcher.received[1]), bytes(watcher.received[2]), seconds, ended)


def _in_use(process: int, enough: int) -> int:
    """Bytes of memory in use by a process and all below it; pages they share count once if that may matter."""
    processes = list(_tree(process))
    resident = sum(map(_resident, processes))
    return resident if resident <= enough else sum(map(_proportional, processes))


def _tree(process: int) -> Iterator[int]:
    yield process
    for child in _children(process):
        yield from _tree(child)


def _children(process: int) -> list[int]:
    texts = (read_if_there(f"{task}/children") for task in _tasks(process))
    return [int(child) for text in texts for child in text.split()]


def _tasks(process: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{process}/task").iterdir())
    except OSError:  # such as a process that has ended
        return []


def _resident(process: int) -> int:
    fields = read_if_there(f"/proc/{process}/statm").split()
    return int(fields[1]) * page_size() if fields else 0


def _proportional(process: int) -> int:
    lines = read_if_there(f"/proc/{process}/smaps_rollup").splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def read_if_there(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:  # such as a process that has ended
        return ""
