"""Chains: prompts that build on each other."""

from dataclasses import KW_ONLY, dataclass

from metagen.candidate import Candidate
from metagen.errors import InputError
from metagen.problem import Problem
from metagen.prompts import chain_of_thought, few_shot
from metagen.run import Generator, Run
from metagen.settings import generators, spelled


@dataclass(frozen=True, slots=True, repr=False)
class CoT:
    """Chain of thought: the thought, then the answer, in one completion.

    z, y ~ g(· | x, "Let's think step by step."), zero-shot (Kojima et al. 2022), or after worked examples
    `shots` = ((question, solution), …), few-shot (Wei et al. 2022).
    """

    _: KW_ONLY
    shots: tuple[tuple[str, str], ...] = ()
    of: Generator | None = None

    __repr__ = spelled

    def __post_init__(self) -> None:
        generators(self, of=self.of)
        for shot in self.shots:
            if not isinstance(shot, tuple) or len(shot) != 2 or not all(isinstance(text, str) for text in shot):
                raise InputError(f"CoT: shots must be pairs of texts, ((question, solution), ...), not {shot!r}")

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        return await run.ask(self.of, self._asking(problem))

    async def sample(self, problem: Problem, run: Run, n: int) -> list[Candidate]:
        """Draw `n` candidates for the one prompt."""
        return await run.sample(self.of, self._asking(problem), n)

    def _asking(self, problem: Problem) -> Problem:
        text = few_shot(problem.text, self.shots) if self.shots else chain_of_thought(problem.text)
        asking = problem.asking(text)
        return asking if problem.partial is None else asking.continuing(problem.partial)
