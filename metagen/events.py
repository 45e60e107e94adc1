"""What happens while a problem is solved, as plain data: the one source for bars, servers and pages.

`Run` tells them, from what it does anyway; no strategy does. `path` is the structural path of the span, as in a trace.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from metagen.solution import Solution
from metagen.trace import Call, Expansion, Status

Path = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class StageBegun:
    """A strategy, a model, a verifier, a critic or a tool begins its work."""

    path: Path
    name: str
    verifying: bool = False
    """Whether it is a verifier, or below one."""


@dataclass(frozen=True, slots=True)
class StageEnded:
    """It has ended: `ok`, `lost`, `cancelled` or `failed`, with the error that it ended with."""

    path: Path
    name: str
    status: Status
    seconds: float
    error: str = ""
    verifying: bool = False


@dataclass(frozen=True, slots=True)
class SampleDone:
    """One of the `wanted` samples that were asked for at `path` is there.

    Samples of one request are reported as they end where the backend can tell, else together.
    """

    path: Path
    number: int
    """Among those that were asked for, from 0."""
    wanted: int
    done: int
    """How many are there by now, with this one."""
    text: str
    answer: str | None
    votes: Mapping[str, int]
    """How many samples gave each answer so far, the most frequent first. Equal answers are one."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A verifier gave a verdict on each candidate; `None` is no verdict."""

    path: Path
    name: str
    verdicts: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Expanded:
    """A search asked for the children of a node, or decided what becomes of them."""

    path: Path
    expansion: Expansion
    texts: Sequence[str] = ()
    """What each child adds to the reply of its node, once the children are drawn and judged."""


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """A strategy called a tool, which has answered, refused or failed."""

    path: Path
    name: str
    call: Call


@dataclass(frozen=True, slots=True)
class TextAdded:
    """The answer grew by this, where a single reply of a model is the answer as it comes.

    The texts of all these events are the beginning of the solution's text, and so are the thoughts of its thought. What
    may still change is held back: the solution may say more. If the model is asked again in the middle of a reply,
    nothing more is reported, and the solution's text may begin differently.
    """

    path: Path
    text: str = ""
    thought: str = ""


@dataclass(frozen=True, slots=True)
class Solved:
    """The last event: the solution."""

    solution: Solution


Event = StageBegun | StageEnded | SampleDone | Judged | Expanded | ToolCalled | TextAdded | Solved
Listener = Callable[[Event], None]
