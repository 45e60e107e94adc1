"""Tables and trees in notebooks. Every text is escaped: nothing that a model wrote becomes markup."""

from collections.abc import Iterable, Sequence
from html import escape


def html_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in HTML with a title; without column names where there are none."""
    head = f"<thead>{_line('th', columns)}</thead>" if columns else ""
    body = "".join(_line("td", row) for row in rows)
    return f"<table><caption>{escape(title)}</caption>{head}<tbody>{body}</tbody></table>"


def html_tree(title: str, lines: Sequence[str], below: Sequence[str], *, is_open: bool = False) -> str:
    """A part that unfolds: its lines, and the parts `below` it, which are HTML already."""
    text = (
        f'<div style="white-space: pre-wrap; margin-left: 1.5em">{escape(chr(10).join(lines))}</div>' if lines else ""
    )
    inside = f'<div style="margin-left: 1.5em">{"".join(below)}</div>' if below else ""
    return f"<details{' open' if is_open else ''}><summary>{escape(title)}</summary>{text}{inside}</details>"


def _line(name: str, cells: Sequence[str]) -> str:
    style = ' style="text-align: left; white-space: pre-wrap"'
    return f"<tr>{''.join(f'<{name}{style}>{escape(cell)}</{name}>' for cell in cells)}</tr>"
