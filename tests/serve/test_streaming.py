"""Replies that end when their client leaves."""

import asyncio
from typing import Any

import pytest

from metagen.serve.streaming import Left, unless_left


async def test_a_client_that_leaves_ends_the_work() -> None:
    leaves: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    ended = asyncio.Event()

    async def work() -> None:
        try:
            leaves.set_result({"type": "http.disconnect"})
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(Left):
        await unless_left(lambda: leaves, work())
    assert ended.is_set()


async def test_a_client_may_leave_in_the_moment_in_which_the_work_ends() -> None:
    loop, wrong = asyncio.get_running_loop(), list[dict[str, Any]]()
    leaves: asyncio.Future[dict[str, Any]] = loop.create_future()
    done: asyncio.Future[str] = loop.create_future()

    def both() -> None:
        loop.call_soon(done.set_result, "done")  # so the work ends first, when the news of the client is on its way
        leaves.set_result({"type": "http.disconnect"})

    loop.set_exception_handler(lambda _, context: wrong.append(context))
    try:
        loop.call_soon(loop.call_soon, both)  # by then both are waited for
        assert await unless_left(lambda: leaves, done) == "done"
        await asyncio.sleep(0)
    finally:
        loop.set_exception_handler(None)
    assert wrong == []
