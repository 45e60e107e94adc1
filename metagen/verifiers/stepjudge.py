"""A model that reads a solution step by step, thinks, and says of each step whether it is right."""

import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from statistics import fmean
from typing import Literal

from metagen.candidate import Candidate, Score, steps_of
from metagen.errors import ToolRefusal
from metagen.problem import Problem
from metagen.prompts import recheck_steps, verify_steps
from metagen.run import Generator, Run, Tool
from metagen.settings import require_generator, require_tool, require_whole, spelled
from metagen.verifiers.aggregates import AGGREGATES, require_aggregate, require_step

_SAID = re.compile(
    r"\bstep\W{0,4}(?P<step>[0-9]{1,4})\b(?P<between>[^\n]*?)(?:\\boxed\{\s*(?:\\text\{)?)?"
    r"(?<![\w-])(?P<not>not\s+|in)?(?P<word>correct|right|wrong|valid|invalid|true|false)(?!\w)",
    re.IGNORECASE,
)
FENCE = "```"
_WRONG = frozenset({"wrong", "invalid", "false"})


@dataclass(frozen=True, slots=True, repr=False)
class StepJudge:
    """r(x, y₁ … y_t) for each step t by a model that is asked: it may think, and ends with a verdict for each step.

    (ThinkPRM, Khalifa et al. 2025, section 3; GenPRM, Zhao et al. 2025, section 3.) It is read by the lines "Step t:
    correct" or "Step t: incorrect" of what it says, never of what it thinks; the last word on a step counts. After a
    step that is wrong, those without a verdict of their own are wrong too. A reply that leaves any other step without a
    verdict is not read. Of `n` verifications a step's score is the share of those that call it right. A candidate that
    no reply can be read for has no verdict; else `aggregate` makes one number of all steps, as in `ProcessReward`.

    With an `interpreter`, such as `Python()`, a reply that holds a program is asked for again with what it printed.
    Steps end with the text `step`; with `thought` they are those of the candidate's thought.
    """

    _: KW_ONLY
    of: Generator | None = None
    n: int = 1
    aggregate: Literal["min", "prod", "mean", "last"] = "min"
    step: str = "\n"
    thought: bool = False
    interpreter: Tool | None = None

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_generator(self, of=self.of)
        require_whole(self, n=self.n)
        require_aggregate(self, self.aggregate)
        require_step(self, self.step)
        if self.interpreter is not None:
            require_tool(self, interpreter=self.interpreter)

    async def __call__(self, problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        async def judged(candidate: Candidate, run: Run) -> Score | None:
            steps = steps_of(candidate.thought if self.thought else candidate.text, self.step)
            return await self._judged(problem, steps, run) if steps else None

        return await run.map(judged, candidates)

    async def _judged(self, problem: Problem, steps: Sequence[str], run: Run) -> Score | None:
        asked = problem.apart(verify_steps(problem.prompt, steps))
        replies = await run.sample(self.of, asked, self.n)

        async def compute(reply: Candidate, run: Run) -> Candidate:
            return await self._computed(problem, steps, reply, run)

        if self.interpreter is not None:
            computed = await run.map(compute, replies)
            replies = [later or reply for later, reply in zip(computed, replies, strict=True)]
        read = [row for reply in replies if (row := step_verdicts(reply.text, len(steps))) is not None]
        if len(read) < len(replies):
            run.note(f"{len(replies) - len(read)} of {len(replies)} verifications have no verdict for every step")
        if not read:
            return None
        row = tuple(fmean(each) for each in zip(*read, strict=True))
        return Score(AGGREGATES[self.aggregate](row), row, replies[0].text)

    async def _computed(self, problem: Problem, steps: Sequence[str], reply: Candidate, run: Run) -> Candidate:
        """The verification that continues with what its program prints; one without a program stays as it is."""
        if self.interpreter is None or FENCE not in reply.text:
            return reply
        try:
            printed = await run.call(self.interpreter, reply.text)
        except ToolRefusal as refusal:
            printed = str(refusal)
        return await run.ask(self.of, problem.apart(recheck_steps(problem.prompt, steps, reply.text, printed)))


def step_verdicts(reply: str, steps: int) -> tuple[float, ...] | None:
    """1 for each step that a reply calls right and 0 for each that it calls wrong; `None` if one has no verdict.

    What follows a wrong step without a verdict of its own is wrong too.
    """
    said: dict[int, float] = {}
    for found in _SAID.finditer(reply):
        word = found["word"].lower()
        said[int(found["step"])] = float((word in _WRONG) == bool(found["not"]))
    wrong = min((step for step, verdict in said.items() if not verdict), default=steps + 1)
    row = [said.get(step, 0.0 if step > wrong else None) for step in range(1, steps + 1)]
    return None if None in row else tuple(verdict for verdict in row if verdict is not None)
