"""Which worker has which problem: what is handed out, comes back, is lost with a worker, or is tried twice. Pure."""

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from metagen.problem import Problem

AHEAD = 32
"""Groups for each worker that are read ahead, so that near the end of a file each gets no more than its share."""
DEATHS = 2
"""Workers that died with a group before it is tried alone on one. If so many die with it alone, that is its doing."""


@dataclass(slots=True, eq=False)
class Group:
    """Problems that are solved together: one alone, unless the strategy decides over several."""

    number: int
    problems: Sequence[Problem]
    left: set[str] = field(default_factory=set)
    """The ids that have no solution yet."""
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
    """Hands groups of problems to workers that ask for them, the oldest first."""

    def __init__(self, groups: Iterator[Sequence[Problem]], workers: int, *, hedge: bool = False) -> None:
        self._source = enumerate(groups)
        self._workers = workers
        self._hedge = hedge
        self._ahead: deque[Group] = deque()
        self._returned: deque[Group] = deque()
        """Lost with their workers, so handed out first."""
        self._under_way: dict[int, Group] = {}
        self._held: dict[int, dict[int, Group]] = defaultdict(dict)
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

    def held(self, worker: int) -> list[Group]:
        """What a worker has."""
        return list(self._held[worker].values())

    def take(self, worker: int, wanted: int, now: float) -> list[Group]:
        """Up to so many groups for a worker, which has them from now on.

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
        for group in taken:
            group.holders[worker] = now
            held[group.number] = group
            self._under_way[group.number] = group
        return taken

    def solved(self, number: int, problem: str) -> bool:
        """Note a solution; return whether it is the first of this problem."""
        group = self._under_way.get(number)
        if group is None or problem not in group.left:
            return False
        group.left.discard(problem)
        return True

    def losers(self, number: int, worker: int) -> list[int]:
        """The other workers that still have a group which this one has done, or none if it is not done."""
        group = self._under_way.get(number)
        if group is None or group.left:
            return []
        del self._under_way[number]
        for holder in group.holders:
            del self._held[holder][number]
        return [other for other in group.holders if other != worker]

    def died(self, worker: int) -> list[Group]:
        """Take back what a dead worker had; return the groups that are given up, since it was them that it died of."""
        held = self.held(worker)
        self._held[worker].clear()
        given_up = []
        for group in held:
            del group.holders[worker]
            group.deaths += 1
            group.alone += len(held) == 1
            if group.holders:
                continue
            del self._under_way[group.number]
            if group.alone >= DEATHS:
                given_up.append(group)
            else:
                self._returned.append(group)
        return given_up

    def _again(self, wanted: int, *, is_idle: bool) -> list[Group]:
        """What was lost with a worker: those that are innocent so far, else for an idle worker a single suspect."""
        innocent = [group for group in self._returned if not group.suspect][:wanted]
        taken = innocent or ([self._returned[0]] if self._returned and is_idle else [])
        for group in taken:
            self._returned.remove(group)
        return taken

    def _next(self, wanted: int) -> list[Group]:
        self._look_ahead()
        if self._is_read:
            wanted = min(wanted, max(1, len(self._ahead) // (2 * self._workers)))
        return [self._ahead.popleft() for _ in range(min(wanted, len(self._ahead)))]

    def _look_ahead(self) -> bool:
        """Read some groups ahead; return whether there are any."""
        lacking = AHEAD * self._workers - len(self._ahead)
        if not self._is_read and lacking > 0:
            read = [
                Group(number, problems, {problem.id for problem in problems})
                for number, problems in islice(self._source, lacking)
            ]
            self._is_read = len(read) < lacking
            self._ahead.extend(read)
        return bool(self._ahead)

    def _copies(self, worker: int) -> list[Group]:
        """The group that has been under way for the longest on one worker alone."""
        alone = [group for group in self._under_way.values() if len(group.holders) == 1 and not group.suspect]
        slowest = min(alone, key=lambda group: min(group.holders.values()), default=None)
        return [slowest] if slowest and worker not in slowest.holders else []
