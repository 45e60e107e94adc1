"""Files of others as lines of UTF-8, whatever they are packed or encoded in; what is no text is named."""

import bz2
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, AnyStr

from metagen.distribution import how_to_install
from metagen.errors import InputError

LONGEST = 1 << 28
"""Bytes of one line of a packed file: a small one may hold a line of any length."""
BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""What reading a packed file may raise."""

FOREIGN = {
    b"PAR1": "is Parquet: call it .parquet",
    b"PK\x03\x04": "is a ZIP archive, as .xlsx is too: unpack it, or save it as .csv or .jsonl",
    b"SQLite format 3": "is an SQLite database: save the table as .csv or .jsonl",
    b"\x93NUMPY": "is an array of NumPy: save it as .jsonl",
    b"version https://git-lfs": "is a pointer of Git LFS: run `git lfs pull`",
    b"<!doctype html": "is a web page: download the file itself",
    b"<html": "is a web page: download the file itself",
}
"""How files begin, in lower case, that are often given for others, and what to do about it."""


def read_stream(path: Path) -> Iterator[bytes]:
    """The lines of a file in UTF-8, one at a time: of gzip, bzip2, xz or zstd, and of UTF-16 or UTF-32 too.

    What it is in is told from how it begins, never from its name. zstd needs pyarrow. A byte order mark is left where
    it is. Raises `InputError`, naming the file, for what cannot be read and for what is no text.
    """
    number = 0
    try:
        with _unpacked(path) as file:
            for line in _encoded(file, path, LONGEST if packed_as(begins(path)) else -1):
                number += 1
                yield line
    except UnicodeError as error:
        raise InputError(f"{path}, after line {number}: is not text: {error}") from None
    except BROKEN as error:
        said = getattr(error, "strerror", None) or str(error)
        after = f" after line {number}" if number else ""
        raise InputError(f"{path}: cannot be read{after}: {said}") from None


def begins(path: Path, size: int = 32) -> bytes:
    """The first bytes of a file. Raises `InputError` for what is no file that can be read twice."""
    try:
        if (is_pipe := path.is_fifo()) or path.is_char_device():
            kind = "pipe" if is_pipe else "device"
            raise InputError(f"{path}: is a {kind}, and it is read more than once: save it as a file first")
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _unpacked(path: Path) -> IO[bytes]:
    if (magic := packed_as(begins(path))) is None:
        return path.open("rb")
    file: IO[bytes] = _PACKED[magic](path)
    return file


def packed_as(data: bytes) -> bytes | None:
    """How packed data begins; `None` for what is not packed."""
    return next((magic for magic in _PACKED if data.startswith(magic)), None)


def _zstd(path: Path) -> IO[bytes]:
    try:
        import pyarrow  # noqa: PLC0415 (optional)
    except ImportError:
        raise InputError(
            f"{path}: reading zstd needs pyarrow: {how_to_install('parquet')}, or unpack it with `unzstd`"
        ) from None
    return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))


_PACKED: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": _zstd,
}
"""What packed files begin with, and how each is opened."""


def _encoded(file: Any, path: Path, longest: int) -> Iterator[bytes]:
    """The lines in UTF-8, which may be so long, or of any length at -1. `file` can be peeked into."""
    head = file.peek(32)[:32]
    if said := next((said for magic, said in FOREIGN.items() if head.lower().startswith(magic.lower())), ""):
        raise InputError(f"{path}: {said}")
    if (encoding := json.detect_encoding(head)).startswith("utf-8"):
        yield from file if longest < 0 else _limited(file, path, longest)
        return
    text = io.TextIOWrapper(file, encoding, newline="\n")
    try:
        for line in text if longest < 0 else _limited(text, path, longest):
            yield line.encode(errors="surrogatepass")
    finally:
        text.detach()  # whoever opened the file closes it


def _limited(file: IO[AnyStr], path: Path, longest: int) -> Iterator[AnyStr]:
    while line := file.readline(longest + 1):
        if len(line) > longest:
            raise InputError(f"{path}: is packed and holds a line of more than {longest >> 20} MiB: unpack it first")
        yield line
