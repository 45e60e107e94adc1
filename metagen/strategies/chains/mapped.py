"""Replies whose text a plain function changes."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

from metagen.candidate import Candidate
from metagen.errors import InputError
from metagen.problem import Problem
from metagen.run import Generator, Run
from metagen.run.contracts import call_for_text
from metagen.settings import literal, require_generator, require_plain, spelled, takes


@dataclass(frozen=True, slots=True, repr=False)
class Mapped:
    """Each reply with its text changed: z ~ g(· | x);  y = f(z), where `by` is f, a plain function `(text) -> str`.

    All samples of one problem are one request, as without it. What f raises costs that sample. The new text has no
    token ids and no log-probabilities; a text that f returns as it was keeps them. The thought of a reasoning model
    stays, and a reply whose thought has no end is not changed. It gives whole replies.
    """

    by: Callable[[str], str]
    _: KW_ONLY
    of: Generator | None = None

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_generator(self, of=self.of)
        if isinstance(self.by, type) or not takes(self.by, 1):
            raise InputError(f"Mapped: by={literal(self.by)} is not a function of the text of a reply")
        require_plain(self.by, f"Mapped: by={literal(self.by)}")

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        return self._map(await run.ask(self.of, problem.aside(problem.text)))

    async def sample(self, problem: Problem, run: Run, n: int) -> list[Candidate]:
        """Draw `n` candidates and change each."""

        async def mapped(candidate: Candidate, _run: Run) -> Candidate:
            return self._map(candidate)

        every = await run.map(mapped, await run.sample(self.of, problem.aside(problem.text), n))
        return [candidate for candidate in every if candidate is not None]

    def _map(self, candidate: Candidate) -> Candidate:
        if candidate.open:  # a thought without an end says nothing that could be changed
            return candidate
        text = call_for_text(self.by, candidate.text)
        return candidate if text == candidate.text else candidate.saying(text)
