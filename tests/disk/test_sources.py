import gzip
import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from metagen import InputError
from metagen.disk.sources import read_source

ROWS: list[dict[str, Any]] = [{"prompt": "1 + 1?", "answer": "2"}, {"prompt": "a, b;\tc\nd?", "answer": None}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
LIST = json.dumps(ROWS, indent=2).encode()
TSV = b'answer\tprompt\n2\t1 + 1?\n\n\t"a, b;\tc\nd?"\n'
CSV = b'prompt,answer\n1 + 1?,2\n"a, b;\tc\nd?",\n'


@pytest.mark.parametrize(
    ("name", "data", "place"),
    [
        ("p.jsonl", LINES, "line"),
        ("p.JSONL", LINES, "line"),
        ("p.txt", LINES, "line"),
        ("p", LINES, "line"),
        ("p.jsonl.gz", gzip.compress(LINES, mtime=0), "line"),
        ("p.json", LIST, "item"),
        ("p.jsonl", LIST, "item"),
        ("p.jsonl", b"\xef\xbb\xbf" + LIST, "item"),
        ("p.jsonl.gz", gzip.compress(json.dumps(ROWS).encode(), mtime=0), "item"),
        ("p.JSON", LIST, "item"),
        ("p.json", b"\xef\xbb\xbf" + LIST, "item"),
        ("p.json.gz", gzip.compress(LIST, mtime=0), "item"),
        ("p.json", json.dumps(ROWS).encode("utf-16"), "item"),
        ("p.json", LINES, "line"),
        ("p.json", b"\xef\xbb\xbf" + LINES, "line"),
        ("p.json", LINES.decode().encode("utf-16"), "line"),
        ("p.csv", CSV, "row"),
        ("p.CSV", CSV, "row"),
        ("p.csv.gz", gzip.compress(CSV, mtime=0), "row"),
        ("p.csv", b"\xef\xbb\xbf" + CSV.replace(b"answer", b'"answer"'), "row"),
        ("p.csv", b'prompt,answer\n\n1 + 1?,2\n\n"a, b;\tc\nd?",\n\n', "row"),
        ("p.csv", b'prompt;answer\r\n1 + 1?;2\r\n"a, b;\tc\nd?";\r\n', "row"),
        ("p.tsv", TSV, "row"),
        ("p.tsv", TSV.decode().encode("utf-16"), "row"),
    ],
)
def test_a_file_is_read_by_its_name_and_its_beginning(tmp_path: Path, name: str, data: bytes, place: str) -> None:
    (tmp_path / name).write_bytes(data)
    assert list(read_source(tmp_path / name)) == [(f"{place} {number}", row) for number, row in enumerate(ROWS, 1)]


@pytest.mark.parametrize("name", ["p.parquet", "p.PARQUET", "p.pq", "train-00000-of-00001"])
def test_parquet_is_known_by_its_name_or_its_beginning(tmp_path: Path, name: str) -> None:
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / name)
    assert [row for _, row in read_source(tmp_path / name)] == ROWS


