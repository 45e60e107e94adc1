"""Refinement: a draft, what is said about it, a revision."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal

from metagen.answers.kinds import MATHS
from metagen.answers.protocol import Answers
from metagen.candidate import Candidate, Score
from metagen.errors import InputError, SampleError
from metagen.problem import Problem
from metagen.prompts import revise
from metagen.run import Critic, Generator, Run, Verifier
from metagen.run.contracts import settled
from metagen.settings import require_critic, require_generator, require_number, require_verifier, require_whole, spelled
from metagen.strategies.choosing import best, broke_off, key_of, values
from metagen.strategies.judging import judged

NOT_REVISED = "not revised: "
"""How the note begins of a critic or a revision that failed; tables count such problems."""


@dataclass(frozen=True, slots=True, repr=False)
class Refine:
    """Revise a draft by feedback: y₀ ~ g(· | x);  fᵢ ~ feedback(x, yᵢ);  yᵢ₊₁ ~ g(· | x, yᵢ, fᵢ), `rounds` at most.

    Intrinsic: without feedback the model is asked to check each step, and with `Intrinsic()` it criticises itself
    (self-refine; Madaan et al. 2023, section 2). Extrinsic: with a `Reason`, a `LowestStep`, `Arithmetic()` or any
    `Critic` of your own (CRITIC; Gou et al. 2024).

    It stops when the feedback has nothing to say, when `by` gives a version `threshold` or more, or when a revision
    gives the answer of the version before (or its text, where one has no answer). `keep="best"` returns the version
    that `by` likes best (no verdict ranks last, ties go to the first), `"last"` the last one. Where a critic or a
    revision fails, or the budget ends, the versions that are there are chosen from. If none has a verdict, the first is
    returned. Notes say so. A revision that was cut off before its answer replaces none.

    It gives whole replies. `n` drafts are asked for in one request.
    """

    feedback: Critic | None = None
    _: KW_ONLY
    of: Generator | None = None
    by: Verifier | None = None
    rounds: int = 3
    keep: Literal["last", "best"] = "last"
    threshold: float = 1.0

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_whole(self, rounds=self.rounds)
        require_number(self, threshold=self.threshold)
        require_critic(self, feedback=self.feedback)
        require_generator(self, of=self.of)
        require_verifier(self, by=self.by)
        if self.keep not in ("last", "best"):
            raise InputError(f"Refine: keep must be last or best, not {self.keep!r}")
        if self.keep == "best" and self.by is None:
            raise InputError("Refine: to keep the best it needs a verifier, such as by=ProcessReward()")

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        return await self._refined(await run.ask(self.of, _whole(problem)), problem, run)

    async def sample(self, problem: Problem, run: Run, n: int) -> list[Candidate]:
        """Draw `n` drafts in one request and refine each."""
        return await _each(self._refined, await run.sample(self.of, _whole(problem), n), problem, run)

    async def _refined(self, draft: Candidate, problem: Problem, run: Run) -> Candidate:
        versions, verdicts = [draft], await self._verdicts(draft, problem, run)
        while len(versions) <= self.rounds and not self._accepts(verdicts):
            revision = await _revision(self.of, self.feedback, versions[-1], problem, run)
            if revision is None:
                break
            versions.append(revision)
            verdicts += await self._verdicts(revision, problem, run)
        if self.keep == "best":
            return versions[_best(settled(verdicts, run), run)]
        for failed in [each for each in verdicts if isinstance(each, SampleError)][:1]:
            run.note(f"not every version has a verdict; the first: {failed}")
        return versions[-1]

    async def _verdicts(self, version: Candidate, problem: Problem, run: Run) -> list[Score | SampleError | None]:
        return [] if self.by is None else await judged(self.by, problem, [version], run)

    def _accepts(self, verdicts: Sequence[Score | SampleError | None]) -> bool:
        return any(value is not None and value >= self.threshold for value in values(verdicts[-1:]))


@dataclass(frozen=True, slots=True, repr=False)
class Correct:
    """Let a trained corrector revise a draft: y₀ ~ g(· | x);  yᵢ₊₁ ~ corrector(· | x, yᵢ), at most `rounds` times.

    (Self-corrective learning; Welleck et al. 2023, section 2.) The corrector is one of the run's models,
    `Correct(Model("corrector"))`, or any generator, and reads the prompt of a revision (`prompts.revise`), with what
    `feedback` says if that is given. It stops where `Refine` does: nothing to say, or nothing changed.
    """

    corrector: Generator
    _: KW_ONLY
    of: Generator | None = None
    feedback: Critic | None = None
    rounds: int = 1

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_whole(self, rounds=self.rounds)
        require_generator(self, corrector=self.corrector, of=self.of)
        require_critic(self, feedback=self.feedback)
        if self.corrector is None:
            raise InputError('Correct: needs a corrector, such as Correct(Model("corrector"))')

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        return await self._corrected(await run.ask(self.of, _whole(problem)), problem, run)

    async def sample(self, problem: Problem, run: Run, n: int) -> list[Candidate]:
        """Draw `n` drafts in one request and correct each."""
        return await _each(self._corrected, await run.sample(self.of, _whole(problem), n), problem, run)

    async def _corrected(self, version: Candidate, problem: Problem, run: Run) -> Candidate:
        for _ in range(self.rounds):
            revision = await _revision(self.corrector, self.feedback, version, problem, run)
            if revision is None:
                break
            version = revision
        return version


async def _each(
    improve: Callable[[Candidate, Problem, Run], Awaitable[Candidate]],
    drafts: Sequence[Candidate],
    problem: Problem,
    run: Run,
) -> list[Candidate]:
    """All drafts at once, each in a node of its own."""

    async def improved(draft: Candidate, run: Run) -> Candidate:
        return await improve(draft, problem, run)

    return [candidate for candidate in await run.map(improved, drafts) if candidate is not None]


async def _revision(
    by: Generator | None, feedback: Critic | None, version: Candidate, problem: Problem, run: Run
) -> Candidate | None:
    """The next version; `None` where there is nothing to say, nothing changed, or it was lost."""
    try:
        said = await run.criticise(feedback, problem, version) if feedback else None
        if feedback and said is None:
            return None
        asked = revise(problem.text, version.text, said.text if said else "")
        revision = await run.ask(by, problem.aside(asked))
    except SampleError as error:
        run.note(f"{NOT_REVISED}{type(error).__name__}: {error}")
        return None
    if broke_off(problem, revision) and not broke_off(problem, version):
        run.note(f"{NOT_REVISED}the revision was cut off before its answer")
        return None
    return None if unchanged(version, revision, problem.answers) else revision


def _best(scores: list[Score | None], run: Run) -> int:
    if all(score is None for score in scores):
        run.note("no version has a verdict: the first is returned")
    return best(values(scores))


def unchanged(before: Candidate, after: Candidate, answers: Answers = MATHS) -> bool:
    """Whether a revision has the answer of the version before or, where one has no answer, its text."""
    keys = key_of(answers, before), key_of(answers, after)
    return before.text == after.text if None in keys else keys[0] == keys[1]


def _whole(problem: Problem) -> Problem:
    return problem.aside(problem.text)
