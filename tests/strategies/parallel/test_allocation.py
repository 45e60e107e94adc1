"""A budget of samples over many problems: who gets how many, and what comes of it in the end."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import (
    Account,
    Allocate,
    BackendGone,
    Budget,
    InputError,
    Problem,
    Request,
    Scripted,
    Solution,
    Vote,
    parse,
    solve,
    solve_all,
)
from metagen.strategies.parallel.allocation import shares

SPECS = ["Allocate(4, most=9, among=3)"]

some_votes = st.lists(st.lists(st.sampled_from(["a", "b", None]), min_size=1, max_size=9), min_size=1, max_size=9)


def problems(count: int) -> list[Problem]:
    return [Problem(f"p{number}", f"Question {number}?", "7") for number in range(count)]


async def solved(strategy: Allocate, count: int, backend: Scripted, **settings: object) -> dict[str, Solution]:
    solutions = solve_all(problems(count), strategy, backend, **settings)  # type: ignore[arg-type]
    return {each.problem: each async for each in solutions}


def sure_but_for(*doubtful: int) -> Callable[[Request], str]:
    """A model that always says the same, but for some problems, where each sample says something new."""
    said = {f"p{number}" for number in doubtful}
    return lambda request: f"The answer is {request.draw if request.problem in said else 7}."


@pytest.mark.parametrize(
    ("votes", "left", "samples", "given"),
    [
        ([["a", "b"], ["a", "a"], ["a", "a"], ["a", "a"]], [9, 9, 9, 9], 4, [4, 0, 0, 0]),
        ([["a", "a"], ["a", "b"], ["a", "a"], ["a", "a"]], [9, 3, 9, 9], 4, [1, 3, 0, 0]),
        ([["a", "a"], ["a", "a"]], [9, 9], 3, [3, 0]),
        ([["a"], [None]], [9, 9], 2, [0, 2]),
        ([["a"], [None]], [2, 1], 2, [1, 1]),
        ([["a"], ["a", "b"]], [2, 2], 3, [1, 2]),
        ([["a", "a", "a"], ["a", "b"]], [2, 0], 5, [0, 0]),
        ([["a"]], [9], 0, [0]),
        ([["a", "a"]] * 6 + [["a", "b"]] * 2, [9] * 8, 5, [0] * 6 + [3, 2]),
    ],
)
def test_more_goes_to_the_quarter_most_in_doubt(
    votes: list[list[str | None]], left: list[int], samples: int, given: list[int]
) -> None:
    assert shares(votes, left, samples) == given


@given(votes=some_votes, samples=st.integers(0, 40), data=st.data())
def test_no_more_is_given_than_there_is_or_than_anyone_may_get(
    votes: list[list[str | None]], samples: int, data: st.DataObject
) -> None:
    left = [data.draw(st.integers(0, 9)) for _ in votes]
    given = shares(votes, left, samples)
    assert sum(given) <= samples
    assert all(0 <= share <= most for share, most in zip(given, left, strict=True))
    assert given == shares(votes, left, samples)


async def test_samples_go_to_the_problems_in_doubt_and_the_budget_is_kept() -> None:
    solutions = await solved(Allocate(8, rounds=4), 10, Scripted(sure_but_for(3)))
    drawn = {name: solution.samples for name, solution in solutions.items()}
    assert sum(drawn.values()) <= 80
    assert drawn.pop("p3") > 2 * max(drawn.values())
    assert all(solution.correct for name, solution in solutions.items() if name != "p3")


async def test_what_is_settled_is_left_alone_though_samples_are_left() -> None:
    solutions = await solved(Allocate(8, most=8), 5, Scripted("The answer is 7."))
    assert {each.samples for each in solutions.values()} == {4}, "4 more votes cannot change the leader"


async def test_no_problem_gets_more_than_it_may_over_all_rounds() -> None:
    solutions = await solved(Allocate(4, most=5, rounds=4), 8, Scripted(sure_but_for(3)))
    assert solutions["p3"].samples == 5


async def test_every_group_has_samples_of_its_own() -> None:
    backend = Scripted(sure_but_for(*range(12)))
    solutions = await solved(Allocate(4, among=5, rounds=3), 12, backend)
    numbers = [solutions[f"p{number}"].samples for number in range(12)]
    assert (sum(numbers[:5]), sum(numbers[5:10]), sum(numbers[10:])) == (20, 20, 8)


async def test_a_single_problem_and_one_inside_a_strategy_have_a_vote_of_n() -> None:
    backend = Scripted(sure_but_for(0))
    assert (await solve(problems(1)[0], Allocate(6), backend)).samples == 6
    solution = await solve(problems(1)[0], Vote(2, of=Allocate(6)), backend)
    assert solution.usage.calls == 2


async def test_no_more_problems_sample_at_a_time_than_was_said() -> None:
    sampling: set[str] = set()
    most = 0

    async def script(request: Request) -> str:
        nonlocal most
        sampling.add(request.problem)
        most = max(most, len(sampling))
        await asyncio.sleep(0)
        sampling.discard(request.problem)
        return "The answer is 7."

    await solved(Allocate(4), 20, Scripted(script), concurrency=3)
    assert most == 3


async def test_a_problem_that_is_lost_keeps_nobody_waiting() -> None:
    long = [*problems(3), Problem("long", "x" * 10_000, "7"), *problems(6)[3:]]
    backend = Scripted(sure_but_for(1), context=2000)
    solutions = {each.problem: each async for each in solve_all(long, Allocate(4), backend)}
    assert solutions["long"].failed
    assert sum(not each.failed for each in solutions.values()) == 6


async def test_a_budget_that_ends_between_rounds_leaves_the_votes_so_far() -> None:
    account = Account(Budget(tokens=700))
    solutions = await solved(Allocate(8), 6, Scripted(sure_but_for(*range(6))), account=account)
    assert account.spent.tokens <= 700
    assert account.refused
    assert len(solutions) == 6
    assert any("no more than" in note for each in solutions.values() for note in each.notes)


async def test_a_model_that_is_gone_ends_the_run_and_nothing_waits() -> None:
    calls = Counter[str]()

    def script(request: Request) -> str:
        calls[request.problem] += 1
        if request.draw > 2:
            raise BackendGone("gone")
        return f"The answer is {request.draw}."

    before = asyncio.all_tasks()  # an engine that other tests share may have some
    with pytest.raises(BackendGone):
        await solved(Allocate(4), 5, Scripted(script))
    assert asyncio.all_tasks() == before


def slow(seed: int) -> Callable[[Request], Awaitable[str]]:
    rng = random.Random(seed)

    async def script(request: Request) -> str:
        for _ in range(rng.randrange(9)):
            await asyncio.sleep(0)
        return f"The answer is {random.Random(request.seed).choice([7, 7, 8])}."

    return script


@pytest.mark.parametrize("concurrency", [1, 3, 50])
async def test_who_gets_more_does_not_depend_on_the_clock(concurrency: int) -> None:
    strategy = Allocate(4, among=7, rounds=3)
    first = await solved(strategy, 20, Scripted(slow(1)), seed=3)
    second = await solved(strategy, 20, Scripted(slow(2)), seed=3, concurrency=concurrency)
    assert {name: (each.samples, each.text) for name, each in first.items()} == {
        name: (each.samples, each.text) for name, each in second.items()
    }
    assert len({each.samples for each in first.values()}) > 2


@pytest.mark.parametrize(
    "spec", ["Allocate(0)", "Allocate(8, most=4)", "Allocate(8, rounds=0)", "Allocate(1, among=0)"]
)
def test_settings_that_cannot_work_are_refused(spec: str) -> None:
    with pytest.raises(InputError, match="Allocate"):
        parse(spec)
