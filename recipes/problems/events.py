"""The events of a word problem: what happens to things, and what it does to numbers."""

from recipes.problems.story import Kind, Story, Unfit

# fmt: on
_TIMES = {2: "twice", 3: "3 times", 4: "4 times"}


PARTS = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth"}


# --- openings ----------------------------------------------------------------------------------------------------


def _open_plainly(story: Story) -> None:
    story.owner, story.now = story.other(), story.between(6, 60)
    story.start = story.now
    story.tell(
        f"{story.owner} has {story.now} {story.thing}.",
        f"{story.owner} starts with {story.now} {story.thing}.",
        f"In the morning {story.owner} has {story.now} {story.thing}.",
    )


def _open_with_colours(story: Story) -> None:
    story.owner, red, blue = story.other(), story.between(3, 40), story.between(3, 40)
    story.tell(f"{story.owner} has {red} red and {blue} blue {story.thing}.")
    story.has(red, "+", blue)
    story.start = story.now


def _open_with_bags(story: Story) -> None:
    story.owner, bags, size = story.other(), story.between(2, 6), story.between(2, 9)
    story.tell(
        f"{story.owner} has {bags} bags of {size} {story.thing}.",
        f"{story.owner} starts with {bags} bags of {size} {story.thing}.",
    )
    story.has(bags, "*", size)
    story.start = story.now


# --- events ------------------------------------------------------------------------------------------------------


def _gain(story: Story) -> None:
    more, other = story.between(2, 40), story.other()
    story.tell(
        f"{story.owner} finds {more} more {story.thing}.",
        f"{story.owner} buys {more} more {story.thing}.",
        f"{other} gives {story.owner} {more} {story.thing}.",
    )
    story.has(story.now, "+", more)


def _gain_together(story: Story) -> None:
    more, other, another = story.between(2, 40), story.other(), story.other()
    story.tell(f"{other} and {another} together give {story.owner} {more} {story.thing}.")
    story.has(story.now, "+", more)


def _lose(story: Story) -> None:
    fewer, other = story.between(2, min(40, story.value - 2)), story.other()
    story.tell(
        f"{story.owner} loses {fewer} {story.thing}.",
        f"{story.owner} sells {fewer} {story.thing}.",
        f"{story.owner} gives {fewer} {story.thing} to {other}.",
    )
    story.has(story.now, "-", fewer)


def _lose_twice(story: Story) -> None:
    first, second = story.between(2, min(30, story.value - 6)), story.between(2, 20)
    story.tell(f"{story.owner} gives {first} {story.thing} to {story.other()} and {second} to {story.other()}.")
    story.has(story.now, "-", first)
    story.has(story.now, "-", second)


def _sell_daily(story: Story) -> None:
    days, daily = story.between(2, 5), story.between(2, 9)
    story.tell(f"{story.owner} sells {daily} {story.thing} a day for {days} days.")
    sold = story.do(f"{story.owner} sells", daily, "*", days)
    story.has(story.now, "-", sold)


def _multiply(story: Story) -> None:
    times = story.between(2, 4 if story.value <= 60 else 2 if story.value <= 120 else 0)
    story.tell(f"The next day {story.owner} has {_TIMES[times]} as many {story.thing}.")
    story.has(story.now, "*", times)


def _halve(story: Story) -> None:
    story.tell(
        f"{story.owner} loses half of the {story.thing}.",
        f"{story.owner} gives half of the {story.thing} to {story.other()}.",
        f"{story.owner} shares the {story.thing} equally with {story.other()}.",
    )
    story.has(story.now, "/", 2)


def _share_by_three(story: Story) -> None:
    story.tell(f"{story.owner} shares the {story.thing} equally with {story.other()} and {story.other()}.")
    story.has(story.now, "/", 3)


def _keep_a_part(story: Story) -> None:
    part = story.between(2, 5)
    story.tell(f"{story.owner} keeps only {PARTS[part]} of the {story.thing}.")
    story.has(story.now, "/", part)


def _buy_bags(story: Story) -> None:
    bags, size = story.between(2, 6), story.between(2, 9)
    story.tell(
        f"{story.owner} buys {bags} bags of {size} {story.thing}.",
        f"{story.owner} finds {bags} bags of {size} {story.thing}.",
    )
    held = story.do("The bags hold", bags, "*", size)
    story.has(story.now, "+", held)


def _compare(story: Story) -> None:
    owner, story.owner = story.owner, story.other()
    if story.rng.random() < 0.5:
        more = story.between(2, 30)
        story.tell(f"{story.owner} has {more} more {story.thing} than {owner}.")
        story.has(story.now, "+", more)
    else:
        fewer = story.between(2, min(30, story.value - 2))
        story.tell(f"{story.owner} has {fewer} fewer {story.thing} than {owner}.")
        story.has(story.now, "-", fewer)


def _compare_times(story: Story) -> None:
    owner, story.owner = story.owner, story.other()
    times = story.between(2, 4 if story.value <= 60 else 2 if story.value <= 120 else 0)
    story.tell(f"{story.owner} has {_TIMES[times]} as many {story.thing} as {owner}.")
    story.has(story.now, "*", times)


def _pool(story: Story) -> None:
    if story.value > 120:
        raise Unfit
    more, other = story.between(2, 30), story.other()
    story.tell(f"{other} has {more} more {story.thing} than {story.owner} and gives them all to {story.owner}.")
    story.has(story.now, "+", story.do(f"{other} has", story.now, "+", more))


# --- questions ---------------------------------------------------------------------------------------------------


def _ask_now(story: Story) -> None:
    story.tell(
        f"How many {story.thing} does {story.owner} have now?",
        f"How many {story.thing} does {story.owner} have in the end?",
    )


def _ask_money(story: Story) -> None:
    price = story.between(2, 5 if story.value <= 60 else 2)
    story.tell(f"{story.owner} sells all the {story.thing} for {price} dollars each.")
    story.tell(f"How many dollars does {story.owner} get?")
    story.do(f"{story.owner} gets", story.now, "*", price, "dollars")


def _ask_boxes(story: Story) -> None:
    size = story.between(2, 5)
    story.tell(f"{story.owner} packs the {story.thing} into boxes of {size}.")
    story.tell(f"How many boxes does {story.owner} fill?")
    story.do(f"{story.owner} fills", story.now, "/", size, "boxes")


def _ask_missing(story: Story) -> None:
    missing = story.between(2, 40)
    wanted = story.value + missing
    story.tell(f"{story.owner} wants {wanted} {story.thing}.")
    story.tell(f"How many more {story.thing} does {story.owner} need?")
    story.do(f"{story.owner} needs", wanted, "-", story.now)


OPENINGS = (Kind(_open_plainly, 0, 3), Kind(_open_with_colours, 1), Kind(_open_with_bags, 1))


EVENTS = (
    Kind(_gain, 1, 3),
    Kind(_gain_together, 1),
    Kind(_lose, 1, 3),
    Kind(_lose_twice, 2),
    Kind(_sell_daily, 2),
    Kind(_multiply, 1, 1.5),
    Kind(_halve, 1, 1.5),
    Kind(_share_by_three, 1, 0.7),
    Kind(_keep_a_part, 1, 0.7),
    Kind(_buy_bags, 2, 1.5),
    Kind(_compare, 1, 1.5),
    Kind(_compare_times, 1),
    Kind(_pool, 2),
)


QUESTIONS = (
    Kind(_ask_now, 0, 4),
    Kind(_ask_money, 1),
    Kind(_ask_boxes, 1, 1.5),
    Kind(_ask_missing, 1),
)
