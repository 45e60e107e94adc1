"""Grade an answer against its reference."""

from metagen.answers.checkers import compare
from metagen.answers.decide import decide, for_symbols

SECONDS = 5.0
"""The limit of one symbolic comparison, in seconds of work (CPU time), so that a busy machine changes no verdict."""


async def grade(answer: str | None, reference: str, seconds: float = SECONDS) -> bool | None:
    """Decide whether `answer` is right: `None` if that cannot be found out, `False` if there is no answer.

    Equal canonical keys are right, plain numbers that differ are wrong, and what is no arithmetic, such as a date, is
    equal only to itself; so nearly everything is decided here. The rest goes to math-verify, in a process of its own
    with a limit of `seconds` and of memory. It finds the number in prose, takes a list for a set, 0.5 for 50 %. So
    prose is wrong before it comes to that where its words make another number of it, as `not 5` and `half of 7` do.

    Raises:
        VerifierError: the checking process does not start.
    """
    if (verdict := graded(answer, reference)) is not None:
        return verdict
    answer = answer or ""
    return await compare(for_symbols(reference, answer), for_symbols(answer, reference), seconds)


def graded(answer: str | None, reference: str) -> bool | None:
    """The grade where it takes no symbols; else `None`."""
    return False if answer is None or not answer.strip() else decide(answer, reference)
