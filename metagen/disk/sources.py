"""The rows of a file of others: JSON Lines, a JSON list, CSV, TSV, Parquet or Arrow, packed or not."""

import csv
import json
import re
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from metagen.disk.lines import read_lines
from metagen.disk.streams import begins, read_stream
from metagen.distribution import how_to_install
from metagen.errors import InputError

Rows = Iterator[tuple[str, Mapping[str, Any]]]
"""Each row with its place, such as `line 3`."""

BATCH = 1024
"""Rows of a Parquet or Arrow file that are in memory at once."""
MOST = 1 << 30
"""Bytes of a JSON list, which is in memory as a whole: a small packed file may hold any number."""

_PACKED = {".gz", ".bz2", ".xz", ".zst", ".zstd"}
_PARQUET = b"PAR1"
_ARROW = (b"ARROW1", b"\xff\xff\xff\xff")
"""How Arrow's two forms begin: the file, and the stream that `datasets` writes."""
_TABLES = {".csv": ",;\t", ".tsv": "\t"}
"""What may stand between the cells of a table; the one that the header has most of does."""
_OPENED = re.compile(r'(?:^|\t)"')
"""A cell that begins with a quote."""
_ENCLOSED = re.compile(r'(?:^|\t)"(?:[^"\t]|"")*"(?:\t|$)')
"""A cell in a line that begins and ends with a quote, and has none inside that is not doubled."""
_NO_CELL: Any = object()
"""In the place of each cell that a row lacks."""


def read_source(path: Path) -> Rows:
    """The rows of a file, one at a time; a JSON list alone is in memory as a whole.

    CSV, TSV and Parquet are known by their names, in letters of any case and before an end such as `.gz`; Parquet and
    Arrow by how they begin, and a list by its bracket; all else is JSON Lines. Raises `InputError`, naming the place.
    """
    suffix = next((each for each in reversed(path.suffixes) if each.lower() not in _PACKED), "").lower()
    if suffix in _TABLES:
        return _table(path, _TABLES[suffix])
    if suffix == ".parquet" or begins(path, 4) == _PARQUET:
        return _parquet(path)
    if begins(path, 6).startswith(_ARROW):
        return _arrow(path)
    is_json = suffix == ".json" or next(read_stream(path), b"").removeprefix(BOM_UTF8).lstrip().startswith(b"[")
    return _json(path) if is_json else _lines(path)


def _lines(path: Path) -> Rows:
    return ((f"line {number}", row) for number, row in read_lines(path))


