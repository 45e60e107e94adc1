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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal, get_args

from metagen.train.arithmetic import Operand, Operation, Reading, Sign, Solution, carry_out, compute, now_and_then

Trap = Literal["start", "reversed", "rest", "each", "fraction"]
TRAPS: tuple[Trap, ...] = get_args(Trap)
Split = Literal["training", "validation", "evaluation"]

FEWEST_STEPS, MOST_STEPS = 2, 8

# fmt: off
NAMES = (
    "Tom", "Ann", "Bob", "Sue", "Max", "Eva", "Leo", "Mia", "Sam", "Zoe", "Ben", "Ida",
    "Jack", "Lucy", "Noah", "Emma", "Paul", "Nina", "Omar", "Rosa", "Carl", "Lena", "Ivan", "Maya",
)
THINGS = (
    "apples", "marbles", "coins", "shells", "cards", "stamps", "books", "eggs",
    "pens", "stickers", "nuts", "buttons", "stones", "beads", "plums", "keys",
)
# fmt: on
_TIMES = {2: "twice", 3: "3 times", 4: "4 times"}
_PARTS = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth"}


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
    return [trap for trap in TRAPS if _TRAPS[trap].least_steps <= steps]


# --- telling a story ---------------------------------------------------------------------------------------------


class _Unfit(Exception):
    """The event does not fit the amounts; raised before anything is told."""


@dataclass(slots=True)
class _Story:
    """What has been told so far. Amounts are those of the right reading without slips."""

    rng: Random
    thing: str
    names: list[str]
    owner: str = ""
    start: Operand = 0
    now: Operand = 0
    amounts: dict[Operand, int] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)

    @property
    def value(self) -> int:
        """What the owner has now."""
        return self.amount(self.now)

    def amount(self, operand: Operand) -> int:
        """The number that an operand stands for."""
        return operand if isinstance(operand, int) else self.amounts[operand]

    def between(self, least: int, most: int) -> int:
        """A number in a range; unfit if the range is empty."""
        if least > most:
            raise _Unfit
        return self.rng.randint(least, most)

    def other(self) -> str:
        """Someone who has not appeared yet."""
        if not self.names:
            raise _Unfit
        return self.names.pop()

    def tell(self, *phrasings: str) -> None:
        """Add one of the phrasings as the next sentence."""
        self.sentences.append(self.rng.choice(phrasings))

    def do(
        self,
        subject: str,
        left: Operand,
        sign: Sign,
        right: Operand,
        thing: str = "",
        reading: Reading = "both",
        name: str = "",
    ) -> str:
        """Add an operation; return the name of its result. The two readings of one amount share a name."""
        name = name or f"amount {len(self.operations)}"
        self.operations.append(Operation(name, subject, left, sign, right, thing or self.thing, reading))
        if reading != "wrong":
            result = compute(self.amount(left), sign, self.amount(right))
            if result is None or result < 2:
                raise _Unfit
            self.amounts[name] = result
        return name

    def has(self, left: Operand, sign: Sign, right: Operand, reading: Reading = "both", name: str = "") -> None:
        """Add the operation after which the owner has something else."""
        self.now = self.do(f"{self.owner} has", left, sign, right, reading=reading, name=name)


Event = Callable[[_Story], None]


@dataclass(frozen=True, slots=True)
class _Kind:
    """An event, how many steps it adds, and how often it is drawn among those that fit."""

    tell: Event
    steps: int
    weight: float = 1.0
    least_steps: int = 0
    """For a trap: the fewest steps of a problem around it."""


def _try_story(rng: Random, steps: int, trap: Trap | None) -> WordProblem | None:
    """Tell a random story, or give up where the amounts do not work out."""
    story = _Story(rng, rng.choice(THINGS), rng.sample(NAMES, len(NAMES)))
    try:
        for kind in _plan(rng, steps, trap):
            kind.tell(story)
    except _Unfit:
        return None
    problem = WordProblem(" ".join(story.sentences), tuple(story.operations), trap)
    return problem if _sound(problem, steps) else None


