"""Tree searches over steps, and over whole replies (`adaptive`), guided by a verifier that judges partial replies.

`node` is the tree as data, `shares` the arithmetic of how much each node gets, `search` the loop around both; `levels`
and `windows` are the algorithms, each a pure function from a tree to what is drawn next.
"""

from typing import TYPE_CHECKING

from metagen.lazy import load_lazily

if TYPE_CHECKING:
    from metagen.strategies.tree.adaptive import ABMCTS
    from metagen.strategies.tree.joined import Joined
    from metagen.strategies.tree.levels import DVTS, Beam, ParticleFilter, Rebase
    from metagen.strategies.tree.windows import MCTS, BestFirst

__all__ = ["ABMCTS", "DVTS", "MCTS", "Beam", "BestFirst", "Joined", "ParticleFilter", "Rebase"]

load_lazily(__name__)
