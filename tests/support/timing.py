"""Time in tests: a clock that stands until a test moves it, and waits for events that have no time limit of their own.

A test that waits in vain is ended by the suite's `timeout`, never by a guess at how fast a machine is.
"""

import asyncio
import time
from collections.abc import Callable

POLL_SECONDS = 0.01
"""Between two looks at what another process or an engine does: nobody rings when that changes."""


class Clock:
    """The time for an `Account`, in seconds: it stands until `now` is changed."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def until(holds: Callable[[], object]) -> None:
    """Wait until something is true."""
    while not holds():  # noqa: ASYNC110 (whom it waits for sets no event)
        await asyncio.sleep(POLL_SECONDS)


def block_until(holds: Callable[[], object]) -> None:
    """Wait until something is true, where there is no event loop."""
    while not holds():
        time.sleep(POLL_SECONDS)


async def turns(count: int = 10) -> None:
    """Let all other tasks take their turns in the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def forever() -> None:
    """Never return: only cancelling ends it."""
    await asyncio.Event().wait()


def advance(seconds: float) -> None:
    """Put the running event loop's clock forward, for good: time-outs and sleeps up to then are over."""
    loop = asyncio.get_running_loop()
    earlier = loop.time
    loop.time = lambda: earlier() + seconds  # type: ignore[method-assign]


async def outlast(seconds: float = 3600.0) -> None:
    """Take longer than any limit of so many seconds by the event loop's clock."""
    advance(seconds)
    await forever()
