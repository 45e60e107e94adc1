"""Universal self-consistency: the model itself says which of its samples agrees with most of them."""

import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

from metagen import Candidate, Generator, Problem, Run, spelled
from metagen.settings import require_generator, require_whole

CHOICE = re.compile(r"response (\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, repr=False)
class UniversalVote:
    """The most consistent of n samples, as `by` sees it: y⁽¹⁾ … y⁽ⁿ⁾ ~ g(· | x);  i ~ g'(· | x, y⁽¹⁾ … y⁽ⁿ⁾).

    (Chen et al. 2023, "Universal self-consistency for large language model generation".) It needs no extracted answer,
    so it also votes on free text. It makes n + 1 requests, or one where n = 1. If the choice cannot be read, the first
    sample is returned, and a note says so.
    """

    n: int
    _: KW_ONLY
    of: Generator | None = None
    by: Generator | None = None
    """Chooses; `None` is the model of the run."""

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_whole(self, n=self.n)
        require_generator(self, of=self.of, by=self.by)

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        candidates = await run.sample(self.of, problem, self.n)
        if len(candidates) == 1:
            return candidates[0]
        reply = await run.ask(self.by, problem.aside(question(problem.text, candidates)))
        chosen = choice(reply.text, len(candidates))
        if chosen is None:
            run.note("the most consistent sample cannot be read from the reply: the first is returned")
        return candidates[chosen or 0]


def question(text: str, candidates: Sequence[Candidate]) -> str:
    """Ask which response is the most consistent (Chen et al. 2023, figure 2)."""
    responses = "\n\n".join(f"Response {number}:\n{each.text}" for number, each in enumerate(candidates, 1))
    return (
        f"I have generated the following responses to the question: {text}\n\n{responses}\n\n"
        "Evaluate these responses. Select the most consistent response based on majority consensus. "
        'Start your answer with "The most consistent response is Response X" (without quotes).'
    )


def choice(reply: str, count: int) -> int | None:
    """The place of the chosen response, counted from 0; `None` if the reply names none of the `count`."""
    found = CHOICE.search(reply)
    number = int(found[1]) if found else 0
    return number - 1 if 1 <= number <= count else None
