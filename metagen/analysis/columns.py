"""The samples of a report as columns: a few bytes each, where objects would need hundreds."""

from array import array
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metagen.analysis.intervals import Index
from metagen.disk.problems import ProblemFile
from metagen.errors import InputError

_NOTHING = b"\xff"
"""Stands for no text; no text in UTF-8 has this byte."""


class Texts:
    """A list of short texts, of which some are missing, in one piece of memory."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("Q", (0,))

    def append(self, text: str | None) -> None:
        self._bytes += _NOTHING if text is None else text.encode(errors="surrogatepass")
        self._ends.append(len(self._bytes))

    def __getitem__(self, index: int) -> str | None:
        piece = self._bytes[self._ends[index] : self._ends[index + 1]]
        return None if piece == _NOTHING else piece.decode(errors="surrogatepass")

    def __len__(self) -> int:
        return len(self._ends) - 1


@dataclass(slots=True)
class Questions:
    """The problems of a file: where each stands, its reference and its tags."""

    path: Path
    places: dict[str, int] = field(default_factory=dict)
    """From the id to the number, from 0."""
    references: Texts = field(default_factory=Texts)
    tags: dict[str, dict[int, str]] = field(default_factory=dict)
    """By tag, the values of the problems that have it."""

    @classmethod
    def read(cls, problems: ProblemFile) -> "Questions":
        """Raises `InputError`, naming the line, for what cannot be read."""
        read = cls(problems.path)
        for place, problem in enumerate(problems):
            read.places[problem.id] = place
            read.references.append(problem.answer)
            for name, value in problem.tags.items():
                read.tags.setdefault(name, {})[place] = value
        return read

    def place(self, name: str, source: Path) -> int:
        """Where a problem stands of which `source` has samples. Raises `InputError` if it is not in this file."""
        if (place := self.places.get(name)) is None:
            raise InputError(f"{source}: problem {name!r} is not in {self.path}: give the file it was drawn for")
        return place


@dataclass(frozen=True, slots=True)
class Draw:
    """What a report needs of one sample."""

    answer: str | None
    tokens: int
    score: float | None = None
    """nan is no verdict; `None` where nothing scored it."""
    prompt: int = 0
    """The tokens of the prompt; 0 where nobody counted them."""


class Columns:
    """Samples in the order in which they were read."""

    def __init__(self) -> None:
        self.places, self.numbers = array("q"), array("q")
        self.answers = Texts()
        self.tokens, self.prompts = array("q"), array("q")
        self.scores = array("d")
        self.scored = array("b")
        """Whether each was scored."""

    def add(self, place: int, number: int, draw: Draw) -> None:
        """Add sample `number` of the problem at `place`."""
        self.places.append(place)
        self.numbers.append(number)
        self.answers.append(draw.answer)
        self.tokens.append(draw.tokens)
        self.prompts.append(draw.prompt)
        self.scores.append(nan if draw.score is None else draw.score)
        self.scored.append(draw.score is not None)

    def order(self) -> Index:
        """The samples by problem, and each problem's by their numbers."""
        return np.asarray(np.lexsort((as_array(self.numbers), as_array(self.places))))

    def repeated(self, order: Index) -> int | None:
        """A sample that has the problem and the number of one before it; `None` if there is none."""
        places, numbers = (as_array(column)[order] for column in (self.places, self.numbers))
        twice = np.flatnonzero((places[1:] == places[:-1]) & (numbers[1:] == numbers[:-1]))
        return int(order[twice[0] + 1]) if len(twice) else None


def as_array(column: "array[Any]") -> NDArray[Any]:
    """The same memory as an array of numpy."""
    return np.frombuffer(column, dtype=column.typecode) if column else np.empty(0, dtype=column.typecode)
