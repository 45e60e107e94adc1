"""What the server's page shows: the latest requests of a key, in the form in which pages show a run."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from metagen.disk.rows import SolutionRow
from metagen.disk.traces import rows_of
from metagen.solution import Solution
from metagen.view.packing import encoded
from metagen.view.problems import columns, problem

NAME = "latest requests"
Latest = Mapping[str, Sequence[Solution]]
"""The solutions of requests by the requests' ids."""


def table(latest: Latest) -> bytes:
    """A line for each choice of each request."""
    rows = [_row(name, solution) for name, solution in _named(latest)]
    return encoded([{"name": NAME, "folder": "", "about": {}, "places": [None] * len(rows), "columns": columns(rows)}])


def one(latest: Latest, wanted: str) -> bytes:
    """All of one choice; null if there is none of this id."""
    found = next((_whole(name, solution) for name, solution in _named(latest) if name == wanted), None)
    return encoded(found)


def _named(latest: Latest) -> Iterator[tuple[str, Solution]]:
    for request, solutions in latest.items():
        for number, solution in enumerate(solutions, 1):
            yield (request if len(solutions) == 1 else f"{request}-{number}"), solution


def _whole(name: str, solution: Solution) -> dict[str, object]:
    return problem(_row(name, solution), rows_of(solution.trace, name))


def _row(name: str, solution: Solution) -> SolutionRow:
    return msgspec.convert(solution.row() | {"problem": name}, SolutionRow)
