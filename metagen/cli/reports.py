"""Prints the report on pools and runs, and writes it down."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from metagen.analysis import formats, plots, tables
from metagen.analysis.tables import Source
from metagen.budget import Price
from metagen.card.card import ModelCard
from metagen.cli.console import out, show, write
from metagen.cli.visible import visible
from metagen.errors import InputError
from metagen.settings import counted


def cards(paths: Sequence[str], sources: int) -> list[ModelCard | None]:
    """The card of each source: its own, the only one given, or none."""
    given: list[ModelCard | None] = [ModelCard.read(path) for path in paths]
    if len(given) not in {0, 1, sources}:
        raise InputError(
            f"--card is given {len(given)} times for {counted(sources, 'source')}: give one, or one for each"
        )
    return given if len(given) == sources else (given or [None]) * sources


def prices(given: Sequence[str], sources: int) -> list[Price | None]:
    """The price of each source: its own, the only one given, or none."""
    if len(given) not in {0, 1, sources}:
        raise InputError(
            f"--price is given {len(given)} times for {counted(sources, 'source')}: give one, or one for each"
        )
    found: list[Price | None] = [Price.parse(each) for each in given]
    return found if len(given) == sources else (found or [None]) * sources


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
        pictures = (lambda: _draw(sources, folder)) if plots.available() else None
        out.print(f"Kept in {folder}/ ({', '.join(write(folder, texts, pictures))}).", soft_wrap=True)


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
