from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metagen.disk.lines import CHUNK, Appender, drop_torn_line, read_lines
from metagen.errors import InputError

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
    assert written(tmp_path / "rows.jsonl", [{"text": "½ 日本\n\u2028"}]) == '{"text": "½ 日本\\n\u2028"}\n'.encode()


def test_a_line_torn_at_any_byte_is_dropped_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows: list[dict[str, Any]] = [{"a": 1}, {"b": "日本"}, {"c": [True]}]
    whole = written(path, rows)
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        complete = whole[:length].count(b"\n")
        assert written(path, [{"new": 1}]) == written(tmp_path / f"{length}.jsonl", [*rows[:complete], {"new": 1}])


@pytest.mark.parametrize("torn", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_a_torn_line_may_be_longer_than_what_is_read_at_once(tmp_path: Path, torn: int) -> None:
    path = tmp_path / "rows.jsonl"
    for whole in (b"", b"{}\n"):
        path.write_bytes(whole + b"x" * torn)
        drop_torn_line(path)
        assert path.read_bytes() == whole


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
        (b"{'a': 1}", "is not JSON"),
        (b'{"a": 1} {"b": 2}', "is not JSON"),
        (b'{"a": 1', "is not JSON"),
        (b'{"n": ' + b"9" * 5000 + b"}", "is not JSON"),
        (b'\xef\xbb\xbf{"a": 1}', "is not JSON"),
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
