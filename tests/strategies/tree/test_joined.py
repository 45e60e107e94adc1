import pytest

from metagen import Beam, Candidate, InputError, Joined, Scripted, Vote, solve
from tests.support.trees import PROBLEM, Lines, spelled

SPECS = ["Beam(2, 2, of=Joined(short), by=brief, lookahead=1)"]

LINES = {"": ["so\n"], "so\n": ["0.5\n"], "so\n0.5\n": ["and\n"], "so\n0.5\nand\n": ["0.7 The answer is 7."]}


def closes(text: str) -> bool:
    return "0." in text


async def test_lines_are_joined_until_the_users_function_says_so() -> None:
    seen: list[tuple[str, ...]] = []

    async def last(problem: object, candidates: list[Candidate], run: object) -> object:
        seen.extend(candidate.steps for candidate in candidates)
        return [None for _ in candidates]

    search = Beam(1, 1, of=Joined(closes), by=last)  # type: ignore[arg-type]
    solution = await solve(PROBLEM, search, Scripted(Lines(LINES)))
    assert seen == [("so\n0.5\n",), ("so\n0.5\n", "and\n0.7 The answer is 7.")]
    assert solution.answer == "7"


async def test_several_are_begun_in_one_request_and_whole_replies_are_handed_through() -> None:
    script = Lines(LINES)
    await solve(PROBLEM, Beam(1, 3, of=Joined(closes), by=spelled), Scripted(script))
    assert script.asked[:6] == ["", "", "", "so\n", "so\n", "so\n"]
    solution = await solve(PROBLEM, Joined(closes), Scripted("The answer is 7."))
    assert solution.answer == "7"


def test_what_cannot_step_cannot_be_joined() -> None:
    with pytest.raises(InputError, match=r"Joined: of=Vote\(2\) cannot step"):
        Joined(closes, of=Vote(2))
    with pytest.raises(InputError, match="Joined: until=3 is not a function"):
        Joined(3)  # type: ignore[arg-type]
