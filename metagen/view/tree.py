"""The tree of a search, put together again from its expansions. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

from metagen.disk.traces import SpanRow
from metagen.trace import Written
from metagen.view.candidates import compared


@dataclass(frozen=True, slots=True)
class Grown:
    """A node of a search tree: what it adds to its parent, how many equal samples it stands for, and its verdict."""

    parent: int
    """The place of its parent among the nodes; -1 for a root."""
    text: str
    count: int
    value: float | None
    state: str
    """`drawn` was expanded, `finished` is a whole reply, `closed` was dropped, `open` was never expanded."""
    thought: str = ""
    """What it adds to the thought before the text."""
    chosen: bool = False
    """Whether it is on the way to the answer."""


def tree_of(spans: Sequence[SpanRow], answer: str) -> list[Grown]:
    """The nodes of all searches of a problem, parents first; nothing where no search was made."""
    expansions = {span.path: span for span in spans if span.expansion}
    nodes: list[Grown] = []
    for path in expansions:
        if _name(path) == "/":
            _grow(nodes, expansions, _by_parent(spans), path)
    way = _way(nodes, answer)
    return [replace(node, chosen=place in way) for place, node in enumerate(nodes)]


def _grow(nodes: list[Grown], expansions: dict[str, SpanRow], inside: dict[str, list[SpanRow]], root: str) -> None:
    """Add a root and all that has grown on it."""
    nodes.append(Grown(-1, "", 1, None, "drawn"))
    waiting = [(root, len(nodes) - 1, Written(""))]
    while waiting:
        path, parent, begun = waiting.pop(0)
        children = expansions[path].expansion.children  # type: ignore[union-attr]
        replies = _replies(expansions[path], inside.get(path, []))
        for number, (child, each) in enumerate(zip(children, replies, strict=False)):
            text, thought = each.text.removeprefix(begun.text), each.thought.removeprefix(begun.thought)
            nodes.append(Grown(parent, text, child.count, child.value, child.became or child.state, thought))
            below_path = f"{path.rstrip('/')}/{number}"
            if below_path in expansions:
                waiting.append((below_path, len(nodes) - 1, each))


def _replies(expansion: SpanRow, inside: Sequence[SpanRow]) -> list[Written]:
    """Each child as the whole reply so far: the samples of an expansion, equal ones once."""
    first: dict[tuple[str, str, bool], Written] = {}
    for each in compared(expansion, [expansion, *inside]):
        first.setdefault((each.thought, each.text, each.cut), each)
    return [*first.values()]


def _way(nodes: Sequence[Grown], answer: str) -> set[int]:
    """The nodes on the way to the answer: to the best that ends with it, or else all that it begins with."""
    texts, parents = _texts(nodes), {node.parent for node in nodes}
    ends = [place for place, text in enumerate(texts) if text == answer and place not in parents]
    way: set[int] = set()
    if ends:
        place = max(ends, key=lambda end: -inf if (value := nodes[end].value) is None else value)
        while place >= 0:
            way.add(place)
            place = nodes[place].parent
        return way
    for place, node in enumerate(nodes):
        if node.parent < 0 or (node.parent in way and node.text and answer.startswith(texts[place])):
            way.add(place)
    return way


def _texts(nodes: Sequence[Grown]) -> list[str]:
    """The whole text up to each node."""
    texts: list[str] = []
    for node in nodes:
        texts.append((texts[node.parent] if node.parent >= 0 else "") + node.text)
    return texts


def _by_parent(spans: Sequence[SpanRow]) -> dict[str, list[SpanRow]]:
    """The spans below each expansion."""
    found: dict[str, list[SpanRow]] = {}
    current = ""
    for span in spans:
        if span.expansion:
            current = span.path
        elif span.path.startswith(f"{current}.") and current:
            found.setdefault(current, []).append(span)
    return found


def _name(path: str) -> str:
    return path.rpartition(".")[2]


def values_of(nodes: Sequence[Grown]) -> dict[str, float | None]:
    """The verdict on each whole reply of a tree, by its text."""
    leaves = {
        text: node.value
        for text, node in zip(_texts(nodes), nodes, strict=True)
        if node.state in ("finished", "closed")
    }
    return {text: value for text, value in leaves.items() if text}