def test_a_date_that_python_has_not_is_one_line(tmp_path: Path) -> None:
    column = pyarrow.array([10**15], pyarrow.timestamp("s"))
    parquet.write_table(pyarrow.table({"prompt": ["?"], "when": column}), tmp_path / "p.parquet")
    with pytest.raises(InputError, match=r"p\.parquet: cannot be read as Parquet after row 0"):
        list(read_source(tmp_path / "p.parquet"))
    parquet.write_table(pyarrow.table({"prompt": ["?"], "when": [date(2024, 1, 2)]}), tmp_path / "p.parquet")
    assert [row["when"] for _, row in read_source(tmp_path / "p.parquet")] == [date(2024, 1, 2)]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("p.json", b'{"data": [{"prompt": "?"}]}', "must hold a list of problems, not an object that has it in 'data'"),
        ("p.json", b"7", "must hold a list of problems, not int"),
        ("p.json", b"[7]", "item 1: must be an object, not int"),
        ("p.json", b'{"prompt": "?"}\n7\n', "line 2: must be a JSON object"),
        ("p.json", b'{\n"prompt"', "is not a JSON file"),
        ("p.json", b'["\xff"]', "is not a JSON file"),
        ("p.json", b"[" * 100_000, "is not a JSON file"),
        ("p.csv", b"prompt,answer\n?,1,2\n", "row 1: has more cells than the header has names"),
        ("p.csv", b"prompt,answer\n?,1\n!\n", "row 2: has fewer cells than the header has names"),
        ("p.csv", b"prompt,answer,answer\n?,1,2\n", "the header has the name 'answer' twice"),
        ("p.csv", b'prompt,answer\n"1 + 1?,2\n2 + 2?,4\n', "after row 0: is not CSV: unexpected end of data"),
        ("p.csv", b'prompt,answer\n"1" + 1?,2\n', "after row 0: is not CSV: ',' expected after '\"'"),
        ("p.csv", "prompt\nGröße?\n".encode("latin-1"), "after row 0: is not UTF-8 text: save it as UTF-8"),
        ("p.csv", b"prompt\n" + b"x" * 200_000, "is not CSV: field larger than field limit"),
        ("p.csv", b"prompt\ra?\rb?\r", "is not CSV"),
        ("p.tsv", b'prompt\tanswer\n"a is\t5\nb is"\t6\n', "row 1: is several rows if its quotes are a part of"),
        ("p.tsv", b'prompt\tanswer\n"a is\t5\nb is\t6"\n', "row 1: is several rows if its quotes are a part of"),
        ("p.tsv", b'prompt\tanswer\n"one\ntwo"\t3\nx\n', "row 2: has fewer cells than the header has names"),
        ("p.tsv", b'prompt\tanswer\n"one\ntwo"\t3\n"say ""x"""\t4\t5\n', "row 2: has more cells than the header"),
        ("p.tsv", b'prompt\tanswer\n\n"one\ntwo"\t3\n"a" b\t4\n', "row 2: has quotes inside a cell: double them"),
        ("p.tsv", b'prompt\tanswer\n"1 + 1?"\t"2"\n"1 + "two"?"\t"3"\n', "row 2: has quotes inside a cell: double"),
        ("p.tsv", b'prompt\tanswer\n"1 + "two"?"\t3\n"1 + 1?"\t2\n', "row 1: has quotes inside a cell: double"),
        ("p.tsv", b'"prompt"\tanswer\n"a" b\t4\n', "row 1: has quotes inside a cell: double them"),
        ("p.tsv", b'prompt\n"one\ntwo"\n"a" b\n', "row 2: has quotes inside a cell: double them, or save the file"),
        ("p.tsv", b"prompt\tanswer\nx\t1\n\xe9\t2\n", "after row 1: is not UTF-8 text"),
        ("p.tsv", b'prompt\tanswer\n"a" is?\t5\t6\n', "row 1: has more cells than the header has names"),
        ("p.tsv", b'prompt\tanswer\n"x"\t1\n' + b"y" * 140_000 + b"\t2\n", "field larger than field limit"),
        ("p.xlsx", b"PK\x03\x04", "is a ZIP archive"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError) as error:
        list(read_source(tmp_path / name))
    assert str(error.value).startswith(str(tmp_path / name))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_quotes_between_tabs_may_be_a_part_of_the_text(tmp_path: Path) -> None:
    rows = ['"To be" has how many letters?\t4', '"a is\t5', 'b is"\t6', "c\t7"]
    (tmp_path / "p.tsv").write_text("\n".join(["prompt\tanswer", *rows]) + "\n")
    assert ["\t".join(row.values()) for _, row in read_source(tmp_path / "p.tsv")] == rows


def test_quotes_between_tabs_may_enclose_cells(tmp_path: Path) -> None:
    (tmp_path / "p.tsv").write_text('prompt\tanswer\n"one\ntwo"\t3\n"say ""x"", then\ty"\t"4"\n5" wide\t6\n')
    rows = [tuple(row.values()) for _, row in read_source(tmp_path / "p.tsv")]
    assert rows == [("one\ntwo", "3"), ('say "x", then\ty', "4"), ('5" wide', "6")]
    (tmp_path / "p.tsv").write_text('prompt\n"one\ntwo"\nthree\n')
    assert [row["prompt"] for _, row in read_source(tmp_path / "p.tsv")] == ["one\ntwo", "three"]


def test_one_conversation_is_one_problem(tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "1 + 1?"}], "answer": "2"}
    (tmp_path / "p.json").write_text(json.dumps(row))
    assert list(read_source(tmp_path / "p.json")) == [("item 1", row)]


@pytest.mark.parametrize("data", [b'{"prompt": "?"}', b'{"prompt": "?"}\n', b'{\n "prompt": "?"\n}\n'])
def test_one_object_is_one_problem(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "p.json").write_bytes(data)
    assert list(read_source(tmp_path / "p.json")) == [("item 1", {"prompt": "?"})]


@pytest.mark.parametrize("data", [b"", b"prompt,answer\n", b"\n\n"])
def test_a_table_without_rows_has_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "p.csv").write_bytes(data)
    assert list(read_source(tmp_path / "p.csv")) == []
