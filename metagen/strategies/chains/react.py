"""Reasoning and acting: the model chooses which tool to call, and reads what it says."""

import inspect
import re
from dataclasses import KW_ONLY, dataclass

from metagen.answers.kinds import MATHS
from metagen.answers.protocol import Answers
from metagen.candidate import Candidate
from metagen.errors import InputError, ToolRefusal
from metagen.problem import Problem
from metagen.prompts import REACT_STOP, action, react
from metagen.run import Generator, Run, Tool
from metagen.settings import (
    WAITING,
    freeze,
    require_async,
    require_generator,
    require_seconds,
    require_whole,
    spelled,
    takes,
)
from metagen.strategies.chains.chain import ended
from metagen.strategies.choosing import key_of

NAME = re.compile(r"[A-Za-z_][\w-]*")
NO_ACTION = 'That is neither an action nor an answer. Write "Action: name[input]", or end with "The answer is ...".'


@dataclass(frozen=True, slots=True, repr=False)
class ReAct:
    """Thoughts and actions in turn, until the answer: z_t, u_t ~ g(· | x, z₁, u₁, o₁ …), o_t = tool(u_t); last, y.

    (Yao et al. 2023, section 2; code as an action, Wang et al. 2024.) `tools` are named: (("search", Search(…)),
    ("python", …)). An action is a line `Action: name[input]`, or `Action: name` and a block of three backticks.

    Only what the model writes is read for actions, only `tools` can be called, and what they say is quoted in the next
    prompt. By rule: the first action of a reply is taken; a reply with an answer and no action ends; a tool that is not
    there, an input that a tool refuses, and a reply with neither action nor answer are observations that say so, and
    count among the `turns`. A tool that raises, hangs or floods costs the candidate. After `turns`, the answer is asked
    for, and the reply is returned, whatever it says; so is a reply that was cut off. A reply is returned up to the mark
    `Observation:`, where requests end.
    """

    tools: tuple[tuple[str, Tool], ...]
    _: KW_ONLY
    turns: int = 6
    seconds: float = WAITING
    """The limit of one call of a tool, by the clock: its wait for a free processor counts too."""
    of: Generator | None = None

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_whole(self, turns=self.turns)
        require_generator(self, of=self.of)
        require_seconds(self, self.seconds)
        freeze(self, "tools")
        _check_tools(self.tools)

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        known = [(name, described(tool)) for name, tool in self.tools]
        turns: list[tuple[str, str]] = []
        while True:
            last = len(turns) == self.turns
            text = react(problem.text, known, turns, last=last)
            reply = await run.ask(self.of, problem.aside(text).stepping(REACT_STOP))
            said = reply.text.partition(REACT_STOP)[0].strip()
            act = action(said)
            if last or reply.cut or (act is None and gives_answer(said, problem.answers)):
                return ended(reply, REACT_STOP)
            turns.append((said, NO_ACTION if act is None else await self._observed(*act, run)))

    async def _observed(self, name: str, given: str, run: Run) -> str:
        tool = dict(self.tools).get(name)
        if tool is None:
            return f"There is no tool {name}; there is {', '.join(name for name, _ in self.tools)}."
        try:
            return await run.call(tool, given, seconds=self.seconds)
        except ToolRefusal as refusal:
            return f"{name} cannot take that: {refusal}"


def gives_answer(reply: str, answers: Answers = MATHS) -> bool:
    """Whether a reply gives an answer of the kind that the problem has; one that cannot be read is none."""
    return key_of(answers, Candidate((reply,))) is not None


def described(tool: Tool) -> str:
    """What a tool does, in a line: the first sentence of its docstring."""
    first = (inspect.getdoc(tool) or "").partition("\n\n")[0]
    return " ".join(first.split()) or "takes a text"


def _check_tools(named: object) -> None:
    example = 'ReAct((("search", Search("passages.jsonl")),))'
    if not isinstance(named, tuple) or not named:
        raise InputError(f"ReAct: needs named tools, such as {example}")
    for pair in named:
        if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str) and NAME.fullmatch(pair[0])):
            raise InputError(f"ReAct: tools are pairs of a name in one word and a tool, as in {example}, not {pair!r}")
        if isinstance(pair[1], type) or not takes(pair[1], 1):
            raise InputError(f"ReAct: {pair[0]} is not a tool, called with (text)")
        require_async(pair[1], f"ReAct: {pair[0]}", ("text",))
    if len(dict(named)) < len(named):
        raise InputError("ReAct: two tools have one name")
