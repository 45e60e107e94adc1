"""Verifiers: say how good a candidate is, one verdict each; `None` is no verdict."""

from typing import TYPE_CHECKING

from metagen.lazy import load_lazily

if TYPE_CHECKING:
    from metagen.verifiers.combine import Cached, Cascade, Lowest, Mean, Product, Sigmoid, Threshold
    from metagen.verifiers.confidence import LowestGroupConfidence, MeanLogprob, SelfCertainty
    from metagen.verifiers.execution import PassesTests
    from metagen.verifiers.judge import Judge, Pairwise
    from metagen.verifiers.learned import Learned
    from metagen.verifiers.oracles import MatchesReference
    from metagen.verifiers.plain import OnText
    from metagen.verifiers.proof import Proves
    from metagen.verifiers.recorded import RecordedScore
    from metagen.verifiers.reward import OutcomeReward, ProcessReward
    from metagen.verifiers.stepjudge import StepJudge

__all__ = [
    "Cached",
    "Cascade",
    "Judge",
    "Learned",
    "Lowest",
    "LowestGroupConfidence",
    "MatchesReference",
    "Mean",
    "MeanLogprob",
    "OnText",
    "OutcomeReward",
    "Pairwise",
    "PassesTests",
    "ProcessReward",
    "Product",
    "Proves",
    "RecordedScore",
    "SelfCertainty",
    "Sigmoid",
    "StepJudge",
    "Threshold",
]

load_lazily(__name__)
