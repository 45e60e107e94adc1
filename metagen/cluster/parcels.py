"""What travels between the driver and its workers: plain data, so that each can be on a machine of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from metagen.answers.protocol import Answers
from metagen.answers.spec import parse_answers
from metagen.budget import Amounts, Budget, Usage
from metagen.errors import InputError
from metagen.jobs.job import ModelOrder
from metagen.messages import Turns
from metagen.problem import Problem
from metagen.run import Generator, Verifier
from metagen.settings import literal
from metagen.spec.parse import parse, parse_grade, reads_back

Names = Mapping[str, Any]
"""What the loaded files define."""


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a worker opens: models, with the files of code that they and the strategies need, as texts."""

    order: ModelOrder
    code: tuple[tuple[str, bytes], ...] = ()
    """By the name of the file."""
    version: str = ""
    """Of metagen, which must be the same everywhere."""

    def unpacked(self, folder: Path) -> ModelOrder:
        """The order, once the files of code are in a folder."""
        paths = []
        for number, (name, text) in enumerate(self.code):
            paths.append(folder / str(number) / name)
            paths[-1].parent.mkdir()
            paths[-1].write_bytes(text)
        return replace(self.order, load=paths)


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker does to problems, as `solve_all` takes it: specs for the strategy and the grade."""

    strategy: str
    grade: str = ""
    seed: int | None = None
    concurrency: int = 1
    fill: int = 1
    """Samples at a time with which the worker is kept busy."""
    budget: Budget = field(default_factory=Budget)
    """The whole budget, of which parts are lent, with the seconds that are left of it."""

    def read(self, names: Names) -> tuple[Generator, Verifier | None]:
        """The strategy and the grade. Raises `InputError`."""
        return parse(self.strategy, names), parse_grade(self.grade, names) if self.grade else None


@dataclass(frozen=True, slots=True)
class Letter:
    """A problem on its way to a worker."""

    number: int
    """By which the driver knows it."""
    id: str
    prompt: str
    answer: str | None
    answers: str
    """The kind of answers, as a spec."""
    tags: tuple[tuple[str, str], ...] = ()
    messages: tuple[Mapping[str, Any], ...] = ()
    tests: str | None = None

    def problem(self, answers: Callable[[str], Answers]) -> Problem:
        """The problem; `answers` reads the kind of answers."""
        return Problem(
            self.id,
            self.prompt,
            self.answer,
            tags=dict(self.tags),
            answers=answers(self.answers),
            messages=self.messages,
            tests=self.tests,
        )


@dataclass(frozen=True, slots=True)
class News:
    """What a worker reports: solutions as the lines of a run's folder, and what it would like."""

    done: Sequence[tuple[int, bytes, bytes]] = ()
    """The number of the problem, the line of its solution and those of its trace."""
    wanted: int = 0
    """How many more problems it would begin."""
    spent: Usage = field(default_factory=Usage)
    """On the whole task, so that a report that nobody reads loses nothing."""
    asks: tuple[Amounts, bool, int] | None = None
    """Tokens, FLOPs and money that it needs room for, whether it waits for that, and the number of the question."""
    refused: bool = False
    """Whether its budget has turned something away."""
    in_flight: int = 0
    """Samples."""
    busy: float = 0.0
    """Seconds with any problem since the last report."""


def posted(problem: Problem, number: int = 0) -> Letter:
    """A problem as plain data. Raises `InputError` where it holds what cannot travel."""
    if problem.partial is not None or problem.asked is not None or problem.step is not None:
        raise InputError(f"problem {problem.id!r}: a reply that is begun cannot travel to a worker: solve it here")
    return Letter(
        number,
        problem.id,
        problem.prompt,
        problem.answer,
        literal(problem.answers),
        tuple(problem.tags.items()),
        tuple(turn.fields() for turn in cast("Turns", problem.messages)),
        problem.tests,
    )


def spec_of(part: object, what: str, names: Names, read: Callable[[str, Names], object]) -> str:
    """How a strategy, a grade or a kind of answers is written. Raises `InputError` where a worker could not read it."""
    text = literal(part)
    if not reads_back(text, names, read):
        raise InputError(
            f"{what} {text[:200]} cannot travel to a worker: define it in a file, and name the file with load=[...] "
            "or --load, or install it as a package on every machine"
        )
    return text


class Kinds(dict[str, Answers]):
    """Kinds of answers by their specs, each read once."""

    def __init__(self, names: Names) -> None:
        super().__init__()
        self._names = names

    def __missing__(self, spec: str) -> Answers:
        kind = self[spec] = parse_answers(spec, self._names)
        return kind
