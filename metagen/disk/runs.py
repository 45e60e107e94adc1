"""A run on disk: `run.json` says what it is, `trace.jsonl` what happened, `solutions.jsonl` what came out.

The trace of a problem is written before its solution, in whole lines. So a killed run has lost only the problems under
way: a resumed one drops their spans, and takes up every problem that has no solution.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from metagen.disk.lines import Appender, read_lines
from metagen.disk.traces import VERSION, check_version, row_of
from metagen.errors import InputError
from metagen.solution import Solution
from metagen.system import lock

_SOLUTION = TypeAdapter(Solution)


class RunDirectory:
    """An open run. Used with `with`; one process at a time.

    Raises `InputError` if the folder holds a run with another configuration, naming the difference, or if another
    process is writing to it.
    """

    def __init__(self, path: Path, configuration: Mapping[str, Any]) -> None:
        self.path = path
        self._configuration = {"version": VERSION, **configuration}

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / "run.json").open("a+", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise InputError(f"{self.path}: cannot be a run's folder: {error.strerror}") from None
        try:
            self._claim()
            self._mend()
        except BaseException:
            self._lock.close()
            raise
        self._trace = Appender(self.path / "trace.jsonl")
        self._solutions = Appender(self.path / "solutions.jsonl")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._trace.close()
        self._solutions.close()
        if isinstance(error, InputError) and not (self.path / "solutions.jsonl").stat().st_size:
            self._remove()
        self._lock.close()

    def add(self, solution: Solution) -> None:
        """Write a solution down, its trace first."""
        self._trace.write(row_of(span, solution.problem) for span in solution.trace.walk())
        self._solutions.write([solution.row()])

    def solutions(self) -> Iterator[Solution]:
        """What is solved so far."""
        yield from read_solutions(self.path)

    def _remove(self) -> None:
        """Nothing came of a wrong setting, so it is not to refuse the right one."""
        for name in ("trace.jsonl", "solutions.jsonl", "run.json"):
            (self.path / name).unlink()
        if not any(self.path.iterdir()):
            self.path.rmdir()

    def _claim(self) -> None:
        try:
            lock(self._lock)
        except OSError:
            raise InputError(f"{self.path}: another process is writing to this run") from None
        self._lock.seek(0)
        try:
            before = json.loads(self._lock.read().strip() or "null")
        except ValueError:
            before = ...
        if before is None:
            self._lock.write(json.dumps(self._configuration, indent=2, ensure_ascii=False) + "\n")
            self._lock.flush()
        elif isinstance(before, dict):
            check_version(self.path, before)
            _refuse_difference(self.path, before, json.loads(json.dumps(self._configuration)))
        else:
            raise InputError(f"{self.path / 'run.json'}: is not the record of a run")

    def _mend(self) -> None:
        """Drop what a kill left half done: torn lines, failed problems, and spans without a solution."""
        solutions, trace = self.path / "solutions.jsonl", self.path / "trace.jsonl"
        for path in (solutions, trace):
            Appender(path).close()  # which drops a torn line
        _keep(solutions, lambda row: not row.get("error"))
        solved = {solution.problem for solution in self.solutions()}
        _keep(trace, lambda row: str(row.get("problem")) in solved)


def read_solutions(run: Path) -> Iterator[Solution]:
    """The solutions of a run's folder, one at a time. Raises `InputError`, naming the line, for a damaged one."""
    path = run / "solutions.jsonl"
    for number, row in read_lines(path):
        try:
            yield _SOLUTION.validate_python(row)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise InputError(f"{path}, line {number}: field {field!r}: {first['msg']}") from None


def _refuse_difference(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            raise InputError(
                f"{path}: holds a run with another {name}: {before.get(name)} there, {now.get(name)} here. "
                "Give the same, or another --out"
            )


def _keep(path: Path, wanted: Callable[[Mapping[str, Any]], bool]) -> None:
    """Rewrite a file with the lines that are wanted, if any is not; at no moment is a line lost."""
    if all(wanted(row) for _, row in read_lines(path)):
        return
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with Appender(new) as kept:
        for _, row in read_lines(path):
            if wanted(row):
                kept.write([row])
    os.replace(new, path)
