"""Steps of the user's own making."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace

from metagen.candidate import Candidate
from metagen.errors import InputError
from metagen.problem import Problem
from metagen.run import Generator, Run
from metagen.run.contracts import call_for_truth
from metagen.run.rest import or_cut
from metagen.settings import can_step, literal, require_plain, require_stepper, spelled, takes
from metagen.strategies.tree.steps import check_steps


@dataclass(frozen=True, slots=True, repr=False)
class Joined:
    """Several steps as one: draws on, step by step, until `until(text)` says that the text so far is a whole one.

    So a splitter of the user's own decides where the steps of a search end, and nothing is drawn to be thrown away:
    `Beam(4, 4, of=Joined(two_sums), by=verifier)` splits by lines and joins them. Whole replies are handed through.
    Where the context or a budget has no room for the next part, the step is returned as far as it came, and is cut.
    What `until` raises costs that sample.

    Raises `InputError` if `of` does not continue the reply.
    """

    until: Callable[[str], bool]
    _: KW_ONLY
    of: Generator | None = None

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_stepper(self, of=self.of)
        if isinstance(self.until, type) or not takes(self.until, 1):
            raise InputError(f"Joined: until={literal(self.until)} is not a function of the text of a step")
        require_plain(self.until, f"Joined: until={literal(self.until)}")

    @property
    def can_step(self) -> bool:
        return can_step(self.of)

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        return await self._joined(problem, await run.ask(self.of, problem), run)

    async def sample(self, problem: Problem, run: Run, n: int) -> list[Candidate]:
        """Draw `n` candidates, their first parts in one request."""

        async def joined(candidate: Candidate, run: Run) -> Candidate:
            return await self._joined(problem, candidate, run)

        every = await run.map(joined, await run.sample(self.of, problem, n))
        return [candidate for candidate in every if candidate is not None]

    async def _joined(self, problem: Problem, candidate: Candidate, run: Run) -> Candidate:
        if problem.step is None:
            return candidate
        begun = problem.partial or Candidate(())
        check_steps(self, self.of, begun, [candidate])
        while not (candidate.finished or candidate.cut or call_for_truth(self.until, _since(begun, candidate))):
            longer = await or_cut(candidate, run.ask(self.of, problem.continuing(candidate)), run)
            if not (longer.cut and longer.text == candidate.text):
                check_steps(self, self.of, candidate, [longer])
            candidate = longer
        return replace(candidate, steps=(*begun.steps, _since(begun, candidate)))


def _since(begun: Candidate, candidate: Candidate) -> str:
    return candidate.text[len(begun.text) :]
