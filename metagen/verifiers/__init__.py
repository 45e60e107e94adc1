"""Verifiers: say how good a candidate is, one verdict each; `None` is no verdict."""

from metagen.verifiers.combine import Sigmoid
from metagen.verifiers.execution import PassesTests
from metagen.verifiers.oracles import MatchesReference
from metagen.verifiers.proof import Proves

__all__ = ["MatchesReference", "PassesTests", "Proves", "Sigmoid"]
