"""What comes back, and what it is worth."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """A completion y, whole or partial.

    `steps` are pieces of text that join to the whole without loss. A generator that is not asked to step gives one.
    `tokens` are the ids behind the text in the vocabulary of `model`; they are empty where they are unknown, and
    mean nothing to another model. `logprobs` has one entry a token (nats) where it was asked for, else none.
    So has `confidences`, by `Model(top_logprobs=k)`: −1/k Σ log p over the k most probable tokens at its place.
    """

    steps: tuple[str, ...]
    finished: bool = True
    """False if it was cut by a length limit or stands at the end of a step."""
    tokens: tuple[int, ...] = ()
    model: str = ""
    logprobs: tuple[float, ...] = ()
    confidences: tuple[float, ...] = ()
    first: tuple[tuple[str, float], ...] = ()
    """The most probable tokens where the last completion begins, with their log-probabilities, where asked for."""
    cut: bool = False
    """True if a length limit cut it, perhaps in the middle of a step; what stands at the end of a step is not cut."""

    @property
    def text(self) -> str:
        return "".join(self.steps)


def steps_of(text: str, end: str = "\n") -> tuple[str, ...]:
    """The steps of a reply: its pieces up to and with `end`, the last with what is left; none is blank."""
    *ended, rest = text.split(end)
    return tuple(piece for piece in (*(f"{piece}{end}" for piece in ended), rest) if piece.strip())


@dataclass(frozen=True, slots=True)
class Score:
    """A verdict v(x, y): higher is better. `steps` holds r(x, y₁ … y_t) for each step t, where there are any."""

    value: float
    steps: tuple[float, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Scored:
    """A candidate beside its verdict, inside one strategy. `None` is no verdict, which is not a zero."""

    candidate: Candidate
    score: Score | None


@dataclass(frozen=True, slots=True)
class Feedback:
    """What is said about a candidate, f ~ feedback(x, y): what a revision may go by."""

    text: str
    opinion: bool = False
    """True if a model said it of its own; False for new information: what ran, was computed, measured or looked up."""
