"""Where the command line writes to, and how its tables and bars look."""

from collections.abc import Callable, Mapping
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from metagen.analysis.tables import Sheet
from metagen.distribution import how_to_install
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


def write(folder: Path, texts: Mapping[str, str], pictures: Callable[[], list[Path]] | None) -> list[str]:
    """Write the files of a report; return their names."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder}: a report cannot be written there: {error.strerror}") from None
    if not pictures:
        err.print(f"No pictures: they need matplotlib: {how_to_install('plot')}", soft_wrap=True)
    return [*texts, *(path.name for path in pictures())] if pictures else list(texts)