def _sound(problem: WordProblem, steps: int) -> bool:
    right, misread = (carry_out(problem.reading(reading)) for reading in ("right", "wrong"))
    if right is None or misread is None or len(right.steps) != steps:
        return False
    return problem.trap is None or right.answer != misread.answer


def _plan(rng: Random, steps: int, trap: Trap | None) -> list[_Kind]:
    """Choose an opening, events with the trap among them, and a question, with so many steps in all."""
    trapped = [_TRAPS[trap]] if trap else []
    left = steps - sum(kind.steps for kind in trapped)
    reserved = 1 if trap == "start" else 0
    opening = _pick(rng, _OPENINGS, left - reserved)
    question = _pick(rng, _QUESTIONS, left - reserved - opening.steps)
    left -= opening.steps + question.steps
    events: list[_Kind] = []
    while left:
        events.append(_pick(rng, _EVENTS, left))
        left -= events[-1].steps
    at = rng.randint(min(reserved, len(events)), len(events))
    return [opening, *events[:at], *trapped, *events[at:], question]


def _pick(rng: Random, kinds: Sequence[_Kind], most_steps: int) -> _Kind:
    fitting = [kind for kind in kinds if kind.steps <= most_steps]
    return rng.choices(fitting, [kind.weight for kind in fitting])[0]


# --- openings ----------------------------------------------------------------------------------------------------


def _open_plainly(story: _Story) -> None:
    story.owner, story.now = story.other(), story.between(6, 60)
    story.start = story.now
    story.tell(
        f"{story.owner} has {story.now} {story.thing}.",
        f"{story.owner} starts with {story.now} {story.thing}.",
        f"In the morning {story.owner} has {story.now} {story.thing}.",
    )


def _open_with_colours(story: _Story) -> None:
    story.owner, red, blue = story.other(), story.between(3, 40), story.between(3, 40)
    story.tell(f"{story.owner} has {red} red and {blue} blue {story.thing}.")
    story.has(red, "+", blue)
    story.start = story.now


def _open_with_bags(story: _Story) -> None:
    story.owner, bags, size = story.other(), story.between(2, 6), story.between(2, 9)
    story.tell(
        f"{story.owner} has {bags} bags of {size} {story.thing}.",
        f"{story.owner} starts with {bags} bags of {size} {story.thing}.",
    )
    story.has(bags, "*", size)
    story.start = story.now


# --- events ------------------------------------------------------------------------------------------------------


def _gain(story: _Story) -> None:
    more, other = story.between(2, 40), story.other()
    story.tell(
        f"{story.owner} finds {more} more {story.thing}.",
        f"{story.owner} buys {more} more {story.thing}.",
        f"{other} gives {story.owner} {more} {story.thing}.",
    )
    story.has(story.now, "+", more)


def _gain_together(story: _Story) -> None:
    more, other, another = story.between(2, 40), story.other(), story.other()
    story.tell(f"{other} and {another} together give {story.owner} {more} {story.thing}.")
    story.has(story.now, "+", more)


def _lose(story: _Story) -> None:
    fewer, other = story.between(2, min(40, story.value - 2)), story.other()
    story.tell(
        f"{story.owner} loses {fewer} {story.thing}.",
        f"{story.owner} sells {fewer} {story.thing}.",
        f"{story.owner} gives {fewer} {story.thing} to {other}.",
    )
    story.has(story.now, "-", fewer)


def _lose_twice(story: _Story) -> None:
    first, second = story.between(2, min(30, story.value - 6)), story.between(2, 20)
    story.tell(f"{story.owner} gives {first} {story.thing} to {story.other()} and {second} to {story.other()}.")
    story.has(story.now, "-", first)
    story.has(story.now, "-", second)


def _sell_daily(story: _Story) -> None:
    days, daily = story.between(2, 5), story.between(2, 9)
    story.tell(f"{story.owner} sells {daily} {story.thing} a day for {days} days.")
    sold = story.do(f"{story.owner} sells", daily, "*", days)
    story.has(story.now, "-", sold)


