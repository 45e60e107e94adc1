import errno
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metagen.disk.files import replace_text
from metagen.disk.lines import CHUNK, SYNC_SECONDS, Appender, Reader, read_lines
from metagen.errors import InputError, StorageError

OBJECTS: Reader[dict[str, Any]] = Reader(dict[str, Any])

lone_surrogates = st.text(st.characters(categories=["Cs"], max_codepoint=0xDBFF), max_size=3)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | lone_surrogates,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
rows_of_values: st.SearchStrategy[list[dict[str, Any]]] = st.lists(
    st.dictionaries(st.text() | lone_surrogates, values, max_size=3), max_size=3
)


def written(path: Path, rows: list[dict[str, Any]]) -> bytes:
    with Appender(path) as appender:
        appender.write(rows)
    return path.read_bytes()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lines") / "rows.jsonl"


@settings(deadline=None)
@given(rows=rows_of_values, more=rows_of_values)
def test_what_is_appended_is_read_back(path: Path, rows: list[dict[str, Any]], more: list[dict[str, Any]]) -> None:
    path.unlink(missing_ok=True)
    written(path, rows)
    written(path, more)
    assert list(read_lines(path)) == list(enumerate(rows + more, 1))


def test_a_file_is_readable_text(tmp_path: Path) -> None:
    assert written(tmp_path / "rows.jsonl", [{"text": "½ 日本\n\u2028"}]) == '{"text":"½ 日本\\n\u2028"}\n'.encode()


ROWS: list[dict[str, Any]] = [{"a": 1}, {"b": "日本"}, {"c": [True]}]


def test_a_line_torn_at_any_byte_is_cut_off_and_kept_beside_it(tmp_path: Path) -> None:
    path, torn = tmp_path / "rows.jsonl", tmp_path / "rows.jsonl.torn"
    lines = written(path, ROWS).splitlines(keepends=True)
    whole = b"".join(lines)
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        torn.unlink(missing_ok=True)
        rows = [line for line in lines if whole.index(line) + len(line) - 1 <= length]
        assert written(path, [{"new": 1}]) == b"".join(rows) + b'{"new":1}\n'
        cut = whole[len(b"".join(rows)) : length]
        assert (torn.read_bytes() if cut else torn.exists()) == (cut + b"\n" if cut else False)


def test_a_whole_last_line_that_lacks_its_end_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    for text in ('{"a": 1}', '{"a": 1}\n{"b": 2}', '{"a": 1}\n{"b": 2}  '):
        path.write_text(text)
        assert written(path, [{"c": 3}]).decode() == text + '\n{"c":3}\n'
    assert [file.name for file in tmp_path.iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize("torn", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_a_torn_line_may_be_longer_than_what_is_read_at_once(tmp_path: Path, torn: int) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"{}\n" + b"x" * torn)
    assert written(path, [{}]) == b"{}\n{}\n"
    assert (tmp_path / "rows.jsonl.torn").read_bytes() == b"x" * torn + b"\n"


FOREIGN = [
    b'[{"a": 1}]',
    b"x",
    b"notes without an end",
    b"\x00\x00",
    b" ",
    b'"',
    b"7",
    b"{ int main; }",
    b"PK\x03\x04\xff",
]


def test_a_byte_order_mark_may_begin_any_line(tmp_path: Path) -> None:
    """Editors put one at the start, and `cat` puts it in the middle."""
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"a": 1}\n{"a": 2}\n\xef\xbb\xbf{"a": 3}\n')
    assert [row["a"] for _, row in read_lines(tmp_path / "a.jsonl")] == [1, 2, 3]
    assert [row["a"] for *_, row in OBJECTS.read(tmp_path / "a.jsonl")] == [1, 2, 3]


@pytest.mark.parametrize("content", FOREIGN)
def test_a_file_that_is_not_ours_is_refused_and_left_as_it_was(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"rows.jsonl: was not written by metagen: move it away"):
        Appender(path)
    with pytest.raises(InputError, match="was not written by metagen"):
        list(OBJECTS.read(path, torn=True))
    assert path.read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 1


