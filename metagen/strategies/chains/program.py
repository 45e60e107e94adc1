"""Programs: the model says how to compute, and a tool computes."""

from dataclasses import KW_ONLY, dataclass

from metagen.answers.extract import extract
from metagen.candidate import Candidate
from metagen.errors import ToolRefusal
from metagen.execution.blocks import is_open
from metagen.problem import Problem
from metagen.prompts import corrected_program, program_of_thought
from metagen.run import Generator, Run, Tool
from metagen.settings import WAITING, require_generator, require_seconds, require_tool, require_whole, spelled

CUT_OFF = "the program was cut off before its end"


@dataclass(frozen=True, slots=True, repr=False)
class ProgramOfThought:
    """Program of thoughts: a program instead of a calculation in words, and a tool that runs it.

    z ~ g(· | "write a program for x");  o = tool(z);  y = z, o, "The answer is (the last line of o)."
    (Chen et al. 2023, section 2; program-aided, Gao et al. 2023.)

    `interpreter` is a tool that takes the reply, as `Python()` does. Where it refuses the program, as for an error, its
    reason goes back to g up to `rounds` times, and at last the sample is lost. So it is with a program that a limit of
    length cut off, which is not run, and with one that prints nothing.
    """

    interpreter: Tool
    _: KW_ONLY
    rounds: int = 0
    seconds: float = WAITING
    """The limit of one call of the interpreter, by the clock."""
    of: Generator | None = None

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_tool(self, interpreter=self.interpreter)
        require_whole(self, least=0, rounds=self.rounds)
        require_seconds(self, self.seconds)
        require_generator(self, of=self.of)

    @property
    def drawing(self) -> tuple[Generator, ...]:
        """No generator draws the answer: it is what the tool says."""
        return ()

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        reply = await run.ask(self.of, problem.aside(program_of_thought(problem.text)), part="stage")
        for _ in range(self.rounds):
            try:
                return await self._computed(reply, run)
            except ToolRefusal as refusal:
                text = corrected_program(problem.text, reply.text, str(refusal))
                reply = await run.ask(self.of, problem.aside(text), part="stage")
        return await self._computed(reply, run)

    async def _computed(self, reply: Candidate, run: Run) -> Candidate:
        if reply.cut and is_open(reply.text):
            raise ToolRefusal(CUT_OFF)
        printed = await run.call(self.interpreter, reply.text, seconds=self.seconds)
        return Candidate((reply.text, outcome(printed)), cut=reply.cut)


def outcome(printed: str) -> str:
    """What stands behind a program that printed this. Raises `ToolRefusal` if it is nothing."""
    if not printed.strip():
        raise ToolRefusal("the program prints nothing")
    *_, last = printed.strip().splitlines()
    return f"\n\nIt prints:\n{printed.strip()}\n\nThe answer is {extract(last) or last.strip()}."
