"""A knockout: candidates meet in pairs."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import chain

from metagen.candidate import Candidate, Score
from metagen.errors import InputError, SampleError
from metagen.problem import Problem
from metagen.run import Generator, Run, Verifier
from metagen.run.contracts import settled
from metagen.settings import require_generator, require_verifier, require_whole, spelled
from metagen.strategies.choosing import best, values
from metagen.strategies.judging import judged
from metagen.tasks import together


@dataclass(frozen=True, slots=True, repr=False)
class Tournament:
    """The winner of a knockout among n samples: y⁽¹⁾ … y⁽ⁿ⁾ ~ g(· | x), and `by` judges two at a time.

    In each round neighbours meet, in the order in which they were drawn; one that is left over advances. The higher
    verdict wins; no verdict ranks last, and a tie goes to the candidate that was drawn first. So there are n − 1
    matches. With `by=Pairwise()`
    a model is asked in both orders which is better; `BestOf(n, by=Pairwise())` is the round robin.
    """

    n: int
    _: KW_ONLY
    by: Verifier
    of: Generator | None = None

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_whole(self, n=self.n)
        require_generator(self, of=self.of)
        require_verifier(self, by=self.by)
        if self.by is None:
            raise InputError(f"Tournament({self.n}): needs a verifier that compares, such as by=Pairwise()")

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        candidates = await run.sample(self.of, problem, self.n)
        verdicts: list[Score | SampleError | None] = []
        while len(candidates) > 1:
            pairs = list(zip(candidates[::2], candidates[1::2], strict=False))
            matches = await together(judged(self.by, problem, pair, run) for pair in pairs)  # begun in their order
            winners = [self._winner(pair, values(match), run) for pair, match in zip(pairs, matches, strict=True)]
            verdicts += chain.from_iterable(matches)
            candidates = winners + candidates[2 * len(winners) :]
        settled(verdicts, run)
        return candidates[0]

    def _winner(self, pair: Sequence[Candidate], scores: Sequence[float | None], run: Run) -> Candidate:
        if all(score is None for score in scores):
            run.note("a match has no verdict: the first advances")
        return pair[best(scores)]
