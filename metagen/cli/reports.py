"""Prints the report on pools and runs, and writes it down."""

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import TypeVar

from metagen.analysis import formats, plots, tables
from metagen.analysis.tables import Source
from metagen.budget import Price
from metagen.card.card import ModelCard
from metagen.cli.console import keep, out, show
from metagen.cli.visible import visible
from metagen.errors import InputError
from metagen.settings import counted

Made = TypeVar("Made")


def cards_and_prices(
    sources: int, card: Sequence[str] | None, price: Sequence[str] | None
) -> tuple[list[ModelCard | None], list[Price | None]]:
    """The card and the price of each source: its own, the only one given, or none. Raises `InputError`."""
    return _for_each(sources, "--card", card, ModelCard.read), _for_each(sources, "--price", price, Price.parse)


def _for_each(sources: int, option: str, given: Sequence[str] | None, read: Callable[[str], Made]) -> list[Made | None]:
    found: list[Made | None] = [read(each) for each in given or ()]
    if len(found) not in {0, 1, sources}:
        said = f"{option} is given {len(found)} times for {counted(sources, 'source')}"
        raise InputError(f"{said}: give one, or one for each")
    return found if len(found) == sources else (found or [None]) * sources


def report(sources: list[Source], folder: Path | None, reach: Sequence[float] = ()) -> None:
    """Print the report and, if there is a folder for it, write it down."""
    measured = {source.name: list(tables.measured(source)) for source in sources}
    pairs = [(sources[0], other) for other in sources[1:]]
    found = [each for pair in pairs for each in tables.versus(*pair)]
    notes = [f"{source.name}: {remark}" for source in sources for remark in tables.remarks(source)]
    notes += [tables.said(*pair, compared) for pair in pairs if (compared := tables.answers(*pair))]
    pages = [page for source in sources for page in tables.sheets(source, measured[source.name])]
    equal = [each for pair in pairs for each in tables.equals(*pair)]
    pages += [tables.comparisons(found)] if found else []
    pages += [tables.at_equal(equal)] if equal else []
    reached = {accuracy: list(tables.reached(sources, accuracy)) for accuracy in reach}
    pages += [tables.reaching(each, accuracy) for accuracy, each in reached.items() if each]
    notes += [f"{source.name}: {why}" for source in sources if reach and (why := tables.uncounted(source))]
    for each in pages:
        show(each)
    for note in (*notes, tables.FOOT):
        out.print(note, soft_wrap=True)
    if folder:
        every = [row for part in measured.values() for row in part]
        text = "\n".join([*map(formats.markdown, pages), *(f"- {note}" for note in notes)])
        texts = {
            "table.md": f"{tables.FOOT}\n\n{text}\n",
            "table.csv": formats.as_csv(every),
            "table.json": formats.as_json(every, found, notes, equal, chain.from_iterable(reached.values())),
        }
        keep(folder, texts, lambda: _draw(sources, folder))


def _draw(sources: list[Source], folder: Path) -> list[Path]:
    """The curves of each source, the calibration of what scored it, and the costs of all where there are several."""
    names = tables.within(source.name for source in sources)
    panels = {visible(names[source.name]): source.curves for source in sources}
    scored = {
        visible(f"{names[each.name]}\n{each.scored_by}"): each.calibration for each in sources if each.calibration
    }
    files = plots.draw(panels, folder)
    files += plots.draw_calibrations(scored, folder) if scored else []
    return [*files, *(plots.draw_costs(panels, folder) if len(panels) > 1 else ())]
