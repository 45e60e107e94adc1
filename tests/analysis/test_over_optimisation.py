from dataclasses import replace

import numpy as np
import pytest

from metagen.analysis.curve import Samples
from metagen.analysis.over_optimisation import Fall, over_optimised
from metagen.analysis.rules import best_of, powers_of_two
from tests.analysis.test_rules import curve_of, many


def test_a_curve_that_falls_is_said_to_from_where() -> None:
    # A verifier that loves one wrong sample in 64 above all. It is drawn with chance k/64, else a right one is found
    # with chance k/(k+1), since shares are uniform: 0.75, 0.778, 0.706 at k = 4, 8, 16.
    rng = np.random.default_rng(0)
    right = rng.random((300, 64)) < rng.beta(1, 1, (300, 1))
    scores = right + 0.5 * rng.random(right.shape)
    right[:, 0], scores[:, 0] = False, 9.0
    samples = Samples(np.zeros(right.shape, dtype=int), right, scores)
    fall = over_optimised(best_of(samples, powers_of_two(64)))
    assert isinstance(fall, Fall)
    assert (fall.best, fall.worse_from) == (8, 16)
    assert fall.low < fall.difference < fall.high < 0


def test_a_fall_is_told_from_the_best_before_it_to_the_first_that_is_worse() -> None:
    values = np.tile([[0.3, 0.9, 0.1, 1.0], [0.7, 0.9, 0.1, 1.0]], (50, 1))
    fall = over_optimised(curve_of(values))
    assert fall is not None
    assert (fall.best, fall.worse_from) == (2, 4)
    assert fall.difference == pytest.approx(-0.8), "from k = 2, where it is clearest"
    assert -1 < fall.low < -0.8 < fall.high < 0


def test_a_curve_that_rises_is_not_accused() -> None:
    assert over_optimised(best_of(replace(many(), scores=many().right.astype(float)), [1, 2, 4, 8])) is None
    assert over_optimised(curve_of(np.zeros((50, 1)))) is None


def test_few_problems_prove_nothing() -> None:
    fall = [[1.0, 0.0]]
    assert over_optimised(curve_of(fall * 5)) is None
    found = over_optimised(curve_of(fall * 6))
    assert found is not None
    assert (found.best, found.worse_from, found.difference) == (1, 2, -1.0)


@pytest.mark.parametrize("problems", [6, 10, 20, 60])
def test_a_flat_curve_is_accused_one_time_in_twenty_at_most(problems: int) -> None:
    rng = np.random.default_rng(0)
    accused = 0
    for seed in range(300):
        # A verifier that knows nothing: best-of is as good as one sample at every k.
        right = rng.random((problems, 16)) < rng.beta(1, 1, (problems, 1))
        samples = Samples(np.zeros(right.shape, dtype=int), right, rng.random(right.shape))
        accused += over_optimised(best_of(samples, powers_of_two(16)), draws=500, seed=seed) is not None
    assert accused / 300 < 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300)


def test_a_fall_that_chance_gives_as_often_is_none_whatever_the_rounding() -> None:
    # Two problems of ten fall alike: of four ways to flip their signs one falls as far.
    values = np.full((10, 2), 0.5)
    values[:2] = 0.3 + 0.1, 0.1
    assert not any(over_optimised(curve_of(values), draws=100, seed=seed) for seed in range(50))
