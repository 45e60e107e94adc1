"""What happened: a tree of spans for each problem."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from metagen.budget import Usage
from metagen.candidate import Candidate

Status = Literal["open", "ok", "lost", "cancelled", "failed"]


@dataclass(slots=True)
class Span:
    """One thing that was done: a strategy at work, a request, a verdict.

    A span is `lost` if it cost a sample, `cancelled` if nobody waited for it any more, and `failed` if it stopped the
    run. Its `path` is structural: equal for the same node of the same strategy in every run.
    """

    name: str
    path: tuple[int | str, ...] = ()
    started: float = 0.0
    """Seconds since the problem was begun."""
    seconds: float = 0.0
    status: Status = "open"
    error: str = ""
    usage: Usage = field(default_factory=Usage)
    """What this span itself spent, without its children."""
    detail: dict[str, Any] = field(default_factory=dict)
    """Plain data for the reader: the request and its completions, scores, notes."""
    children: list["Span"] = field(default_factory=list)
    verifying: bool = False
    """Whether this is a verifier at work: what is drawn below is not a sample of the answer."""
    samples: list[Candidate] = field(default_factory=list)
    """The candidates that a strategy compared here, in the order in which they were issued."""
    calls: int = 0
    """How many calls this node has made; numbers the next one."""
    keys: set[str] | None = None
    """The names that its callers gave to calls."""

    def walk(self) -> Iterator["Span"]:
        """This span and all below it, parents first, siblings by path."""
        yield self
        for child in self._sorted():
            yield from child.walk()

    def total(self) -> Usage:
        """What this span and all below it spent."""
        return sum((span.usage for span in self.walk()), Usage())

    def counted(self) -> Iterator["Span"]:
        """This span and all below it, without what was cancelled: how far that came depended on the clock."""
        if self.status != "cancelled":
            yield self
            for child in self._sorted():
                yield from child.counted()

    def compared(self, chosen: Candidate) -> list[Candidate]:
        """The samples among which the outermost strategy chose this very candidate; nothing if none did."""
        level = [self]
        while level:
            for span in level:
                if any(sample is chosen for sample in span.samples):
                    return span.samples
            level = [child for span in level for child in span.children if not child.verifying]
        return []

    def lost(self) -> int:
        """How many samples were lost at or below this span, each counted where it was lost first.

        Neither what was cancelled nor what a verifier drew is a sample of the answer.
        """
        if self.verifying or self.status == "cancelled":
            return 0
        below = sum(child.lost() for child in self.children)
        return below or (self.detail.get("n", 1) if self.status == "lost" else 0)

    def why_lost(self) -> str:
        """The first error at or below this span that cost a sample; empty if there is none."""
        return next((span.error for span in self.counted() if span.status == "lost" and span.error), "")

    def notes(self) -> list[str]:
        """What strategies had to say about how they answered."""
        return [note for span in self.counted() for note in span.detail.get("notes", ())]

    def _sorted(self) -> list["Span"]:
        return sorted(self.children, key=lambda child: [str(key).rjust(12) for key in child.path])

    def row(self, problem: str) -> dict[str, Any]:
        """The span as plain data, for one line of `trace.jsonl`; what is empty is left out."""
        row = {
            "problem": problem,
            "path": ".".join(map(str, self.path)),
            "name": self.name,
            "status": self.status,
            "started": round(self.started, 6),
            "seconds": round(self.seconds, 6),
            "error": self.error,
            "usage": {name: count for name, count in self.usage.row().items() if not name.endswith("seconds")},
            **self.detail,
        }
        return {name: value for name, value in row.items() if value not in ("", {}, [], None) or name == "path"}
