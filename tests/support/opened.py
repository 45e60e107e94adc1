"""A model that is open already."""

from types import TracebackType
from typing import Self

from metagen.backends.wrapper import Wrapper


class Opened(Wrapper):
    """A model that somebody else opens and closes."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        return None
