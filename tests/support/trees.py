"""Trees as literals, and a model whose replies spell their own value."""

from collections.abc import Mapping, Sequence

from hypothesis import strategies as st

from metagen import Candidate, Problem, Request, Run, Score
from metagen.strategies.tree.node import Node, State

PROBLEM = Problem("p", "Count.", "7")
values = st.none() | st.floats(0, 1)


def node(
    text: str = "", value: float | None = None, *children: Node, count: int = 1, state: State | None = None
) -> Node:
    """A node that is drawn if it has children, finished if its text ends in a full stop, and open otherwise."""
    end = text.endswith(".")
    found: State = state or ("drawn" if children else "finished" if end else "open")
    steps = tuple(line + "\n" for line in text.split("/") if line)
    return Node(Candidate(steps, finished=end), value, count, found, children)


trees = st.recursive(
    st.builds(node, st.sampled_from(["a", "b."]), values, count=st.integers(1, 3)),
    lambda below: st.builds(
        lambda value, children: node("a", value, *children), values, st.lists(below, min_size=1, max_size=4)
    ),
    max_leaves=20,
)


async def spelled(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
    """The number that the last line spells, such as 0.3; none where it spells none."""
    lines = [candidate.steps[-1].strip().split(" ")[0] if candidate.steps else "" for candidate in candidates]
    return [Score(float(line)) if line.replace(".", "", 1).isdigit() else None for line in lines]


class Lines:
    """A script: by what is written so far, the lines that come next, one a sample; each sample takes the next."""

    def __init__(self, lines: Mapping[str, Sequence[str]]) -> None:
        self.lines = lines
        self.asked: list[str] = []

    def __call__(self, request: Request) -> str:
        self.asked.append(request.partial)
        following = self.lines[request.partial]
        return following[request.draw % len(following)]
