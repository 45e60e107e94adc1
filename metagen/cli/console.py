"""Where the command line writes to, and how its tables and bars look."""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.status import Status
from rich.table import Table
from rich.text import Text

from metagen.analysis.sheet import Sheet
from metagen.cli.visible import visible
from metagen.disk.files import check_ours, make_folder, replace_text
from metagen.distribution import how_to_install
from metagen.errors import InputError

UNKNOWN = 80
"""Columns of a terminal that does not tell."""


class Terminal(Console):
    """A console that shows foreign text as it is: nothing in it is an escape sequence or markup to the terminal.

    What its encoding lacks becomes an escape, too. Texts are made visible before they are laid out, so that tables stay
    aligned; what reaches the console as finished
    `Text`, such as the columns of a bar, when it is rendered.
    """

    def __init__(self, **settings: Any) -> None:
        if os.environ.get("COLUMNS") == "0":  # as some programs export it; rich would show nothing at all
            settings = {"width": UNKNOWN} | settings
        super().__init__(highlight=False, markup=False, emoji=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        written = visible(text).encode(self.encoding, "backslashreplace").decode(self.encoding)
        return super().render_str(written, **settings | {"markup": False, "emoji": False})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)

    def status(self, status: RenderableType, **settings: Any) -> Status:
        return super().status(self.render_str(status) if isinstance(status, str) else status, **settings)


class VisibleColumn(TextColumn):
    """A text beside a bar, shown as it is."""

    def render(self, task: Task) -> Text:
        return Text(visible(self.text_format.format(task=task)))


class Bars(Progress):
    """Bars that print nothing at all where they are disabled."""

    def stop(self) -> None:
        if not self.disable:  # before rich 14.3, an empty line is printed nevertheless
            super().stop()


out = Terminal()
err = Terminal(stderr=True)


def progress() -> Progress:
    """A line with a bar that goes away at the end; nothing where nobody looks."""
    what, how = (VisibleColumn(field) for field in ("{task.description}", "{task.fields[state]}"))
    columns = what, BarColumn(), MofNCompleteColumn(), how, TimeElapsedColumn()
    return Bars(*columns, console=err, transient=True, disable=not err.is_terminal)


INTERVAL = re.compile(r" \(([^\s()]+–[^\s()]+)\)$")
"""The interval behind a mean, such as ` (48.2–67.2)`."""


def show(sheet: Sheet) -> None:
    """Print a sheet under its title, in as many tables as it takes: none without rows."""
    out.print(sheet.title, soft_wrap=True)
    for table in tables_of(sheet, out.width) if sheet.rows else ():
        out.print(table)


def tables_of(sheet: Sheet, width: int) -> Iterator[Table]:
    """A sheet as tables no wider than `width`: where one is not enough, each has some columns, and all have the keys.

    No number is broken: a column that is too wide for any table is broken between its words. Keys, which are names, are
    folded where they would take more than half the width.
    """
    part: list[int] = []
    for column in range(sheet.keys, len(sheet.columns)):
        if part and _width(_table(sheet, [*part, column], width)) > width:
            yield _table(sheet, part, width)
            part = []
        part.append(column)
    yield _table(sheet, part, width)


def _table(sheet: Sheet, columns: Sequence[int], width: int) -> Table:
    """The keys of a sheet and some of its columns."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    most = width // (2 * sheet.keys) if _is_wide(sheet, width) else None
    for place, name in enumerate(sheet.columns[: sheet.keys]):
        is_number = all(row[place].isdecimal() for row in sheet.rows)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold", max_width=most)
    cells = [[_in_lines(row[place]) for row in sheet.rows] for place in columns]
    for place, column in zip(columns, cells, strict=True):
        name, shown = sheet.columns[place], "\n".join(column).split("\n")
        header = fill(name, max(map(len, [*shown, *name.split(), "1"])))
        table.add_column(header, justify="right", overflow="fold")
    for row, *shown in zip(sheet.rows, *cells, strict=True):
        table.add_row(*row[: sheet.keys], *shown)
    return table


def _in_lines(cell: str) -> str:
    """A mean, and its interval without the brackets under it; any other text as it is."""
    return INTERVAL.sub(r"\n\1", cell)


def _is_wide(sheet: Sheet, width: int) -> bool:
    """Whether the keys take more than half the width."""
    named = (sheet.columns, *sheet.rows)
    return sum(max(cell_len(visible(row[key])) for row in named) + 2 for key in range(sheet.keys)) > width // 2


def _width(table: Table) -> int:
    """How wide a table is if nothing is folded that need not be."""
    return out.measure(table, options=out.options.update_width(10_000)).maximum


PICTURES = ("calibration", "choice", "curves", "flops", "front", "money", "sweep")
OURS = {
    "table.md": rb"\ARight answers in per cent",
    "table.csv": rb"\Asource,label,value,rule,",
    "table.json": rb'\A\{\n "rows": \[',
    "sweep.md": rb"\A\*\*.*\*\*\n\n\|.* accuracy \|",
    "sweep.csv": rb"\Aproblems,model,strategy,budget,",
    "sweep.json": rb'\A\[\n \{\n  "problems": ',
    "choice.md": rb"\A\*\*.*\*\*\n\n\| strategy \|",
    "choice.csv": rb"\Astrategy,right,low,high,",
    "choice.json": rb'\A\[\n \{\n  "strategy": ',
    **{f"{name}.png": rb"\A\x89PNG(?s:.*)Software\x00metagen" for name in PICTURES},
    **{f"{name}.svg": rb"<dc:title>metagen</dc:title>" for name in PICTURES},
}
"""How the files of a report begin, by which they are known when another one is to take their place."""


def check_report(folder: Path | None, *kinds: str) -> None:
    """Raise `InputError` if a report there would take the place of a file that is none, before anything is spent."""
    there = next((each for each in (folder, *folder.parents) if os.path.exists(each)), folder) if folder else None
    if there and not (os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK)):
        why = "cannot be written to" if os.path.isdir(there) else "is no folder"
        raise InputError(f"{folder}: a report cannot be written there: {there} {why}")
    for name, beginning in OURS.items():
        if folder and name.partition(".")[0] in kinds:
            check_ours(folder / name, re.compile(beginning))


def keep(folder: Path, texts: Mapping[str, str], draw: Callable[[], list[Path]]) -> None:
    """Write the files of a report, with pictures if matplotlib is there. Raises `StorageError` if the disk is full."""
    from metagen.analysis import plots  # noqa: PLC0415 (slow to import, and seldom used)

    make_folder(folder, "a report cannot be written there")
    for name, text in texts.items():
        replace_text(folder / name, text)
    names = [*texts]
    if plots.available():
        names += [path.name for path in draw()]
    else:
        err.print(f"No pictures: they need matplotlib: {how_to_install('plot')}", soft_wrap=True)
    out.print(f"Kept in {folder}/ ({', '.join(names)}).", soft_wrap=True)
