"""Verifiers: say how good a candidate is, one verdict each; `None` is no verdict."""

from metagen.verifiers.combine import Sigmoid
from metagen.verifiers.oracles import MatchesReference

__all__ = ["MatchesReference", "Sigmoid"]
