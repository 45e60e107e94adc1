"""Task groups whose errors come out as they went in."""

import asyncio
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Result = TypeVar("Result")


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
