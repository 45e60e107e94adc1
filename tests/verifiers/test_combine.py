from collections.abc import Sequence
from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import BestOf, Candidate, InputError, Problem, Run, Score, Scripted, Sigmoid, solve
from metagen.verifiers.combine import sigmoid


@pytest.mark.parametrize(
    ("logit", "value"),
    [
        (0, 0.5),
        (1, 0.731058578630),
        (-1, 0.268941421370),
        (6.1, 0.997762151),
        (-4.3, 0.013387),
        (1e6, 1.0),
        (-1e6, 0.0),
    ],
)
def test_sigmoid(logit: float, value: float) -> None:
    assert sigmoid(logit) == pytest.approx(value, abs=1e-9, rel=1e-5)


@given(st.floats(-30, 30))
def test_sigmoid_is_its_definition_and_symmetric(logit: float) -> None:
    assert sigmoid(logit) == pytest.approx(1 / (1 + exp(-logit)))
    assert sigmoid(logit) + sigmoid(-logit) == pytest.approx(1)


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_sigmoid_keeps_order_within_0_and_1(first: float, second: float) -> None:
    low, high = sorted((first, second))
    assert 0 <= sigmoid(low) <= sigmoid(high) <= 1


async def test_verdicts_become_probabilities_and_no_verdict_stays_none() -> None:
    given = [Score(0.0, (1e6, 0.0), "why"), None, Score(-1e6)]
    seen: list[list[Score | None]] = []

    async def logits(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        return given

    async def spy(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        seen.append(await Sigmoid(logits)(problem, candidates, run))
        return seen[0]

    await solve("?", BestOf(3, by=spy), Scripted("x"))
    assert seen == [[Score(0.5, (1.0, 0.5), "why"), None, Score(0.0)]]


def test_what_is_no_verifier_is_refused() -> None:
    with pytest.raises(InputError, match="Sigmoid: by=Sigmoid is a class"):
        Sigmoid(Sigmoid)  # type: ignore[arg-type]


@pytest.mark.parametrize("by", [None, 3])
def test_a_verifier_is_needed(by: object) -> None:
    with pytest.raises(InputError, match="Sigmoid: "):
        Sigmoid(by)  # type: ignore[arg-type]
