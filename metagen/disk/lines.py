"""JSON Lines on disk: whole lines, appended and flushed, so that a kill loses at most the line being written.

Lines are read by msgspec, and what it refuses is read again by the standard library, which takes more (half of a
surrogate pair, `NaN`, numbers past the range of floats) and says better what is wrong.
"""

import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from math import isfinite
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import msgspec

from metagen.disk.files import NO_LINK, cannot_open, keep_torn, refused_by_disk, replace_file
from metagen.disk.streams import packed_as, read_stream
from metagen.errors import InputError, StorageError
from metagen.settings import as_str
from metagen.system import lock

CHUNK = 1 << 16
SYNC_SECONDS = 5.0
"""How often what is appended is forced onto the disk. A killed process loses nothing by waiting; only a machine that
stops does. By the clock, and not by the line, it costs under one per cent at any speed."""

Row = TypeVar("Row")

REMEDY = "run the command that writes this file again, or delete the line"
"""For a last line that is no whole object and has no end."""

_WRITER = json.JSONEncoder(ensure_ascii=False)
_AT = re.compile(r" - at `\$\.?(.*?)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*?)`")


def _needed(form: type) -> tuple[str, ...]:
    """The fields that every row of this form has."""
    if isinstance(form, type) and issubclass(form, msgspec.Struct):  # `dict[str, Any]` is no class
        return tuple(each.name for each in msgspec.structs.fields(form) if each.required)
    return ()


class Reader(Generic[Row]):
    """Reads the lines of a file as rows of one form: a `msgspec.Struct`, or `dict[str, Any]` for any object."""

    def __init__(self, form: type[Row]) -> None:
        self._form = form
        self._decoder = msgspec.json.Decoder(form, strict=False)
        self._needed = _needed(form)

    def read(self, path: Path, *, torn: bool = False) -> Iterator[tuple[int, int, Row]]:
        """The rows of a file with their line numbers and first bytes, one at a time. Blank lines are passed over.

        With `torn`, a last line that a kill cut short is passed over too. Raises `InputError`, naming the line, for
        what is not a JSON object of this form in UTF-8.
        """
        start = 0
        try:
            with path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if not line.endswith(b"\n") and is_torn(line, path, alone=torn and not start):
                        if torn:
                            return
                        if line.startswith(b"{") and not line.rstrip().endswith(b"}"):
                            raise InputError(f"{path}, line {number}: was cut short: {REMEDY}")
                    if not line.isspace():
                        yield number, start, self.row(line, path, number)
                    start += len(line)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from None

    def row(self, line: bytes, path: Path, number: int) -> Row:
        """One line as a row. Raises `InputError`, naming the line and the field."""
        try:
            return self._decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._converted(line, f"{path}, line {number}")

    def _converted(self, line: bytes, where: str) -> Row:
        value = _object(line, where)
        try:
            return msgspec.convert(value, self._form, strict=False)
        except msgspec.ValidationError as error:
            missing = [name for name in self._needed if name not in value]
            raise InputError(f"{where}: {_fault(str(error), missing)}") from None
        except UnicodeError:  # half of a surrogate pair where a number should be
            raise InputError(f"{where}: has a text that is none in UTF-8") from None
        except RecursionError:
            raise InputError(f"{where}: is nested too deeply") from None


_OBJECTS: Reader[dict[str, Any]] = Reader(dict[str, Any])


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file with their line numbers, one at a time. Blank lines are passed over.

    The file may be packed, and in any Unicode, as `read_stream` takes it. Raises `InputError`, naming the line, for
    what is not a JSON object.
    """
    for number, line in enumerate(read_stream(path), 1):
        if not line.isspace():
            yield number, _OBJECTS.row(line, path, number)


Wanted = Callable[[Mapping[str, Any]], bool]


def rewrite(path: Path, wanted: Wanted, moved: Wanted | None = None) -> None:
    """Replace a file by one with only the lines that are wanted.

    A torn last one, and those others that are to be `moved`, are kept in `NAME.torn`.
    """

    def write(new: Path) -> None:
        others = bytearray()
        with path.open("rb") as file, new.open("wb") as kept:
            for _, start, row in _OBJECTS.read(path, torn=True):
                file.seek(start)
                text = file.readline().rstrip(b"\n")
                if wanted(row):
                    kept.write(text + b"\n")
                elif moved and moved(row):
                    others += text + b"\n"
            if others := others + file.read().strip():
                keep_torn(path, bytes(others))

    if path.exists():
        replace_file(path, write)


def cut_end(path: Path, wanted: Wanted) -> None:
    """Move the last lines of a file to `NAME.torn`, up to the last that is wanted. Only these are read, backwards.

    Raises `InputError`, naming the line, for what is not a JSON object.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        start = _after_wanted(file.fileno(), end, path, wanted)
        if start == end:
            return
        file.seek(start)
        keep_torn(path, file.read())
    with refused_by_disk(path):
        os.truncate(path, start)