def _multiply(story: _Story) -> None:
    times = story.between(2, 4 if story.value <= 60 else 2 if story.value <= 120 else 0)
    story.tell(f"The next day {story.owner} has {_TIMES[times]} as many {story.thing}.")
    story.has(story.now, "*", times)


def _halve(story: _Story) -> None:
    story.tell(
        f"{story.owner} loses half of the {story.thing}.",
        f"{story.owner} gives half of the {story.thing} to {story.other()}.",
        f"{story.owner} shares the {story.thing} equally with {story.other()}.",
    )
    story.has(story.now, "/", 2)


def _share_by_three(story: _Story) -> None:
    story.tell(f"{story.owner} shares the {story.thing} equally with {story.other()} and {story.other()}.")
    story.has(story.now, "/", 3)


def _keep_a_part(story: _Story) -> None:
    part = story.between(2, 5)
    story.tell(f"{story.owner} keeps only {_PARTS[part]} of the {story.thing}.")
    story.has(story.now, "/", part)


def _buy_bags(story: _Story) -> None:
    bags, size = story.between(2, 6), story.between(2, 9)
    story.tell(
        f"{story.owner} buys {bags} bags of {size} {story.thing}.",
        f"{story.owner} finds {bags} bags of {size} {story.thing}.",
    )
    held = story.do("The bags hold", bags, "*", size)
    story.has(story.now, "+", held)


def _compare(story: _Story) -> None:
    owner, story.owner = story.owner, story.other()
    if story.rng.random() < 0.5:
        more = story.between(2, 30)
        story.tell(f"{story.owner} has {more} more {story.thing} than {owner}.")
        story.has(story.now, "+", more)
    else:
        fewer = story.between(2, min(30, story.value - 2))
        story.tell(f"{story.owner} has {fewer} fewer {story.thing} than {owner}.")
        story.has(story.now, "-", fewer)


def _compare_times(story: _Story) -> None:
    owner, story.owner = story.owner, story.other()
    times = story.between(2, 4 if story.value <= 60 else 2 if story.value <= 120 else 0)
    story.tell(f"{story.owner} has {_TIMES[times]} as many {story.thing} as {owner}.")
    story.has(story.now, "*", times)


def _pool(story: _Story) -> None:
    if story.value > 120:
        raise _Unfit
    more, other = story.between(2, 30), story.other()
    story.tell(f"{other} has {more} more {story.thing} than {story.owner} and gives them all to {story.owner}.")
    story.has(story.now, "+", story.do(f"{other} has", story.now, "+", more))


# --- traps -------------------------------------------------------------------------------------------------------


def _trap_start(story: _Story) -> None:
    more, other = story.between(2, 30), story.other()
    story.tell(
        f"{other} has {more} more {story.thing} than {story.owner} had at the start"
        f" and gives them all to {story.owner}."
    )
    given = story.do(f"{other} has", story.start, "+", more, reading="right", name="given")
    story.do(f"{other} has", story.now, "+", more, reading="wrong", name="given")
    story.has(story.now, "+", given)


def _trap_reversed(story: _Story) -> None:
    owner, story.owner = story.owner, story.other()
    number = story.between(2, min(30, story.value - 2))
    more: tuple[str, Sign, Sign] = ("more", "-", "+")
    fewer: tuple[str, Sign, Sign] = ("fewer", "+", "-")
    word, right, wrong = story.rng.choice((more, fewer))
    story.tell(f"{owner} has {number} {word} {story.thing} than {story.owner}.")
    now = story.now
    story.has(now, right, number, "right", "reversed")
    story.has(now, wrong, number, "wrong", "reversed")


