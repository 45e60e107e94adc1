"""Tables as Markdown, CSV and JSON."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields

from metagen.analysis.sheet import Sheet
from metagen.analysis.tables import Equal, Reaching, Row, Versus


def markdown(sheet: Sheet) -> str:
    """A sheet as a table in Markdown, its title before it."""
    lines = [sheet.columns, ("---",) * len(sheet.columns), *sheet.rows]
    table = "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)
    return f"**{sheet.title}**\n\n{table}\n"


def _cell(text: str) -> str:
    """A text as it can stand in a cell: on one line, and without an end of the cell."""
    return " ".join(text.splitlines()).replace("|", r"\|")


def as_csv(rows: Iterable[Row]) -> str:
    """One line a mean."""
    return lines_as_csv(map(asdict, rows), [each.name for each in fields(Row)])


def lines_as_csv(lines: Iterable[Mapping[str, object]], columns: Sequence[str] = ()) -> str:
    """One line each; a line leaves out what it does not know, and the columns are those of all lines."""
    lines = list(lines)
    text = io.StringIO()
    every = dict.fromkeys(name for line in lines for name in line)
    writer = csv.DictWriter(text, columns or list(every), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def as_json(
    rows: Iterable[Row],
    found: Iterable[Versus],
    notes: Iterable[str],
    equal: Iterable[Equal] = (),
    reach: Iterable[Reaching] = (),
) -> str:
    """Everything, for other programs."""
    whole = {
        "rows": list(map(asdict, rows)),
        "differences": list(map(asdict, found)),
        "at_equal_cost": list(map(asdict, equal)),
        "reach": list(map(asdict, reach)),
        "notes": list(notes),
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"
