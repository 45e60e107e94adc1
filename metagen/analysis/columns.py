"""The samples of a report as columns: a few bytes each, where objects would need hundreds."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate, islice
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metagen.analysis.parts import Part
from metagen.answers.kinds import MATHS
from metagen.answers.protocol import Answers
from metagen.disk.problems import ProblemFile
from metagen.errors import InputError
from metagen.problem import Problem
from metagen.run import Verifier
from metagen.verifiers.grading import REFERENCE, oracle_of
from metagen.verifiers.oracles import MatchesReference

AT_ONCE = 4096
"""Samples that are moved into columns at once: one by one would take four times as long."""
UNNUMBERED = -1
"""The number of a sample that has none yet."""
_NOTHING = b"\xff"
"""Marks a missing text. No text in UTF-8 contains this byte."""


class Texts:
    """A list of short texts, of which some are missing, in one piece of memory."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("Q", (0,))

    def extend(self, texts: Iterable[str | None]) -> None:
        pieces = [_NOTHING if text is None else text.encode(errors="surrogatepass") for text in texts]
        self._ends.extend(islice(accumulate(map(len, pieces), initial=len(self._bytes)), 1, None))
        self._bytes += b"".join(pieces)

    def missing(self) -> NDArray[np.bool_]:
        """[texts]: whether each is missing."""
        ends = as_array(self._ends).astype(np.intp)
        alone = np.flatnonzero(np.diff(ends) == len(_NOTHING))
        missing = np.zeros(len(self), np.bool_)
        missing[alone] = np.frombuffer(self._bytes, np.uint8)[ends[alone]] == _NOTHING[0]
        return missing

    def __getitem__(self, index: int) -> str | None:
        piece = self._bytes[self._ends[index] : self._ends[index + 1]]
        return None if piece == _NOTHING else piece.decode(errors="surrogatepass")

    def __len__(self) -> int:
        return len(self._ends) - 1


class Questions:
    """The problems of a file: their ids, references and tags, by their places from 0.

    An id is found by its hash in a sorted array, since a dict would need as much memory as all the rest.
    """

    def __init__(self, problems: ProblemFile, grade: Verifier | None = None) -> None:
        """Raises `InputError`, naming the line, for what cannot be read and for an id that occurs twice."""
        self.path = problems.path
        self.ids: list[str] = []
        self.references = Texts()
        self.tags: dict[str, dict[int, str]] = {}
        """By tag, the values of the problems that have it."""
        self._kinds: dict[int, Answers] = {}
        """Of the problems whose answers are not mathematics."""
        self.whole: dict[int, Problem] = {}
        """Those that are graded by more than their reference: by `grade`, by tests, by Coq."""
        references: list[str | None] = []
        for problem in problems:
            for name, value in problem.tags.items():
                self.tags.setdefault(name, {})[len(self.ids)] = value
            if problem.answers != MATHS:
                self._kinds[len(self.ids)] = problem.answers
            if not _by_answer(problem, grade or oracle_of(problem)):
                self.whole[len(self.ids)] = problem
            self.ids.append(problem.id)
            references.append(problem.answer)
        self.references.extend(references)
        hashes = np.fromiter(map(hash, self.ids), np.int64, len(self.ids))
        self._places = array("i", hashes.argsort().astype(np.int32).tobytes())
        hashes.sort()
        if repeated := set(hashes[1:][hashes[1:] == hashes[:-1]].tolist()):
            problems.refuse_twins(repeated)
        self._hashes = array("q", hashes.tobytes())

    @property
    def kinds(self) -> dict[str, Answers]:
        """The kinds of answers that are not mathematics, by problem."""
        return {self.ids[place]: kind for place, kind in self._kinds.items()}

    def kind(self, place: int) -> Answers:
        """The kind of answers to the problem at `place`."""
        return self._kinds.get(place, MATHS)

    def has_grade(self, place: int) -> bool:
        """Whether the answers to the problem at `place` can be right or wrong."""
        return place in self.whole or self.references[place] is not None

    def find(self, name: str) -> int | None:
        """Where a problem stands; `None` if it is not in the file."""
        wanted = hash(name)
        at = bisect_left(self._hashes, wanted)
        while at < len(self._hashes) and self._hashes[at] == wanted:
            if self.ids[self._places[at]] == name:
                return self._places[at]
            at += 1
        return None

    def place(self, name: str, source: Path) -> int:
        """The same for a problem of which `source` has samples. Raises `InputError` if it is not in this file."""
        if (place := self.find(name)) is None:
            raise InputError(f"{source}: problem {name!r} is not in {self.path}: give the file it was drawn for")
        return place


def _by_answer(problem: Problem, grade: Verifier | None) -> bool:
    """Whether answers are compared with the reference as kinds do by themselves, or there is none to compare with."""
    return grade in (None, REFERENCE) or (isinstance(grade, MatchesReference) and problem.answer is None)


