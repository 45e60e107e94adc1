"""Strategies, verifiers and backends of other packages, found by their entry points."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from metagen.errors import InputError

STRATEGIES = "metagen.strategies"
VERIFIERS = "metagen.verifiers"
BACKENDS = "metagen.backends"
"""The groups of entry points: a name as the user writes it, and the class or function that it stands for."""
IN_SPECS = (STRATEGIES, VERIFIERS)
"""The groups whose names a spec may use."""


def find(name: str, *groups: str) -> Any | None:
    """What an installed package calls so; `None` if none does. Nothing but that package is imported.

    Raises `InputError`, naming the package, if it cannot be imported, or if two packages claim the name.
    """
    found = _entries(groups, name)
    if not found:
        return None
    if len(found) > 1:
        claimed = " and ".join(sorted(map(_package, found)))
        raise InputError(f"{name!r} is claimed several times by installed packages, {claimed}: remove one")
    (entry,) = found
    try:
        return entry.load()
    except (Exception, SystemExit) as error:  # another's package may raise anything
        raise InputError(f"{name!r} of the package {_package(entry)} cannot be loaded: {_line(error)}") from error


def origin(name: str, *groups: str) -> str:
    """The package that a name comes from, with its version, for the record of a run; empty if there is none."""
    return ", ".join(f"{name} ({_package(entry)})" for entry in _entries(groups, name))


def names(*groups: str) -> set[str]:
    """All names that installed packages offer."""
    return set().union(*(entry_points(group=group).names for group in groups))


def _entries(groups: tuple[str, ...], name: str) -> list[EntryPoint]:
    return [entry for group in groups for entry in entry_points(group=group, name=name)]


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
