"""Our own server on a free port of this machine, in the test's event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette

from tests.support.timing import until


@asynccontextmanager
async def serving(application: Starlette) -> AsyncIterator[str]:
    """Serve an application; the address of its interface."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    server = uvicorn.Server(uvicorn.Config(application, lifespan="off", log_config=None, access_log=False))
    async with application.router.lifespan_context(application):
        task = asyncio.create_task(server._serve([listening]))
        try:
            await until(lambda: server.started or task.done())
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            await task
            listening.close()
