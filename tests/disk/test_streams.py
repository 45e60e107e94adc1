import builtins
import bz2
import gzip
import lzma
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest

from metagen import InputError
from metagen.disk.streams import FOREIGN, read_stream

TEXT = '{"prompt": "Größe?"}\n{"prompt": "日本"}\r\n'


def zstd(data: bytes) -> bytes:
    return bytes(pyarrow.compress(data, codec="zstd"))


PACKED: list[Callable[[bytes], bytes]] = [gzip.compress, bz2.compress, lzma.compress, zstd]


@pytest.mark.parametrize("pack", [bytes, *PACKED])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a"])
def test_what_a_file_is_in_is_told_from_how_it_begins(
    tmp_path: Path, pack: Callable[[bytes], bytes], encoding: str, name: str
) -> None:
    (tmp_path / name).write_bytes(pack(TEXT.encode(encoding)))
    assert b"".join(read_stream(tmp_path / name)).decode() == TEXT
    assert len(list(read_stream(tmp_path / name))) == 2


@pytest.mark.parametrize("pack", PACKED)
@pytest.mark.parametrize("kept", [0.4, 0.95])
def test_a_file_that_was_cut_short_is_named(tmp_path: Path, pack: Callable[[bytes], bytes], kept: float) -> None:
    whole = pack(b"".join(b'{"prompt": "%d + %d?"}\n' % (n, n * n) for n in range(9000)))
    path = tmp_path / "cut.jsonl"
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(InputError, match=r"cut\.jsonl: cannot be read( after line \d+)?: \w+"):
        list(read_stream(path))


@pytest.mark.parametrize("pack", PACKED[:3])
def test_a_damaged_file_is_named(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    whole = bytearray(pack(b"".join(b"%d\n" % (n * n) for n in range(9000))))
    whole[len(whole) // 2 :] = bytes(len(whole) // 2)
    (tmp_path / "bad.gz").write_bytes(whole)
    with pytest.raises(InputError, match=r"bad\.gz: cannot be read"):
        list(read_stream(tmp_path / "bad.gz"))


@pytest.mark.parametrize("magic", FOREIGN)
def test_what_is_often_given_for_text_is_named_with_what_to_do(tmp_path: Path, magic: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(magic.upper() if magic.startswith(b"<") else magic + b"\x00rest")
    with pytest.raises(InputError, match=r"a\.jsonl: is .*: \w+") as said:
        list(read_stream(tmp_path / "a.jsonl"))
    assert FOREIGN[magic] in str(said.value)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes("ab".encode("utf-16") + b"\x00\xd8\x00")
    with pytest.raises(InputError, match=r"a\.jsonl, after line 0: is not text"):
        list(read_stream(tmp_path / "a.jsonl"))


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    """It would be empty where it is read again, and would wait for one who writes."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe: is a pipe, and it is read more than once: save it as a file first"):
        list(read_stream(tmp_path / "pipe"))


def test_zstd_without_its_library_names_two_remedies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name == "pyarrow":
            raise ImportError
        return real(name, *rest)

    (tmp_path / "a.zst").write_bytes(zstd(b"{}\n"))
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(
        InputError, match=r"a\.zst: reading zstd needs pyarrow: .*parquet.*, or unpack it with `unzstd`"
    ):
        list(read_stream(tmp_path / "a.zst"))


def test_a_packed_file_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.gz", "wb", compresslevel=1) as file:
        for number in range(100_000):
            file.write(b"this is line number %d of many\n" % number)
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_stream(tmp_path / "a.gz")) == 100_000
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()
