"""Ask a small model first, and a larger one only where its answer is not good enough."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import cast

from metagen.candidate import Candidate
from metagen.errors import InputError, SampleError
from metagen.problem import Problem
from metagen.run import Generator, Run, Verifier
from metagen.run.contracts import call_for_truth
from metagen.settings import (
    is_async,
    literal,
    require_generators,
    require_number,
    require_verifier,
    require_whole,
    spelled,
)
from metagen.strategies.choosing import best, broke_off, majority, values, vote_keys
from metagen.strategies.parallel.stopping import Stop, check_rule
from metagen.strategies.parallel.vote import elected


@dataclass(frozen=True, slots=True, repr=False)
class Escalate:
    """A cascade: y ~ g₁(· | x), and y ~ gᵢ₊₁(· | x) only where `until` does not accept what gᵢ gave.

    `until` is a verifier, which accepts a verdict of `threshold` or more: a reward model, an oracle, or a confidence
    such as `SelfCertainty()` (FrugalGPT, Chen et al. 2023, section 3). Or it is the rule of a vote, such as
    `BetaStop(0.95)`: n samples of each model vote, and the next model is asked where the vote is not settled. With a
    verifier, the best of the n samples is judged.

    What the last model gives is returned, whatever `until` would say; of n samples their majority is, or with a
    verifier the best. If the last model is lost, or cut off before its answer, the best of the others is returned,
    which a note says. Where `until` fails there is no verdict on that model, so that the next one is asked, and a note
    says why.
    """

    of: tuple[Generator, ...]
    _: KW_ONLY
    until: Verifier | Stop | None = None
    n: int = 1
    """Samples of each model."""
    threshold: float = 1.0

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_whole(self, n=self.n)
        require_number(self, threshold=self.threshold)
        require_generators(self, 2, example='(Model("small"), Model("large"))')
        if self.until is None:
            raise InputError("Escalate: needs until, such as until=BetaStop(0.95) with n=8, or a verifier")
        if is_async(self.until):
            require_verifier(self, until=self.until)
        else:
            _check_vote(self, cast("Stop", self.until))

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        judged: list[Judged] = []
        for place, generator in enumerate(self.of):
            is_last = place == len(self.of) - 1
            try:
                candidates = await run.sample(generator, problem, self.n)
            except SampleError as error:
                if is_last and not judged:
                    raise
                run.note(f"{literal(generator)} is lost ({error})" + (": the best so far is returned" * is_last))
                continue
            stage = await self._judged(generator, candidates, problem, run, is_last=is_last)
            if stage.accepted or (is_last and not broke_off(problem, stage.candidate)):
                return stage.candidate
            if is_last:
                run.note(f"{literal(generator)} was cut off before its answer: the best so far is returned")
            judged.append(stage)
        judged = [each for each in judged if not broke_off(problem, each.candidate)] or judged
        if all(stage.value is None for stage in judged):
            run.note("no answer has a verdict: the first is returned")
        return judged[best([stage.value for stage in judged])].candidate

    async def _judged(
        self, generator: Generator, candidates: Sequence[Candidate], problem: Problem, run: Run, *, is_last: bool
    ) -> "Judged":
        """What one model gave, with what `until` says of it."""
        if self.until is None or (is_last and self.n == 1):
            return Judged(candidates[0])
        try:
            if is_async(self.until):
                return await self._scored(candidates, problem, run)
            return _voted(None if is_last else cast("Stop", self.until), candidates, problem, run)
        except SampleError as error:  # what the model gave is there all the same
            run.note(f"no verdict on {literal(generator)} ({error})")
            return Judged(candidates[0] if self.n == 1 else _voted(None, candidates, problem, run).candidate)

    async def _scored(self, candidates: Sequence[Candidate], problem: Problem, run: Run) -> "Judged":
        """The best of the candidates."""
        scores = values(await run.score(cast("Verifier", self.until), problem, candidates))
        if all(score is None for score in scores) and self.n > 1:
            run.note("no sample has a verdict: the first is taken")
        place = best(scores)
        score = scores[place]
        return Judged(candidates[place], score, accepted=score is not None and score >= self.threshold)


@dataclass(frozen=True, slots=True)
class Judged:
    """What one model gave."""

    candidate: Candidate
    value: float | None = None
    """The verdict on it, or the share of the votes that it has."""
    accepted: bool = field(default=False, kw_only=True)


def _voted(until: Stop | None, candidates: Sequence[Candidate], problem: Problem, run: Run) -> Judged:
    """The majority, which is accepted where it is settled."""
    keys = vote_keys(problem, candidates)
    place = majority(keys)
    share = 0.0 if place is None else keys.count(keys[place]) / len(keys)
    accepted = until is not None and call_for_truth(until, keys, [1.0] * len(keys), 0)
    return Judged(elected(candidates, place, run), share, accepted=accepted)


def _check_vote(escalate: Escalate, until: Stop) -> None:
    """Refuse a rule that is settled by any vote, once no more samples can come."""
    check_rule(escalate, until, weighted=False)
    if escalate.n == 1:
        raise InputError(f"Escalate: one sample is no vote: give n, such as n=8, with until={literal(until)}")
    if until(["a", "b"], [1.0, 1.0], 0):
        raise InputError(
            f"Escalate: {literal(until)} only asks whether more samples could change the vote, so it accepts a tie: "
            "use a rule such as BetaStop(0.95)"
        )
