from dataclasses import dataclass, field, replace

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
    with pytest.raises(TypeError, match="Pair has the fields first, second, third, and each must be given"):
        maker(Pair)(first=1, second=())


def test_no_field_can_be_invented() -> None:
    with pytest.raises(KeyError):
        copier(Pair)(Pair(1), fifth=5)
    with pytest.raises(KeyError):
        maker(Pair)(first=1, second=(), fifth=5)