def _trap_rest(story: _Story) -> None:
    fewer, other, another = story.between(2, min(30, story.value - 6)), story.other(), story.other()
    story.tell(
        f"{story.owner} gives {fewer} {story.thing} to {other} and half of the rest to {another}.",
        f"{story.owner} sells {fewer} {story.thing} and gives half of the rest to {another}.",
    )
    before = story.now
    story.has(before, "-", fewer)
    half = story.do(f"{another} gets", story.now, "/", 2, reading="right", name="half")
    story.do(f"{another} gets", before, "/", 2, reading="wrong", name="half")
    story.has(story.now, "-", half)


def _trap_each(story: _Story) -> None:
    each, givers = story.between(2, 20), [story.other() for _ in range(story.between(2, 3))]
    named = f"{', '.join(givers[:-1])} and {givers[-1]}"
    story.tell(f"{named} each give {story.owner} {each} {story.thing}.")
    given = story.do("They give", len(givers), "*", each, reading="right")
    before = story.now
    story.has(before, "+", given, "right", "after each")
    story.has(before, "+", each, "wrong", "after each")


def _trap_fraction(story: _Story) -> None:
    part, other = story.between(3, 5), story.other()
    story.tell(f"{story.owner} gives {_PARTS[part]} of the {story.thing} to {other}.")
    before = story.now
    given = story.do(f"{other} gets", before, "/", part, reading="right")
    story.has(before, "-", given, "right", "after fraction")
    story.has(before, "/", part, "wrong", "after fraction")


# --- questions ---------------------------------------------------------------------------------------------------


def _ask_now(story: _Story) -> None:
    story.tell(
        f"How many {story.thing} does {story.owner} have now?",
        f"How many {story.thing} does {story.owner} have in the end?",
    )


def _ask_money(story: _Story) -> None:
    price = story.between(2, 5 if story.value <= 60 else 2)
    story.tell(f"{story.owner} sells all the {story.thing} for {price} dollars each.")
    story.tell(f"How many dollars does {story.owner} get?")
    story.do(f"{story.owner} gets", story.now, "*", price, "dollars")


def _ask_boxes(story: _Story) -> None:
    size = story.between(2, 5)
    story.tell(f"{story.owner} packs the {story.thing} into boxes of {size}.")
    story.tell(f"How many boxes does {story.owner} fill?")
    story.do(f"{story.owner} fills", story.now, "/", size, "boxes")


def _ask_missing(story: _Story) -> None:
    missing = story.between(2, 40)
    wanted = story.value + missing
    story.tell(f"{story.owner} wants {wanted} {story.thing}.")
    story.tell(f"How many more {story.thing} does {story.owner} need?")
    story.do(f"{story.owner} needs", wanted, "-", story.now)


_OPENINGS = (_Kind(_open_plainly, 0, 3), _Kind(_open_with_colours, 1), _Kind(_open_with_bags, 1))
_EVENTS = (
    _Kind(_gain, 1, 3),
    _Kind(_gain_together, 1),
    _Kind(_lose, 1, 3),
    _Kind(_lose_twice, 2),
    _Kind(_sell_daily, 2),
    _Kind(_multiply, 1, 1.5),
    _Kind(_halve, 1, 1.5),
    _Kind(_share_by_three, 1, 0.7),
    _Kind(_keep_a_part, 1, 0.7),
    _Kind(_buy_bags, 2, 1.5),
    _Kind(_compare, 1, 1.5),
    _Kind(_compare_times, 1),
    _Kind(_pool, 2),
)
_TRAPS: dict[Trap, _Kind] = {
    "start": _Kind(_trap_start, 2, least_steps=3),
    "reversed": _Kind(_trap_reversed, 1, least_steps=FEWEST_STEPS),
    "rest": _Kind(_trap_rest, 3, least_steps=3),
    "each": _Kind(_trap_each, 2, least_steps=FEWEST_STEPS),
    "fraction": _Kind(_trap_fraction, 2, least_steps=FEWEST_STEPS),
}
_QUESTIONS = (
    _Kind(_ask_now, 0, 4),
    _Kind(_ask_money, 1),
    _Kind(_ask_boxes, 1, 1.5),
    _Kind(_ask_missing, 1),
)
