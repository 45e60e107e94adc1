"""A table for people, as plain data."""

from dataclasses import dataclass

from metagen.notebook import html_table


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table to be read."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    keys: int = 1
    """The first so many columns say what a row is about."""

    def _repr_html_(self) -> str:
        """How a notebook shows it."""
        return html_table(self.title, self.columns, self.rows)
