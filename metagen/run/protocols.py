"""The protocols of generators, verifiers, critics and tools."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeGuard

from metagen.candidate import Candidate, Feedback, Score
from metagen.problem import Problem

if TYPE_CHECKING:
    from metagen.run.run import Run


class Generator(Protocol):
    """g: draws one candidate. Strategies are generators, and so is any `async def` of this shape.

        async def read_twice(problem: Problem, run: Run) -> Candidate:
            return await run.ask(Model(), problem.asking(f"{problem.text} {problem.text}"))

    It acts through `run` alone, which keeps seeds, spans and budgets.
    """

    async def __call__(self, problem: Problem, run: "Run", /) -> Candidate: ...


class Batched(Protocol):
    """A generator that can draw n candidates at less than the cost of n calls, where all n are awaited."""

    async def sample(self, problem: Problem, run: "Run", n: int, /) -> list[Candidate]: ...


class Joint(Protocol):
    """A strategy that decides over many problems together, where it stands outermost in `solve_all`."""

    among: int
    """How many problems it takes together."""

    def members(self, count: int, concurrency: int, /) -> Sequence[Generator]:
        """A generator for each of `count` problems, to be called all at once; they may wait for each other.

        No more than `concurrency` of them are to sample at a time.
        """


class Verifier(Protocol):
    """φ: says how good candidates are, one verdict each, in order. `None` is no verdict, never a zero.

    A number stands for a `Score` of it.

    It reads `problem.prompt`, which is the question as the user asked it, whatever was sent to the model.
    What it raises becomes a `VerifierError`; it never reads as "wrong".

        async def brevity(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
            return [Score(1 / len(candidate.text)) if candidate.text else None for candidate in candidates]
    """

    async def __call__(
        self, problem: Problem, candidates: Sequence[Candidate], run: "Run", /
    ) -> Sequence[Score | float | None]: ...


class Critic(Protocol):
    """Says what is wrong with a candidate, as new information or as an opinion; `None` if it has nothing to say.

    Like a verifier, it reads `problem.prompt`, and what it raises becomes a `VerifierError`.
    """

    async def __call__(self, problem: Problem, candidate: Candidate, run: "Run", /) -> Feedback | None: ...


class Tool(Protocol):
    """What a chain can call: a text goes in, a text comes out.

    It refuses an input that it cannot take with `ToolRefusal`, which a strategy may show to the model. Whatever else it
    raises becomes a `ToolError`. It must await whatever takes time, so that it can be cancelled.
    """

    async def __call__(self, text: str, /) -> str: ...


def name_of(of: object) -> str:
    """How a generator or verifier is called in a trace."""
    name: str | None = getattr(of, "__name__", None)
    return name or type(of).__name__


def is_batched(generator: Generator) -> TypeGuard[Batched]:
    """What `isinstance` would say, at a hundredth of its time."""
    return callable(getattr(generator, "sample", None))


def is_joint(strategy: Generator) -> TypeGuard[Joint]:
    """Whether it decides over many problems together."""
    return callable(getattr(strategy, "members", None))
