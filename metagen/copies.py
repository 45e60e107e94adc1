"""Frozen records, copied and made where no field needs to be checked again.

A frozen dataclass writes each field through `object.__setattr__`, which is most of the time that making one takes.
Neither function calls `__post_init__`: use them for fields that need no check, or that were checked.
"""

from collections.abc import Callable
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any, TypeVar

Record = TypeVar("Record")


def copier(kind: type[Record]) -> Callable[..., Record]:
    """What copies records of a frozen dataclass with slots, with some fields changed: a fast `dataclasses.replace`."""
    puts = _puts(kind)
    read, in_order = attrgetter(*puts), tuple(puts.values())

    def copy(record: Record, **changes: Any) -> Record:
        if type(record) is not kind:  # of a class derived from it, with fields of its own
            return replace(record, **changes)  # type: ignore[type-var]
        made = object.__new__(kind)
        for put, value in zip(in_order, read(record), strict=True):
            put(made, value)
        for name, value in changes.items():
            puts[name](made, value)
        return made

    return copy


def maker(kind: type[Record]) -> Callable[..., Record]:
    """What makes records of a frozen dataclass with slots, of which every field is given by name."""
    puts = _puts(kind)

    def make(**values: Any) -> Record:
        if len(values) != len(puts):
            raise TypeError(f"{kind.__name__} has the fields {', '.join(puts)}, and each must be given")
        made = object.__new__(kind)
        for name, value in values.items():
            puts[name](made, value)
        return made

    return make


def _puts(kind: type) -> dict[str, Callable[[Any, Any], None]]:
    """What writes each field of a record that is being made, past the freeze."""
    return {each.name: getattr(kind, each.name).__set__ for each in fields(kind)}