def test_a_line_that_was_cut_short_is_refused_where_it_matters(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n{"b')
    with pytest.raises(InputError, match=r"rows\.jsonl, line 2: was cut short: run the command that writes this file"):
        list(OBJECTS.read(path))
    path.write_bytes(b'{"a": 1}\n{"b\n')
    with pytest.raises(InputError, match="line 2: is not JSON"):
        list(OBJECTS.read(path))
    for line, said in ((b"{'b': 2}", "is not JSON"), ('{"b": "\xe9"}'.encode("latin-1"), "is not UTF-8 text")):
        path.write_bytes(b'{"a": 1}\n' + line)
        with pytest.raises(InputError, match=f"line 2: {said}"):
            list(OBJECTS.read(path))
    path.write_bytes(b'{"a": 1}\n{"b": 2}')
    assert [row for *_, row in OBJECTS.read(path)] == [{"a": 1}, {"b": 2}]


def test_nothing_is_changed_before_the_first_row_is_written(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n{"b')
    with Appender(path):
        assert list(OBJECTS.read(path, torn=True)) == [(1, 0, {"a": 1})]
    assert path.read_bytes() == b'{"a": 1}\n{"b'


@pytest.mark.parametrize("target", [b"", b'{"a": 1}\n', b"text", None])
def test_a_link_is_not_followed(tmp_path: Path, target: bytes | None) -> None:
    other, link = tmp_path / "other", tmp_path / "rows.jsonl"
    if target is not None:
        other.write_bytes(target)
    link.symlink_to(other)
    with pytest.raises(InputError, match="cannot be written: it is a link, so name the file itself"):
        Appender(link)
    assert (other.read_bytes() if other.exists() else None) == target


def test_what_is_torn_is_not_kept_behind_a_link(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("mine")
    (tmp_path / "rows.jsonl.torn").symlink_to(other)
    (tmp_path / "rows.jsonl").write_bytes(b'{"a": 1}\n{"b')
    with pytest.raises(StorageError):
        written(tmp_path / "rows.jsonl", [{}])
    assert other.read_text() == "mine"
    assert (tmp_path / "rows.jsonl").read_bytes() == b'{"a": 1}\n{"b'


def test_rows_begin_where_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}')
    with Appender(path) as appender:
        starts = [*appender.write(ROWS), *appender.write([]), *appender.write(ROWS[:1])]
    whole = path.read_bytes()
    assert [json.loads(whole[start:].splitlines()[0]) for start in starts] == [*ROWS, ROWS[0]]


def test_on_a_full_disk_a_file_ends_with_its_last_whole_row(tmp_path: Path, full: Callable[[int], None]) -> None:
    path = tmp_path / "rows.jsonl"
    row = {"text": "x" * 100}
    length = len(json.dumps(row)) + 1
    for room in (0, length // 2, length, 5 * length // 2, 3 * length):
        path.unlink(missing_ok=True)
        with Appender(path) as appender:
            full(room)
            with pytest.raises(StorageError, match=r"rows.jsonl: the disk takes no more: File too large"):
                appender.write([row] * 4)
            full(1 << 20)
        assert list(read_lines(path)) == list(enumerate([row] * (room // length), 1))
        assert written(path, [{}]).endswith(b"}\n{}\n" if room >= length else b"{}\n")


def test_what_is_written_is_forced_onto_the_disk_in_a_rhythm_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    clock = [0.0]
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_size))
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with Appender(tmp_path / "rows.jsonl") as appender:
        for clock[0] in (0.0, 1.0, SYNC_SECONDS, SYNC_SECONDS + 1, 2 * SYNC_SECONDS, 3 * SYNC_SECONDS - 0.1):
            appender.write([{}])
    assert synced == [9, 15, 18]
    with Appender(tmp_path / "rows.jsonl"):
        pass
    assert len(synced) == 3


def test_what_a_file_is_about_is_forced_onto_the_disk_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    clock = [0.0]
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_size))
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with Appender(tmp_path / "first.jsonl") as first:
        clock[0] = 1.0  # so its time comes later
        with Appender(tmp_path / "then.jsonl", after=first) as then:
            first.write([{}, {}])
            clock[0] = SYNC_SECONDS
            then.write([{}])
            clock[0] = SYNC_SECONDS + 1.0
            first.write([{}])
            then.write([{}, {}])
            assert synced == [9, 9]
    assert synced == [9, 9]


def test_rows_are_on_disk_before_the_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with Appender(path) as appender:
        appender.write([{"a": 1}])
        assert list(read_lines(path)) == [(1, {"a": 1})]


def test_blank_lines_are_passed_over_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('\n{"a": 1}\r\n  \n{"b": 2}')
    assert list(read_lines(path)) == [(2, {"a": 1}), (4, {"b": 2})]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "is not JSON"),
        (b"{'a': 1}", "is not JSON: Expecting property name enclosed in double quotes at character 2; each line"),
        (b'{"a": 1} {"b": 2}', "is not JSON: Extra data at character 10; each line must be one JSON object"),
        (b'{"a": 1', "is not JSON"),
        (b'{"a\x01": 1}', "is not JSON: Invalid control character at character 4; each line must be one JSON object"),
        (b'{"n": ' + b"9" * 5000 + b"}", "is not JSON"),
        (b'\xef\xbb\xbf\xef\xbb\xbf{"a": 1}', "is not JSON"),
        (b'{"a": "\xff"}', "is not UTF-8 text"),
        ('{"a": 1}'.encode("utf-16-le"), "is not JSON"),
        (b"\x00", "is not JSON"),
        (b"[" * 100_000, "is nested too deeply"),
        (b"[1, 2]", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
        (b"null", "must be a JSON object"),
    ],
)
def test_an_error_names_file_and_line(tmp_path: Path, line: bytes, said: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b"\n")
    with pytest.raises(InputError) as error:
        list(read_lines(path))
    assert str(error.value).startswith(f"{path}, line 2: {said}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["missing.jsonl", ".", "n" * 300])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"cannot be read: \w+"):
        list(read_lines(tmp_path / name))


@pytest.mark.parametrize("name", ["missing/rows.jsonl", ".", "n" * 300])
def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"cannot be written: \w+"):
        Appender(tmp_path / name)


def test_numbers_that_are_not_finite_are_no_nulls(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"a": None, "logprobs": [-1.5, float("-inf")]}, {"verdicts": (float("inf"), None)}]
    path = tmp_path / "lines.jsonl"
    with Appender(path) as lines:
        lines.write(rows)
    kept = [row for _, row in read_lines(path)]
    assert kept == [{"a": None, "logprobs": [-1.5, float("-inf")]}, {"verdicts": [float("inf"), None]}]


def test_a_file_system_without_modes_takes_whole_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fchmod", refuse)
    replace_text(tmp_path / "table.md", "7\n")
    assert (tmp_path / "table.md").read_text() == "7\n"
    assert [each.name for each in tmp_path.iterdir()] == ["table.md"]
