"""Critics: what is said about a candidate, for a strategy that revises it.

A critic is any `async def (problem, candidate, run) -> Feedback | None`. It says whether its feedback is new
information or an opinion, and is silent where it finds nothing wrong.
"""

import re
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from fractions import Fraction
from itertools import pairwise

from metagen.answers.arithmetic import value, written
from metagen.candidate import Candidate, Feedback, Score
from metagen.errors import InputError, ToolRefusal, VerifierError
from metagen.problem import Problem
from metagen.prompts import criticise, criticism, quoted
from metagen.run import Generator, Run, Verifier
from metagen.settings import (
    literal,
    require_generator,
    require_number,
    require_switch,
    require_verifier,
    spelled,
)

__all__ = ["Arithmetic", "Intrinsic", "LowestStep", "Reason"]

LONGEST_WORD = 40
"""Characters that are read before a row."""
_SUM = re.compile(r"(?:[\d\s()$+*/×·÷−=-]|[.,](?=\d))+")
"""Numbers, operators and equality signs in a row."""
_OPERATED = re.compile(r"[\d)]\s*[+*/×·÷−-]\s*[($\d]")
_CUT = re.compile(r"\s*(?:[+*/×·÷]|[−-]\s)")
"""How a row begins of which the beginning is no number, as in "x + 3"."""
_BEFORE = re.compile(
    r"(?:^|[,;:.?>→⇒⟹∴|\[\x22'“‘]|(?<![\\^_])\b(?:[^\W\d_]{2,}(?:['’][^\W\d_]{1,2})?|I['’]m)!?"
    r"|\\(?:(?:Long)?[Rr]ightarrow|implies|therefore|to|q?quad)?)\s*\Z"
)
"""What may stand before a row: the words of a sentence. A letter, a sign or a command of LaTeX belongs to it."""
_TEXT = re.compile(r"\\(?:text|mathrm)\{([^{}]*)\}")
_MARK = re.compile(r"\s*\(?[^\W\d_]{1,3}\)\s+(?=[\d($])")
"""The mark of a line in a list, as in "a) 3 + 4 = 7"."""
_OPERATORS = re.compile(
    r"\b(?:of|by|over|from|than|plus|minus|times|mod|square|cube|root|sqrt|cbrt|log|ln|exp|sin|cos|tan|abs|floor|ceil"
    r"|percent|half|twice|double|triple|dozen|hundred|thousand|million|billion)\s*\Z",
    re.IGNORECASE,
)
"""Words that do something to the number behind them."""
_SCALE = re.compile(
    r"[\s,;()]*(?:\\(?:text|mathrm)\{\s*)?(?:with |and )?(?:a |an )?(?:in )?"
    r"(?:%|‰|¢|percent|per cent|cents?\b|rem\b|remainder|remaining \d|r\.? ?\d|rounded|rounds? (?:to|up|down|off)\b"
    r"|mod\b|times\b|and \d+/\d|base\b|binary\b|hex\b|dozen|hundred|thousand|million|billion|trillion|squared|cubed"
    r"|factorial|pi\b|π|√|²|³|[×x] ?\d|\\(?!text|mathrm|q?quad)[a-z%])",
    re.IGNORECASE,
)
"""What makes another number of the one before it, or leaves the rest of a division over."""
_UNIT = (
    r"(?:h|hrs?|hours?|min|minutes?|days?|weeks?|months?|years?|k?m|ft|foot|feet|yards?|miles?|kg|lbs?|pounds?"
    r"|dollars?|euros?|quarters?|dimes?|gallons?|quarts?|cups?)"
)
_SECOND = re.compile(
    rf"\s*(?:\\(?:text|mathrm)\{{\s*)?{_UNIT}(?:\s+and\b)?(?:\s*\}},?\s*|,?\s+)(?:and\s+)?\d[\d.,/]*+(?!\s*[-+*/×·÷=−])",
    re.IGNORECASE,
)
"""A unit and a second quantity, as in "2 hours 30 minutes"."""
_JOINED = re.compile(r"[^\W_]|[\^_!{]|:\d|, ?\d{3}\b")
"""What belongs to the number right before it."""
_PLACES = re.compile(r"\.(\d*)")


@dataclass(frozen=True, slots=True, repr=False)
class Intrinsic:
    """The model criticises itself: f ~ g(· | x, y) (self-refinement; Madaan et al. 2023, section 2). An opinion.

    It is silent if the reply says "Nothing is wrong", and not only of a part. With `of`, another generator criticises.
    """

    _: KW_ONLY
    of: Generator | None = None

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_generator(self, of=self.of)

    async def __call__(self, problem: Problem, candidate: Candidate, run: Run, /) -> Feedback | None:
        reply = await run.ask(self.of, problem.aside(criticise(problem.prompt, candidate.text)))
        said = criticism(reply.text)
        return None if said is None else Feedback(said, opinion=True)


@dataclass(frozen=True, slots=True, repr=False)
class Reason:
    """Why a verifier does not accept: failing tests, the last line of a traceback, a checker's message.

    f is the reason of v(x, y), quoted (Chen et al. 2024, "Teaching large language models to self-debug", section 3). It
    is silent from `threshold` on, and without a verdict; a note says the latter. Where the verifier is a model's
    judgement, such as `Judge`, say that it is an `opinion`.
    """

    _: KW_ONLY
    by: Verifier
    threshold: float = 1.0
    opinion: bool = False

    __repr__ = spelled

    def __post_init__(self) -> None:
        _check_verifier(self, self.by)
        require_number(self, threshold=self.threshold)
        require_switch(self, opinion=self.opinion)

    async def __call__(self, problem: Problem, candidate: Candidate, run: Run, /) -> Feedback | None:
        score = await _verdict(self.by, problem, candidate, run)
        if score is None or score.value >= self.threshold:
            return None
        said = f":\n{quoted(score.reason)}" if score.reason else "."
        return Feedback(f"A check of the solution failed{said}", opinion=self.opinion)


