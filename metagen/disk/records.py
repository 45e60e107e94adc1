"""A solution as the lines that a run's folder has of it: what comes from another machine is written as it is."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from metagen.disk.lines import Reader, encode_line
from metagen.disk.rows import SolutionRow
from metagen.disk.traces import row_of, span_of
from metagen.solution import Solution

_ROWS = Reader(SolutionRow)
_FROM = Path("solutions.jsonl")
SETTLED = "the budget of the whole run cut it short again, after no more tokens than before: the answer is kept"
"""What is noted of a problem that another call with the same budget would not finish either."""


@dataclass(frozen=True, slots=True)
class Record:
    """The line of a solution and those of its trace, in UTF-8, each with its end. It reads the first line alone."""

    line: bytes
    trace: bytes
    row: SolutionRow = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "row", _ROWS.row(self.line, _FROM, 1))

    @classmethod
    def of(cls, solution: Solution) -> Self:
        """The lines of a solution."""
        spans = (encode_line(row_of(span, solution.problem)) for span in solution.trace.walk())
        return cls(encode_line(solution.row()), b"".join(spans))

    def solution(self) -> Solution:
        """The solution with its trace, as far as the lines tell: `candidate` is `None`."""
        return self.row.solution(span_of(self.trace))


def settled(solution: Solution | Record) -> Solution | Record:
    """An unfinished solution as one that a resumed run keeps."""
    if isinstance(solution, Solution):
        return replace(solution, unfinished=False, notes=(*solution.notes, SETTLED))
    row = json.loads(solution.line)
    return Record(encode_line(row | {"unfinished": False, "notes": [*row["notes"], SETTLED]}), solution.trace)
