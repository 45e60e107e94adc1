import copy
from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from metagen.copies import copier, maker


@dataclass(frozen=True, slots=True)
class Pair:
    first: int
    second: tuple[int, ...] = ()
    third: list[int] = field(default_factory=list, compare=False)


@dataclass(frozen=True, slots=True)
class Triple(Pair):
    fourth: int = 4


def test_a_copy_is_what_replace_gives() -> None:
    pair = Pair(1, (2,), [3])
    copied = copier(Pair)(pair, second=(5,))
    assert copied == replace(pair, second=(5,))
    assert copied.third is pair.third
    assert pair == Pair(1, (2,))


def test_a_copy_of_a_derived_record_keeps_its_kind() -> None:
    assert copier(Pair)(Triple(1, fourth=7), first=2) == Triple(2, fourth=7)


def test_a_record_is_made_of_all_its_fields() -> None:
    assert maker(Pair)(third=[], second=(2,), first=1) == Pair(1, (2,))
    assert maker(Pair)(1, (2,), []) == Pair(1, (2,))
    with pytest.raises(TypeError, match=r"Pair.*third"):
        maker(Pair)(first=1, second=())


def test_a_record_that_was_made_is_one_of_its_kind_and_frozen() -> None:
    made = maker(Pair)(1, (2,), [])
    assert type(made) is Pair
    with pytest.raises(FrozenInstanceError):
        made.first = 2  # type: ignore[misc]
    assert copy.copy(made) == made


def test_no_field_can_be_invented() -> None:
    with pytest.raises(KeyError):
        copier(Pair)(Pair(1), fifth=5)
    with pytest.raises(TypeError, match="fifth"):
        maker(Pair)(first=1, second=(), fifth=5)
