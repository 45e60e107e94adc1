"""Where workers run: what the driver asks of Ray, or of a stand-in in tests and simulations."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from metagen.errors import MetagenError


class WorkerDied(MetagenError):
    """A worker is gone, with all that it had under way."""


class Place(Protocol):
    """One worker, wherever it is."""

    async def call(self, method: str, *arguments: Any) -> Any:
        """What a method of the `Worker` returns. Raises what it raises, and `WorkerDied` where it is gone."""

    async def stop(self) -> None:
        """End it at once, with its models."""


Launch = Callable[[int], Awaitable[Place]]
"""Starts the worker of a number."""
