"""A model that reads a solution step by step, thinks, and says of each step whether it is right."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from statistics import fmean
from typing import Literal

from metagen.candidate import Candidate, Score, steps_of
from metagen.errors import ToolRefusal
from metagen.problem import Problem
from metagen.prompts import recheck_steps, verify_steps
from metagen.run import Generator, Run, Tool
from metagen.settings import WAITING, require_generator, require_switch, require_tool, require_whole, spelled
from metagen.verifiers.aggregates import AGGREGATES, require_aggregate, require_step

_RIGHT_OR_WRONG = r"(?<![\w-])(?P<word>(?:in)?correct|right|wrong|(?:in)?valid|true|false)(?![\w-])"
_STEP = re.compile(r"\bstep\W{0,4}(?P<step>[0-9]{1,4})\b", re.IGNORECASE)
_BEFORE = 40
"""Characters that are read before a step's number."""
_BEGINS = re.compile(
    r"(?:(?P<after>(?<!\bcf)(?<!\be\.g)(?<!\bi\.e)\.|[;|&!?–—,:-])[\W\d_]*"
    r"(?:(?:and|but|then|while|whereas|so|finally|first|next|now|also|thus|hence|therefore|however|similarly)\b[\W_]*){0,2}"
    r"|(?<![\w-])(?P<said>(?:in)?correct|right|wrong|(?:in)?valid|true|false)[^\w.,:;|&!?–—-]*)\Z",
    re.IGNORECASE,
)
"""What stands before the number of a step that a sentence or clause begins with."""
_SUPPOSED = re.compile(r"\b(?:if|whether|unless|assuming|provided|suppose|once)\b(?:\s+that\b)?[\W_]*\Z", re.IGNORECASE)
_ELSEWHERE = re.compile(
    r"[.,;!?]\W*(?:(?:and|but|while|however|as)\s+)?(?:in|for|at|with|regarding|concerning)\s+\Z", re.IGNORECASE
)
"""What stands before a step that the rest of the sentence may be about."""
_BUT = re.compile(r"\b(?:but|yet|though)\s+(?:\w+\s+)?\Z", re.IGNORECASE)
_PART_OF = re.compile(r"\b(?:of|in|from|by|with|to|at|for|on|into|than|per)[\W_]*\Z", re.IGNORECASE)
_LABELS = re.compile(r"[^\w.,!?;]{0,3}[:=–—-]")
_AT_ONCE = re.compile(
    r"[^\w.,!?;:)–—-]*(?:(?:is|was|boxed|text|verdict|also|both|again|therefore|however|thus|indeed|cannot|can|be|seems"
    rf"|looks|appears|to|not|\w+ly)(?:n['’]t|['’]t)?\b[^\w.,!?;:)–—-]*){{0,4}}{_RIGHT_OR_WRONG}",
    re.IGNORECASE,
)
_REFERENCE = re.compile(
    r"(?!['’]s\b)(?:[\W_]*\Z|\s*[^\w\s]|\s+(?:and|or|to|in|of|by|with|as|which|that|whose|where|so|because|since|but|then"
    r"|we|it|the|this|a|an|its|they|you|one|for|from|on|at|into|hence|thus|therefore)\b)",
    re.IGNORECASE,
)
"""What follows a step that another one is only compared with, or built on: the sentence continues without it."""
_NAME = " it"
"""What is read instead of a step that is only referred to."""
_RELATIVE = re.compile(r"[\s,(]*\b(?:which|that|whose|where)\b[^.,;:)\n]*|\s*\([^()\n]*\)", re.IGNORECASE)
"""What is said of a step that is only referred to."""
_WORD = re.compile(
    r"(?:(?P<not>\b(?:not|never|cannot|hardly|nothing|no longer|far from)|n['’]t)\s+"
    r"(?P<between>(?:(?:think|believe|say|agree|find|consider)\s+(?:[\w'’-]+\s+){0,4}?|(?:[\w'’-]+\s+){0,2}?)))?"
    r"(?P<partly>\b(?:partially|partly|almost|nearly|mostly|half)[\s-]+)?"
    rf"{_RIGHT_OR_WRONG}"
    r"(?P<asked>[\W_]*\?)?(?P<ends>[\W_]*\Z|\s*[^\w\s]|\s+(?:and|but|because|since|as|so|here|too|again|for|given)\b"
    r"|\s+(?:step|conclusion|deduction|inference|reasoning|statement|approach|application|simplification|observation"
    r"|substitution|computation|calculation|use|equation|claim|result)(?:\s*(?:[.,;!]|\Z)|\s+(?:of|from|to)\b))?",
    re.IGNORECASE,
)
"""A word of a verdict, with what may turn it round; it says something of the step where its clause ends there."""
_LINKED = re.compile(
    r"(?:\b(?:is|was|are|were|looks|seems|appears)(?:n['’]t)?\s+"
    r"(?:(?:not|never|also|still|now|all|in fact|indeed|thus|therefore|to be|quite|\w+ly)\s+){0,3})\Z",
    re.IGNORECASE,
)
"""What makes a word of a verdict one, whatever follows, as in "is correct to two decimals"."""
_LIMITED = re.compile(
    r"\s+(?:if|only|except|unless|apart|until|that|there|before|after|above|below|away|behind|under|next)\b",
    re.IGNORECASE,
)
"""What follows a word that is no verdict on the whole step, as in "is correct if x > 0" and "is right above"."""
_DENIED = re.compile(
    r"\b(?:no|not|without|any|never|avoid\w*|fix\w*|correct(?:s|ed)|if|neither|nor)\b|n['’]t\b", re.IGNORECASE
)
_LABEL = frozenset({"is", "was", "it", "this", "boxed", "text", "verdict"})
"""Words that may stand between a step's number and its verdict."""
_DOUBT = frozenset({"sure", "certain", "clear", "if", "whether"})
_EMPHASIS = frozenset({"is", "be", "at", "all", "a", "actually", "really", "only", "just"})
"""Words after which a negation still means the opposite of all that follows."""
_Role = Literal["subject", "reference", "unclear"]
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
            run.note(f"no verdict for every step in {len(replies) - len(read)} of {len(replies)} verifications")
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
    """The number of each step that a line speaks of, with what it says of that: up to the next one.

    What stands behind a step in the middle of a clause may be about that or about the one before, and is left out.
    """
    step: int | None = None
    text, end, labelled, said = "", 0, False, False
    for place, found in enumerate(_STEP.finditer(line)):
        piece = line[end : found.start()]
        text, end, said = text + piece, found.end(), said or bool(_verdicts(piece))
        back = step is not None and int(found["step"]) <= step
        role = _role(line, found, back=back, labelled=labelled, said=said) if place else _first_role(line, found)
        if role == "subject":
            if step is not None:
                yield step, text
            step, text, labelled, said = int(found["step"]), "", bool(_LABELS.match(line, end)), False
        elif role == "reference":
            text += _NAME
            aside = _RELATIVE.match(line, end) or (back and _AT_ONCE.match(line, end))
            end = aside.end() if aside else end
        elif step is not None:
            yield step, text + _NAME
            step = None
    if step is not None:
        yield step, text + line[end:]


