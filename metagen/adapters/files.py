"""Rows as a file of JSON Lines or Parquet, one part at a time, put in its place when it is whole."""

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from metagen.adapters.rows import Row
from metagen.disk.files import check_file, refused_by_disk, replace_file
from metagen.disk.lines import encode_line
from metagen.distribution import how_to_install
from metagen.errors import InputError
from metagen.view.packing import whole

PART = 1024
"""Rows that are in memory at once."""
Value = TypeVar("Value")


def check_place(path: Path, *, ours: bool) -> None:
    """Raise `InputError` unless a file may be written there; one that is there is replaced only if it is ours."""
    check_file(path)
    if os.path.exists(path) and not ours:
        raise InputError(f"{path}: is there already: move it away, or name another file with --out")
    if not os.path.isdir(path.parent):
        raise InputError(f"{path}: cannot be written: there is no folder {path.parent}")


def write_rows(rows: Iterable[Row], path: Path) -> int:
    """Write Parquet where the name ends so, else JSON Lines; return how many rows there are."""
    write = _write_parquet if path.suffix.lower() == ".parquet" else _write_lines
    counted = Counted(rows)
    replace_file(path, lambda new: write(counted, new))
    return counted.count


class Counted(Iterable[Value]):
    """The same values, and how many have been taken."""

    def __init__(self, values: Iterable[Value]) -> None:
        self._values = values
        self.count = 0

    def __iter__(self) -> Iterator[Value]:
        for value in self._values:
            self.count += 1
            yield value


def _write_lines(rows: Iterable[Row], path: Path) -> None:
    with path.open("wb") as file:
        file.writelines(map(encode_line, rows))


def _write_parquet(rows: Iterable[Row], path: Path) -> None:
    try:
        import pyarrow  # noqa: PLC0415 (optional)
        from pyarrow import parquet  # noqa: PLC0415 (optional)
    except ImportError:
        raise InputError(f"{path}: writing Parquet needs pyarrow: {how_to_install('parquet')}") from None
    waiting = iter(rows)
    part = list(islice(waiting, PART))
    schema = pyarrow.schema([(name, _column(pyarrow, name, part[0][name])) for name in (part or [{}])[0]])
    with refused_by_disk(path), path.open("wb") as file, parquet.ParquetWriter(file, schema) as writer:
        while part:
            rows = list(map(_flat, part))
            try:
                table = pyarrow.Table.from_pylist(rows, schema)
            except UnicodeEncodeError:
                table = pyarrow.Table.from_pylist(whole(rows), schema)
            writer.write_table(table)
            part = list(islice(waiting, PART))


def _flat(row: Row) -> Row:
    """The row, once it is sure that a table loses nothing of it. Raises `InputError`."""
    turns = [turn for value in row.values() if _is_talk(value) for turn in value]
    if more := next((name for turn in turns for name in turn if name not in TURN), ""):
        raise InputError(
            f"problem {row['problem']!r}: a turn has {more!r}, and no column of Parquet: name a file .jsonl with --out"
        )
    return row


TURN = ("role", "content", "reasoning_content")
"""What a turn of a conversation has in a table."""
NUMBERS = {"number": "int64", "tokens": "int64", "right": "bool", "chosen": "bool", "cut": "bool"}
"""The columns that are neither texts nor scores."""


def _is_talk(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _column(pyarrow: Any, name: str, value: object) -> Any:
    """The type of a column, which is that of the first row's value unless its name says it."""
    if _is_talk(value):
        return pyarrow.list_(pyarrow.struct([(field, pyarrow.string()) for field in TURN]))
    if name.startswith("score"):
        return pyarrow.float64()
    if name == "steps":
        return pyarrow.list_(pyarrow.float64())
    if name in NUMBERS and not isinstance(value, str):
        return pyarrow.type_for_alias(NUMBERS[name])
    return pyarrow.string()
