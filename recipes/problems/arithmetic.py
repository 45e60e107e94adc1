"""Solutions as data: operations that are named before they are computed, and steps that were (pure).

A solution is written one step a line, `Tom has 12 + 7 = 19 apples.`, and ends in `The answer is 19.`
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

LARGEST = 999
"""No result is larger than this, and none is negative."""

Sign = Literal["+", "-", "*", "/"]
Operand = int | str
"""A number, or the name of an earlier result."""
Mistake = Literal["slip", "misreading"]
Reading = Literal["both", "right", "wrong"]

_ARITHMETIC = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")
_ANSWER = re.compile(r"The answer is (\d+)\.")


@dataclass(frozen=True, slots=True)
class Operation:
    """One step before it is computed, such as `Tom has 12 + 7 = … apples`."""

    name: str
    """What later operations call the result."""
    subject: str
    left: Operand
    sign: Sign
    right: Operand
    thing: str
    reading: Reading = "both"
    """Whether the step belongs to the right reading of the problem, to the misreading, or to both."""


@dataclass(frozen=True, slots=True)
class Step:
    """One computed line of a solution."""

    subject: str
    left: int
    sign: Sign
    right: int
    result: int
    thing: str
    mistake: Mistake | None = None
    """The mistake made *in* this step; what merely follows from an earlier one is no mistake of its own."""

    @property
    def text(self) -> str:
        """The line, without its newline."""
        return f"{self.subject} {self.left} {self.sign} {self.right} = {self.result} {self.thing}."


@dataclass(frozen=True, slots=True)
class Solution:
    """The computed steps of one attempt."""

    steps: tuple[Step, ...]

    @property
    def answer(self) -> int:
        """The number in the last line."""
        return self.steps[-1].result

    @property
    def text(self) -> str:
        """All lines, the answer's included."""
        return "\n".join([*(step.text for step in self.steps), f"The answer is {self.answer}."])

    @property
    def first_mistake(self) -> int | None:
        """The index of the first step with a mistake of its own."""
        return next((index for index, step in enumerate(self.steps) if step.mistake), None)


Slip = Callable[[int], Sequence[int]]
"""From a right result to the wrong ones to write instead, in the order of preference; empty for no slip."""


def exact(_result: int) -> Sequence[int]:
    """Make no slip."""
    return ()


def compute(left: int, sign: Sign, right: int) -> int | None:
    """`left sign right`, or None where that is negative, too large or not a whole number."""
    if sign == "/":
        return left // right if right and left % right == 0 else None
    result = {"+": left + right, "-": left - right, "*": left * right}[sign]
    return result if 0 <= result <= LARGEST else None


def carry_out(operations: Sequence[Operation], slip: Slip = exact) -> Solution | None:
    """Compute the operations in order, or None if they cannot be.

    Everything after a slip is consistent with the slipped result. A slip after which the rest could not be computed
    (half of 27) is passed over for the next one that `slip` offers.
    """
    steps: list[Step] = []
    values: dict[str, int] = {}
    for position, operation in enumerate(operations):
        step = _take(operation, values)
        if step is None:
            return None
        step = _slipped(step, operation, operations[position + 1 :], values, slip)
        values[operation.name] = step.result
        steps.append(step)
    return Solution(tuple(steps))


def _take(operation: Operation, values: dict[str, int]) -> Step | None:
    left, right = (
        values[operand] if isinstance(operand, str) else operand for operand in (operation.left, operation.right)
    )
    result = compute(left, operation.sign, right)
    mistake: Mistake | None = "misreading" if operation.reading == "wrong" else None
    return (
        None
        if result is None
        else Step(operation.subject, left, operation.sign, right, result, operation.thing, mistake)
    )


def _slipped(step: Step, operation: Operation, rest: Sequence[Operation], values: dict[str, int], slip: Slip) -> Step:
    for wrong in slip(step.result):
        if _possible(rest, {**values, operation.name: wrong}):
            return replace(step, result=wrong, mistake=step.mistake or "slip")
    return step


def _possible(operations: Sequence[Operation], values: dict[str, int]) -> bool:
    for operation in operations:
        step = _take(operation, values)
        if step is None:
            return False
        values[operation.name] = step.result
    return True


def now_and_then(rng: Random, rate: float) -> Slip:
    """Slip with probability `rate`: off by one, by ten or in one digit, in an order drawn anew each time."""

    def slip(result: int) -> Sequence[int]:
        if rng.random() >= rate:
            return ()
        kind = rng.choice((_off_by_one, _off_by_ten, _off_in_a_digit))
        wrong = [value for value in kind(result) if 0 <= value <= LARGEST and value != result]
        rng.shuffle(wrong)
        return wrong

    return slip


def _off_by_one(result: int) -> list[int]:
    return [result - 1, result + 1]


def _off_by_ten(result: int) -> list[int]:
    return [result - 10, result + 10]


def _off_in_a_digit(result: int) -> list[int]:
    digits = str(result)
    changed = (f"{digits[:at]}{digit}{digits[at + 1 :]}" for at in range(len(digits)) for digit in "0123456789")
    return [int(text) for text in changed if len(text) == 1 or text[0] != "0"]


def answer_of(text: str) -> int | None:
    """The number in the last `The answer is N.` of a solution's text, or None."""
    found = _ANSWER.findall(text)
    return int(found[-1]) if found else None


def first_error(text: str, right: Solution) -> int | None:
    """The index of the first line of `text` that departs from the right solution, or None if none does.

    A line agrees if it says the same `a op b = c`; a missing line is an error at its index, and so is a line too many.
    Problems are told in the order in which they are solved, so there is one right line for each place.
    """
    written = [_ARITHMETIC.findall(line) for line in text.splitlines() if not _ANSWER.search(line)]
    wanted = [[(str(step.left), step.sign, str(step.right), str(step.result))] for step in right.steps]
    for index in range(max(len(written), len(wanted))):
        if written[index : index + 1] != wanted[index : index + 1]:
            return index
    return None
