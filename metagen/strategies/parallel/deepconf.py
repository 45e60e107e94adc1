"""A vote that gives up samples while they are written."""

from dataclasses import KW_ONLY, dataclass

from metagen.candidate import Candidate, Score, Scored
from metagen.confidence import least_kept
from metagen.errors import InputError, SampleError
from metagen.problem import Problem
from metagen.run import Generator, Run, Verifier
from metagen.run.contracts import call_for_truth, settled
from metagen.run.rest import or_cut
from metagen.settings import counted, require_generator, require_verifier, require_whole, spelled
from metagen.strategies.choosing import (
    explaining_weights,
    majority,
    values,
    vote_key,
    vote_keys,
    weighted_majority,
)
from metagen.strategies.judging import judged
from metagen.strategies.parallel.stopping import Stop, check_rule
from metagen.strategies.tree.steps import stands_still


@dataclass(frozen=True, slots=True, repr=False)
class DeepConf:
    """The weighted vote of up to n samples, each given up once the verdict on it falls under that on the better ones.

    `warmup` samples are drawn whole, and the lowest verdict among their best share `keep` is the bar. The others are
    written `chunk` tokens at a time, from the token ids of what is there, and judged after each chunk. A sample that
    falls under the bar is not continued, and no sample under the bar votes, the warm-up included. A sample for whose
    next chunk the context or a budget has no room is cut there. No more are drawn when `until` says that the vote is
    settled. (DeepConf online, Fu et al. 2025, section 3.2, where `by` is
    `LowestGroupConfidence()`, `warmup` 16, `keep` 0.1 or 0.9 and `until` `ConsensusStop(0.95)`.)

    `by` is a verifier of partial candidates. It is best if its verdict can only fall, as that of the lowest group or
    the lowest step. If it can rise, a sample may be given up that would have recovered. A sample without a verdict
    continues, and does not vote. If none of the warm-up has one, all samples are drawn whole and the majority decides.
    If none that votes has an answer, the majority of all decides. Both are noted. Ties are broken as in `Vote`. Raises
    `WeightError` if a verdict is negative or not finite.
    """

    n: int
    _: KW_ONLY
    by: Verifier
    of: Generator | None = None
    warmup: int = 16
    keep: float = 0.9
    chunk: int = 256
    until: Stop | None = None
    window: int = 1
    """Samples in flight after the warm-up."""

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_whole(self, n=self.n, warmup=self.warmup, chunk=self.chunk, window=self.window)
        require_generator(self, of=self.of)
        require_verifier(self, by=self.by)
        if self.by is None:
            raise InputError("DeepConf: needs a verifier, such as by=LowestGroupConfidence(2048)")
        if self.warmup > self.n:
            raise InputError(f"DeepConf: warmup must be at most n={self.n}, the number of samples, not {self.warmup}")
        if isinstance(self.keep, bool) or not isinstance(self.keep, int | float) or not 0 < self.keep <= 1:
            raise InputError(f"DeepConf: keep must be a share above 0 and up to 1, not {self.keep!r}")
        if self.until is not None:
            check_rule(self, self.until, weighted=True)

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        warmup = await run.sample(self.of, problem, self.warmup)
        scores = await run.score(self.by, problem, warmup)
        known = [score.value for score in scores if score is not None]
        bar = least_kept(known, self.keep) if known else None
        if bar is None:
            run.note("no sample of the warm-up has a verdict: all are drawn whole")
        seen = [Scored(*each) for each in zip(warmup, scores, strict=True)]
        if not self._settled(seen, bar, problem, run, self.n - self.warmup):
            await self._draw(seen, bar, problem, run)
        with explaining_weights(self, self.by):
            return seen[_chosen(seen, bar, problem, run)].candidate

    async def _draw(self, seen: list[Scored], bar: float | None, problem: Problem, run: Run) -> None:
        """Draw the samples after the warm-up, and see each."""
        of = self.of if bar is None else Watched(self.of, self.by, bar, self.chunk)
        verdicts: list[Score | SampleError | None] = [each.score for each in seen]
        async with run.stream(of, problem, self.n - self.warmup, self.window) as drawn:
            async for candidate in drawn:
                verdicts += await judged(self.by, problem, [candidate], run)
                seen.append(Scored(candidate, verdicts[-1] if isinstance(verdicts[-1], Score) else None))
                if self._settled(seen, bar, problem, run, drawn.left):
                    break
        settled(verdicts, run)

    def _settled(self, seen: list[Scored], bar: float | None, problem: Problem, run: Run, left: int) -> bool:
        """Whether the rule says so, where there is anything left to draw."""
        if self.until is None or not left:
            return False
        is_settled = call_for_truth(self.until, *_votes(seen, bar, problem), left)
        if is_settled:
            run.note(f"settled after {len(seen)} of {counted(self.n, 'sample')}")
        return is_settled


@dataclass(frozen=True, slots=True)
class Watched:
    """A sample that is written in chunks, as long as the verdict on it is not under `bar`."""

    of: Generator | None
    by: Verifier
    bar: float
    chunk: int

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        step = problem.stepping(self.chunk)
        candidate = await run.ask(self.of, step)
        while not (candidate.finished or candidate.cut or await self._fell(candidate, problem, run)):
            before = candidate
            candidate = await or_cut(before, run.ask(self.of, step.continuing(before)), run)
            if stands_still(before, candidate):  # it cannot continue: it is taken as it comes
                break
        return candidate

    async def _fell(self, candidate: Candidate, problem: Problem, run: Run) -> bool:
        (value,) = values(await judged(self.by, problem, [candidate], run))
        return value is not None and value < self.bar


def _votes(seen: list[Scored], bar: float | None, problem: Problem) -> tuple[list[str | None], list[float]]:
    """What each sample votes for, with which weight; a sample under the bar votes for nothing."""
    keys, weights = [], []
    for candidate, score in ((each.candidate, each.score) for each in seen):
        votes = score is not None and bar is not None and score.value >= bar
        keys.append(vote_key(problem, candidate) if votes else None)
        weights.append(score.value if score is not None else 0.0)
    return keys, weights


def _chosen(seen: list[Scored], bar: float | None, problem: Problem, run: Run) -> int:
    keys, weights = _votes(seen, bar, problem)
    stopped = sum(each.score is not None and bar is not None and each.score.value < bar for each in seen)
    run.note(f"under the bar: {stopped} of {counted(len(seen), 'sample')}")
    if (chosen := weighted_majority(keys, weights)) is not None:
        return chosen
    run.note("none that votes has an answer: the majority of all decides")
    return majority(vote_keys(problem, [each.candidate for each in seen])) or 0
