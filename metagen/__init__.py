"""metagen: meta-generation, y ~ G(y | x; g₁ … g_G, φ). Answer better by calling a model many times."""

from metagen.answers import canonical, extract
from metagen.backends import Balanced, Limited, Recorded, Retrying, Scripted, VLLMEngine, VLLMServer
from metagen.bootstrap import bootstrap
from metagen.budget import Account, Budget, Usage
from metagen.candidate import Candidate, Score, Scored
from metagen.card import ModelCard
from metagen.errors import (
    BackendGone,
    BudgetExceeded,
    GenerationError,
    InputError,
    MetagenError,
    NoCandidate,
    SampleError,
    ToolError,
    ToolRefusal,
    TransientError,
    VerifierError,
    WeightError,
)
from metagen.model import Model
from metagen.problem import Problem, ProblemFile
from metagen.processes import Finished
from metagen.request import Backend, Completion, Request, Sampling
from metagen.run import Batched, Generator, Run, Tool, Verifier
from metagen.sandbox import Limits, Sandbox
from metagen.solution import Solution
from metagen.solve import solve, solve_all
from metagen.spec import parse
from metagen.strategies import (
    DSP,
    Ask,
    BestOf,
    BetaStop,
    Chain,
    ConsensusStop,
    CoT,
    DirichletStop,
    ExactStop,
    Fallback,
    PredictiveStop,
    ReAct,
    SelfAsk,
    System2Attention,
    Until,
    Vote,
    WindowStop,
    Within,
)
from metagen.tools import Calculator, Coq, Python, Search
from metagen.verifiers import MatchesReference, PassesTests, Proves, Sigmoid

__all__ = [
    "DSP",
    "Account",
    "Ask",
    "Backend",
    "BackendGone",
    "Balanced",
    "Batched",
    "BestOf",
    "BetaStop",
    "Budget",
    "BudgetExceeded",
    "Calculator",
    "Candidate",
    "Chain",
    "CoT",
    "Completion",
    "ConsensusStop",
    "Coq",
    "DirichletStop",
    "ExactStop",
    "Fallback",
    "Finished",
    "GenerationError",
    "Generator",
    "InputError",
    "Limited",
    "Limits",
    "MatchesReference",
    "MetagenError",
    "Model",
    "ModelCard",
    "NoCandidate",
    "PassesTests",
    "PredictiveStop",
    "Problem",
    "ProblemFile",
    "Proves",
    "Python",
    "ReAct",
    "Recorded",
    "Request",
    "Retrying",
    "Run",
    "SampleError",
    "Sampling",
    "Sandbox",
    "Score",
    "Scored",
    "Scripted",
    "Search",
    "SelfAsk",
    "Sigmoid",
    "Solution",
    "System2Attention",
    "Tool",
    "ToolError",
    "ToolRefusal",
    "TransientError",
    "Until",
    "Usage",
    "VLLMEngine",
    "VLLMServer",
    "Verifier",
    "VerifierError",
    "Vote",
    "WeightError",
    "WindowStop",
    "Within",
    "bootstrap",
    "canonical",
    "extract",
    "parse",
    "solve",
    "solve_all",
]
