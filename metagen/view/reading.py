"""The written rows of a run, as pages and the terminal show them."""

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metagen.disk.rows import SolutionRow
from metagen.disk.runs import read_rows
from metagen.disk.traces import SpanRow, read_configuration, read_traces


@dataclass(frozen=True, slots=True)
class RunRows:
    """A run's folder: what it is, and its solutions by the ids of their problems, in the order of the file."""

    path: Path
    configuration: dict[str, Any]
    rows: dict[str, SolutionRow] = field(repr=False)
    traced: set[str] = field(default_factory=set, repr=False, compare=False)
    """The ids of the problems whose spans `traces` has found: a machine that stopped may have kept none of the last."""

    @classmethod
    def read(cls, path: Path) -> "RunRows":
        """Raises `InputError` for a folder that holds no run, and for a damaged line, which it names."""
        configuration = read_configuration(path)
        return cls(path, configuration, {row.problem: row for row in read_rows(path / "solutions.jsonl", torn=True)})

    @property
    def name(self) -> str:
        return self.path.resolve().name

    def traces(self, wanted: Container[object] | None = None) -> Iterator[tuple[SolutionRow, list[SpanRow]]]:
        """The solution and the spans of each problem that is solved and wanted, in the order of the file."""
        if not (self.path / "trace.jsonl").exists():
            return
        for name, spans in read_traces(self.path, self.rows if wanted is None else wanted):
            if name in self.rows:
                self.traced.add(name)
                yield self.rows[name], spans


def is_missed(row: SolutionRow) -> bool:
    """Whether the answer that was returned is not right, though one could be."""
    return row.verdict is False or (row.unjudged and not row.unfinished)


def is_found(row: SolutionRow) -> bool:
    """Whether the strategy missed what one of its samples had found."""
    return is_missed(row) and row.samples_correct > 0


def votes(row: SolutionRow) -> int:
    """How many candidates gave the answer that was returned."""
    if row.answer is None or row.answer not in row.answers:
        return 0
    if not row.groups:
        return row.answers.count(row.answer)
    group = row.groups[row.answers.index(row.answer)]
    return sum(each == group for each in row.groups)
