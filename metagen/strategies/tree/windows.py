"""Searches that choose one node after the other, with a window of expansions under way."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from metagen.errors import InputError
from metagen.settings import is_number, require_whole
from metagen.strategies.tree.node import Draw, Node, Path, begin
from metagen.strategies.tree.search import TreeSearch
from metagen.strategies.tree.shares import puct


@dataclass(frozen=True, slots=True, repr=False)
class Windowed(TreeSearch):
    """A search of `expansions` nodes, each of which gets `branch` children, `window` of them under way at a time."""

    expansions: int
    branch: int
    window: int = field(default=4, kw_only=True)

    def __post_init__(self) -> None:
        TreeSearch.__post_init__(self)  # a bare super() fails in a dataclass with slots
        require_whole(self, expansions=self.expansions, branch=self.branch, window=self.window)

    @property
    def each(self) -> int:
        return self.branch

    def select(self, root: Node) -> Path:
        """The open node to expand next; there is one."""
        path: list[int] = []
        while root.state != "open":
            parent = root
            places = [place for place, child in enumerate(parent.children) if child.sums.open]
            path.append(max(places, key=lambda place: self.rank(parent, parent.children[place])))
            root = parent.children[path[-1]]
        return tuple(path)

    def rank(self, parent: Node, child: Node) -> float:
        """On the way down the child with the highest rank is chosen; ties go to the one drawn first."""
        raise NotImplementedError

    def choose(self, root: Node, random: Random) -> tuple[Node, Sequence[Draw]]:  # noqa: ARG002 (nothing is random here)
        draws: list[Draw] = []
        while root.sums.open and root.sums.drawing < self.window and root.sums.expansions < self.expansions:
            path = self.select(root)
            root = begin(root, path)
            draws.append(Draw(path, self.branch))
        return root, draws


@dataclass(frozen=True, slots=True, repr=False)
class BestFirst(Windowed):
    """Best-first search: the open node with the best verdict, wherever in the tree it is, gets `branch` children.

    So it goes back: where all children of a branch are worse than an older node, that node is next. (Tree of thoughts,
    Yao et al. 2023; best-first, Koh et al. 2024.) It ends after `expansions`, or when nothing is open. No verdict ranks
    last. With a `window` above 1, a choice does not know the verdicts of the expansions that are under way.
    """

    def rank(self, parent: Node, child: Node) -> float:  # noqa: ARG002 (the same for every parent)
        return child.sums.best


@dataclass(frozen=True, slots=True, repr=False)
class MCTS(Windowed):
    """Monte Carlo tree search: down the tree by PUCT (`shares.puct`) to an open node, which gets `branch` children.

    Each child's verdict is backed up to the root. With `lookahead=None` it is the verdict on a rollout to an answer.
    (Silver et al. 2017; over steps of language models, Hao et al. 2023.) Expansions under way count as virtual losses.
    What cannot grow any more, being finished, cut or all expanded, is not entered again. It ends after `expansions`, or
    when nothing is open.

    Raises `WeightError` for infinite verdicts.
    """

    exploration: float = field(default=1.0, kw_only=True)
    """The constant of PUCT, which weighs exploration against the mean verdict (from 0 to 1): 0 never explores."""

    def __post_init__(self) -> None:
        Windowed.__post_init__(self)  # a bare super() fails in a dataclass with slots
        if not is_number(self.exploration) or self.exploration < 0:
            raise InputError(f"MCTS: exploration must be a number of 0 or more, not {self.exploration!r}")

    def rank(self, parent: Node, child: Node) -> float:
        return puct(parent, child, self.branch, self.exploration)
