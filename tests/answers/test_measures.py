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
        ("5 Ω", "5 kΩ"),
        (r"5 k\Omega", r"5\,\Omega"),
        ("5 mΩ", "5 MΩ"),
        ("5 μm", "5 nm"),
        ("5 dólares", "5 cents"),
        ("5ドル", "5¢"),
        ("5小时", "5分钟"),
        ("5米", "5 cm"),
        ("5平方米", "5米"),
        ("5千克", "5克"),
    ],
)
def test_these_units_are_others(one: str, other: str) -> None:
    assert measure_others(one, other)
    assert measure_others(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5 hr", "5 hours"),
        (r"5\,\Omega", "5 ohms"),
        ("5 kΩ", r"5\text{ kΩ}"),
        ("5 μL", "5 μl"),
        ("5 dólares", r"\$5"),
        ("5 Äpfel", "5 Birnen"),
        ("5小时", "5 hours"),
        ("5千米", "5公里"),
        ("5平方米", "5 square meters"),
        ("5个", "5天"),
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


@pytest.mark.parametrize("text", ["5 internationalisations;", "5 " + "a" * 60 + "|", "5 " + "ab " * 30 + "!"])
def test_long_words_take_no_time(text: str) -> None:
    """In as many steps as there are ways to part a word, this would not end."""
    assert not measure_others(text, "5 cm")
