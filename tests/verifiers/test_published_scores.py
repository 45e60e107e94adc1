"""Published reward scores, put through our aggregates, transforms and choices: the published figures come out."""

import json
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from metagen import canonical
from metagen.strategies.choosing import best, majority, weighted_majority
from metagen.verifiers.aggregates import AGGREGATES
from metagen.verifiers.reward import TRANSFORMS

REWARDS = Path(__file__).parents[3] / "shared" / "data" / "rewards"
pytestmark = pytest.mark.skipif(not REWARDS.is_dir(), reason="needs published reward scores beside the project")

REWARDMATH = {
    "Math_Shepherd": {"min": 15.32, "prod": 17.18, "mean": 15.11, "last": 18.22},
    "ReasonEval_34B": {"min": 19.46, "prod": 15.94, "mean": 18.22, "last": 18.63},
    "ReasonEval_7B": {"min": 19.46, "prod": 18.22, "mean": 20.08, "last": 14.91},
    "Easy_to_hard": {"min": 12.84, "prod": 14.08, "mean": 18.63, "last": 13.25},
}
"""Accuracy in per cent: how often the right one of ten solutions scores above all others (Kim et al. 2024)."""


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (REWARDS / name).read_text().splitlines()]


@pytest.mark.parametrize("model", REWARDMATH)
@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_rewardmath_comes_out_for_each_model_and_aggregate(model: str, aggregate: str) -> None:
    """The first solution is the right one, and must be above the others: a tie is lost."""
    problems = [[AGGREGATES[aggregate](steps) for steps in row["scores"][model]] for row in rows("rewardmath.jsonl")]
    assert len(problems) == 483
    won = [scores[0] > max(scores[1:]) for scores in problems]
    assert round(100 * mean(won), 2) == REWARDMATH[model][aggregate]


def test_an_outcome_reward_on_math_beats_the_majority() -> None:
    """100 problems of MATH, 8 samples each, with the logits of an outcome reward model."""
    right: dict[str, list[bool]] = {"mean": [], "any": [], "majority": [], "best": [], "weighted": []}
    for row in rows("math_100x8_orm.jsonl"):
        keys, correct = [canonical(answer) for answer in row["pred"]], row["score"]
        logits = [score[-1] for score in row["pred_score"]]
        right["mean"].append(mean(correct))
        right["any"].append(any(correct))
        right["majority"].append(correct[majority(keys)])
        right["best"].append(correct[best([TRANSFORMS["none"](logit) for logit in logits])])
        right["weighted"].append(correct[weighted_majority(keys, [TRANSFORMS["sigmoid"](logit) for logit in logits])])
    shares = {name: round(100 * mean(each), 1) for name, each in right.items()}
    assert shares == {"mean": 91.0, "any": 96.0, "majority": 93.0, "best": 94.0, "weighted": 94.0}
