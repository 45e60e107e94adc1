"""A word problem while it is being told."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from recipes.problems.arithmetic import Operand, Operation, Reading, Sign, compute

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


# --- telling a story ---------------------------------------------------------------------------------------------


class Unfit(Exception):
    """The event does not fit the amounts; raised before anything is told."""


@dataclass(slots=True)
class Story:
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
            raise Unfit
        return self.rng.randint(least, most)

    def other(self) -> str:
        """Someone who has not appeared yet."""
        if not self.names:
            raise Unfit
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
                raise Unfit
            self.amounts[name] = result
        return name

    def has(self, left: Operand, sign: Sign, right: Operand, reading: Reading = "both", name: str = "") -> None:
        """Add the operation after which the owner has something else."""
        self.now = self.do(f"{self.owner} has", left, sign, right, reading=reading, name=name)


Event = Callable[[Story], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """An event, how many steps it adds, and how often it is drawn among those that fit."""

    tell: Event
    steps: int
    weight: float = 1.0
    least_steps: int = 0
    """For a trap: the fewest steps of a problem around it."""
