"""Where the command line writes to, and how its tables and bars look."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from metagen.analysis.tables import Sheet
from metagen.disk.files import check_ours, make_folder, replace_text
from metagen.errors import InputError

out = Console(highlight=False, markup=False, emoji=False)
err = Console(stderr=True, highlight=False, markup=False, emoji=False)


def progress() -> Progress:
    """A line with a bar that goes away at the end; nothing where nobody looks."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[state]}")
    return Progress(*columns, TimeElapsedColumn(), console=err, transient=True, disable=not err.is_terminal)


def table_of(sheet: Sheet) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in sheet.columns:
        table.add_column(column, justify="right", overflow="fold")
    for row in sheet.rows:
        table.add_row(*(cell.replace(" (", "\n").removesuffix(")") for cell in row))
    return table


OURS = {
    "table.md": rb"\ARight answers in per cent",
    "table.csv": rb"\Asource,label,value,rule,",
    "table.json": rb'\A\{\n "rows": \[',
    "sweep.md": rb"\A\*\*.*\*\*\n\n\|.* accuracy \|",
    "sweep.csv": rb"\Aproblems,model,strategy,budget,",
    "sweep.json": rb'\A\[\n \{\n  "problems": ',
    **dict.fromkeys(("curves.png", "flops.png", "sweep.png"), rb"\A\x89PNG(?s:.*)Software\x00metagen"),
    **dict.fromkeys(("curves.svg", "flops.svg", "sweep.svg"), rb"<dc:title>metagen</dc:title>"),
}
"""How the files of a report begin, by which they are known when another one is to take their place."""


def check_report(folder: Path | None, *kinds: str) -> None:
    """Raise `InputError` if a report there would take the place of a file that is none, before anything is spent."""
    if folder and folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: a report cannot be written there: it is no folder")
    for name, beginning in OURS.items():
        if folder and name.partition(".")[0] in kinds:
            check_ours(folder / name, re.compile(beginning))


def write(folder: Path, texts: Mapping[str, str], pictures: Callable[[], list[Path]] | None) -> list[str]:
    """Write the files of a report; return their names. Raises `StorageError` if the disk takes no more."""
    make_folder(folder, "a report cannot be written there")
    for name, text in texts.items():
        replace_text(folder / name, text)
    if not pictures:
        err.print("No pictures: they need matplotlib (install metagen[plot]).")
    return [*texts, *(path.name for path in pictures())] if pictures else list(texts)
