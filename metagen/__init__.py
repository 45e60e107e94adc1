"""metagen: meta-generation, y ~ G(y | x; g₁ … g_G, φ). Answer better by calling a model many times."""

from typing import TYPE_CHECKING

from metagen import backends, strategies, tools, verifiers
from metagen.lazy import load_lazily

if TYPE_CHECKING:
    from metagen import sync  # noqa: F401 (sync.solve needs no import of its own)
    from metagen.analysis.compare import compare
    from metagen.analysis.rules import curves
    from metagen.answers.canonical import canonical
    from metagen.answers.extract import extract
    from metagen.answers.grade import grade
    from metagen.answers.kinds import Choice, Function, Label, LastNumber, Maths, Number, Pattern, Text
    from metagen.answers.protocol import Answers, Form
    from metagen.answers.several import AnyOf
    from metagen.answers.spec import parse_answers
    from metagen.answers.structured import Code, Json
    from metagen.backends import *
    from metagen.bootstrap import bootstrap
    from metagen.budget import Account, Budget, Price, Usage
    from metagen.candidate import Candidate, Feedback, Score, Scored
    from metagen.card.card import ModelCard
    from metagen.disk.problems import ProblemFile
    from metagen.errors import (
        BackendGone,
        BudgetExceeded,
        GenerationError,
        InputError,
        MetagenError,
        NoCandidate,
        SampleError,
        ServerBusy,
        StorageError,
        ToolError,
        ToolRefusal,
        TransientError,
        UnfitRequest,
        VerifierError,
        WeightError,
    )
    from metagen.events import (
        Expanded,
        Judged,
        SampleDone,
        Solved,
        StageBegun,
        StageEnded,
        TextAdded,
        ToolCalled,
    )
    from metagen.execution.limits import Limits
    from metagen.execution.processes import Finished
    from metagen.execution.sandbox import Sandbox
    from metagen.learning import learn_weights
    from metagen.model import Model
    from metagen.problem import Problem
    from metagen.request import Backend, Completion, Reading, Request, RewardBackend, Sampling
    from metagen.run import Batched, Critic, Generator, Joint, Run, Tool, Verifier
    from metagen.settings import spelled
    from metagen.solution import Solution
    from metagen.solve import map_problems, solve, solve_all, stream
    from metagen.spec.parse import parse
    from metagen.strategies import *
    from metagen.tools import *
    from metagen.verifiers import *
    from metagen.verifiers.critics import Arithmetic, Intrinsic, LowestStep, Reason

__all__ = [
    "Account",
    "Answers",
    "AnyOf",
    "Arithmetic",
    "Backend",
    "BackendGone",
    "Batched",
    "Budget",
    "BudgetExceeded",
    "Candidate",
    "Choice",
    "Code",
    "Completion",
    "Critic",
    "Expanded",
    "Feedback",
    "Finished",
    "Form",
    "Function",
    "GenerationError",
    "Generator",
    "InputError",
    "Intrinsic",
    "Joint",
    "Json",
    "Judged",
    "Label",
    "LastNumber",
    "Limits",
    "LowestStep",
    "Maths",
    "MetagenError",
    "Model",
    "ModelCard",
    "NoCandidate",
    "Number",
    "Pattern",
    "Price",
    "Problem",
    "ProblemFile",
    "Reading",
    "Reason",
    "Request",
    "RewardBackend",
    "Run",
    "SampleDone",
    "SampleError",
    "Sampling",
    "Sandbox",
    "Score",
    "Scored",
    "ServerBusy",
    "Solution",
    "Solved",
    "StageBegun",
    "StageEnded",
    "StorageError",
    "Text",
    "TextAdded",
    "Tool",
    "ToolCalled",
    "ToolError",
    "ToolRefusal",
    "TransientError",
    "UnfitRequest",
    "Usage",
    "Verifier",
    "VerifierError",
    "WeightError",
    "bootstrap",
    "canonical",
    "compare",
    "curves",
    "extract",
    "grade",
    "learn_weights",
    "map_problems",
    "parse",
    "parse_answers",
    "solve",
    "solve_all",
    "spelled",
    "stream",
]
__all__ += backends.__all__
__all__ += strategies.__all__
__all__ += tools.__all__
__all__ += verifiers.__all__

load_lazily(__name__)
