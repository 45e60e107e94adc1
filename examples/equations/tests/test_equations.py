import asyncio

import pytest
from metagen_equations import EQUATION, Equations, holds

from metagen import BestOf, Candidate, InputError, Problem, Run, Score, Scripted, parse, solve


def verdict(text: str, unknown: float = 0.5) -> Score | None:
    found: list[Score | None] = []

    async def ask(problem: Problem, run: Run) -> Candidate:
        candidate = Candidate((text,))
        found.extend(await run.score(Equations(unknown), problem, [candidate]))
        return candidate

    asyncio.run(solve("?", ask))
    return found[0]


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("3 + 4 = 7", True),
        ("3 + 4 = 8", False),
        ("3 + 4 * 2 = 11", True),
        ("10 - 6 / 3 - 1 = 7", True),
        ("7 / 2 = 3.5", True),
        ("1 / 0 = 0", False),
        ("2 - 5 = -3", True),
    ],
)
def test_an_equation_holds_if_its_sides_are_equal(text: str, right: bool) -> None:
    equation = EQUATION.search(text)
    assert equation is not None
    assert equation.group() == text
    assert holds(equation) is right


def test_each_line_is_a_step_and_the_lowest_counts() -> None:
    text = "Carl has 2 * 5 = 10 coins.\nHe finds 10 + 3 = 14.\n\nThe answer is 14."
    assert verdict(text) == Score(0.0, (1.0, 0.0, 0.5), "wrong: 10 + 3 = 14")
    assert verdict("2 * 5 = 10\nSo 10.", 0.9) == Score(0.9, (1.0, 0.9))


def test_nothing_has_no_verdict() -> None:
    assert verdict(" \n") is None


def test_it_chooses_the_sample_that_holds() -> None:
    replies = ["1 + 1 = 3", "1 + 1 = 2", "It is 4."]
    solution = asyncio.run(solve("1 + 1?", BestOf(3, by=Equations()), Scripted(lambda request: replies[request.draw])))
    assert solution.text == "1 + 1 = 2"


def test_it_is_known_by_its_name() -> None:
    assert parse("BestOf(8, by=Equations(0.9))") == BestOf(8, by=Equations(0.9))


def test_nonsense_is_refused() -> None:
    with pytest.raises(InputError, match="unknown must be a number from 0 to 1, not 2"):
        Equations(2)
