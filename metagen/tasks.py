"""Task groups whose errors come out as they went in."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Generic, TypeVar


async def uninterrupted(work: Coroutine[Any, Any, object]) -> None:
    """Run `work` to its end even if cancelled meanwhile; the cancellation is raised afterwards."""
    task = asyncio.get_running_loop().create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled:
        raise cancelled


Result = TypeVar("Result")


Key = TypeVar("Key")


class Queue(Generic[Key, Result]):
    """Tasks under way, each under a key, taken in the order in which they were begun: whichever is done first."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._tasks: dict[Key, asyncio.Task[Result]] = {}
        self._early: dict[Key, asyncio.Task[Result]] = {}
        """Begun before it is known whether they are wanted."""
        self._dropped: set[Key] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def keys(self) -> set[Key]:
        """Of all that was begun and not taken."""
        return {*self._tasks, *self._early, *self._dropped}

    def begin(self, key: Key, work: Coroutine[Any, Any, Result], *, early: bool = False) -> None:
        """Begin a task; an `early` one has no place in the order yet."""
        (self._early if early else self._tasks)[key] = self._group.create_task(work)

    def want(self, key: Key) -> None:
        """Put a task that was begun early at the end of the order."""
        self._tasks[key] = self._early.pop(key)

    def drop_early(self) -> None:
        """Cancel all that was begun early and is not wanted."""
        for task in self._early.values():
            task.cancel()
        self._dropped.update(self._early)
        self._early.clear()

    async def take(self) -> tuple[Key, Result]:
        """Wait for the oldest. Raises what it raised."""
        key, task = next(iter(self._tasks.items()))
        result = await task
        del self._tasks[key]
        return key, result

    def cancel(self) -> None:
        for task in (*self._tasks.values(), *self._early.values()):
            task.cancel()


@asynccontextmanager
async def queue() -> AsyncIterator[Queue[Any, Any]]:
    """Tasks in order. What is not taken when the context ends is cancelled, and waited for."""
    with unwrapped():
        async with asyncio.TaskGroup() as group:
            begun = Queue[Any, Any](group)
            try:
                yield begun
            finally:
                begun.cancel()


async def together(coroutines: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Run all at once and wait for all. The first error cancels the others and is raised as it is."""
    with unwrapped():
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    return [task.result() for task in tasks]


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raise the first error of a task group in place of the group: the others were cancelled because of it."""
    try:
        yield
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors.exceptions[0].__cause__
