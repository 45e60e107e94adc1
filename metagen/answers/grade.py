"""Grade an answer against its reference."""

from metagen.answers.canonical import canonical, equal_numbers
from metagen.answers.checkers import compare

SECONDS = 5.0
"""The limit of one symbolic comparison, in seconds of work (CPU time), so that a busy machine changes no verdict."""


async def grade(answer: str | None, reference: str, seconds: float = SECONDS) -> bool | None:
    """Decide whether `answer` is right: `None` if that cannot be found out, `False` if there is no answer.

    Equal canonical keys are right, and plain numbers that differ are wrong; so nearly everything is decided here. The
    rest goes to math-verify, in a process of its own with a limit of `seconds` and of memory. It finds the number in
    prose, takes a list for a set, 0.5 for 50 % and six decimals for a fraction.

    Raises:
        VerifierError: the checking process does not start.
    """
    if answer is None or not answer.strip():
        return False
    if canonical(answer) == canonical(reference):
        return True
    equal = equal_numbers(answer, reference)
    return await compare(reference, answer, seconds) if equal is None else equal
