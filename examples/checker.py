"""Plug in a verifier of your own: the share of a solution's sums that are right.

metagen solve problems.jsonl --load examples/checker.py --strategy "Vote(16, by=sums)"
"""

import re
from collections.abc import Sequence

from metagen import Candidate, Problem, Run, Score

SUM = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")
HOLDS = {
    "+": lambda a, b, c: a + b == c,
    "-": lambda a, b, c: a - b == c,
    "*": lambda a, b, c: a * b == c,
    "/": lambda a, b, c: b != 0 and a == b * c,
}


async def sums(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
    return [check(candidate.text) for candidate in candidates]


def check(text: str) -> Score | None:
    found = SUM.findall(text)
    right = [HOLDS[sign](int(a), int(b), int(c)) for a, sign, b, c in found]
    return Score(sum(right) / len(right)) if right else None
