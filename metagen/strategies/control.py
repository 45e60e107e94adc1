"""When to stop, what to spend, and what to do instead."""

from dataclasses import KW_ONLY, dataclass
from math import inf

from metagen.budget import Budget, parts_of
from metagen.candidate import Candidate, Score
from metagen.errors import BackendGone, InputError, NoCandidate, SampleError
from metagen.problem import Problem
from metagen.run import Generator, Run, Verifier
from metagen.run.contracts import settled
from metagen.settings import (
    can_step,
    counted,
    is_limit,
    is_number,
    literal,
    require_generator,
    require_verifier,
    require_whole,
    spelled,
)
from metagen.strategies.choosing import best, values
from metagen.strategies.judging import is_broken, judged


@dataclass(frozen=True, slots=True, repr=False)
class Until:
    """Sample until the verifier accepts: y⁽¹⁾, y⁽²⁾, … ~ g(· | x); the first with v(x, y) ≥ `threshold`.

    (Repeated sampling with an oracle, Brown et al. 2024.) At most `limit` samples, `window` of them in flight; when
    one is accepted, those still in flight are cancelled. Samples are judged in the order of their numbers, so the
    choice does not depend on which came back first. If none is accepted, the best is returned, and a note says so; no
    verdict ranks last, ties go to the sample that was drawn first. A verifier that fails on each of the first five
    ends it, with the verifier's error.
    """

    by: Verifier
    _: KW_ONLY
    of: Generator | None = None
    limit: int = 64
    window: int = 1
    threshold: float = 1.0

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_whole(self, limit=self.limit, window=self.window)
        require_generator(self, of=self.of)
        require_verifier(self, by=self.by)
        if self.by is None:
            raise InputError("Until: needs a verifier, such as Until(MatchesReference())")
        if not is_number(self.threshold) and self.threshold not in (inf, -inf):
            raise InputError(f"Until: threshold must be a number, not {self.threshold!r}")

    @property
    def alike(self) -> int:
        """How many samples of one prompt it may draw."""
        return self.limit

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        seen: list[Candidate] = []
        verdicts: list[Score | SampleError | None] = []
        async with run.stream(self.of, problem, self.limit, self.window) as candidates:
            async for candidate in candidates:
                seen.append(candidate)
                verdicts += await judged(self.by, problem, [candidate], run)
                (value,) = values(verdicts[-1:])
                if value is not None and value >= self.threshold:
                    settled(verdicts, run)
                    return candidate
                if is_broken(verdicts):
                    break
        if not seen:
            raise NoCandidate.of(self.limit, run.why_lost(), most=True)
        scores = settled(verdicts, run)
        which = "best" if any(score is not None for score in scores) else "first, without a verdict,"
        run.note(f"none of {counted(len(seen), 'sample')} was accepted: the {which} is returned")
        return seen[best(values(scores))]


@dataclass(frozen=True, slots=True, repr=False)
class Within:
    """A strategy under a budget of its own, for each problem.

    At most `tokens`, `flops` and `money`, and no start after `seconds`. They count all that models do for it, verifiers
    included, and are never passed. What is finished when the budget ends is what the strategy inside chooses from.
    """

    _: KW_ONLY
    tokens: int | None = None
    seconds: float | None = None
    flops: float | None = None
    money: float | None = None
    of: Generator | None = None

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_generator(self, of=self.of)
        for name in ("seconds", "flops", "money"):
            value = getattr(self, name)
            if value is not None and not is_limit(value):
                raise InputError(f"Within: {name} must be a number above 0, not {value!r}")
        if self.tokens is not None:
            require_whole(self, tokens=self.tokens)
        if self.money is not None:
            parts_of("Within", self.money)
        if self._budget == Budget():
            raise InputError("Within: needs a limit, such as Within(tokens=2000) or Within(seconds=60)")

    @property
    def can_step(self) -> bool:
        return can_step(self.of)

    @property
    def limits(self) -> frozenset[str]:
        """The names of what is limited, such as `money`."""
        return self._budget.limits

    @property
    def _budget(self) -> Budget:
        return Budget(self.tokens, self.seconds, self.flops, self.money)

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        with run.within(self._budget) as within:
            return await within.ask(self.of, problem, part="last")


@dataclass(frozen=True, slots=True, repr=False, init=False)
class Fallback:
    """The first strategy that gives a candidate: the next is asked only if the one before it lost its sample.

    So it is if a reply was cut before its text, as in its thought. That reply is returned if all others fail. A
    model that is gone, as where its server is down, is a failure too. Only if the last strategy needs it, the run ends.
    """

    of: tuple[Generator, ...]

    __repr__ = spelled

    def __init__(self, *of: Generator) -> None:
        if not of:
            raise InputError("Fallback: needs strategies to try, such as Fallback(Vote(8), CoT())")
        for generator in of:
            require_generator(self, of=generator)
        object.__setattr__(self, "of", of)

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        silent: Candidate | None = None
        for generator in self.of[:-1]:
            try:
                candidate = await run.ask(generator, problem)
            except (SampleError, BackendGone) as error:
                run.note(f"{literal(generator)} failed ({error}): trying the next")
                continue
            if not candidate.cut or candidate.text.strip():
                return candidate
            silent = silent or candidate
            run.note(f"{literal(generator)} gave a reply that was cut before its text: trying the next")
        try:
            return await run.ask(self.of[-1], problem, part="last")
        except SampleError as error:
            if silent is None:
                raise
            run.note(f"{literal(self.of[-1])} failed ({error}): the reply that was cut is returned")
            return silent
