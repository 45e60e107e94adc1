"""The figures of an evaluation."""

import pytest

from recipes.evaluate import Sampled, figures, majority, report


@pytest.mark.parametrize(
    ("answers", "winner"),
    [([1, 2, 2], 2), ([2, 1, 1, 2], 2), ([None, None, 3], 3), ([None], None), ([], None)],
)
def test_the_majority(answers: list[int | None], winner: int | None) -> None:
    assert majority(answers) == winner


def test_the_figures() -> None:
    sampled = [Sampled(5, 2, None, (5, 5, 4, 3)), Sampled(7, 3, "each", (1, 1, 7, 1))]
    found = figures(sampled, [1, 2, 4])
    assert found.pass_1 == 0.375
    assert found.coverage == {1: 0.375, 2: pytest.approx((5 / 6 + 1 / 2) / 2, abs=1e-4), 4: 1.0}
    assert found.majority == {1: 0.375, 2: 0.5, 4: 0.5}
    assert report(sampled)["by trap"]["each"]["majority"][4] == 0.0