@dataclass(frozen=True, slots=True, repr=False)
class LowestStep:
    """The step that a process verifier trusts least: argmin over t of r(x, y₁ … y_t), if that is below `threshold`.

    It is named by its number, from 1, and quoted where the verifier's steps are the lines of the text. New information:
    the verifier was trained on what the generator does not know. Silent without a verdict, which a note says.
    """

    _: KW_ONLY
    by: Verifier
    threshold: float = 0.5

    __repr__ = spelled

    def __post_init__(self) -> None:
        _check_verifier(self, self.by)
        require_number(self, threshold=self.threshold)

    async def __call__(self, problem: Problem, candidate: Candidate, run: Run, /) -> Feedback | None:
        """Raises `VerifierError` if the verifier gives no scores of steps."""
        score = await _verdict(self.by, problem, candidate, run)
        if score is None:
            return None
        if not score.steps:
            raise VerifierError(f"{literal(self.by)} scores no steps: LowestStep needs one that does, a ProcessReward")
        lowest = min(range(len(score.steps)), key=score.steps.__getitem__)
        if score.steps[lowest] >= self.threshold:
            return None
        steps = _lines(candidate.text)
        return _wrong_step(lowest + 1, quoted(steps[lowest]) if len(steps) == len(score.steps) else "")


@dataclass(frozen=True, slots=True, repr=False)
class Arithmetic:
    """The first line whose sum is wrong: every `a op b = c` is computed anew, exactly (CRITIC; Gou et al. 2024).

    It reads numbers with `+ - * /` and brackets; a decimal on the right may be rounded. Of what it cannot read it says
    nothing, so its silence is no proof.
    """

    __repr__ = spelled

    async def __call__(self, _problem: Problem, candidate: Candidate, _run: Run, /) -> Feedback | None:
        for place, line in enumerate(_lines(candidate.text), 1):
            for left, right, result in false_equations(line):
                return _wrong_step(place, f"{left} is {result}, not {right}.")
        return None


def false_equations(line: str) -> Iterator[tuple[str, str, str]]:
    """Each equation that does not hold: its left side, its right side, and what the left side comes to."""
    line = _MARK.sub("", line, count=1) if _MARK.match(line) else line
    for found in _SUM.finditer(line):
        sides = [_side(side) for side in found[0].split("=")]
        if not any(map(_OPERATED.search, sides)):
            continue
        if sides[0] and _is_cut(line, found):
            sides = sides[1:]
        if _goes_on(line, found):
            sides = sides[:-1]
        for left, right in pairwise(sides):
            exact, claimed = _computed(left), _computed(right)
            if exact is not None and claimed is not None and not _holds(exact, claimed, right):
                yield left, right, written(exact)


def _side(text: str) -> str:
    """One side of an equation, without a bracket that opens before or closes after the equation."""
    return text.strip() if text.count("(") == text.count(")") else text.strip("() ")


def _is_cut(line: str, found: re.Match[str]) -> bool:
    """Whether the left side is only the end of an expression, such as "x + 3" or "sqrt 9 + 1"."""
    before = _TEXT.sub(r"\1", line[max(0, found.start() - LONGEST_WORD) : found.start()])
    first = found[0][0]
    joined = before[-1:].strip() and (first.isdigit() or (first == "(" and before[-1].isalnum()))
    named = before.rstrip()[-1:].isalpha() and not _OPERATED.search(found[0].partition("=")[0])  # as in "Day 2 = 7 + 7"
    cut = _CUT.match(found[0]) or _OPERATORS.search(before) or not _BEFORE.search(before)
    return bool(cut or joined or named)


def _goes_on(line: str, found: re.Match[str]) -> bool:
    """Whether the last side is only the beginning of a number, such as "75%", "3 remainder 2" or "2 hours 30"."""
    if _SCALE.match(line, found.end()) or _SECOND.match(line, found.end()):
        return True
    return not re.search(r"\s\(?\Z", found[0]) and _JOINED.match(line, found.end()) is not None


def _holds(exact: Fraction, claimed: Fraction, right: str) -> bool:
    """Whether both are equal, up to the last place of a decimal on the right."""
    places = _PLACES.search(right)
    return exact == claimed or (places is not None and abs(exact - claimed) < Fraction(1, 10 ** len(places[1])))


def _computed(side: str) -> Fraction | None:
    try:
        return value(side)
    except ToolRefusal:
        return None


def _wrong_step(place: int, why: str) -> Feedback:
    said = f"Step {place} is wrong."
    return Feedback(f"{said}\n{why}" if why else said)


def _lines(text: str) -> list[str]:
    """The steps of a text that has one per line."""
    return [line for line in text.splitlines() if line.strip()]


def _check_verifier(of: object, by: Verifier | None) -> None:
    require_verifier(of, by=by)
    if by is None:
        raise InputError(f"{type(of).__name__}: needs a verifier, such as by=ProcessReward()")


async def _verdict(by: Verifier, problem: Problem, candidate: Candidate, run: Run) -> Score | None:
    (score,) = await run.score(by, problem, [candidate])
    if score is None:
        run.note("there is no verdict, so no feedback")
    return score
