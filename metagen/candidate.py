"""What comes back, and what it is worth."""

from dataclasses import dataclass

from metagen.copies import copier, maker
from metagen.errors import InputError


@dataclass(frozen=True, slots=True)
class Candidate:
    """A completion y, whole or partial: a thought, where the model thinks first, and a text.

    `steps` are pieces of text that join to the whole without loss. A generator that is not asked to step gives one.
    `tokens` are the ids behind the text in the vocabulary of `model`; they are empty where they are unknown, and
    mean nothing to another model. `logprobs` has one entry a token (nats) where it was asked for, else none.
    So has `confidences`, by `Model(top_logprobs=k)`: −1/k Σ log p over the k most probable tokens at its place.
    Where a strategy wrote a token, such as the mark that ends a thought, both are not a number (`math.nan`).
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
    thoughts: tuple[str, ...] = ()
    """The pieces of the thought, which join without loss. `tokens` and `logprobs` hold it too, before the text."""
    open: bool = False
    """Whether the thought has not ended: then there is no answer, whatever was guessed in it."""
    thought_tokens: int = 0
    """How many of its tokens are the thought's, without the mark that ends it."""
    closing: bool = False
    """Whether a strategy ends the thought here; the model has not read that yet."""
    forced: str = ""
    """What a strategy writes next, into the thought or after it; the model has not read that yet."""
    recorded: "Score | None" = None
    """The verdict that a pool holds beside it, which only `RecordedScore()` reads."""

    def __post_init__(self) -> None:
        steps: object = self.steps
        if isinstance(steps, list):
            object.__setattr__(self, "steps", tuple(steps))
        elif isinstance(steps, str):
            raise InputError(f"Candidate: steps must be texts in a tuple: write Candidate(({steps!r},))")
        if not all(isinstance(step, str) for step in self.steps):
            raise InputError(f"Candidate: steps must be texts in a tuple, not {steps!r}")

    @property
    def text(self) -> str:
        """What is said: what votes, and what verifiers read."""
        return "".join(self.steps)

    @property
    def thought(self) -> str:
        """What was thought before; never an answer."""
        return "".join(self.thoughts)

    def saying(self, *steps: str) -> "Candidate":
        """The same reply after the same thought, with another text, of which no token ids or probabilities are known.

        A verdict that a pool holds beside it is on the old text.
        """
        return changed(self, steps=steps, tokens=(), model="", logprobs=(), confidences=(), first=(), recorded=None)

    def concluding(self, text: str = "") -> "Candidate":
        """The same reply, to be continued with its thought ended here and with `text` as the beginning of its text.

        A thought that has ended already is left as it is.
        """
        if not self.open:
            return self
        return changed(self, closing=True, forced=text, finished=False, cut=False)

    def thinking_on(self, text: str) -> "Candidate":
        """The same thought without its end and without what was said, to be continued after `text`, such as "Wait".

        (Budget forcing, Muennighoff et al. 2025, section 3.1.) It is continued from token ids, so it needs them.
        """
        return changed(
            self,
            steps=(),
            tokens=self.tokens[: self.thought_tokens],
            logprobs=self.logprobs[: self.thought_tokens],
            confidences=self.confidences[: self.thought_tokens],
            open=True,
            forced=text,
            closing=False,
            finished=False,
            cut=False,
        )


changed = copier(Candidate)
"""A candidate with other fields."""
made = maker(Candidate)
"""A candidate of which all fields are given."""


def steps_of(text: str, end: str = "\n") -> tuple[str, ...]:
    """The steps of a reply: its pieces up to and with `end`, the last with what is left; none is blank."""
    *ended, rest = text.split(end)
    return tuple(piece for piece in (*(f"{piece}{end}" for piece in ended), rest) if piece.strip())


@dataclass(frozen=True, slots=True)
class Score:
    """A verdict v(x, y): higher is better. `steps` holds r(x, y₁ … y_t) for each step t, where there are any."""

    value: float
    """The verdict on the whole. The verifier sets its scale, such as a probability, a logit or a share of tests."""
    steps: tuple[float, ...] = ()
    """One score per step; empty if the verifier scores only the whole."""
    reason: str = ""
    """Why, in words, such as the message of a failing test; empty without one."""


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
