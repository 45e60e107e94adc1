"""The small models that ship with the package."""

from pathlib import Path

_HERE = Path(__file__).parent

SMALL = _HERE / "small-moe"
"""A mixture of experts that solves arithmetic word problems; the default model of the command line."""
SMALL_PRM = _HERE / "small-prm"
"""A process reward model for the steps that `SMALL` writes."""
SMALL_CORRECTOR = _HERE / "small-corrector"
"""A corrector of what `SMALL` writes."""
SMALL_REASONER = _HERE / "small-reasoner"
"""`SMALL` taught to think between `<think>` and `</think>` before it answers."""

SHIPPED = {path.name: path for path in (SMALL, SMALL_PRM, SMALL_CORRECTOR, SMALL_REASONER)}
"""By the names under which the command line knows them."""
