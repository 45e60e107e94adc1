"""Arithmetic word problems in plain English, with the operations that solve them (pure, seeded).

A problem follows one amount through a chain of events; every event adds a sentence to the text and one to three
operations to the solution. A third of the problems contain one *trap*, a phrase whose right reading is unambiguous
and which a hasty reader takes for something else:

    kind       phrase                                            right reading           misreading
    start      Q has 5 more than P had at the start              start + 5               now + 5
    reversed   P has 5 fewer than Q; what has Q?                 now + 5                 now - 5
    rest       gives 6 to Q and half of the rest to R            (now - 6) / 2           now / 2
    each       Q and R each give P 5                             2 * 5                   5
    fraction   gives a third to Q; what has P?                   now - now / 3           now / 3

Solutions sampled for training misread a trap most of the time, and slip in some results (`Noise`). Slips differ from
sample to sample, so voting heals them; a misreading is the majority's answer, so only a verifier does.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from recipes.problems.arithmetic import Operation, Reading, Solution, carry_out, now_and_then
from recipes.problems.events import EVENTS, OPENINGS, QUESTIONS
from recipes.problems.story import FEWEST_STEPS, MOST_STEPS, NAMES, THINGS, Kind, Story, Unfit
from recipes.problems.traps import TELLERS, TRAPS, Trap

Split = Literal["training", "validation", "evaluation"]


@dataclass(frozen=True, slots=True)
class WordProblem:
    """A problem's text and the operations of its right reading and of its misreading."""

    text: str
    operations: tuple[Operation, ...]
    trap: Trap | None

    def reading(self, reading: Reading) -> tuple[Operation, ...]:
        """The operations of the "right" or the "wrong" reading; they are the same where there is no trap."""
        return tuple(operation for operation in self.operations if operation.reading in ("both", reading))

    @property
    def right(self) -> Solution:
        """The solution without a mistake."""
        return _solved(self.reading("right"))

    @property
    def misread(self) -> Solution:
        """The solution whose only mistake is to misread the trap."""
        return _solved(self.reading("wrong"))


def _solved(operations: Sequence[Operation]) -> Solution:
    solution = carry_out(operations)
    if solution is None:
        raise ValueError("these operations cannot be carried out")
    return solution


@dataclass(frozen=True, slots=True)
class Noise:
    """How often training solutions go wrong."""

    slip: float = 0.11
    """The probability that one computed result is off."""
    misreading: float = 0.7
    """The probability that a trap is misread."""


def attempt(problem: WordProblem, rng: Random, noise: Noise) -> Solution:
    """A solution with the mistakes of the training distribution."""
    reading: Reading = "wrong" if problem.trap and rng.random() < noise.misreading else "right"
    solution = carry_out(problem.reading(reading), now_and_then(rng, noise.slip))
    return solution or _solved(problem.reading(reading))


def split_of(text: str) -> Split:
    """The split that a problem belongs to: decided by its text alone, so the splits cannot overlap."""
    bucket = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % 100
    return "evaluation" if bucket < 5 else "validation" if bucket < 10 else "training"


def draw(rng: Random, split: Split, steps: int, trap: Trap | None) -> WordProblem:
    """A random problem of one split with exactly so many steps in its right reading."""
    while True:
        problem = _try_story(rng, steps, trap)
        if problem and split_of(problem.text) == split:
            return problem


def draw_any(rng: Random, split: Split, trap_share: float) -> WordProblem:
    """A random problem of any number of steps; `trap_share` of them contain a trap."""
    steps = rng.randint(FEWEST_STEPS, MOST_STEPS)
    trap = rng.choice(traps_within(steps)) if rng.random() < trap_share else None
    return draw(rng, split, steps, trap)


def traps_within(steps: int) -> list[Trap]:
    """The traps that fit in a problem of so many steps."""
    return [trap for trap in TRAPS if TELLERS[trap].least_steps <= steps]


def _try_story(rng: Random, steps: int, trap: Trap | None) -> WordProblem | None:
    """Tell a random story, or give up where the amounts do not work out."""
    story = Story(rng, rng.choice(THINGS), rng.sample(NAMES, len(NAMES)))
    try:
        for kind in _plan(rng, steps, trap):
            kind.tell(story)
    except Unfit:
        return None
    problem = WordProblem(" ".join(story.sentences), tuple(story.operations), trap)
    return problem if _sound(problem, steps) else None


def _sound(problem: WordProblem, steps: int) -> bool:
    right, misread = (carry_out(problem.reading(reading)) for reading in ("right", "wrong"))
    if right is None or misread is None or len(right.steps) != steps:
        return False
    return problem.trap is None or right.answer != misread.answer


def _plan(rng: Random, steps: int, trap: Trap | None) -> list[Kind]:
    """Choose an opening, events with the trap among them, and a question, with so many steps in all."""
    trapped = [TELLERS[trap]] if trap else []
    left = steps - sum(kind.steps for kind in trapped)
    reserved = 1 if trap == "start" else 0
    opening = _pick(rng, OPENINGS, left - reserved)
    question = _pick(rng, QUESTIONS, left - reserved - opening.steps)
    left -= opening.steps + question.steps
    events: list[Kind] = []
    while left:
        events.append(_pick(rng, EVENTS, left))
        left -= events[-1].steps
    at = rng.randint(min(reserved, len(events)), len(events))
    return [opening, *events[:at], *trapped, *events[at:], question]


def _pick(rng: Random, kinds: Sequence[Kind], most_steps: int) -> Kind:
    fitting = [kind for kind in kinds if kind.steps <= most_steps]
    return rng.choices(fitting, [kind.weight for kind in fitting])[0]
