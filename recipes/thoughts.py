"""Thoughts as data: a first try that may go wrong, and further tries until one confirms another (pure, seeded).

    Zoe has 14 + 9 = 24 beads.
    Zoe has 24 + 6 = 30 beads.
    That gives 30.
    Wait, let me check each step.
    Zoe has 14 + 9 = 23 beads.
    Zoe has 23 + 6 = 29 beads.
    That gives 29, and 30 - 29 = 1.
    Wait, let me read the question again.
    Zoe has 14 + 9 = 23 beads.
    Zoe has 23 + 6 = 29 beads.
    That gives 29, and 29 - 29 = 0.

A try ends in its answer and, from the second on, in the difference to the answer before. Where there is none, the
answer is *settled*, and the thought may end; now and then it doubts even that and goes on. Further tries are more
careful than the first: they slip less, and where they read the question again they misread it less.
"""

import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from random import Random

from recipes.formats import Exchange, Mix, Recipe
from recipes.problems.arithmetic import Solution, now_and_then
from recipes.problems.words import Noise, WordProblem, attempt

OPEN, CLOSE = "<think>", "</think>"
EMPTY = f"{OPEN}\n\n{CLOSE}\n\n"
"""The thought of a turn that is to be answered without thinking."""
CHECK = "Wait, let me check each step."
REREAD = "Wait, let me read the question again."
DRILL = "Compare the answers."
"""The prompt of a drill."""

_PIECES = re.compile(r"\n| ?[0-9]| ?[A-Za-z]+| ?[^\sA-Za-z0-9]")


@dataclass(frozen=True, slots=True)
class Habits:
    """How one thinks."""

    first: Noise = field(default_factory=Noise)
    check: Noise = field(default_factory=lambda: Noise(slip=0.03, misreading=0.0))
    """Of a try that checks the steps. It keeps the last try's reading, so its `misreading` has no effect."""
    reread: Noise = field(default_factory=lambda: Noise(slip=0.03, misreading=0.25))
    """Of a try that reads the question again."""
    rereads: float = 0.6
    """The share of the further tries that read the question again."""
    doubt: float = 0.3
    """The probability that a thought goes on although its answer is settled."""
    longest: int = 6
    """The most tries."""


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt, and what is said before it."""

    opening: str
    solution: Solution
    misread: bool


@dataclass(frozen=True, slots=True)
class Thought:
    """The tries of a thought, in order."""

    tries: tuple[Try, ...]

    @property
    def answers(self) -> list[int]:
        """One a try."""
        return [each.solution.answer for each in self.tries]

    @property
    def settled(self) -> bool:
        """Whether the last two tries agree."""
        return agree(self.answers)

    @property
    def text(self) -> str:
        """The lines of the thought, each with its newline, without the markers."""
        return "".join(f"{line}\n" for at in range(len(self.tries)) for line in self._lines(at))

    def _lines(self, at: int) -> list[str]:
        each = self.tries[at]
        opening = [each.opening] if each.opening else []
        return [
            *opening,
            *(step.text for step in each.solution.steps),
            f"That gives {verdict(self.answers[: at + 1])}.",
        ]


def agree(answers: Sequence[int]) -> bool:
    """Whether the last two are the same."""
    return len(answers) > 1 and answers[-1] == answers[-2]


def verdict(answers: Sequence[int]) -> str:
    """What is said of the last answer: its difference to the one before, the larger first.

    A model of this size can subtract. It did not learn to see that two numbers are the same.
    """
    last = answers[-1]
    if len(answers) == 1:
        return str(last)
    more, less = sorted(answers[-2:], reverse=True)
    return f"{last}, and {more} - {less} = {more - less}"


def think(problem: WordProblem, rng: Random, habits: Habits) -> Thought:
    """A thought that ends once its answer is settled and not doubted, or after the most tries; it may be wrong."""
    tries = [_try(problem, rng, "", habits.first)]
    while len(tries) < habits.longest:
        thought = Thought(tuple(tries))
        if thought.settled and rng.random() >= habits.doubt:
            return thought
        tries.append(_another(problem, rng, habits, tries[-1]))
    return Thought(tuple(tries))


def think_rightly(problem: WordProblem, rng: Random, habits: Habits) -> Thought:
    """The first of many thoughts that settles on the right answer (rejection sampling)."""
    while True:
        thought = think(problem, rng, habits)
        if thought.settled and thought.answers[-1] == problem.right.answer:
            return thought


def _another(problem: WordProblem, rng: Random, habits: Habits, last: Try) -> Try:
    if rng.random() < habits.rereads:
        return _try(problem, rng, REREAD, habits.reread)
    return _try(problem, rng, CHECK, Noise(habits.check.slip, float(last.misread)))


def _try(problem: WordProblem, rng: Random, opening: str, noise: Noise) -> Try:
    misread = problem.trap is not None and rng.random() < noise.misreading
    return Try(opening, attempt(problem, rng, Noise(noise.slip, float(misread))), misread)


def cut(text: str, rng: Random) -> str:
    """A beginning of a thought's text; half of them end at the end of a line, the others after any word or digit."""
    ends = [found.end() for found in _PIECES.finditer(text)]
    lines = [end for end in ends if text[end - 1] == "\n"]
    return text[: rng.choice(lines if rng.random() < 0.5 else ends)]


