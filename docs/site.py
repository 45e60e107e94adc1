"""What the site adds to the pages when MkDocs builds it: `make docs`.

A page of the reference holds markers such as `<!-- api: metagen.solve metagen.problem -->`. Each is replaced by the
public names that are defined in these modules. A folder in the navigation lists every page in it.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import metagen

DOCS = Path(__file__).parent
API = re.compile(r"^<!-- api: (.+?) -->$", re.MULTILINE)
OUTSIDE = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+)([^)#]+)(#[^)]*)?\)")


def on_config(config: Any) -> Any:
    """List the pages of folders in the navigation."""
    config.nav = [_listed(entry) for entry in config.nav]
    return config


def on_page_markdown(markdown: str, *, page: Any, **_: object) -> str:
    """Fill in the reference, and name the files that are not part of the site instead of linking to them."""
    folder = (DOCS / page.file.src_uri).parent
    return OUTSIDE.sub(lambda link: _inside(link, folder), API.sub(_entries, markdown))


def public_names(modules: str) -> Iterator[str]:
    """The full names of what metagen exports from these modules, in the order of the modules and of their names."""
    for module in modules.split():
        for name in sorted(metagen.__all__):
            home = getattr(metagen, name).__module__
            if home == module or home.startswith(f"{module}."):
                yield f"{home}.{name}"


def _entries(marker: re.Match[str]) -> str:
    return "\n\n".join(f"::: {name}" for name in public_names(marker[1]))


def _inside(link: re.Match[str], folder: Path) -> str:
    target = (folder / (link[2] + link[3])).resolve()
    return link[0] if target.is_relative_to(DOCS) else f"{link[1]} (`{target.relative_to(DOCS.parent)}`)"


def _listed(entry: Any) -> Any:
    if isinstance(entry, dict):
        return {title: _pages(part) if isinstance(part, str) else _flat(part) for title, part in entry.items()}
    return entry


def _flat(parts: list[Any]) -> list[Any]:
    return [page for part in parts for page in (_pages(part) if str(part).endswith("/") else [part])]


def _pages(part: str) -> Any:
    """The pages of a folder, that of the folder itself first; what is no folder stays as it is."""
    if not part.endswith("/"):
        return part
    pages = sorted((DOCS / part).glob("*.md"), key=lambda page: (page.stem != "README", page.name))
    return [str(page.relative_to(DOCS)) for page in pages]
