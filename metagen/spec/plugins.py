"""Verifiers from other packages, found by their entry points."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from metagen.errors import InputError

GROUP = "metagen.verifiers"
"""The group of entry points: a name as it is written in a spec, and the class or function that it stands for."""


def find(name: str) -> Any | None:
    """What an installed package calls so; `None` if none does. Nothing but that package is imported.

    Raises `InputError`, naming the package, if it cannot be imported, or if two packages claim the name.
    """
    found = entry_points(group=GROUP, name=name)
    if not found:
        return None
    if len(found) > 1:
        claimed = " and ".join(sorted(map(_package, found)))
        raise InputError(f"{name!r} is claimed by several installed packages, {claimed}: remove one")
    (entry,) = found
    try:
        return entry.load()
    except (Exception, SystemExit) as error:  # another's package may raise anything
        raise InputError(f"{name!r} of the package {_package(entry)} cannot be loaded: {_line(error)}") from error


def origin(name: str) -> str:
    """The package that a name comes from, with its version; for the record of a run."""
    return ", ".join(f"{name} ({_package(entry)})" for entry in entry_points(group=GROUP, name=name))


def names() -> set[str]:
    """All names that installed packages offer."""
    return set(entry_points(group=GROUP).names)


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
