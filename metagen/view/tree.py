"""The tree of a search, put together again from its expansions. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from metagen.disk.traces import SpanRow
from metagen.view.candidates import below


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
    chosen: bool = False
    """Whether it is on the way to the answer."""


def tree_of(spans: Sequence[SpanRow], answer: str) -> list[Grown]:
    """The nodes of all searches of a problem, parents first; nothing where no search was made."""
    expansions = {span.path: span for span in spans if span.expansion}
    nodes: list[Grown] = []
    for path in expansions:
        if _name(path) == "/":
            _grow(nodes, expansions, _by_parent(spans), path, answer)
    return nodes


def _grow(
    nodes: list[Grown],
    expansions: dict[str, SpanRow],
    inside: dict[str, list[SpanRow]],
    root: str,
    answer: str,
) -> None:
    """Add a root and all that has grown on it."""
    nodes.append(Grown(-1, "", 1, None, "drawn", chosen=True))
    waiting = [(root, len(nodes) - 1, "")]
    while waiting:
        path, parent, begun = waiting.pop(0)
        children = expansions[path].expansion.children  # type: ignore[union-attr]
        texts = _texts(expansions[path], inside.get(path, []), begun)
        for number, (child, text) in enumerate(zip(children, texts, strict=False)):
            whole = begun + text
            chosen = nodes[parent].chosen and bool(text) and answer.startswith(whole)
            nodes.append(Grown(parent, text, child.count, child.value, child.became or child.state, chosen))
            below_path = f"{path.rstrip('/')}/{number}"
            if below_path in expansions:
                waiting.append((below_path, len(nodes) - 1, whole))


def _texts(expansion: SpanRow, inside: Sequence[SpanRow], begun: str) -> list[str]:
    """What each child adds: the samples of an expansion, equal ones once."""
    if expansion.replies:
        return list(dict.fromkeys(text.removeprefix(begun) for text in expansion.replies))
    drawn = (each for _, each in below(inside, ""))
    distinct = dict.fromkeys((each.thought, each.text, each.cut) for each in drawn)
    return [text for _, text, _ in distinct]


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
    texts: list[str] = []
    for node in nodes:
        texts.append((texts[node.parent] if node.parent >= 0 else "") + node.text)
    leaves = {text: node.value for text, node in zip(texts, nodes, strict=True) if node.state in ("finished", "closed")}
    return {text: value for text, value in leaves.items() if text}
