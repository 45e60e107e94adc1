"""A search tree as data, and pure functions that make a new one of it.

A tree is its root. Nodes never change: a new tree has new nodes on the way from the root to what differs, and shares
the rest with the old one. Each node holds the sums over all below it, so that backing up a verdict is nothing but
making those nodes anew, and a selection walks down one path.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Literal, NamedTuple

from metagen.candidate import Candidate
from metagen.copies import maker

Path = tuple[int, ...]
"""The place of a node: which child of which child of the root, whose path is empty."""

State = Literal["open", "drawing", "drawn", "finished", "closed"]
"""`open` can be expanded, `drawing` is being expanded, `drawn` has been. A leaf is `finished`, or else `closed`:
dropped by the search, cut by a length limit, or as deep as the search goes. A finished leaf that is dropped is closed
too."""


class Sums(NamedTuple):
    """What is known of a node and all below it together."""

    alive: int
    """Leaves in the running: open ones, and finished ones that were not dropped."""
    open: int
    """Nodes that can be expanded."""
    drawing: int
    """Expansions under way."""
    expansions: int
    """Expansions begun."""
    best: float
    """The highest verdict on an open node; -inf for none."""
    visits: int
    """Verdicts."""
    total: float
    """Their sum."""
    low: float
    """The lowest of them."""
    high: float


@dataclass(frozen=True, slots=True)
class Node:
    """A reply y₁ … y_t, the verdict on it, and what has grown on it."""

    candidate: Candidate
    value: float | None = None
    """v(x, y₁ … y_t), or of what a lookahead made of it; `None` without a verdict."""
    count: int = 1
    """How many equal siblings this one stands for."""
    state: State = "open"
    children: tuple["Node", ...] = ()
    rollout: Candidate | None = None
    """The finished reply that a lookahead made of it, to which the verdict belongs."""
    accepted: bool = False
    """Whether the oracle that may end the search has accepted it, or its rollout."""
    sums: Sums = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sums", _with_children(_sums(self.state, self.value), self.children))


_made = maker(Node)


def node_of(
    candidate: Candidate,
    value: float | None,
    count: int,
    state: State,
    rollout: Candidate | None = None,
    *,
    accepted: bool = False,
) -> Node:
    """A node on which nothing has grown yet."""
    return _made(candidate, value, count, state, (), rollout, accepted, _sums(state, value))


def changed(
    node: Node, state: State | None = None, *, count: int | None = None, children: tuple[Node, ...] | None = None
) -> Node:
    """A node with other fields, and with the sums that follow from them."""
    state = node.state if state is None else state
    count = node.count if count is None else count
    children = node.children if children is None else children
    sums = _with_children(_sums(state, node.value), children)
    return _made(node.candidate, node.value, count, state, children, node.rollout, node.accepted, sums)


def _sums(state: State, value: float | None) -> Sums:
    opened, drawing = state == "open", state == "drawing"
    alive, expansions = opened or state == "finished", drawing or state == "drawn"
    if value is None:
        return Sums(alive, opened, drawing, expansions, -inf, 0, 0.0, inf, -inf)
    return Sums(alive, opened, drawing, expansions, value if opened else -inf, 1, value, value, value)


def _with_children(own: Sums, children: Sequence[Node]) -> Sums:
    if not children:
        return own
    alive, opened, drawing, expansions, best, visits, total, low, high = zip(
        own, *[child.sums for child in children], strict=True
    )
    return Sums(
        sum(alive), sum(opened), sum(drawing), sum(expansions), max(best), sum(visits), sum(total), min(low), max(high)
    )


@dataclass(frozen=True, slots=True)
class Draw:
    """Expand the node at `path`: draw `n` children."""

    path: Path
    n: int


@dataclass(frozen=True, slots=True)
class Leaf:
    """A reply that may be the answer."""

    candidate: Candidate
    value: float | None = None
    count: int = 1
    accepted: bool = False


def at(root: Node, path: Path) -> Node:
    """The node at a path."""
    for index in path:
        root = root.children[index]
    return root


def nodes_on(root: Node, path: Path) -> Iterator[Node]:
    """The nodes on the way to a path, from the first step on."""
    for index in path:
        root = root.children[index]
        yield root


def value_of(node: Node) -> float:
    """The verdict on a node; lowest without one."""
    return -inf if node.value is None else node.value


def amended(root: Node, changes: Mapping[Path, Node]) -> Node:
    """The tree with these nodes at their paths; none of them is below another."""
    if () in changes:
        return changes[()]
    below: defaultdict[int, dict[Path, Node]] = defaultdict(dict)
    for path, node in changes.items():
        below[path[0]][path[1:]] = node
    children = list(root.children)
    for index, part in below.items():
        children[index] = amended(children[index], part)
    return changed(root, children=tuple(children)) if below else root


def begin(root: Node, path: Path) -> Node:
    """The tree while the open node at `path` is being expanded."""
    return amended(root, {path: changed(at(root, path), "drawing")})


def expand(root: Node, grown: Mapping[Path, Sequence[Node]]) -> Node:
    """The tree with these children at their paths, and with their verdicts backed up to the root."""
    changes = {path: changed(at(root, path), "drawn", children=tuple(each)) for path, each in grown.items()}
    return amended(root, changes)


def frontier(root: Node) -> list[tuple[Path, Node]]:
    """The leaves in the running, open or finished, in the order of their paths."""
    return [(path, node) for path, node in _walk(root, alive=True) if node.state in {"open", "finished"}]


def share_out(root: Node, leaves: Sequence[tuple[Path, Node]], shares: Sequence[int]) -> tuple[Node, list[Draw]]:
    """The tree in which each of its leaves in the running has its share, and what is to be drawn.

    An open leaf draws so many children; a finished one stays, and stands for so many; with 0 either is dropped.
    """
    changes, draws = {}, []
    for (path, node), share in zip(leaves, shares, strict=True):
        if not share:
            changes[path] = changed(node, "closed")
        elif node.state == "open":
            changes[path] = changed(node, "drawing")
            draws.append(Draw(path, share))
        elif share != node.count:
            changes[path] = changed(node, count=share)
    return amended(root, changes), draws


def finished(root: Node) -> Iterator[Leaf]:
    """All finished replies, dropped ones and rollouts among them, in the order of their paths."""
    for _, node in _walk(root):
        if node.candidate.finished and not node.children and node is not root:
            yield Leaf(node.candidate, node.value, node.count, node.accepted)
        elif node.rollout is not None:
            yield Leaf(node.rollout, node.value, node.count, node.accepted)


def unfinished(root: Node) -> Iterator[Leaf]:
    """The ends of all branches that did not come to an end of their own; nothing if nothing was drawn."""
    for _, node in _walk(root):
        if not node.candidate.finished and not node.children and node is not root:
            yield Leaf(node.candidate, node.value, node.count)


def merged(candidates: Sequence[Candidate]) -> list[tuple[Candidate, int]]:
    """Siblings with equal ones counted: the first of each, and how many there are."""
    first: dict[Hashable, Candidate] = {}
    counts: defaultdict[Hashable, int] = defaultdict(int)
    for candidate in candidates:
        key = (candidate.thought, candidate.text, candidate.finished, candidate.cut)
        first.setdefault(key, candidate)
        counts[key] += 1
    return [(first[key], count) for key, count in counts.items()]


def key_of(path: Path) -> str:
    """A path as text, such as /0/2, for a span's name."""
    return "/" + "/".join(map(str, path))


def _walk(root: Node, *, alive: bool = False) -> Iterator[tuple[Path, Node]]:
    """All nodes with their paths, parents first; with `alive` only where some leaf below is in the running."""
    stack: list[tuple[Path, Node]] = [((), root)]
    while stack:
        path, node = stack.pop()
        if alive and not node.sums.alive:
            continue
        yield path, node
        stack.extend(((*path, index), node.children[index]) for index in reversed(range(len(node.children))))
