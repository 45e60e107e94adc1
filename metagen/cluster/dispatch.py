"""Which worker has which problem: what is handed out, comes back, is lost with a worker, or is tried twice. Pure."""

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from metagen.problem import Problem

AHEAD = 32
"""Problems for each worker that are read ahead, so that near the end of a file each gets no more than its share."""
DEATHS = 2
"""Workers that died with a problem before it is tried alone on one ..."""
ALONE = 3
"""... and if so many die with it alone, that is its doing. Where workers die at random, two may well do by chance."""


@dataclass(slots=True, eq=False)
class Entry:
    """A problem that has no solution yet."""

    number: int
    problem: Problem
    deaths: int = 0
    """Of workers that had it."""
    alone: int = 0
    """Those among them that had nothing else."""
    holders: dict[int, float] = field(default_factory=dict)
    """The workers that have it, each with the time at which it got it."""

    @property
    def suspect(self) -> bool:
        """Whether it may be what its workers died of."""
        return self.deaths >= DEATHS


class Dispatch:
    """Hands problems to workers that ask for them, the oldest first."""

    def __init__(self, problems: Iterable[Problem], workers: int, *, hedge: bool = False) -> None:
        self._source = enumerate(problems)
        self._workers = workers
        self._hedge = hedge
        self._ahead: deque[Entry] = deque()
        self._returned: deque[Entry] = deque()
        """Lost with their workers, so handed out first."""
        self._under_way: dict[int, Entry] = {}
        self._held: dict[int, dict[int, Entry]] = defaultdict(dict)
        """By worker."""
        self._is_read = False
        self.closed = False
        """Whether nothing more is handed out, as when a budget is spent."""

    @property
    def finished(self) -> bool:
        """Whether nothing is under way, and nothing is left to hand out."""
        if self._under_way:
            return False
        return self.closed or not (self._returned or self._look_ahead())

    def held(self, worker: int) -> list[Entry]:
        """What a worker has."""
        return list(self._held[worker].values())

    def take(self, worker: int, wanted: int, now: float) -> list[Entry]:
        """Up to so many problems for a worker, which has them from now on.

        One that several workers died with is handed out alone, to a worker that has nothing else. Near the end no
        worker gets more than half of its equal share of what is left.
        """
        if wanted < 1 or self.closed:
            return []
        held = self._held[worker]
        if len(held) == 1 and next(iter(held.values())).suspect:
            return []
        taken = self._again(wanted, is_idle=not held) or self._next(wanted)
        if not taken and not held and self._hedge:
            taken = self._copies(worker)
        for entry in taken:
            entry.holders[worker] = now
            held[entry.number] = entry
            self._under_way[entry.number] = entry
        return taken

    def solved(self, number: int, worker: int) -> list[int] | None:
        """Note a solution; return the other workers that have this problem, or `None` where it was solved before."""
        entry = self._under_way.pop(number, None)
        if entry is None:
            return None
        for holder in entry.holders:
            del self._held[holder][number]
        return [other for other in entry.holders if other != worker]

    def died(self, worker: int) -> list[Entry]:
        """Take back what a dead worker had; return the problems that are given up, as it was them that it died of."""
        held = self.held(worker)
        self._held[worker].clear()
        given_up = []
        for entry in held:
            del entry.holders[worker]
            entry.deaths += 1
            entry.alone += len(held) == 1
            if entry.holders:
                continue
            del self._under_way[entry.number]
            if entry.alone >= ALONE:
                given_up.append(entry)
            else:
                self._returned.append(entry)
        return given_up

    def _again(self, wanted: int, *, is_idle: bool) -> list[Entry]:
        """What was lost with a worker: those that are innocent so far, else for an idle worker a single suspect."""
        innocent = [entry for entry in self._returned if not entry.suspect][:wanted]
        taken = innocent or ([self._returned[0]] if self._returned and is_idle else [])
        for entry in taken:
            self._returned.remove(entry)
        return taken

    def _next(self, wanted: int) -> list[Entry]:
        self._look_ahead()
        if self._is_read:
            wanted = min(wanted, max(1, len(self._ahead) // (2 * self._workers)))
        return [self._ahead.popleft() for _ in range(min(wanted, len(self._ahead)))]

    def _look_ahead(self) -> bool:
        """Read some problems ahead; return whether there are any."""
        lacking = AHEAD * self._workers - len(self._ahead)
        if not self._is_read and lacking > 0:
            read = [Entry(number, problem) for number, problem in islice(self._source, lacking)]
            self._is_read = len(read) < lacking
            self._ahead.extend(read)
        return bool(self._ahead)

    def _copies(self, worker: int) -> list[Entry]:
        """The problem that has been under way for the longest on one worker alone."""
        alone = [entry for entry in self._under_way.values() if len(entry.holders) == 1 and not entry.suspect]
        slowest = min(alone, key=lambda entry: min(entry.holders.values()), default=None)
        return [slowest] if slowest and worker not in slowest.holders else []
