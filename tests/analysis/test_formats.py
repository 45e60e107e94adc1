import csv
import io
import json

from metagen.analysis.formats import as_csv, as_json, lines_as_csv, markdown
from metagen.analysis.sheet import Sheet
from metagen.analysis.tables import Row, measured, reached, versus
from tests.analysis.test_tables import source


def test_a_sheet_is_a_table_in_markdown() -> None:
    text = markdown(Sheet("Title", ("a", "b"), (("1", "x|y"), ("2", ""))))
    assert text == "**Title**\n\n| a | b |\n| --- | --- |\n| 1 | x\\|y |\n| 2 |  |\n"


def test_a_cell_of_several_lines_stays_in_its_row() -> None:
    assert markdown(Sheet("Title", ("a",), (("x\ny\r\nz",),))).splitlines()[-1] == "| x y z |"


def test_lines_that_know_different_things_are_one_table() -> None:
    assert lines_as_csv([{"a": 1}, {"a": 2, "b": 3}]) == "a,b\n1,\n2,3\n"


def test_files_for_programs_hold_the_same_rows() -> None:
    rows = list(measured(source()))
    table = list(csv.DictReader(io.StringIO(as_csv(rows))))
    whole = json.loads(as_json(rows, versus(source(), source("two")), ["a note"]))
    assert [Row(**row) for row in whole["rows"]] == rows
    assert [float(row["mean"]) for row in table] == [row.mean for row in rows]
    assert whole["notes"] == ["a note"]
    found = whole["differences"][0]["difference"]
    assert (found["value"], found["low"] + found["high"]) == (0.0, 0.0)
    assert 0 < found["high"] < 1


def test_what_an_accuracy_costs_is_in_the_file_for_programs() -> None:
    found = json.loads(as_json([], [], [], [], reached([source()], 0.75)))["reach"]
    costs = {row["rule"]: (row["accuracy"], row["unit"], row["cost"]) for row in found}
    assert costs == {"coverage": (0.75, "tokens", 25.0), "majority": (0.75, "tokens", None)}