def drill(rng: Random, habits: Habits) -> Exchange:
    """A thought of answers alone, which come from nowhere: it is learned which of them agree, and when to end."""
    right = rng.randint(2, 300)
    pool = [right, right, *(near(right, rng) for _ in range(3))]
    answers = [rng.choice(pool)]
    while not agree(answers) or rng.random() < habits.doubt:
        answers.append(rng.choice(pool))
    verdicts = [f"That gives {verdict(answers[: at + 1])}.\n" for at in range(len(answers))]
    lines = verdicts[0] + "".join(f"{rng.choice((CHECK, REREAD))}\n{each}" for each in verdicts[1:])
    return Exchange(DRILL, f"{OPEN}\n{lines}{CLOSE}\n\nThe answer is {answers[-1]}.")


def near(result: int, rng: Random) -> int:
    """A number that a slip makes of another."""
    return now_and_then(rng, 1.0)(result)[0]


@dataclass(frozen=True, slots=True)
class Shares:
    """The shares of what the assistant's turn is; they are weights and need not add up to one."""

    whole: float = 0.74
    """A thought, and the answer in one line."""
    cut: float = 0.12
    """A thought that is ended from outside, and the answer in one line."""
    empty: float = 0.14
    """An empty thought, and a solution as the small model writes it."""
    drill: float = 0.6
    """An exercise in comparing answers. They are short."""


@dataclass(frozen=True, slots=True)
class Thinking(Recipe):
    """Turns that think first."""

    mix: Mix = field(default_factory=lambda: Mix(0.84, 0.07, 0.03, 0.06))
    habits: Habits = field(default_factory=Habits)
    shares: Shares = field(default_factory=Shares)

    def exchange(self, rng: Random) -> Exchange:
        """A training problem in a random prompt form, or a drill."""
        drills = self.shares.drill / sum(astuple(self.shares))
        return drill(rng, self.habits) if rng.random() < drills else Recipe.exchange(self, rng)

    def answered(self, problem: WordProblem, prompt: str, rng: Random) -> Exchange:
        """The prompt with a thought and its answer.

        A cut thought is any thought, and what follows is the right answer, whatever the thought says: so how sure the
        model is of an answer to a cut thought is how often such a thought is right.
        """
        shares, answer = self.shares, f"\n\nThe answer is {problem.right.answer}."
        (form,) = rng.choices(("whole", "cut", "empty"), (shares.whole, shares.cut, shares.empty))
        if form == "empty":
            return Exchange(prompt, attempt(problem, rng, self.noise).text, EMPTY)
        if form == "whole":
            return Exchange(prompt, f"{OPEN}\n{think_rightly(problem, rng, self.habits).text}{CLOSE}{answer}")
        return Exchange(prompt, answer, f"{OPEN}\n{cut(think(problem, rng, self.habits).text, rng)}{CLOSE}")
