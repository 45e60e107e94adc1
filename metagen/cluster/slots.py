"""A worker as the driver knows it."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from metagen.budget import Usage
from metagen.cluster.parcels import News
from metagen.cluster.places import Place
from metagen.errors import BackendGone

FRUITLESS = 6
"""A worker that died so often without a solution in between ends the run."""


@dataclass(slots=True)
class Slot:
    """One worker, in whichever process it lives now, and what it has done."""

    number: int
    ready: asyncio.Task[Place]
    place: Place | None = None
    """Where it works on the present task; `None` while it does not."""
    host: str = ""
    problems: int = 0
    questions: int = 0
    """To its models, by strategies that run in the driver."""
    usage: Usage = field(default_factory=Usage)
    counted: Usage = field(default_factory=Usage)
    """Of the usage, what the present task has spent in the present process."""
    busy: float = 0.0
    """Seconds with any problem."""
    restarts: int = 0
    in_flight: int = 0
    why_given_up: str = ""
    _fruitless: int = 0
    """Deaths in a row without a solution or an answer in between."""
    _under_way: int = 0
    """Questions."""
    _since: float = 0.0
    """When the first of the questions that are under way began."""
    calls: set[asyncio.Task[None]] = field(default_factory=set)
    """Under way beside its reports."""

    def note(self, news: News) -> None:
        self.problems += len(news.done)
        self.busy += news.busy
        self._fruitless = 0 if news.done else self._fruitless

    def count(self, total: Usage) -> Usage:
        """What a task has spent here that was not counted yet. Reports of its total may overtake each other."""
        spent = total.since(self.counted)
        self.counted += spent
        self.usage += spent
        return spent

    def note_answer(self, spent: Usage) -> None:
        """A question to one of its models is answered, which took so much."""
        self.questions += 1
        self.usage += spent
        self._fruitless = 0

    @contextmanager
    def asking(self) -> Iterator[None]:
        """A question is under way."""
        if not self._under_way:
            self._since = time.monotonic()
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self.busy += time.monotonic() - self._since

    def died(self, reason: str) -> None:
        """Raises `BackendGone` where it dies again and again."""
        self.place, self.restarts = None, self.restarts + 1
        self._fruitless += 1
        if self.is_given_up:
            self.why_given_up = f"worker {self.number} died {FRUITLESS} times before it solved a problem: {reason}"
            raise BackendGone(self.why_given_up)

    @property
    def is_given_up(self) -> bool:
        """Whether it died again and again."""
        return self._fruitless >= FRUITLESS