def _after_wanted(file: int, end: int, path: Path, wanted: Wanted) -> int:
    """Where the last line that is wanted ends."""
    while end > 0:
        start = _after_last_end(file, end - 1)
        line = os.pread(file, end - start, start)
        torn = not line.endswith(b"\n") and is_torn(line, path, alone=not start)
        if not torn and not line.isspace() and wanted(_numbered(file, line, path, start)):
            break
        end = start
    return end


def _numbered(file: int, line: bytes, path: Path, start: int) -> Mapping[str, Any]:
    """The line that begins at `start` as an object; its number is counted only for an error."""
    try:
        return _OBJECTS.row(line, path, 0)
    except InputError:
        return _OBJECTS.row(line, path, 1 + os.pread(file, start, 0).count(b"\n"))


def ends_torn(path: Path) -> bool:
    """Whether the last line of a file was cut short, or is being written.

    Raises `InputError` if it shows that the file is not ours, or if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            start = _after_last_end(file.fileno(), end)
            line = os.pread(file.fileno(), end - start, start)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    return bool(line.strip()) and is_torn(line, path, alone=not start)


def is_torn(line: bytes, path: Path, *, alone: bool) -> bool:
    """Whether a last line without its end was cut short; if it is a whole object, only its end is missing.

    Raises `InputError` if it is `alone` in its file and begins like none of our lines: then the file is not ours.
    """
    try:
        _object(line, "")
    except InputError:
        if alone and not line.startswith(b'{"'[: len(line)]):
            raise InputError(f"{path}: was not written by metagen: move it away, or name another file") from None
        return True
    return False


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("utf-8-sig"))  # editors put a byte order mark there
    except UnicodeDecodeError:
        remedy = "is packed: unpack it first" if packed_as(line) else "is not UTF-8 text: save it as UTF-8"
        raise InputError(f"{where}: {remedy}") from None
    except RecursionError:
        raise InputError(f"{where}: is nested too deeply") from None
    except ValueError as error:
        why: object = error
        if isinstance(error, json.JSONDecodeError):
            why = f"{error.msg.removesuffix(' at')} at character {error.pos + 1}"
        raise InputError(f"{where}: is not JSON: {why}; each line must be one JSON object") from None
    if not isinstance(value, dict):
        raise InputError(f'{where}: must be a JSON object, such as {{"prompt": ...}}, not {type(value).__name__}')
    return value


def _fault(said: str, missing: Sequence[str]) -> str:
    """What msgspec says is wrong, with the field in front; one that is missing says more than one too many."""
    if not (found := _AT.search(said)) and missing:
        return f"field {missing[0]!r}: Field required"
    if unknown := _UNKNOWN.match(said):
        return f"field {unknown[1]!r}: there is no such field"
    return f"field {found[1]!r}: {said[: found.start()]}" if found else said


class Appender:
    """Appends objects to a file, one line each, flushed at once; one process at a time.

    Nothing is changed before the first row is written: then a torn last line is cut off and kept in `NAME.torn`, and a
    whole one gets its missing end. What is appended is forced onto the disk every `SYNC_SECONDS`, and at the end; what
    was appended to the file `after`, which this one is about, is forced there first.

    Raises `InputError` if the file cannot be written, is a link or no file of ours, or is being written by someone
    else; and `StorageError` if the disk takes no more, after which the file ends with the last whole row.
    """

    def __init__(self, path: Path, after: "Appender | None" = None) -> None:
        self.path = path
        self._after = after
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | NO_LINK, 0o666)
        except OSError as error:
            raise cannot_open(path, error) from None
        try:
            self._claim()
            self._tail = self._unended()
        except BaseException:
            os.close(self._file)
            raise
        self._end: int | None = None
        """Where the next row goes, once the last line is mended."""
        self._dirty, self._due = False, time.monotonic() + SYNC_SECONDS

    def write(self, rows: Iterable[Mapping[str, Any]]) -> list[int]:
        """Append all rows with one flush; return where each begins, in bytes from the start of the file."""
        return self.append([encode_line(row) for row in rows])

    def append(self, lines: Sequence[bytes]) -> list[int]:
        """The same for rows that are lines already."""
        starts = list(accumulate(map(len, lines), initial=self.mend()))
        self._append(b"".join(lines), starts)
        self._end = starts[-1]
        if time.monotonic() >= self._due:
            self.sync()
        return starts[:-1]

    def mend(self) -> int:
        """End the last line, or cut it off, as before the first row; return where the file ends then."""
        if self._end is None:
            self._end = self._mended()
        return self._end

    def sync(self) -> None:
        """Force what is appended onto the disk. Raises `StorageError` if the file is in no folder any more."""
        if self._dirty:
            if self._after:
                self._after.sync()
            with refused_by_disk(self.path):
                os.fsync(self._file)
            if not os.fstat(self._file).st_nlink:
                raise StorageError(f"{self.path}: was removed while it was being written, and what it held with it")
        self._dirty, self._due = False, time.monotonic() + SYNC_SECONDS

    def close(self) -> None:
        try:
            self.sync()
        finally:
            os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _claim(self) -> None:
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            raise InputError(f"{self.path}: cannot be written: it is no file")
        try:
            lock(self._file, self.path)
        except OSError:
            raise InputError(f"{self.path}: is being written by another process") from None

    def _unended(self) -> int:
        """Where a last line without its end begins. Raises `InputError` if it shows that the file is not ours."""
        end = os.lseek(self._file, 0, os.SEEK_END)
        start = _after_last_end(self._file, end)
        if start < end:
            is_torn(os.pread(self._file, end - start, start), self.path, alone=not start)
        return start

    def _mended(self) -> int:
        end = os.lseek(self._file, 0, os.SEEK_END)
        if self._tail == end:
            return end
        line = os.pread(self._file, end - self._tail, self._tail)
        if is_torn(line, self.path, alone=not self._tail):
            keep_torn(self.path, line)
            os.ftruncate(self._file, self._tail)
            return self._tail
        self._append(b"\n", [end])
        return end + 1

    def _append(self, data: bytes, starts: list[int]) -> None:
        """Write it all, or as much as leaves whole rows."""
        self._dirty = True
        with refused_by_disk(self.path):
            try:
                write_all(self._file, data)
            except OSError:
                written = os.lseek(self._file, 0, os.SEEK_END)
                self._end = max(start for start in starts if start <= written)
                os.ftruncate(self._file, self._end)
                raise


def write_all(file: int, data: bytes) -> None:
    """Write to a descriptor until all is written."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def encode_line(row: Mapping[str, Any]) -> bytes:
    """One line. Half of a surrogate pair, which a JSON string may hold, is written as JSON's own escape.

    Numbers that are not finite are written as Python does (`-Infinity`): msgspec would turn them into null, which means
    that there is no verdict or no log-probability.
    """
    try:
        line = msgspec.json.encode(row, enc_hook=as_str)
        if b"null" not in line or _is_finite(row):
            return line + b"\n"
    except UnicodeEncodeError:
        pass
    return f"{_WRITER.encode(row)}\n".encode(errors="backslashreplace")


def _is_finite(value: object) -> bool:
    """Whether all numbers in some plain data are finite."""
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or isfinite(value)


def _after_last_end(file: int, end: int) -> int:
    """Where what follows the last line end begins."""
    while end > 0:
        start = max(0, end - CHUNK)
        if (at := os.pread(file, end - start, start).rfind(b"\n")) >= 0:
            return start + at + 1
        end = start
    return 0
