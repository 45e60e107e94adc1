"""Whether the equations of a solution hold, step by step."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from metagen import Candidate, InputError, Problem, Run, Score, spelled

NUMBER = r"-?\d+(?:\.\d+)?"
EQUATION = re.compile(rf"(?<![\d+*/-] )(?<![\d.])({NUMBER})((?: [-+*/] {NUMBER})+) = ({NUMBER})")
TERM = re.compile(rf" ([-+*/]) ({NUMBER})")


@dataclass(frozen=True, slots=True, repr=False)
class Equations:
    """The share of lines whose equations hold; each line is a step.

    A line scores 1 if all its equations hold, such as `3 + 4 * 2 = 11`, 0 if one does not, and `unknown` if it has
    none. The verdict is the lowest step: one slip spoils a solution. It judges what is there, so a partial candidate
    will do; an empty one has no verdict.
    """

    unknown: float = 0.5

    __repr__ = spelled

    def __post_init__(self) -> None:
        if not 0 <= self.unknown <= 1:
            raise InputError(f"Equations: unknown must be a number from 0 to 1, not {self.unknown!r}")

    async def __call__(self, _problem: Problem, candidates: Sequence[Candidate], _run: Run) -> list[Score | None]:
        return [self._verdict(candidate.text) for candidate in candidates]

    def _verdict(self, text: str) -> Score | None:
        steps = tuple(self._step(line) for line in text.splitlines() if line.strip())
        wrong = [equation.group() for equation in EQUATION.finditer(text) if not holds(equation)]
        return Score(min(steps), steps, f"wrong: {wrong[0]}" if wrong else "") if steps else None

    def _step(self, line: str) -> float:
        found = [holds(equation) for equation in EQUATION.finditer(line)]
        return float(all(found)) if found else self.unknown


def holds(equation: re.Match[str]) -> bool:
    """Whether the left side has the value of the right one."""
    first, terms, right = equation.groups()
    return value(first, TERM.findall(terms)) == Fraction(right)


def value(first: str, terms: list[tuple[str, str]]) -> Fraction | None:
    """The sum of products that the terms make; `None` if it divides by zero."""
    total, product = Fraction(0), Fraction(first)
    for sign, text in terms:
        number = Fraction(text)
        if sign == "/" and not number:
            return None
        if sign in "*/":
            product *= number if sign == "*" else 1 / number
        else:
            total, product = total + product, number if sign == "+" else -number
    return total + product
