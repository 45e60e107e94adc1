"""JSON Lines on disk: whole lines, appended and flushed, so that a kill loses at most the line being written."""

import json
from collections.abc import Iterable, Iterator, Mapping
from os import SEEK_END
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from metagen.errors import InputError
from metagen.system import lock

CHUNK = 1 << 16


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file with their line numbers, one at a time. Blank lines are passed over.

    Raises `InputError`, naming the line, for what is not a JSON object in UTF-8.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, _object(line, f"{path}, line {number}")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError:
        raise InputError(f"{where}: is not UTF-8 text") from None
    except RecursionError:
        raise InputError(f"{where}: is nested too deeply") from None
    except ValueError as error:
        raise InputError(f"{where}: is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InputError(f'{where}: must be a JSON object, such as {{"prompt": ...}}, not {type(value).__name__}')
    return value


class Appender:
    """Appends objects to a file, one line each, flushed at once; one process at a time.

    A torn last line is dropped when it is opened. Raises `InputError` if the file cannot be written, or is being
    written by someone else.
    """

    def __init__(self, path: Path) -> None:
        try:
            # Half of a surrogate pair, which a JSON string may hold, is written as JSON's own escape.
            self._file = path.open("a", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror}") from None
        try:
            lock(self._file)
        except OSError:
            self._file.close()
            raise InputError(f"{path}: is being written by another process") from None
        drop_torn_line(path)

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append all rows with one flush."""
        self._file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


def drop_torn_line(path: Path) -> None:
    """Cut off what follows the last line end: it was being written when its writer died."""
    with path.open("r+b") as file:
        end = file.seek(0, SEEK_END)
        while end > 0:
            start = max(0, end - CHUNK)
            file.seek(start)
            if (at := file.read(end - start).rfind(b"\n")) >= 0:
                file.truncate(start + at + 1)
                return
            end = start
        file.truncate(0)
