"""Which units are not the same."""

import pytest

from metagen.answers.canonical import canonical
from metagen.answers.measures import LONGEST, UNITS, measure_others


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5 hours", "5 minutes"),
        ("$5", "5 cents"),
        (r"\$5", "5¢"),
        ("30 degrees Celsius", "30°F"),
        ("5 km/h", r"5\text{ m/s}"),
        ("5 m/s", "5 m/s^2"),
        ("5 square feet", "5 feet"),
        ("x = 5 cm", "5 mm"),
    ],
)
def test_these_units_are_others(one: str, other: str) -> None:
    assert measure_others(one, other)
    assert measure_others(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5 hr", "5 hours"),
        ("$5$ cm", r"5\text{ cm}"),
        ("5", "5 cm"),
        ("5 apples", "5 dollars"),
        ("20 dollars", "20 dollars per hour"),
        ("20 degrees", "20°C"),
        ("/cm", "°"),
        ("", ""),
        ("cm " * LONGEST, "km"),
    ],
)
def test_these_are_not_known_to_be_others(one: str, other: str) -> None:
    assert not measure_others(one, other)
    assert not measure_others(other, one)


@pytest.mark.parametrize("unit", [each for each in UNITS if each.isalpha() and len(each) > 1])
def test_every_unit_whose_names_are_known_is_a_unit_of_a_number(unit: str) -> None:
    names = [unit, *UNITS[unit].split()]
    assert {name: canonical(f"5 {name}") for name in names} == dict.fromkeys(names, "5")


def test_what_may_be_a_product_is_a_unit_behind_a_space_alone() -> None:
    assert [canonical(each) for each in ("5 mW", "5mW", "5 mg", "5mg", "5kV")] == ["5", "5mW", "5", "5mg", "5"]
