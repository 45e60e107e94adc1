import random
from collections.abc import Sequence
from math import inf

import numpy as np
import pytest

from metagen import BestOf, Candidate, InputError, Problem, Run, Scripted, learn_weights, parse, solve
from metagen.run import Verifier
from metagen.verifiers.learned import fit
from tests.support.scripts import length

SPECS = ["Vote(3, by=Learned(length, brief, weights=(0.01, 2.0), bias=-1.0))"]


def test_weights_are_those_that_made_the_data() -> None:
    chance = np.random.default_rng(1)
    features = chance.normal(size=(20_000, 2)) * [1.0, 10.0] + [0.0, 50.0]
    logits = 2.0 * features[:, 0] - 0.1 * features[:, 1] + 5.0
    right = (chance.random(20_000) < 1 / (1 + np.exp(-logits))).astype(float)
    found = fit(features, right, np.repeat(np.arange(2000), 10))
    assert found.weights == pytest.approx((2.0, -0.1), rel=0.05)
    assert found.bias == pytest.approx(5.0, rel=0.05)
    assert found.loss < 0.8 * found.naive


def test_what_predicts_nothing_is_seen_on_held_out_problems() -> None:
    chance = np.random.default_rng(2)
    found = fit(chance.normal(size=(60, 9)), chance.integers(0, 2, 60).astype(float), np.arange(60) // 6)
    assert found.loss > found.naive
    assert found.penalty == 100


@pytest.mark.parametrize("right", [[1.0] * 12, [0.0] * 12])
def test_only_right_or_only_wrong_samples_teach_nothing(right: list[float]) -> None:
    with pytest.raises(InputError, match="right and wrong samples, of 5 problems"):
        fit(np.ones((12, 1)), np.array(right), np.arange(12))


async def honest(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[float | None]:
    """High where the answer is 7, most of the time; no verdict on a 9."""
    return [None if "9" in each.text else float("7" in each.text) + len(each.text) % 3 / 2 for each in candidates]


async def endless(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[float | None]:
    """The same, but for an infinite verdict on a 9."""
    return [-inf if "9" in each.text else float("7" in each.text) + len(each.text) % 3 / 2 for each in candidates]


@pytest.mark.parametrize("honest", [honest, endless])
async def test_it_learns_whom_to_trust_from_samples(honest: Verifier) -> None:
    chance = random.Random(3)
    problems = [Problem(str(number), "3 + 4?", "7") for number in range(20)]

    def script(_: object) -> str:
        return "Well. " * chance.randrange(3) + f"The answer is {chance.choice((7, 8, 9))}."

    learned, found = await learn_weights([length, honest], problems, Scripted(script), n=8, seed=1)
    assert learned.weights[1] > 1
    assert found.loss < found.naive
    best = BestOf(3, by=learned)
    assert parse(repr(best), {"length": length, honest.__name__: honest}) == best  # type: ignore[attr-defined]
    replies = ["Well. Well. The answer is 8.", "The answer is 7.", "The answer is 9."]
    backend = Scripted(lambda request: replies[request.draw])
    assert (await solve("3 + 4?", best, backend)).answer == "7"


async def test_without_any_verdict_nothing_is_learned() -> None:
    with pytest.raises(InputError, match="no sample has all verdicts"):
        await learn_weights([honest], [Problem("1", "?", "7")], Scripted("The answer is 9."))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("Learned(length, weights=())", "a weight for each"),
        ("Learned(weights=())", "a weight for each"),
        ("Learned(3, weights=(1.0,))", "of=3 is not a verifier"),
        ('Learned(length, weights=("1",))', "must be a number"),
    ],
)
def test_nonsense_is_refused(spec: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(f"Vote(3, by={spec})", {"length": length})
