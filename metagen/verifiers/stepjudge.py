"""A model that reads a solution step by step, thinks, and says of each step whether it is right."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import zip_longest
from statistics import fmean
from typing import Literal

from metagen.candidate import Candidate, Score, steps_of
from metagen.errors import ToolRefusal
from metagen.problem import Problem
from metagen.prompts import recheck_steps, verify_steps
from metagen.run import Generator, Run, Tool
from metagen.settings import WAITING, require_generator, require_switch, require_tool, require_whole, spelled
from metagen.verifiers.aggregates import AGGREGATES, require_aggregate, require_step

_STEP = re.compile(
    r"\bstep\W{0,4}(?P<step>[0-9]{1,4})\b(?P<label>\W{0,3}[:=–—-]|\s+(?:(?:is|was)(?:n['’]t)?|can|cannot|seems|looks)\b)?",
    re.IGNORECASE,
)
_WORD = re.compile(
    r"(?:(?P<not>\b(?:not|never|cannot|hardly|nothing|no longer|far from)|n['’]t)\s+"
    r"(?P<between>(?:[\w'’-]+\s+){0,2}?))?"
    r"(?P<partly>\b(?:partially|partly|almost|nearly|mostly|half)[\s-]+)?"
    r"(?<![\w-])(?P<word>(?:in)?correct|right|wrong|(?:in)?valid|true|false)(?![\w-])"
    r"(?P<asked>[\W_]*\?)?(?P<ends>[\W_]*\Z|\s*[^\w\s]|\s+(?:and|but|because|since|as|so|here|too|again|for|given)\b"
    r"|\s+(?:step|conclusion|deduction|inference|reasoning|statement|approach)\s*(?:[.,;!]|\Z))?",
    re.IGNORECASE,
)
"""A word of a verdict, with what may turn it round; it says something of the step where its clause ends there."""
_LABEL = frozenset({"is", "was", "it", "this", "boxed", "text", "verdict"})
"""Words that may stand between a step's number and its verdict."""
_DOUBT = frozenset({"sure", "certain", "clear", "if", "whether"})
_EMPHASIS = frozenset({"is", "be", "at", "all", "a", "actually", "really", "only", "just"})
"""Words after which a negation still means the opposite of all that follows."""
FENCE = "```"
_WRONG = frozenset({"wrong", "invalid", "false", "incorrect"})


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
        require_switch(self, thought=self.thought)
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
            printed = await run.call(self.interpreter, reply.text, seconds=WAITING)
        except ToolRefusal as refusal:
            printed = str(refusal)
        return await run.ask(self.of, problem.apart(recheck_steps(problem.prompt, steps, reply.text, printed)))


def step_verdicts(reply: str, steps: int) -> tuple[float, ...] | None:
    """1 for each step that a reply calls right and 0 for each that it calls wrong; `None` if one has no verdict.

    What follows a wrong step without a verdict of its own is wrong too.
    """
    said: dict[int, float | None] = {}
    for line in reply.split("\n"):
        for step, text in _parts(line):
            if verdicts := _verdicts(text):
                said[step] = verdicts[-1]
    said = {step: verdict for step, verdict in said.items() if verdict is not None}
    wrong = min((step for step, verdict in said.items() if not verdict), default=steps + 1)
    row = [said.get(step, 0.0 if step > wrong else None) for step in range(1, steps + 1)]
    return None if None in row else tuple(verdict for verdict in row if verdict is not None)


def _parts(line: str) -> Iterator[tuple[int, str]]:
    """The number of each step that a line speaks of, with what it says of that: up to the next "Step N:"."""
    found = [each for place, each in enumerate(_STEP.finditer(line)) if not place or each["label"]]
    for each, following in zip_longest(found, found[1:]):
        yield int(each["step"]), line[each.end("step") : following.start() if following else len(line)]


def _verdicts(text: str) -> list[float | None]:
    """What a text says of its step, the last word last; `None` where that is neither right nor wrong.

    A verdict right behind the number is the only one: what follows explains it.
    """
    words = [word for word in _WORD.finditer(text) if not word["asked"]]
    ended = [word for word in words if word["ends"] is not None]
    if words and set(re.findall(r"[^\W\d_]+", text[: words[0].start()].lower())) <= _LABEL:
        ended = words[:1] if words[0] in ended else ended or words[:1]
    return [_verdict(word) for word in ended]


def _verdict(word: re.Match[str]) -> float | None:
    wrong = word["word"].lower() in _WRONG
    if word["partly"]:
        return None
    if not word["not"]:
        return float(not wrong)
    between = set(word["between"].lower().split())
    if between & _DOUBT or (wrong and not between <= _EMPHASIS):
        return None
    return float(wrong or bool(between & {"only", "just"}))
