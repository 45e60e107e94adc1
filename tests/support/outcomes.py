"""What came of the samples of a request, where all came."""

from collections.abc import Iterable

from metagen import Completion
from metagen.request import Outcome


def completed(outcomes: Iterable[Outcome]) -> list[Completion]:
    """The completions. Raises the error of the first sample that is lost."""
    completions = []
    for outcome in outcomes:
        if not isinstance(outcome, Completion):
            raise outcome
        completions.append(outcome)
    return completions
