"""What a reader is told while a strategy works: a line for what matters among its events."""

import math
from collections.abc import Sequence

from metagen.events import Event, Expanded, Judged, Path, SampleDone, StageBegun, StageEnded, ToolCalled
from metagen.settings import counted

LINES = 32
"""The most lines about the samples of one call."""
SHOWN = 200
"""Characters of an answer, or of a step of a search."""


class Progress:
    """Turns the events of one problem into lines of text."""

    def __init__(self) -> None:
        self._open: set[Path] = set()
        self._last = ""

    def line(self, event: Event) -> str:
        """What to say about an event; empty if nothing."""
        match event:
            case StageBegun(path=path):
                self._open.add(path)
            case StageEnded(path=path):
                self._open.discard(path)
            case SampleDone():
                return self._once(self._sample(event))
            case Judged(verdicts=verdicts):
                return self._once(_verdicts(verdicts))
            case Expanded(texts=[_, *_]):
                return self._once(_best_step(event))
            case ToolCalled(name=name):
                return f"called {name}\n"
        return ""

    def _sample(self, event: SampleDone) -> str:
        if event.wanted == 1:
            alone = all(event.path[: len(path)] == path for path in self._open)
            return event.text.strip() if alone else ""
        every = math.ceil(event.wanted / LINES)
        if event.done % every and event.done < event.wanted:
            return ""
        drawn = f"{event.done:,} of {counted(event.wanted, 'sample')}"
        answer, votes = next(iter(event.votes.items()), (None, 0))
        return drawn if answer is None else f"{drawn}, {votes} agree{'s' * (votes == 1)} on {answer[:SHOWN]}"

    def _once(self, said: str) -> str:
        """A line, unless it says what the one before said."""
        if not said or said == self._last:
            return ""
        self._last = said
        return f"{said}\n"


def _best_step(event: Expanded) -> str:
    values = [-math.inf if child.value is None else child.value for child in event.expansion.children]
    value = max(values)
    text = " ".join(event.texts[values.index(value)][-SHOWN:].split())
    return f"best step{'' if value == -math.inf else f' ({value:.3g})'}: {text}"


def _verdicts(verdicts: Sequence[float | None]) -> str:
    values = [value for value in verdicts if value is not None]
    return f"{counted(len(values), 'verdict')}, the best {max(values):.3g}" if values else ""
