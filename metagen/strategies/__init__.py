"""Strategies: meta-generators G, each a frozen dataclass that is itself a generator."""

from metagen.strategies.chain import CoT
from metagen.strategies.control import Fallback, Until, Within
from metagen.strategies.parallel import BestOf, Vote
from metagen.strategies.stopping import BetaStop, ConsensusStop, DirichletStop, ExactStop, PredictiveStop, WindowStop

__all__ = [
    "BestOf",
    "BetaStop",
    "CoT",
    "ConsensusStop",
    "DirichletStop",
    "ExactStop",
    "Fallback",
    "PredictiveStop",
    "Until",
    "Vote",
    "WindowStop",
    "Within",
]
