"""Strategies: meta-generators G, each a frozen dataclass that is itself a generator."""

from metagen.strategies.chain import CoT
from metagen.strategies.control import Fallback, Until, Within
from metagen.strategies.parallel import BestOf, Vote

__all__ = ["BestOf", "CoT", "Fallback", "Until", "Vote", "Within"]
