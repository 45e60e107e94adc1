"""A run on disk: `run.json` says what it is, `trace.jsonl` what happened, `solutions.jsonl` what came out.

The trace of a problem is written before its solution, in whole lines. So a killed run has lost only the problems under
way: a resumed one moves their spans to `trace.jsonl.torn`, and takes up every problem that has no solution, that
failed, or that the budget of an earlier call left unfinished.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from metagen.disk.facts import FACTS, facts
from metagen.disk.files import NO_LINK, cannot_open, check_file, make_folder, refused_by_disk
from metagen.disk.lines import Appender, Reader, cut_end, rewrite, write_all
from metagen.disk.records import Record, settled
from metagen.disk.rows import SolutionRow
from metagen.disk.traces import VERSION, read_configuration, row_of
from metagen.errors import InputError
from metagen.settings import counted
from metagen.solution import Solution
from metagen.system import lock

_SOLUTIONS = Reader(SolutionRow)
ROWS = ("trace.jsonl", "solutions.jsonl")
COUNTING = ("price", "card")
"""What changes the costs of a run and none of its replies."""


class RunDirectory:
    """An open run. Used with `with`; one process at a time. `seen` is called with each solution that is there.

    Raises `InputError` if the folder holds a run with another configuration, naming the difference, or rows without a
    record of their run, or if another process is writing to it; `StorageError` if the disk takes no more.
    """

    def __init__(
        self, path: Path, configuration: Mapping[str, Any], seen: Callable[[SolutionRow], object] | None = None
    ) -> None:
        self.path = path
        self.solved: set[str] = set()
        """The ids of the problems that were solved when it was opened."""
        self._cut: dict[str, int] = {}
        """The tokens of the problems that an earlier budget left unfinished, by their ids."""
        self._configuration = _versioned(configuration)
        self._seen = seen
        self._files = ExitStack()

    def __enter__(self) -> Self:
        _check_rows(self.path)
        make_folder(self.path, "cannot be a run's folder")
        with ExitStack() as files:
            self._claim(files)
            self._mend()
            trace, solutions = (self.path / name for name in ROWS)
            self._trace = files.enter_context(Appender(trace))
            self._solutions = files.enter_context(Appender(solutions, after=self._trace))
            self._trace.mend()
            self._solutions.mend()
            self._files = files.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        with self._files:
            if isinstance(error, InputError) and not (self.path / "solutions.jsonl").stat().st_size:
                self._remove()

    def add(self, solution: Solution | Record) -> Solution | Record:
        """Write a solution down, its trace first, and return it as it is written.

        What a budget leaves unfinished once more, after no more tokens than before, is final: the same command would
        solve it again for ever.
        """
        row = solution.row if isinstance(solution, Record) else solution
        if row.unfinished and not row.failed and row.usage.tokens <= self._cut.get(row.problem, -1):
            solution = settled(solution)
        if isinstance(solution, Record):
            self._trace.append(solution.trace.splitlines(keepends=True))
            self._solutions.append([solution.line])
        else:
            self._trace.write(row_of(span, solution.problem) for span in solution.trace.walk())
            self._solutions.write([solution.row()])
        return solution

    def solutions(self) -> Iterator[Solution]:
        """What is solved so far."""
        yield from read_solutions(self.path)

    def _remove(self) -> None:
        """Nothing came of a wrong setting, so it is not to refuse the right one."""
        for name in (*ROWS, "run.json"):
            (self.path / name).unlink()
        if not any(self.path.iterdir()):
            self.path.rmdir()

    def _claim(self, files: ExitStack) -> None:
        """Lock the record of the run for as long as this is open, and write or compare it."""
        record = self.path / "run.json"
        try:
            file = os.open(record, os.O_RDWR | os.O_CREAT | NO_LINK, 0o666)
        except OSError as error:
            raise cannot_open(record, error) from None
        files.callback(os.close, file)
        try:
            lock(file, record)
        except OSError:
            raise InputError(f"{self.path}: another process is writing to this run") from None
        if not os.fstat(file).st_size:
            self._record(file, record)
        else:
            _refuse_difference(self.path, self._configuration)

    def _record(self, file: int, record: Path) -> None:
        text = json.dumps(self._configuration | {FACTS: facts()}, indent=2, ensure_ascii=False) + "\n"
        with refused_by_disk(record):
            try:
                write_all(file, text.encode(errors="backslashreplace"))
                os.fsync(file)
            except OSError:
                os.ftruncate(file, 0)
                raise

    def _mend(self) -> None:
        """Drop what is to be solved again, and move away what a kill left half done: spans without a solution."""
        solutions, trace = self.path / "solutions.jsonl", self.path / "trace.jsonl"
        again = set[str]()
        for number, row in _numbered(solutions):
            if row.problem in self.solved or row.problem in again:
                raise InputError(f"{solutions}, line {number}: problem {row.problem!r} is here for the second time")
            if row.final:
                self.solved.add(row.problem)
                if self._seen:
                    self._seen(row)
            else:
                again.add(row.problem)
                if row.unfinished and not row.failed:
                    self._cut[row.problem] = row.usage.tokens

        def is_solved(row: Mapping[str, Any]) -> bool:
            return str(row.get("problem")) in self.solved

        if again:  # the trace first: a kill between the two leaves these problems to be found once more
            rewrite(trace, is_solved, lambda row: str(row.get("problem")) not in again)
            # an unfinished answer is paid for, and this call may end before it has another
            rewrite(solutions, is_solved, lambda row: not row.get("error"))
        else:
            cut_end(trace, is_solved)


def read_rows(path: Path, *, torn: bool = False) -> Iterator[SolutionRow]:
    """The rows of a file of solutions; none if there is no file. Raises `InputError`, naming the line."""
    return (row for _, row in _numbered(path, torn=torn))


def _numbered(path: Path, *, torn: bool = True) -> Iterator[tuple[int, SolutionRow]]:
    if os.path.lexists(path):
        yield from ((number, row) for number, _, row in _SOLUTIONS.read(path, torn=torn))


def read_solutions(run: Path) -> Iterator[Solution]:
    """The solutions of a run's folder, one at a time. Raises `InputError`, naming the line, for a damaged one."""
    return (row.solution() for _, _, row in _SOLUTIONS.read(run / "solutions.jsonl"))


