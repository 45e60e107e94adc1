"""Workers in this process, which can be killed: all of a cluster but Ray."""

import asyncio
from copy import deepcopy
from pathlib import Path
from typing import Any

from metagen import Solution
from metagen.cluster.places import WorkerDied
from metagen.cluster.worker import Worker
from metagen.cluster.workers import Workers
from metagen.jobs.job import ModelOrder
from metagen.tasks import uninterrupted

ECHO = """
import os
from metagen import Request, Scripted

async def reply(request):
    number = int.from_bytes(str(request.seed).encode()) % 5
    if "poison" in request.prompt:
        os._exit(1)
    return f"The answer is {number}."

def echo():
    return Scripted(reply, name="echo")
"""


class Here:
    """A worker as a place in this process; what goes there and comes back is copied, as for another machine."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._worker = Worker(number)
        self._dead = asyncio.Event()
        self.calls: list[str] = []

    async def call(self, method: str, *arguments: Any) -> Any:
        self.calls.append(method)
        if self._dead.is_set():
            raise WorkerDied("it was killed")
        there = deepcopy(arguments)
        calling = asyncio.create_task(getattr(self._worker, method)(*there))
        dying = asyncio.create_task(self._dead.wait())
        try:
            await asyncio.wait([calling, dying], return_when=asyncio.FIRST_COMPLETED)
            if self._dead.is_set():
                raise WorkerDied("it was killed")
            return deepcopy(calling.result())
        finally:
            calling.cancel()
            dying.cancel()

    def kill(self) -> None:
        self._dead.set()

    @property
    def is_dead(self) -> bool:
        return self._dead.is_set()

    async def stop(self) -> None:
        self.kill()
        await uninterrupted(self._worker.close())


class Places(list[Here]):
    """All workers that were launched, the dead ones too."""

    async def launch(self, number: int) -> Here:
        self.append(Here(number))
        return self[-1]


def order(folder: Path, code: str = ECHO) -> ModelOrder:
    """The model that a file of code defines as `echo`."""
    file = folder / "code.py"
    file.write_text(code)
    return ModelOrder(models={"model": "echo"}, load=[file])


def workers_here(count: int, order: ModelOrder, **settings: Any) -> tuple[Workers, Places]:
    places = Places()
    return Workers(count, order, launch=places.launch, **settings), places


def plain(solution: Solution) -> dict[str, Any]:
    """All of a solution but its times."""
    row = solution.row()
    return row | {"seconds": 0, "usage": {name: n for name, n in row["usage"].items() if not name.endswith("seconds")}}