def _first_role(line: str, found: re.Match[str]) -> _Role:
    return "unclear" if _SUPPOSED.search(_ahead(line, found)) else "subject"


def _role(line: str, found: re.Match[str], *, back: bool, labelled: bool, said: bool) -> _Role:
    """What a step is in its sentence.

    Behind "Step 2:" a step up to 2 is one that step 2 is compared with, at least until step 2 has a verdict.
    """
    before = _ahead(line, found)
    if _SUPPOSED.search(before):
        return "unclear"
    begins, at_once = _BEGINS.search(before), _AT_ONCE.match(line, found.end())
    if back and labelled and at_once and not said:
        return "reference"
    named = (at_once or _LABELS.match(line, found.end())) if begins else (at_once and not _PART_OF.search(before))
    if named or (said and not back and not labelled):
        return "subject"
    if back and (labelled or not begins) and (not said or _BUT.search(before)):
        return "reference"
    referred = _REFERENCE.match(line, found.end())
    if begins and (begins["after"] or ":") in (".;|!?" if referred else ".;|!?,&–—-"):
        return "unclear" if back and labelled else "subject"
    return "reference" if referred and not _ELSEWHERE.search(before) else "unclear"


def _ahead(line: str, found: re.Match[str]) -> str:
    """The end of what stands before a step; a line begins like a sentence."""
    return f".{line[max(0, found.start() - _BEFORE) : found.start()]}"[-_BEFORE:]


def _verdicts(text: str) -> list[float | None]:
    """What a text says of its step, the last word last; `None` where that is neither right nor wrong.

    A verdict right behind the number is the only one: what follows explains it. "A wrong sign" is one where no other
    is.
    """
    words = [word for word in _WORD.finditer(text) if not word["asked"]]
    ended = [word for word in words if word["ends"] is not None or _is_linked(text, word)]
    if words and set(re.findall(r"[^\W\d_]+", text[: words[0].start()].lower())) <= _LABEL:
        ended = words[:1] if words[0] in ended else ended or words[:1]
    return [_verdict(word) for word in ended or words if word in ended or _is_of_a_part(text, word)]


def _is_linked(text: str, word: re.Match[str]) -> bool:
    return bool(_LINKED.search(_before(text, word)) and not _LIMITED.match(text, word.end("word")))


def _before(text: str, word: re.Match[str]) -> str:
    return text[max(0, word.start("word") - 3 * _BEFORE) : word.start("word")]


def _is_of_a_part(text: str, word: re.Match[str]) -> bool:
    """Whether it says what is wrong, as in "Uses the wrong formula", and not that this is avoided."""
    clause = re.split(r"[.;!?]", _before(text, word))[-1]
    wrong = word["word"].lower() in _WRONG
    return wrong and not _DENIED.search(clause) and not _LIMITED.match(text, word.end("word"))


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