def _size(path: Path) -> int:
    return os.path.getsize(path) if os.path.isfile(path) else 0  # unlike a `Path`, it takes a name of any length


def check_run(path: Path, configuration: Mapping[str, Any]) -> None:
    """Raise `InputError` if a run with this configuration cannot be begun or continued in a folder; writes nothing."""
    _check_rows(path)
    if _size(path / "run.json"):
        _refuse_difference(path, _versioned(configuration))


def check_root(path: Path) -> None:
    """Make a folder in which runs are kept. Raises `InputError` where there can be none, and for a run's own folder."""
    if _size(path / "run.json"):
        raise InputError(f"{path}: is the folder of a run, and runs are to be kept in it: name another --out")
    make_folder(path)


def _versioned(configuration: Mapping[str, Any]) -> dict[str, Any]:
    return {"version": VERSION, **configuration}


def _check_rows(path: Path) -> None:
    """Without `run.json`, rows are somebody else's."""
    for name in (*ROWS, "run.json"):
        check_file(path / name)
    if _size(path / "run.json"):
        return
    if there := next((name for name in ROWS if _size(path / name)), None):
        raise InputError(f"{path}: holds {there} and no run.json that says which run it is of: name another --out")
    if runs := _runs_in(path):
        there = f"{counted(len(runs), 'run')}, such as {runs[0]}"
        raise InputError(f"{path}: holds {there}, and a run needs a folder of its own: give --out {path / 'NAME'}")


def _runs_in(path: Path) -> list[str]:
    """The names of the runs that are kept in a folder. Other files may be there, such as the log of a cluster's job."""
    try:
        return [name for name in sorted(os.listdir(path)) if os.path.isfile(path / name / "run.json")]
    except OSError:  # there is no folder, and making it says why there can be none
        return []


def _refuse_difference(path: Path, configuration: Mapping[str, Any]) -> None:
    before, now = read_configuration(path), json.loads(json.dumps(configuration))
    for name in sorted((before.keys() | now.keys()) - {FACTS}):
        there, here = before.get(name), now.get(name)
        if there == here:
            continue
        if name in COUNTING:
            as_before = f"give the same {name}" if there else f"leave the {name} out"
            raise InputError(
                f"{path}: the costs of its problems were counted with {_describe(name, there)}, and this run counts "
                f"them with {_describe(name, here, before=there)}: {as_before}, or remove this folder and solve them "
                "again (a sweep keeps its samples in pools/)"
            )
        there, here = ("none" if value in (None, [], {}, "") else value for value in (there, here))
        raise InputError(
            f"{path}: holds a run that differs in {name}: {there} there, {here} here. Give the same, or another --out"
        )


def _describe(name: str, given: Any, before: Any = None) -> str:
    """A price as it is typed; of a card, only a digest is known."""
    if not given:
        return f"no {name}"
    if name == "price" and isinstance(given, dict):
        return f"the price {', '.join(f'{model}={price}' for model, price in given.items())}"
    return f"a {name} that counts differently" if before else f"a {name}"
