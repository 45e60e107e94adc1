"""The written rows of a run, as pages and the terminal show them."""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from metagen.disk.rows import SolutionRow
from metagen.disk.runs import read_rows
from metagen.disk.traces import SpanRow, read_configuration, read_traces
from metagen.errors import InputError


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

    @classmethod
    def read_all(cls, paths: Sequence[Path]) -> "list[RunRows]":
        """Runs to be shown side by side. Raises `InputError` too where two of them mean different problems by an id."""
        runs = [cls.read(path) for path in paths]
        for one, other in combinations(runs, 2):
            one._refuse_others(other)
        return runs

    @property
    def name(self) -> str:
        return self.path.resolve().name

    def _refuse_others(self, other: "RunRows") -> None:
        files = [str(each.configuration.get("problems", "")) for each in (self, other)]
        if len({file.rpartition("(")[2] for file in files}) == 1:  # the same digest, so a template made the difference
            return
        for name, first in self.rows.items():
            second = other.rows.get(name, first)
            if first.reference != second.reference or (first.prompt and second.prompt not in ("", first.prompt)):
                raise InputError(
                    f"{self.path} and {other.path}: went over {' and '.join(files)}, where problem {name!r} is not the "
                    "same: give each a page of its own"
                )

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
