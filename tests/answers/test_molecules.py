"""Which texts are one chemical formula."""

import pytest

from metagen.answers.molecules import molecules_alike


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("H_2O", "H2O", True),
        ("H2O", "H2O", True),
        (r"\ce{Fe^3+}", "Fe^{3+}", True),
        (r"\mathrm{(NH_4)_2SO_4}", "(NH4)2SO4", True),
        ("H_2O", "H_2S", False),
        ("x_2", "x2", False),
        ("A_{16}", "A16", False),
        ("F_1F_2", "F1F2", False),
        ("X_{1}2", "X12", False),
        ("", "", False),
    ],
)
def test_a_formula_is_the_same_with_and_without_its_layout(one: str, other: str, alike: bool) -> None:
    assert molecules_alike(one, other) is alike
    assert molecules_alike(other, one) is alike