class Draw(NamedTuple):
    """What a report needs of one sample. A tuple, since there may be millions."""

    answer: str | None
    tokens: int
    score: float | None = None
    """nan is no verdict; `None` where nothing scored it."""
    prompt: int = 0
    """The tokens of the prompt; 0 where nobody counted them."""
    cut: bool = False
    """A length limit cut it off."""
    text: str | None = None
    """All of it, for a grade that reads more than the answer."""
    fault: str = ""
    """Why its kind of answers could not read it."""
    again: int = 0
    """The tokens that its second request read again, where it had one."""
    thinks: bool = False
    """Whether it holds a thought."""


class Columns:
    """Samples in the order in which they were read. What was added is in the columns once they are settled."""

    def __init__(self, *, of_pool: bool = False) -> None:
        self.of_pool = of_pool
        """Whether scores that were recorded are those of a pool, and no verdicts of a run."""
        self._added: list[tuple[int, int, Draw]] = []
        self.places, self.numbers = array("i"), array("i")
        self.answers, self.texts = Texts(), Texts()
        self.tokens, self.prompts, self.again = array("i"), array("i"), array("i")
        self.scores = array("d")
        self.scored, self.recorded, self.cut = array("b"), array("b"), array("b")
        """Whether each was scored, whether its score was recorded, and whether a length limit cut it off."""
        self.unread = array("b")
        """Whether its kind of answers could not read each."""
        self.thinks = False
        """Whether any sample holds a thought."""
        self.why = ""
        """Why the first sample without a verdict has none, where that is known."""

    def add(self, place: int, number: int, draw: Draw) -> None:
        """Add sample `number` of the problem at `place`. Raises `OverflowError` as `settle` does."""
        self._added.append((place, number, draw))
        if len(self._added) >= AT_ONCE:
            self.settle()

    def settle(self) -> None:
        """Move what was added into the columns. Raises `OverflowError` for a number of tokens that does not fit."""
        if not self._added:
            return
        places, numbers, draws = zip(*self._added, strict=True)
        self._added.clear()
        answers, tokens, scores, prompts, cut, texts, faults, again, thinks = zip(*draws, strict=True)
        self.thinks = self.thinks or any(thinks)
        recorded = [score is not None for score in scores]
        self._extend(places, numbers, answers, tokens, scores, prompts, cut, texts, recorded, faults, again)

    def join(self, part: Part, places: Sequence[int]) -> None:
        """Add the samples of a part, whose problems are at these places."""
        numbers = [UNNUMBERED if number is None else number for number in part.numbers]
        self.thinks = self.thinks or part.thinks
        self._extend(
            [places[place] for place in part.places],
            numbers,
            part.answers,
            part.tokens,
            part.scores,
            part.prompts,
            part.cut,
            part.texts,
            part.recorded,
            part.faults,
            part.again or [0] * len(numbers),
        )

    def _extend(
        self,
        places: Sequence[int],
        numbers: Sequence[int],
        answers: Sequence[str | None],
        tokens: Sequence[int],
        scores: Sequence[float | None],
        prompts: Sequence[int],
        cut: Sequence[bool],
        texts: Sequence[str | None],
        recorded: Sequence[bool],
        faults: Sequence[str],
        again: Sequence[int],
    ) -> None:
        self.places.extend(places)
        self.numbers.extend(numbers)
        self.tokens.extend(tokens)
        self.scores.extend([nan if score is None else score for score in scores])
        self.scored.extend([score is not None for score in scores])
        self.prompts.extend(prompts)
        self.again.extend(again)
        self.cut.extend(cut)
        self.answers.extend(answers)
        self.texts.extend(texts)
        self.recorded.extend(recorded)
        self.unread.extend(map(bool, faults))
        self.why = self.why or next(filter(None, faults), "")

    def number(self) -> None:
        """Give the samples without a number one: 0, 1 … in the order in which a problem's were read."""
        numbers = np.asarray(self.numbers, np.int32)
        (missing,) = np.nonzero(numbers == UNNUMBERED)
        if len(missing):
            order = missing[np.argsort(as_array(self.places)[missing], kind="stable")]
            places = as_array(self.places)[order]
            numbers[order] = np.arange(len(order)) - np.searchsorted(places, places)
            self.numbers = array("i", numbers.tobytes())

    def order(self) -> "NDArray[np.int32]":
        """The samples by problem, and each problem's by their numbers."""
        return np.asarray(np.lexsort((as_array(self.numbers), as_array(self.places))), np.int32)

    def repeated(self, order: "NDArray[np.int32]") -> int | None:
        """A sample that has the problem and the number of one before it; `None` if there is none."""
        same = np.ones(max(0, len(order) - 1), np.bool_)
        for column in (self.places, self.numbers):
            values = as_array(column)[order]
            same &= values[1:] == values[:-1]
        twice = np.flatnonzero(same)
        return int(order[twice[0] + 1]) if len(twice) else None


def as_array(column: "array[Any]") -> NDArray[Any]:
    """The same memory as an array of numpy."""
    return np.frombuffer(column, dtype=column.typecode) if column else np.empty(0, dtype=column.typecode)
