"""Tables as Markdown, CSV and JSON."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields

from metagen.analysis.sheet import Sheet
from metagen.analysis.tables import Equal, Row, Versus


def markdown(sheet: Sheet) -> str:
    """A sheet as a table in Markdown, its title before it."""
    lines = [sheet.columns, ("---",) * len(sheet.columns), *sheet.rows]
    table = "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)
    return f"**{sheet.title}**\n\n{table}\n"


def as_csv(rows: Iterable[Row]) -> str:
    """One line a mean."""
    return lines_as_csv(map(asdict, rows), [each.name for each in fields(Row)])


def lines_as_csv(lines: Iterable[Mapping[str, object]], columns: Sequence[str] = ()) -> str:
    """One line each; the columns are those of the first."""
    lines = list(lines)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns or list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def as_json(rows: Iterable[Row], found: Iterable[Versus], notes: Iterable[str], equal: Iterable[Equal] = ()) -> str:
    """Everything, for other programs."""
    whole = {
        "rows": list(map(asdict, rows)),
        "differences": list(map(asdict, found)),
        "at_equal_cost": list(map(asdict, equal)),
        "notes": list(notes),
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"
