"""Programs: the model says how to compute, and a tool computes."""

import re
from dataclasses import KW_ONLY, dataclass, replace

from metagen.answers.extract import alone, extract
from metagen.answers.kinds import MATHS, Maths, Number
from metagen.answers.protocol import Answers
from metagen.answers.several import AnyOf
from metagen.candidate import Candidate
from metagen.errors import ToolRefusal
from metagen.execution.blocks import is_open
from metagen.problem import Problem
from metagen.prompts import corrected_program, program_of_thought
from metagen.run import Generator, Run, Tool
from metagen.settings import WAITING, require_generator, require_seconds, require_tool, require_whole, spelled

CUT_OFF = "the program was cut off before its end"
WORD = re.compile(r"(?<![^\W\d_])[^\W\d_]{2,}")
PROSE = re.compile(rf"{WORD.pattern}\s+{WORD.pattern}")
"""Two words side by side."""


@dataclass(frozen=True, slots=True, repr=False)
class ProgramOfThought:
    """Program of thoughts: a program instead of a calculation in words, and a tool that runs it.

    z ~ g(· | "write a program for x");  o = tool(z);  y = z, o, "The answer is (the last line of o)."
    (Chen et al. 2023, section 2; program-aided, Gao et al. 2023.)

    `interpreter` is a tool that takes the reply, as `Python()` does. Where it refuses the program, as for an error, its
    reason goes back to g up to `rounds` times, and at last the sample is lost. So it is with a program that a limit of
    length cut off, which is not run, and with one that prints nothing. An answer that such a sentence does not hold,
    such as `[1. 2.]`, is given in a box.
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
        require_whole(self, 0, rounds=self.rounds)
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
                return await self._computed(reply, problem, run)
            except ToolRefusal as refusal:
                text = corrected_program(problem.text, reply.text, str(refusal))
                reply = await run.ask(self.of, problem.aside(text), part="stage")
        return await self._computed(reply, problem, run)

    async def _computed(self, reply: Candidate, problem: Problem, run: Run) -> Candidate:
        if reply.open or (reply.cut and is_open(reply.text)):
            raise ToolRefusal(CUT_OFF)
        printed = await run.call(self.interpreter, reply.text, seconds=self.seconds)
        return replace(reply.saying(reply.text, outcome(printed, problem.answers)), finished=True)


def outcome(printed: str, answers: Answers = MATHS) -> str:
    """What stands behind a program that printed this. Raises `ToolRefusal` if it is nothing."""
    if not printed.strip():
        raise ToolRefusal("the program prints nothing")
    lines = printed.strip().splitlines()
    last = next((line for line in reversed(lines) if re.search(r"\w|[][∞∅]", line)), lines[-1]).strip()
    kind = answers.of if isinstance(answers, AnyOf) else answers
    given = _boxed(last) if isinstance(kind, Maths | Number) else extract(last) or last
    return f"\n\nIt prints:\n{printed.strip()}\n\nThe answer is {given}."


def _boxed(last: str) -> str:
    """What the last line gives as the answer, in a box where a sentence that gives it would not be read to its end.

    So it is with `[1. 2.]` of NumPy, `x**2` of SymPy and whole numbers of more than 60 digits. Prose is no answer.
    """
    line = last.rstrip(".!? ")
    behind_label = extract(rf"\boxed{{{line}}}")
    given = (behind_label if behind_label != line else None) or extract(last) or last
    read, held = extract(f"The answer is {given}."), extract(rf"\boxed{{{given}}}")
    is_cut = not PROSE.search(held or "") if read is None else _is_cut(given, read)
    return rf"\boxed{{{held}}}" if held and is_cut else given


def _is_cut(given: str, read: str) -> bool:
    """Whether a value continues where the sentence was read to its end, be it by a period or by two asterisks."""
    before, _, rest = given.partition(read)
    continues = not WORD.search(given) and alone(given) not in (None, read) and not re.match(r"[.!?]\s+[^\W\d]", rest)
    is_open = sum(map(read.count, "([")) > sum(map(read.count, ")]"))
    return continues or is_open or (rest.startswith("**") and not before.endswith("**"))
