"""Strategies: meta-generators G, each a frozen dataclass that is itself a generator."""

from typing import TYPE_CHECKING

from metagen.lazy import load_lazily

if TYPE_CHECKING:
    from metagen.strategies.bandit import Bandit
    from metagen.strategies.chains.chain import Ask, Chain, CoT, System2Attention
    from metagen.strategies.chains.mapped import Mapped
    from metagen.strategies.chains.program import ProgramOfThought
    from metagen.strategies.chains.proof import DraftSketchProve
    from metagen.strategies.chains.react import ReAct
    from metagen.strategies.chains.retrieval import DSP, SelfAsk
    from metagen.strategies.control import Fallback, Until, Within
    from metagen.strategies.escalation import Escalate
    from metagen.strategies.parallel.allocation import Allocate
    from metagen.strategies.parallel.behaviour import CodeT, CodeVote
    from metagen.strategies.parallel.deepconf import DeepConf
    from metagen.strategies.parallel.medoid import Medoid
    from metagen.strategies.parallel.panel import Panel
    from metagen.strategies.parallel.rounds import Rounds
    from metagen.strategies.parallel.selection import Fuse, Select
    from metagen.strategies.parallel.similarity import Cosine
    from metagen.strategies.parallel.stopping import (
        BetaStop,
        ConsensusStop,
        DirichletStop,
        ExactStop,
        PredictiveStop,
        WindowStop,
    )
    from metagen.strategies.parallel.tournament import Tournament
    from metagen.strategies.parallel.vote import BestOf, Vote
    from metagen.strategies.refine import Correct, Refine
    from metagen.strategies.thinking import EarlyExit, Shortest, Think
    from metagen.strategies.tree.adaptive import ABMCTS
    from metagen.strategies.tree.joined import Joined
    from metagen.strategies.tree.levels import DVTS, Beam, ParticleFilter, Rebase
    from metagen.strategies.tree.windows import MCTS, BestFirst

__all__ = [
    "ABMCTS",
    "DSP",
    "DVTS",
    "MCTS",
    "Allocate",
    "Ask",
    "Bandit",
    "Beam",
    "BestFirst",
    "BestOf",
    "BetaStop",
    "Chain",
    "CoT",
    "CodeT",
    "CodeVote",
    "ConsensusStop",
    "Correct",
    "Cosine",
    "DeepConf",
    "DirichletStop",
    "DraftSketchProve",
    "EarlyExit",
    "Escalate",
    "ExactStop",
    "Fallback",
    "Fuse",
    "Joined",
    "Mapped",
    "Medoid",
    "Panel",
    "ParticleFilter",
    "PredictiveStop",
    "ProgramOfThought",
    "ReAct",
    "Rebase",
    "Refine",
    "Rounds",
    "Select",
    "SelfAsk",
    "Shortest",
    "System2Attention",
    "Think",
    "Tournament",
    "Until",
    "Vote",
    "WindowStop",
    "Within",
]

load_lazily(__name__)
