"""Strategies: meta-generators G, each a frozen dataclass that is itself a generator."""

from metagen.strategies.allocation import Allocate
from metagen.strategies.chain import Ask, Chain, CoT, System2Attention
from metagen.strategies.control import Fallback, Until, Within
from metagen.strategies.deepconf import DeepConf
from metagen.strategies.parallel import BestOf, Vote
from metagen.strategies.program import ProgramOfThought
from metagen.strategies.proof import DraftSketchProve
from metagen.strategies.react import ReAct
from metagen.strategies.refine import Correct, Refine
from metagen.strategies.retrieval import DSP, SelfAsk
from metagen.strategies.stopping import BetaStop, ConsensusStop, DirichletStop, ExactStop, PredictiveStop, WindowStop
from metagen.strategies.tournament import Tournament
from metagen.strategies.tree import DVTS, MCTS, Beam, BestFirst, Joined, ParticleFilter, Rebase

__all__ = [
    "DSP",
    "DVTS",
    "MCTS",
    "Allocate",
    "Ask",
    "Beam",
    "BestFirst",
    "BestOf",
    "BetaStop",
    "Chain",
    "CoT",
    "ConsensusStop",
    "Correct",
    "DeepConf",
    "DirichletStop",
    "DraftSketchProve",
    "ExactStop",
    "Fallback",
    "Joined",
    "ParticleFilter",
    "PredictiveStop",
    "ProgramOfThought",
    "ReAct",
    "Rebase",
    "Refine",
    "SelfAsk",
    "System2Attention",
    "Tournament",
    "Until",
    "Vote",
    "WindowStop",
    "Within",
]
