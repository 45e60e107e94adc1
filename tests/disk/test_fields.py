from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow
import pytest
from pyarrow import parquet

from metagen import InputError, Json, Problem, ProblemFile
from metagen.disk.fields import SHAPES, UsedFields, named_in
from metagen.disk.values import plain

KEY = UUID("12345678123456781234567812345678")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("7.50"), "7.5"),
        (Decimal(1000), "1000"),
        (Decimal("1E+3"), "1000"),
        (Decimal("0.00"), "0"),
        (Decimal("-0.1234567890123456789012345678901234567"), "-0.1234567890123456789012345678901234567"),
        (Decimal("NaN"), None),
        (Decimal("sNaN"), None),
        (Decimal("-Infinity"), None),
        (float("nan"), None),
        (float("inf"), None),
        (7.0, 7.0),
        (date(2024, 1, 2), "2024-01-02"),
        (datetime(2024, 1, 2, 3), "2024-01-02T03:00:00"),
        (time(3, 4), "03:04:00"),
        ("Größe".encode(), "Größe"),
        (b"\xff", b"\xff"),
        (KEY, str(KEY)),
        ([1], [1]),
        (True, True),
        (None, None),
    ],
)
def test_a_value_as_json_would_have_it(value: Any, text: Any) -> None:
    assert plain(value) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("6.022e23", "602200000000000000000000"),
        ("1e25", "10000000000000000000000000"),
        ("9007199254740993.0", "9007199254740992"),
        ("2.0", "2"),
        ("-1e3", "-1000"),
        ("-0.0", "0"),
        ("2.50", "2.5"),
        ("602200000000000000000001", "602200000000000000000001"),
    ],
)
def test_a_number_has_no_digits_that_it_was_not_given(tmp_path: Path, number: str, text: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(f'{{"prompt": "?", "answer": {number}, "id": {number}}}\n')
    assert list(ProblemFile(path)) == [Problem(text, "?", text)]


def of_parquet(path: Path, **row: Any) -> ProblemFile:
    parquet.write_table(pyarrow.Table.from_pylist([row]), path / "p.parquet")
    return ProblemFile(path / "p.parquet")


@pytest.mark.parametrize(
    ("answer", "read"),
    [(Decimal("7.50"), "7.5"), (date(2024, 1, 2), "2024-01-02"), (b"7", "7"), (float("nan"), None)],
)
def test_what_only_parquet_has_is_read(tmp_path: Path, answer: Any, read: str | None) -> None:
    assert list(of_parquet(tmp_path, prompt=b"1?", answer=answer, id=7)) == [Problem("7", "1?", read)]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "?", "answer": b"\xff"}, "row 1: field 'answer' must be a text or a number, not bytes"),
        ({"prompt": b"\xff"}, "row 1: field 'prompt' must be a text or a number, not bytes"),
        ({"prompt": "?", "answer": timedelta(1)}, "row 1: field 'answer' must be a text or a number, not timedelta"),
        (
            {"prompt": "?", "answer": [b"\xff"]},
            "row 1: field 'answer' must be a text or a number, or a list of them of which any is right, not list",
        ),
        ({"prompt": "?", "id": [Decimal(1)]}, "row 1: field 'id' must be a text or a number, not list"),
        ({"prompt": "?", "choices": [b"x", b"y"]}, "row 1: field 'choices' must hold texts"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        of_parquet(tmp_path, **row).check()


def test_an_object_for_an_answer_may_hold_what_json_has_not(tmp_path: Path) -> None:
    row = {"prompt": "?", "answers": 'Json("a")', "answer": {"a": Decimal("1.5"), "b": date(2024, 1, 2)}}
    (problem,) = of_parquet(tmp_path, **row)
    assert problem == Problem("1", "?", '{"a": "1.5", "b": "2024-01-02"}', answers=Json("a"))


@pytest.mark.parametrize(
    ("count", "said"), [(0, ""), (2, "'0', '1'"), (10, "'0', '1', '2', '3', '4', '5', '6', '7' and 2 more")]
)
def test_the_first_few_of_many_names_are_named(count: int, said: str) -> None:
    assert named_in(map(str, range(count))) == said


def test_memory_does_not_grow_with_rows_that_all_differ() -> None:
    fields = UsedFields(None, None, None)
    for number in range(10 * SHAPES):
        fields.add({"prompt": "?", f"field {number}": 1})
    assert len(fields.unused) == SHAPES