def _json(path: Path) -> Rows:
    """The items of a list, or the lines of what is called `.json` and is JSON Lines."""
    try:
        rows = json.loads(_whole(path).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
            yield from _lines(path)
            return
        raise InputError(f"{path}: is not a JSON file: {error}") from None
    for number, row in enumerate(_listed(rows, path), 1):
        if not isinstance(row, dict):
            raise InputError(f"{path}, item {number}: must be an object, not {type(row).__name__}")
        yield f"item {number}", row


def _whole(path: Path) -> bytes:
    data = bytearray()
    for line in read_stream(path):
        data += line
        if len(data) > MOST:
            raise InputError(f"{path}: is a JSON file of more than {MOST >> 30} GiB: save it as JSON Lines")
    return bytes(data)


def _listed(value: Any, path: Path) -> list[Any]:
    """The list that a file holds; one object is one problem, unless it holds a list of them, which turns are not."""
    if not isinstance(value, dict | list):
        raise InputError(f"{path}: must hold a list of problems, not {type(value).__name__}")
    if isinstance(value, list):
        return value
    for name, inner in value.items():
        if isinstance(inner, list) and inner and all(isinstance(each, dict) and "role" not in each for each in inner):
            raise InputError(f"{path}: must hold a list of problems, not an object that has it in {name!r}: save that")
    return [value]


def _table(path: Path, delimiters: str) -> Rows:
    """The rows under a header. An empty cell has no value."""
    number, taken = 0, list[str]()
    try:
        lines = _decoded(path)
        header = next(lines, "")
        delimiter = max(delimiters, key=header.count)
        quoted = delimiter != "\t" or _encloses(path)
        table = csv.DictReader(
            chain([header], _noted(lines, taken)),
            restval=_NO_CELL,
            delimiter=delimiter,
            strict=True,
            quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        )
        names = table.fieldnames or ()
        _refuse_repeated(names, path)
        for number, row in enumerate(table, 1):
            if delimiter == "\t" and _is_unclear(taken, len(names)):
                raise InputError(
                    f"{path}, row {number}: is several rows if its quotes are a part of the text, and one if they "
                    "enclose a cell: save it as JSON Lines"
                )
            if None in row or _NO_CELL in row.values():
                wrong = "more" if None in row else "fewer"
                raise InputError(f"{path}, row {number}: has {wrong} cells than the header has names")
            taken.clear()
            yield f"row {number}", {name: cell or None for name, cell in row.items()}
    except UnicodeDecodeError:
        raise InputError(f"{path}, after row {number}: is not UTF-8 text: save it as UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{path}, after row {number}: is not CSV: {error}; JSON Lines hold any text") from None


def _refuse_repeated(names: Sequence[str], path: Path) -> None:
    """Refuse a header with a name that stands there twice: one cell would hide the other."""
    repeated = next((name for name, count in Counter(names).items() if name and count > 1), None)
    if repeated is not None:
        raise InputError(f"{path}: the header has the name {repeated!r} twice")


def _noted(lines: Iterable[str], taken: list[str]) -> Iterator[str]:
    """The same lines, each added to `taken` as it is read."""
    for line in lines:
        taken.append(line)
        yield line


def _encloses(path: Path) -> bool:
    """Whether quotes enclose cells between tabs. If some quote encloses nothing, all are a part of the text.

    Raises `InputError` where some enclose cells and others do not: quotes would be kept in every cell.
    """
    lines, taken = _decoded(path), list[str]()
    table = csv.reader(_noted(lines, taken), delimiter="\t", strict=True)
    size, number, some = 0, -1, False
    try:
        for cells in table:
            size, number = size or len(cells), number + bool(cells)
            some = some or bool(_OPENED.search("".join(taken)) and not _is_unclear(taken, size))
            taken.clear()
    except UnicodeDecodeError:
        return True  # the reading says where
    except csv.Error as error:
        if "field larger" in str(error) or "new-line" in str(error):
            return True  # likewise
        if some or any(_ENCLOSED.search(line.rstrip("\r\n")) for line in chain(taken, lines)):
            raise InputError(
                f"{path}, row {number + 1}: has quotes inside a cell: double them, or save the file as JSON Lines"
            ) from None
        return False
    return True


def _is_unclear(lines: Sequence[str], names: int) -> bool:
    """Whether the lines of one row may each be a row of their own, with a cell for each of the header's names."""
    full = [line for line in lines if line.strip()]
    return len(full) > 1 and names > 1 and all(line.count("\t") == names - 1 for line in full)


def _decoded(path: Path) -> Iterator[str]:
    return (line.decode("utf-8" if number else "utf-8-sig") for number, line in enumerate(read_stream(path)))


def _parquet(path: Path) -> Rows:
    def batches() -> Iterator[Any]:
        from pyarrow import parquet  # noqa: PLC0415 (optional)

        with parquet.ParquetFile(path) as file:
            yield from file.iter_batches(BATCH)

    return _batched(path, batches(), "Parquet")


def _arrow(path: Path) -> Rows:
    """The rows of Arrow's file or stream; what is read of it stays on disk until it is used."""

    def batches() -> Iterator[Any]:
        import pyarrow  # noqa: PLC0415 (optional)

        with pyarrow.memory_map(str(path)) as source:
            whole = begins(path, 6) == _ARROW[0]
            opened = pyarrow.ipc.open_file(source) if whole else pyarrow.ipc.open_stream(source)
            for batch in map(opened.get_batch, range(opened.num_record_batches)) if whole else opened:
                yield from (batch.slice(start, BATCH) for start in range(0, batch.num_rows, BATCH))

    return _batched(path, batches(), "Arrow")


def _batched(path: Path, batches: Iterator[Any], form: str) -> Rows:
    try:
        from pyarrow import ArrowException  # noqa: PLC0415 (optional)
    except ImportError:
        raise InputError(f"{path}: reading {form} needs pyarrow: {how_to_install('parquet')}") from None
    number = 0
    try:
        for batch in batches:
            for row in batch.to_pylist():
                number += 1
                yield f"row {number}", row
    except (ArrowException, OSError, ValueError, OverflowError) as error:  # the last two: dates that Python has not
        raise InputError(f"{path}: cannot be read as {form} after row {number}: {error}") from None
