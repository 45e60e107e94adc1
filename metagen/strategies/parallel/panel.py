"""Several models that share the samples of one strategy."""

from dataclasses import dataclass
from itertools import chain, zip_longest

from metagen.candidate import Candidate
from metagen.errors import NoCandidate
from metagen.problem import Problem
from metagen.run import Generator, Run
from metagen.settings import require_generators, spelled


@dataclass(frozen=True, slots=True, repr=False)
class Panel:
    """Several generators that answer in turn: y⁽ⁱ⁾ ~ g_{(i + s) mod G}(· | x), with a start s drawn at random.

    It is the `of` of whatever decides: `Vote(8, of=Panel((Model("a"), Model("b"))))` is a vote of four samples of
    each, `Select` selects one of the eight, and `Fuse((8, 2), of=…)` is a mixture of agents in two rounds (Wang et al.
    2024, section 2). Each generator is asked for its share at once, and may lose all of it.
    """

    of: tuple[Generator, ...]

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_generators(self, 1, example='(Model("a"), Model("b"))')

    @property
    def distinct(self) -> int:
        """How many samples it draws before a generator answers again."""
        return len(self.of)

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        return (await self.sample(problem, run, 1))[0]

    async def sample(self, problem: Problem, run: Run, n: int) -> list[Candidate]:
        """Draw `n` candidates, in the order of their turns."""
        start = run.random().randrange(len(self.of))
        turns = [*self.of[start:], *self.of[:start]]
        shares = [(one, n // len(turns) + (place < n % len(turns))) for place, one in enumerate(turns)]

        async def draw(share: tuple[Generator, int], run: Run) -> list[Candidate]:
            return await run.sample(share[0], problem, share[1])

        drawn = await run.map(draw, [share for share in shares if share[1]])
        rounds = zip_longest(*(part or () for part in drawn))
        candidates = [candidate for candidate in chain.from_iterable(rounds) if candidate]
        if not candidates:
            raise NoCandidate.of(n, run.why_lost())
        return candidates
