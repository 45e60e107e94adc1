import pytest

from metagen.verifiers.aggregates import AGGREGATES


@pytest.mark.parametrize(("name", "value"), [("min", 0.2), ("prod", 0.08), ("mean", 0.5), ("last", 0.8)])
def test_one_number_for_all_steps(name: str, value: float) -> None:
    assert AGGREGATES[name]([0.5, 0.2, 0.8]) == pytest.approx(value)
