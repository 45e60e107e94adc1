"""Tells a listener what happens on the way to one solution: see `metagen.events`."""

from collections import Counter
from dataclasses import dataclass, field

from metagen.answers.protocol import Answers, read_keyed
from metagen.errors import VerifierError
from metagen.events import Listener, Path, SampleDone, TextAdded
from metagen.request import Hearing

MARK = 25
"""Characters of the longest beginning of a mark, such as `<think`, that is waited for."""


@dataclass(slots=True)
class Tally:
    """The samples of one call so far."""

    told: set[int] = field(default_factory=set)
    votes: Counter[str] = field(default_factory=Counter)
    """By key."""
    spelled: dict[str, str] = field(default_factory=dict)
    """How the answer of a key was written first."""


class Teller:
    """Keeps count of samples and of the text that was told, for one problem."""

    __slots__ = ("_answers", "_tallies", "_text", "_thought", "tell")

    def __init__(self, listener: Listener, answers: Answers) -> None:
        self.tell = listener
        self._answers = answers
        self._tallies: dict[Path, Tally] = {}
        self._text: str | None = ""
        """What was told of the answer; `None` after a reply that did not continue it."""
        self._thought = ""

    def sample(self, path: Path, number: int, wanted: int, text: str, *, finished: bool) -> None:
        """Tell of one sample; not again of one that was told."""
        tally = self._tallies.setdefault(path, Tally())
        if number in tally.told:
            return
        tally.told.add(number)
        answer, key = self._read(text, finished=finished)
        if answer is not None and key is not None:
            tally.votes[key] += 1
            tally.spelled.setdefault(key, answer)
        votes = {tally.spelled[key]: count for key, count in tally.votes.most_common()}
        self.tell(SampleDone(path, number, wanted, len(tally.told), text, answer, votes))

    def has_told(self, path: Path) -> bool:
        """Whether samples of a call were told of."""
        return path in self._tallies

    def hearing(self, path: Path, wanted: int, partial: str, thought: str, *, alone: bool) -> Hearing | None:
        """Who is told what a backend tells of a request: of single samples, or of the text of the only one."""
        if wanted == 1 and not alone:
            return None

        def done(number: int, text: str, finished: bool) -> None:
            if wanted > 1:
                self.sample(path, number, wanted, partial + text, finished=finished)

        def grew(more: str, text: str) -> None:
            self._grew(path, thought + more, partial + text)

        return Hearing(done, grew if alone else None)

    def _grew(self, path: Path, thought: str, text: str) -> None:
        """Tell what is new; nothing any more once a reply does not continue what was told."""
        if self._text is None:
            return
        text = settled(text)
        thought = thought if text else settled(thought)
        if not (text.startswith(self._text) and thought.startswith(self._thought)):
            self._text = None
            return
        added = TextAdded(path, text[len(self._text) :], thought[len(self._thought) :])
        self._text, self._thought = text, thought
        if added.text or added.thought:
            self.tell(added)

    def _read(self, text: str, *, finished: bool) -> tuple[str | None, str | None]:
        """An answer and its key; none where the user's function that reads them fails, which is said elsewhere."""
        try:
            return read_keyed(self._answers, text, finished=finished)
        except VerifierError:
            return None, None


def settled(text: str) -> str:
    """The text without an end that may still turn out to be marks, or the blanks around them."""
    end = len(text)
    while True:
        while end and text[end - 1].isspace():
            end -= 1
        begun = text.rfind("<", max(0, end - MARK), end)
        if begun < 0 or "\n" in text[begun:end]:
            return text[:end]
        end = begun
