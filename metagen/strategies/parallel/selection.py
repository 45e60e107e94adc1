"""A model reads all samples: it selects one of them, or writes one from them."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal

from metagen.candidate import Candidate
from metagen.errors import InputError, SampleError
from metagen.problem import Problem
from metagen.prompts import fuse, select, selected
from metagen.run import Generator, Run
from metagen.settings import counted, freeze, require_generator, require_whole, spelled
from metagen.strategies.choosing import majority, vote_keys
from metagen.strategies.parallel.vote import elected


@dataclass(frozen=True, slots=True, repr=False)
class Select:
    """The sample that a model selects: y⁽¹⁾ … y⁽ⁿ⁾ ~ g(· | x);  i ~ `by`(· | x, y⁽¹⁾ … y⁽ⁿ⁾).

    With `wish="consistent"` it is asked for the one that agrees with most (universal self-consistency; Chen et al.
    2023, section 3), so texts without an answer to count can vote; with `"best"` for the best (GenSelect; Toshniwal et
    al. 2025). Equal texts are shown once, in the order in which they were drawn. Where its reply names none, or is
    lost, the majority decides, as in `Vote`, which a note says.
    """

    n: int
    _: KW_ONLY
    of: Generator | None = None
    by: Generator | None = None
    """What selects; without it, the run's model."""
    wish: Literal["consistent", "best"] = "consistent"

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_whole(self, n=self.n)
        require_generator(self, of=self.of, by=self.by)
        if self.wish not in ("consistent", "best"):
            raise InputError(f"Select: wish must be consistent or best, not {self.wish!r}")

    @property
    def drawing(self) -> tuple[Generator | None, ...]:
        """The generator that draws the answer."""
        return (self.of,)

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        candidates = await run.sample(self.of, problem, self.n)
        first: dict[str, Candidate] = {}
        for candidate in candidates:
            first.setdefault(candidate.text, candidate)
        distinct = list(first.values())
        if len(distinct) == 1:
            return distinct[0]
        try:
            asking = problem.aside(select(problem.text, texts(distinct), self.wish))
            reply = await run.ask(self.by, asking, part="stage")
            if (number := selected(reply.text, len(distinct))) is not None:
                return distinct[number]
            why = "names none"
        except SampleError as error:
            why = f"is lost ({error})"
        run.note(f"the reply that selects {why}: the majority decides")
        return elected(candidates, majority(vote_keys(problem, candidates)), run)


@dataclass(frozen=True, slots=True, repr=False)
class Fuse:
    """A reply written from all samples: y⁽¹⁾ … y⁽ⁿ⁾ ~ g(· | x);  y ~ `by`(· | x, y⁽¹⁾ … y⁽ⁿ⁾).

    (The aggregator of a mixture of agents; Wang et al. 2024, section 2.) Several models draw the samples with
    `of=Panel((Model("a"), Model("b")))`. With n = (32, 4) there are two rounds: 4 samples are drawn anew, which read
    the 32, and the reply is written from those 4. It is asked for in the form that `problem.answers` reads. If a later
    round is lost, the round before it is read; if the reply is lost, the majority of the last round decides. Notes say
    so.
    """

    n: int | tuple[int, ...]
    _: KW_ONLY
    of: Generator | None = None
    by: Generator | None = None
    """What writes the reply; without it, the run's model."""

    __repr__ = spelled

    def __post_init__(self) -> None:
        freeze(self, "n")
        for n in self._rounds or (0,):
            require_whole(self, n=n)
        require_generator(self, of=self.of, by=self.by)

    @property
    def alike(self) -> int:
        """How many samples of one prompt it draws."""
        return max(self._rounds)

    @property
    def _rounds(self) -> tuple[int, ...]:
        return self.n if isinstance(self.n, tuple) else (self.n,)

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        first, *later = self._rounds
        candidates = await run.sample(self.of, problem, first)
        for n in later:
            try:
                candidates = await run.sample(self.of, _reading(problem, candidates), n)
            except SampleError as error:
                run.note(f"a round of {counted(n, 'sample')} is lost ({error}): the round before it is read")
                break
        try:
            return await run.ask(self.by, _reading(problem, candidates), part="last")
        except SampleError as error:
            run.note(f"the reply that fuses is lost ({error}): the majority decides")
        return elected(candidates, majority(vote_keys(problem, candidates)), run)


def _reading(problem: Problem, candidates: Sequence[Candidate]) -> Problem:
    """The problem, asked with what is written so far."""
    return problem.aside(fuse(problem.text, texts(candidates), problem.answers.asks))


def texts(candidates: Sequence[Candidate]) -> list[str]:
    return [candidate.text for candidate in candidates]
