"""Frozen records, copied and made where no field needs to be checked again.

A frozen dataclass writes each field through `object.__setattr__`, which is most of the time that making one takes. Here
a record is made as one of a class that is laid out alike and not frozen, and then becomes what it is meant to be.
Neither function calls `__post_init__` of the record: use them for fields that need no check, or that were checked.
"""

from collections.abc import Callable
from dataclasses import fields, make_dataclass, replace
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

Record = TypeVar("Record")


def copier(kind: type[Record]) -> Callable[..., Record]:
    """What copies records of a frozen dataclass with slots, with some fields changed: a fast `dataclasses.replace`."""
    make = maker(kind)
    puts = {each.name: getattr(kind, each.name).__set__ for each in fields(kind)}  # type: ignore[arg-type]
    read = attrgetter(*puts)

    def copy(record: Record, **changes: Any) -> Record:
        if type(record) is not kind:  # of a class derived from it, with fields of its own
            return replace(record, **changes)  # type: ignore[type-var]
        made = make(*read(record))
        for name, value in changes.items():
            puts[name](made, value)
        return made

    return copy


def maker(kind: type[Record]) -> Callable[..., Record]:
    """What makes records of a frozen dataclass with slots, of which every field is given, by name or in order."""
    twin: Callable[..., Record] = _twin(kind)  # type: ignore[arg-type]  # a class has a hash
    return twin


@cache
def _twin(kind: type) -> Any:
    """A class whose objects become records of a kind as soon as their fields are written."""

    def become(made: Any) -> None:
        made.__class__ = kind

    given = [(each.name, Any) for each in fields(kind)]
    return make_dataclass(kind.__name__, given, namespace={"__post_init__": become}, eq=False, repr=False, slots=True)
