"""Writes the tables of strategies in docs/index.md and docs/strategies/README.md, from the pages of the strategies.

Each page ends with a comment in TOML that says what the tables say about it:

    <!-- index
    chapter = "Parallel sampling"
    place = 1                          # in its chapter
    calls = "n"                        # of a model
    y = "the most frequent answer"
    [readme]                           # rows of docs/index.md: a spec, and what y is
    "`Vote(16)`" = "the most frequent answer of 16 samples"
    -->

Run it as `make tables`.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/strategies"
CHAPTERS = ["Chains", "Refinement", "Parallel sampling", "Thinking", "Tree search", "Control"]
ENTRY = re.compile(r"^<!-- index\n(.*?)^-->$", re.DOTALL | re.MULTILINE)
TABLE = re.compile(r"(^<!-- strategies: [^\n]*-->\n).*?(^<!-- end -->$)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Entry:
    """What a page says about itself to the tables."""

    file: str
    names: list[str]
    """The strategies in its title."""
    chapter: str
    place: int
    calls: str
    y: str
    readme: dict[str, str] = field(default_factory=dict)

    def rank(self) -> tuple[int, int, str]:
        """The key that sorts the tables."""
        return CHAPTERS.index(self.chapter), self.place, self.file


def read_entry(page: Path) -> Entry:
    """The entry at the end of a page. Raises `ValueError`, naming the page, if there is none or it cannot be read."""
    text = page.read_text(encoding="utf-8")
    found = ENTRY.search(text)
    if found is None:
        raise ValueError(f"{page}: has no entry for the index: end it with <!-- index ... -->, see docs/index.py")
    try:
        given: dict[str, Any] = tomllib.loads(found[1])
        entry = Entry(page.name, names_in_title(text), **given)
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise ValueError(f"{page}: its entry for the index cannot be read: {error}") from None
    if entry.chapter not in CHAPTERS:
        raise ValueError(f"{page}: chapter must be one of {', '.join(CHAPTERS)}, not {entry.chapter!r}")
    return entry


def names_in_title(text: str) -> list[str]:
    """The strategies that the title of a page names, in their order."""
    return re.findall(r"`(\w+)`", text.partition("\n")[0])


def index_rows(entries: list[Entry]) -> Iterator[str]:
    """The table of docs/strategies/README.md."""
    yield from ("| | calls | |", "|---|---|---|")
    for chapter, pages in groupby(entries, key=lambda entry: entry.chapter):
        yield f"| **{chapter}** | | |"
        for page in pages:
            names = ", ".join(f"`{name}`" for name in page.names)
            yield f"| [{names}]({page.file}) | {page.calls} | {page.y} |"


def readme_rows(entries: list[Entry]) -> Iterator[str]:
    """The table of docs/index.md."""
    yield from ("| spec | y is |", "|---|---|", "| `Model(temperature=0.6, max_tokens=256)` | one sample |")
    for entry in entries:
        yield from (f"| {spec} | {y} |" for spec, y in entry.readme.items())


def texts() -> dict[Path, str]:
    """Both documents as they should be."""
    pages = sorted(set(FOLDER.glob("*.md")) - {FOLDER / "README.md"})
    entries = sorted(map(read_entry, pages), key=Entry.rank)
    tables = {FOLDER / "README.md": index_rows(entries), ROOT / "docs/index.md": readme_rows(entries)}
    return {path: replaced(path.read_text(encoding="utf-8"), "\n".join(rows)) for path, rows in tables.items()}


def replaced(document: str, table: str) -> str:
    """The document with the table between its markers."""
    return TABLE.sub(lambda found: f"{found[1]}{table}\n{found[2]}", document)


if __name__ == "__main__":
    for path, text in texts().items():
        path.write_text(text, encoding="utf-8")
