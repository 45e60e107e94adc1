"""A solution as the lines that a run's folder has of it: what comes from another machine is written as it is."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from metagen.disk.lines import Reader, encode_line
from metagen.disk.rows import SolutionRow
from metagen.disk.traces import row_of, span_of
from metagen.solution import Solution

_ROWS = Reader(SolutionRow)
_FROM = Path("solutions.jsonl")


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
