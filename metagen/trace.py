"""What happened: a tree of spans for each problem, each with what was asked, written, judged and chosen there."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal

from metagen.budget import NOTHING, Usage
from metagen.candidate import Candidate, Feedback
from metagen.copies import maker
from metagen.notebook import html_tree
from metagen.settings import counted
from metagen.thinking import split

SAID = 60
"""Characters of a reply that are shown as a reason."""
SHOWN = 100
"""Parts of a span that a notebook shows."""

Status = Literal["open", "ok", "lost", "cancelled", "failed"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it was sent: `n` samples of a prompt, or of how the reply `partial` continues."""

    prompt: str
    partial: str = ""
    n: int = 1
    messages: Sequence[Mapping[str, Any]] = ()
    """The whole conversation, where there are other turns than the prompt."""
    model: str = ""
    """The model that it was sent to; two that are called alike are distinguished."""


@dataclass(frozen=True, slots=True)
class Written:
    """A completion as it came: its text, its length in tokens, and whether a length limit cut it."""

    text: str
    tokens: int = 0
    cut: bool = False
    thought: str = ""
    """What was thought before the text."""
    open: bool = False
    """Whether the thought has not ended."""


written = maker(Written)
"""A completion of which all is given."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a tool was given and what it returned: an output, or the reason of a refusal, or neither if it failed."""

    input: str
    output: str | None = None
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Child:
    """One child of an expanded node: how many equal samples it stands for, its verdict, and what it is."""

    count: int
    value: float | None
    state: str
    became: str = ""
    """What the search made of it: `drawn` if it was kept and expanded, `closed` if it was dropped."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """The expansion of one node of a search: `n` children were asked for, and these came."""

    n: int
    children: tuple[Child, ...] = ()


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
    usage: Usage = NOTHING
    """What this span itself spent, without its children."""
    verifying: bool = False
    """Whether this is a verifier at work, or below one: what is drawn here is not a sample of the answer."""
    stage: bool = False
    """Whether what is drawn here is only read on the way to the answer, or is a critic's."""
    kept: bool = False
    """Whether the reply that it was to continue is kept if it is lost."""
    request: Asked | None = None
    completions: Sequence[Written] = ()
    verdicts: Sequence[float | None] | None = None
    """The values that a verifier gave, one for each candidate; `None` among them is no verdict."""
    steps: Sequence[Sequence[float]] = ()
    """The values of the steps of each candidate, in the order of `verdicts`, from a verifier that scores steps."""
    feedback: Feedback | None = None
    """What a critic said."""
    call: Call | None = None
    expansion: Expansion | None = None
    notes: Sequence[str] = ()
    """What a strategy says about how it answered."""
    seed: int | None = None
    """Of the random numbers by which it decided."""
    overshoot: float = 0.0
    """Seconds past the deadline of a budget of its own."""
    waited: float = 0.0
    """Seconds in which its request waited before a model took it: for room in the budget, for a place among the
    requests at once, between two tries, and in vLLM's queue where the engine counts (`disable_log_stats=False`)."""
    children: list["Span"] = field(default_factory=list)
    samples: Sequence[Candidate] = ()
    """The candidates that a strategy compared here, in the order in which they were issued."""
    calls: int = 0
    """How many calls this node has made; numbers the next one."""
    keys: set[str] | None = None
    """The names that its callers gave to calls."""

    def _repr_html_(self) -> str:
        """How a notebook shows it: a tree that unfolds, of at most `SHOWN` spans on each level."""
        return self._html(is_open=True)

    def _html(self, *, is_open: bool = False) -> str:
        verdicts = (
            [] if self.verdicts is None else ["none" if each is None else f"{each:.3g}" for each in self.verdicts]
        )
        lines = [each.thought + each.text for each in self.completions]
        lines += [*([f"verdicts: {', '.join(verdicts)}"] if verdicts else ()), *self.notes]
        lines += [self.error] if self.error else []
        below = self._sorted()
        more = f", the first {SHOWN} of {len(below)} parts" if len(below) > SHOWN else ""
        title = f"{self.name}: {self.status}, {counted(self.total().tokens, 'token')}, {self.seconds:.2f} s{more}"
        return html_tree(title, lines, [each._html() for each in below[:SHOWN]], is_open=is_open)

    def walk(self) -> Iterator["Span"]:
        """This span and all below it, parents first, siblings by path."""
        waiting = [self]
        while waiting:
            yield (span := waiting.pop())
            if span.children:
                waiting.extend(reversed(span._sorted()))

    def total(self) -> Usage:
        """What this span and all below it spent."""
        return sum((span.usage for span in self.walk()), NOTHING)

    def counted(self) -> Iterator["Span"]:
        """This span and all below it, without what was cancelled: how far that came depended on the clock."""
        waiting = [self]
        while waiting:
            if (span := waiting.pop()).status != "cancelled":
                yield span
                if span.children:
                    waiting.extend(reversed(span._sorted()))

    @property
    def place(self) -> str:
        """The path as it is written down: its keys joined by dots."""
        return ".".join(map(str, self.path))

    def comparing(self, chosen: Candidate) -> "Span | None":
        """The span of the outermost strategy that chose this very candidate among its samples, if one did."""
        level = [self]
        while level:
            for span in level:
                if any(sample is chosen for sample in span.samples):
                    return span
            level = [child for span in level for child in span.children if not child.verifying]
        return None

    def written(self) -> Iterator[str]:
        """The replies that were written at or below this span, those of verifiers and of lost samples left out."""
        if self.status in ("cancelled", "lost") or self.verifying:
            return
        begun = split(self.request.partial).text if self.request and self.request.partial else ""
        yield from (begun + each.text for each in self.completions)
        for child in self._sorted():
            yield from child.written()

    def count_lost(self) -> int:
        """How many samples were lost at or below this span, each counted where it was lost first.

        Neither what was cancelled nor what a verifier drew is a sample of the answer; nor is a lost stage that its
        caller did without, nor the rest of a reply that is kept as far as it came.
        """
        if self.verifying or self.status == "cancelled":
            return 0
        below = 0
        for child in self.children:
            if not self._did_without(child):
                below += child.count_lost()
        return below or (self._wanted() if self.status == "lost" else 0)

    def why_lost(self) -> str:
        """The first error at or below this span that cost a sample, or a verifier its own; empty if there is none."""
        waiting = [self]
        while waiting:
            span = waiting.pop()
            if span.status == "cancelled" or (span.verifying and not self.verifying):
                continue
            if span.status == "lost" and span.error:
                return span.error
            waiting.extend(each for each in reversed(span._sorted()) if not span._did_without(each))
        return ""

    def verified(self) -> Iterator["Span"]:
        """The verifiers that gave verdicts at or below this span, without those that another verifier asked."""
        waiting = [self]
        while waiting:
            span = waiting.pop()
            if span.verifying and span.verdicts is not None and span.status != "cancelled":
                yield span
            elif span.children and span.status != "cancelled":
                waiting.extend(reversed(span._sorted()))

    @property
    def unscored(self) -> int:
        """How many candidates a verifier gave no verdict on."""
        return sum(verdict is None for verdict in self.verdicts or ())

    def why_unscored(self) -> str:
        """Why a verifier gave no verdict, as far as its span tells: an error, a note, or a reply that holds none."""
        replies = (repr(each.text[:SAID]) for span in self.counted() for each in span.completions)
        reasons = (self.error, self.why_lost(), *self.all_notes(), *(f"it replied {reply}" for reply in replies))
        said = next(filter(None, reasons), "it does not say why")
        return f"{self.name}: {said}"

    def all_notes(self) -> list[str]:
        """What strategies at or below this span had to say about how they answered."""
        return notes_of(self.counted())

    def _did_without(self, child: "Span") -> bool:
        """Whether a stage of this span, or the rest of a reply that is kept, was lost, and this span was not."""
        return (child.stage or child.kept) and child.status == "lost" != self.status

    def _wanted(self) -> int:
        """How many samples this span was to draw."""
        asked = self.request or self.expansion
        return asked.n if asked else 1

    def _sorted(self) -> list["Span"]:
        children, above = self.children, len(self.path)
        if len(children) < 2:
            return children
        if any(isinstance(key, str) for child in children for key in child.path[above:]):
            return sorted(children, key=lambda child: [str(key).rjust(12) for key in child.path])
        return sorted(children, key=_path_of)


_path_of = attrgetter("path")


def notes_of(spans: Iterable[Span]) -> list[str]:
    """What strategies had to say about how they answered."""
    return [note for span in spans for note in span.notes]


def once_each(notes: Iterable[str]) -> tuple[str, ...]:
    """The same for readers: equal notes, such as those of the samples of a vote, once, with their number."""
    return tuple(f"{note} ({count} times)" if count > 1 else note for note, count in Counter(notes).items())
