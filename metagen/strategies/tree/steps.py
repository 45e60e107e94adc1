"""Whether a generator that is asked for one step after the other takes any. Pure."""

from collections.abc import Sequence

from metagen.candidate import Candidate
from metagen.errors import InputError
from metagen.settings import literal


def check_steps(strategy: object, of: object, begun: Candidate, drawn: Sequence[Candidate]) -> None:
    """Refuse a generator that did not continue the reply so far: it would be asked for ever."""
    if any(stands_still(begun, each) for each in drawn):
        raise InputError(
            f"{type(strategy).__name__}: of={literal(of)} cannot step: it did not continue the reply so far. "
            "It must pass the problem, with its partial reply and its step, to a model"
        )


def stands_still(begun: Candidate, candidate: Candidate) -> bool:
    """Whether a reply is not the one that was begun, or no longer than it; a step that is thought adds no text."""
    is_begun = candidate.steps[: len(begun.steps)] == begun.steps
    if not is_begun or candidate.thoughts[: len(begun.thoughts)] != begun.thoughts:
        old, new = (begun.thought, begun.text), (candidate.thought, candidate.text)
        return old == new or not all(map(str.startswith, new, old))  # whose pieces were joined
    if len(candidate.steps) > len(begun.steps) or len(candidate.thoughts) > len(begun.thoughts):
        return False
    thinks = begun.open or candidate.open
    ends = candidate.finished or candidate.cut or candidate.open != begun.open
    return candidate.thought_tokens <= begun.thought_tokens and not (thinks and ends)
