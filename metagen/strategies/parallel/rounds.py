"""A vote in a few rounds: what can be drawn at the same time, and no more than is likely to be needed."""

from dataclasses import KW_ONLY, dataclass

from metagen.candidate import Candidate
from metagen.errors import InputError, SampleError
from metagen.problem import Problem
from metagen.run import Generator, Run
from metagen.settings import counted, literal, require_generator, require_whole, spelled
from metagen.strategies.choosing import majority, vote_keys
from metagen.strategies.parallel.stopping import COUNTING, PredictiveStop, Stop, check_rule, needed
from metagen.strategies.parallel.vote import elected

UNTIL, FIRST = PredictiveStop(0.8), 8


@dataclass(frozen=True, slots=True, repr=False)
class Rounds:
    """A vote of up to n samples in a few rounds, each as large as the votes so far ask for.

    y⁽¹⁾ … y⁽ᵏ⁾ ~ g(· | x), k ≤ n;  argmax over answers a of Σᵢ [answer(y⁽ⁱ⁾) = a]. The samples of a round are drawn at
    the same time. `first` of them are drawn at once. Then, until `until` says that the vote is settled, as many more as
    would settle it if the answers kept their shares; all that are left if that never settles it. There are at most
    `rounds` rounds. A vote that stops (`Vote(n, until=…)`) decides after each sample: it draws the fewest samples, one
    after another. (Group sequential trials, Pocock 1977, with rounds as large as the data ask for.)

    `until` is a rule that counts votes, such as `PredictiveStop` or `BetaStop`. A round that is lost ends the vote.
    """

    n: int
    _: KW_ONLY
    of: Generator | None = None
    until: Stop = UNTIL
    first: int = FIRST
    rounds: int = 3

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_whole(self, n=self.n, first=self.first, rounds=self.rounds)
        require_generator(self, of=self.of)
        check_rule(self, self.until, weighted=False)
        if not isinstance(self.until, COUNTING):
            raise InputError(f"Rounds: until={literal(self.until)} must count votes: use PredictiveStop or BetaStop")

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        drawn, more, candidates = 0, min(self.first, self.n), list[Candidate]()
        for _ in range(self.rounds):
            try:
                candidates += await run.sample(self.of, problem, more)
            except SampleError as error:
                if not candidates:
                    raise
                run.note(f"no more than {counted(len(candidates), 'sample')}: {error}")
                break
            drawn += more
            more = needed(self.until, vote_keys(problem, candidates), self.n - drawn)
            if not more:
                break
        run.note(f"{drawn} of {counted(self.n, 'sample')}")
        return elected(candidates, majority(vote_keys(problem, candidates)), run)
