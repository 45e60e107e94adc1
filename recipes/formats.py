"""The prompts of the training set: every form that the library sends, around generated problems (pure, seeded)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from metagen.prompts import Demonstration, chain_of_thought, few_shot, revise
from recipes.problems.words import Noise, WordProblem, attempt, draw, draw_any

Asking = Callable[[WordProblem, Random, Noise], str]
"""From a problem to the text of the user's turn."""

_FEEDBACK = (
    "Step {step} is wrong.",
    "There is a mistake in step {step}.",
    "The answer {answer} is wrong.",
    "The answer {answer} may be wrong. Check each step.",
    "Check step {step} again.",
    "Read the question again.",
    "This is not right.",
    "This looks right.",
)
_LONGEST_DEMONSTRATION = 5
"""Steps of the longest worked example: four of these and a question of eight steps fit in 1,024 tokens."""


@dataclass(frozen=True, slots=True)
class Mix:
    """The shares of the prompt forms; they are weights and need not add up to one."""

    plain: float = 0.70
    chain_of_thought: float = 0.12
    few_shot: float = 0.08
    revise: float = 0.10


@dataclass(frozen=True, slots=True)
class Exchange:
    """One user turn and the assistant's turn that the model learns."""

    prompt: str
    reply: str
    opening: str = ""
    """What the assistant's turn already begins with; the model continues it and does not learn to write it."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What the training set is drawn from."""

    noise: Noise = field(default_factory=Noise)
    mix: Mix = field(default_factory=Mix)
    trap_share: float = 1 / 3

    def exchange(self, rng: Random) -> Exchange:
        """A training problem in a random prompt form, with the assistant's turn."""
        problem = draw_any(rng, "training", self.trap_share)
        return self.answered(problem, self.asked(problem, rng), rng)

    def asked(self, problem: WordProblem, rng: Random) -> str:
        """The user's turn, in a random prompt form."""
        mix = self.mix
        forms: tuple[Asking, ...] = (_plain, _chain_of_thought, _few_shot, _revise)
        asking = rng.choices(forms, (mix.plain, mix.chain_of_thought, mix.few_shot, mix.revise))[0]
        return asking(problem, rng, self.noise)

    def answered(self, problem: WordProblem, prompt: str, rng: Random) -> Exchange:
        """The prompt with a solution from the noisy distribution.

        The reply does not depend on what the prompt shows besides the question: a revision is a fresh attempt.
        """
        return Exchange(prompt, attempt(problem, rng, self.noise).text)


def _plain(problem: WordProblem, _rng: Random, _noise: Noise) -> str:
    return problem.text


def _chain_of_thought(problem: WordProblem, _rng: Random, _noise: Noise) -> str:
    return chain_of_thought(problem.text)


def _few_shot(problem: WordProblem, rng: Random, _noise: Noise) -> str:
    (shown,) = rng.choices((1, 2, 3, 4), (4, 3, 2, 1))
    return few_shot(problem.text, [_demonstration(rng) for _ in range(shown)])


def _demonstration(rng: Random) -> Demonstration:
    shown = draw(rng, "training", rng.randint(2, _LONGEST_DEMONSTRATION), None)
    return Demonstration(shown.text, shown.right.text)


def _revise(problem: WordProblem, rng: Random, noise: Noise) -> str:
    previous = attempt(problem, rng, noise)
    feedback = rng.choice(_FEEDBACK).format(step=rng.randint(1, len(previous.steps)), answer=previous.answer)
    return revise(problem.text, previous.text, feedback if rng.random() < 0.5 else "")
