"""Traps: phrases that are easily misread."""

from typing import Literal, get_args

from recipes.problems.arithmetic import Sign
from recipes.problems.events import PARTS
from recipes.problems.story import FEWEST_STEPS, Kind, Story

Trap = Literal["start", "reversed", "rest", "each", "fraction"]


TRAPS: tuple[Trap, ...] = get_args(Trap)


# --- traps -------------------------------------------------------------------------------------------------------


def _trap_start(story: Story) -> None:
    more, other = story.between(2, 30), story.other()
    story.tell(
        f"{other} has {more} more {story.thing} than {story.owner} had at the start"
        f" and gives them all to {story.owner}."
    )
    given = story.do(f"{other} has", story.start, "+", more, reading="right", name="given")
    story.do(f"{other} has", story.now, "+", more, reading="wrong", name="given")
    story.has(story.now, "+", given)


def _trap_reversed(story: Story) -> None:
    owner, story.owner = story.owner, story.other()
    number = story.between(2, min(30, story.value - 2))
    more: tuple[str, Sign, Sign] = ("more", "-", "+")
    fewer: tuple[str, Sign, Sign] = ("fewer", "+", "-")
    word, right, wrong = story.rng.choice((more, fewer))
    story.tell(f"{owner} has {number} {word} {story.thing} than {story.owner}.")
    now = story.now
    story.has(now, right, number, "right", "reversed")
    story.has(now, wrong, number, "wrong", "reversed")


def _trap_rest(story: Story) -> None:
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


def _trap_each(story: Story) -> None:
    each, givers = story.between(2, 20), [story.other() for _ in range(story.between(2, 3))]
    named = f"{', '.join(givers[:-1])} and {givers[-1]}"
    story.tell(f"{named} each give {story.owner} {each} {story.thing}.")
    given = story.do("They give", len(givers), "*", each, reading="right")
    before = story.now
    story.has(before, "+", given, "right", "after each")
    story.has(before, "+", each, "wrong", "after each")


def _trap_fraction(story: Story) -> None:
    part, other = story.between(3, 5), story.other()
    story.tell(f"{story.owner} gives {PARTS[part]} of the {story.thing} to {other}.")
    before = story.now
    given = story.do(f"{other} gets", before, "/", part, reading="right")
    story.has(before, "-", given, "right", "after fraction")
    story.has(before, "/", part, "wrong", "after fraction")


TELLERS: dict[Trap, Kind] = {
    "start": Kind(_trap_start, 2, least_steps=3),
    "reversed": Kind(_trap_reversed, 1, least_steps=FEWEST_STEPS),
    "rest": Kind(_trap_rest, 3, least_steps=3),
    "each": Kind(_trap_each, 2, least_steps=FEWEST_STEPS),
    "fraction": Kind(_trap_fraction, 2, least_steps=FEWEST_STEPS),
}
