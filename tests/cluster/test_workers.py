"""The driver over workers in this process: the same solutions as without, whatever dies."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from metagen import (
    Account,
    Allocate,
    BackendGone,
    Budget,
    Candidate,
    Function,
    InputError,
    Model,
    Number,
    Problem,
    Refine,
    Run,
    Solution,
    Vote,
    solve_all,
)
from metagen.cluster import Workers
from metagen.cluster.places import Place, WorkerDied
from metagen.cluster.slots import FRUITLESS, Slot
from metagen.jobs.job import ModelOrder, make_models
from metagen.jobs.loading import load_all
from tests.support.clusters import Here, order, plain, workers_here
from tests.support.timing import until

PROBLEMS = [Problem(str(number), f"What is {number}?", str(number % 5), tags={"level": "1"}) for number in range(40)]


async def alone(order: ModelOrder, strategy: object) -> dict[str, dict[str, object]]:
    """What this process solves without workers."""
    _, models = make_models(order, load_all(order.load))
    solved = solve_all(PROBLEMS, strategy, models, seed=7)  # type: ignore[arg-type]
    return {solution.problem: plain(solution) async for solution in solved}


@pytest.mark.parametrize("strategy", [Vote(3), Allocate(4, among=10)])
async def test_solutions_are_those_of_one_machine(tmp_path: Path, strategy: Vote | Allocate) -> None:
    workers, places = workers_here(3, order(tmp_path))
    account = Account()
    async with workers:
        solved = [solution async for solution in workers.solve_all(PROBLEMS, strategy, seed=7, account=account)]
    assert {solution.problem: plain(solution) for solution in solved} == await alone(order(tmp_path), strategy)
    assert [span.name for span in solved[0].trace.walk()][:2] == ["solve", type(strategy).__name__]
    assert solved[0].trace.total().tokens == solved[0].usage.tokens
    assert account.spent.tokens == sum(solution.usage.tokens for solution in solved)
    if isinstance(strategy, Vote):
        assert sum(slot.problems for slot in workers.slots) == len(PROBLEMS)
    else:  # it runs here, and its requests go to workers
        assert all(slot.questions for slot in workers.slots)
    assert account.in_flight == 0
    assert {place.calls[-1] for place in places} == {"close"}


async def test_workers_take_one_task_after_another(tmp_path: Path) -> None:
    workers, _ = workers_here(2, order(tmp_path))
    async with workers:
        for count in (2, 3):
            solved = [each async for each in workers.solve_all(["How many?", "Why?"], Vote(count), grade=None)]
            assert sorted(each.problem for each in solved) == ["1", "2"]
            assert {each.compared for each in solved} == {count}
        assert [each async for each in workers.solve_all([])] == []


async def test_tasks_that_come_at_once_are_done_one_after_another(tmp_path: Path) -> None:
    workers, _ = workers_here(2, order(tmp_path))

    async def compared(count: int) -> list[int]:
        return [each.compared async for each in workers.solve_all(PROBLEMS, Vote(count))]

    async with workers:
        found = await asyncio.gather(*map(compared, (2, 3)))
    assert found == [[2] * len(PROBLEMS), [3] * len(PROBLEMS)]


async def test_a_task_inside_of_another_one_is_refused(tmp_path: Path) -> None:
    workers, _ = workers_here(2, order(tmp_path))
    async with workers:
        async with aclosing(workers.solve_all(PROBLEMS, Vote(2))) as outer:
            await anext(outer)
            with pytest.raises(InputError, match="an earlier solve_all on these workers is still open here"):
                await anext(workers.solve_all(PROBLEMS, Vote(2)))
        assert len([each async for each in workers.solve_all(PROBLEMS, Vote(2))]) == len(PROBLEMS)


async def test_what_a_dead_worker_had_is_solved_by_others(tmp_path: Path) -> None:
    workers, places = workers_here(2, order(tmp_path))
    solved: list[Solution] = []
    async with workers:
        async for solution in workers.solve_all(PROBLEMS, Vote(3), seed=7):
            solved.append(solution)
            if len(solved) in (5, 15):
                places[-1].kill()
    assert {solution.problem: plain(solution) for solution in solved} == await alone(order(tmp_path), Vote(3))
    assert len(solved) == len(PROBLEMS)
    assert 1 <= sum(slot.restarts for slot in workers.slots) <= 2


async def test_a_worker_that_dies_again_and_again_ends_the_run(tmp_path: Path) -> None:
    workers, places = workers_here(1, order(tmp_path))

    async def launch(number: int):  # type: ignore[no-untyped-def]
        place = await places.launch(number)
        place.kill()
        return place

    workers._launch = launch
    with pytest.raises(BackendGone, match="worker 0 died 6 times before it solved a problem: it was killed"):
        async with workers:
            assert [each async for each in workers.solve_all(PROBLEMS)] == []


async def test_a_budget_is_that_of_all_workers_together(tmp_path: Path) -> None:
    workers, _ = workers_here(3, order(tmp_path))
    account = Account(Budget(tokens=1000))
    async with workers:
        solved = [each async for each in workers.solve_all(PROBLEMS, Vote(3), account=account)]
    assert account.refused
    assert sum(each.usage.tokens for each in solved) == account.spent.tokens <= 1000
    assert account.spent.tokens > 970
    assert not any(account.held.amounts)
    assert any("of 1000 tokens are spent" in each.error for each in solved)


@pytest.mark.parametrize("seed", range(3))
async def test_a_budget_is_spent_to_its_end_while_workers_die(tmp_path: Path, seed: int) -> None:
    workers, places = workers_here(8, order(tmp_path))
    chance, account = Random(seed), Account(Budget(tokens=8000))
    strategy = Vote(4, of=Refine(of=Model(max_tokens=40), rounds=1))
    async with workers:
        async for _ in workers.solve_all(PROBLEMS, strategy, account=account, concurrency=4):
            if chance.random() < 0.3:
                chance.choice([place for place in places if not place.is_dead]).kill()
    assert account.spent.tokens <= 8000
    assert not any(account.held.amounts)


async def nowhere(problem: Problem, run: Run) -> Candidate:
    return await run.ask(None, problem)


def reads(text: str) -> str | None:
    return text


async def test_what_cannot_travel_is_refused_by_its_name(tmp_path: Path) -> None:
    workers, places = workers_here(1, order(tmp_path))
    begun = Problem("a", "?").continuing(Candidate(("b",)))
    async with workers:
        for problems, strategy, said in (
            (PROBLEMS, nowhere, "the strategy nowhere cannot travel to a worker: define it in a file"),
            (
                [begun],
                None,
                "problem 'a': a reply that is begun cannot travel",
            ),
            ([Problem("a", "?", answers=Function(reads))], None, "problem 'a': the kind of answers"),
        ):
            with pytest.raises(InputError, match=said):
                await anext(workers.solve_all(problems, strategy))
        assert "begin" not in places[0].calls
        (solution,) = [each async for each in workers.solve_all([Problem("a", "?", answers=Number())])]
        assert solution.answer in set("01234")
    with pytest.raises(InputError, match="name them as --model does, not <metagen"):
        Workers(1, next(iter(make_models(order(tmp_path), load_all(order(tmp_path).load))[1].values())))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="count must be a whole number of 1 or more, not 0"):
        Workers(0)


async def test_what_is_missing_on_a_machine_ends_the_start(tmp_path: Path) -> None:
    workers, places = workers_here(2, ModelOrder(models={"model": str(tmp_path / "absent.jsonl")}))
    with pytest.raises(InputError, match=r"worker \d on \S+: .*absent.jsonl: there is no such pool of samples"):
        async with workers:
            pass
    assert {place.calls[-1] for place in places} <= {"open", "host"}


async def test_a_caller_that_stops_early_frees_the_workers(tmp_path: Path) -> None:
    workers, places = workers_here(2, order(tmp_path))
    async with workers:
        solving = workers.solve_all(PROBLEMS, Vote(2))
        await anext(solving)
        await solving.aclose()
        assert all("end" in place.calls for place in places)
        assert len([each async for each in workers.solve_all(PROBLEMS, Vote(2))]) == len(PROBLEMS)


async def test_of_two_copies_the_first_wins_and_the_other_is_called_off(tmp_path: Path) -> None:
    code = f"""
import asyncio
from pathlib import Path
from random import Random
from metagen import Scripted

async def reply(request):
    hangs = Path({str(tmp_path / "hung")!r})
    if not hangs.exists():
        hangs.touch()
        await asyncio.Event().wait()
    return "The answer is 1."

def echo():
    return Scripted(reply, name="echo")
"""
    workers, places = workers_here(2, order(tmp_path, code), hedge=True)
    account = Account()
    async with workers:
        solved = [each async for each in workers.solve_all(["a"] * 3, account=account)]
        await until(lambda: "cancel" in [call for place in places for call in place.calls])
    assert sorted(each.problem for each in solved) == ["1", "2", "3"]
    assert not any(each.error for each in solved)


async def test_a_bug_of_a_worker_stops_the_run(tmp_path: Path) -> None:
    code = "from metagen import Scripted\n\ndef echo():\n    return Scripted(lambda request: 1 / 0)\n"
    workers, _ = workers_here(2, order(tmp_path, code))
    with pytest.raises(ZeroDivisionError):
        async with workers:
            assert [each async for each in workers.solve_all(PROBLEMS)] == []
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task() and not task.done()]


async def test_a_bug_at_the_end_of_a_run_is_raised_and_nobody_waits(tmp_path: Path) -> None:
    workers, places = workers_here(1, order(tmp_path))

    async with workers:
        solving = workers.solve_all(PROBLEMS)
        await anext(solving)
        places[0]._worker.recall = lambda: 1 / 0  # type: ignore[method-assign, assignment, return-value]
        with pytest.raises(ZeroDivisionError):
            assert [each async for each in solving]


async def test_while_one_worker_is_given_up_another_one_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    gone: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
    gone.set_exception(WorkerDied("killed"))
    late: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
    workers, _ = workers_here(2, ModelOrder(models={}))
    workers.slots = [Slot(0, gone), Slot(1, late)]  # type: ignore[arg-type]
    workers.slots[0]._fruitless = FRUITLESS
    waits = 0
    wait = asyncio.wait

    async def counted(*given: Any, **settings: Any) -> Any:
        nonlocal waits
        waits += 1
        return await wait(*given, **settings)

    monkeypatch.setattr("asyncio.wait", counted)
    waiting = asyncio.create_task(workers.some_ready())
    for _ in range(20):
        await asyncio.sleep(0)
    assert waits == 1
    late.set_result(Here(1))
    await waiting


async def test_a_slow_caller_gets_every_solution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metagen.cluster.work.WAITING", 1)
    many = [replace(problem, id=f"{part}-{problem.id}") for part in range(4) for problem in PROBLEMS]
    workers, places = workers_here(3, order(tmp_path))
    found = []
    async with workers:
        async for solution in workers.solve_all(many, Vote(2)):
            found.append(solution.problem)
            turns = len([call for place in places for call in place.calls if call == "turn"])
            if len(found) in (1, 2, 3):  # meanwhile every worker reports again, also those that have nothing to do
                await until(lambda: len([c for p in places for c in p.calls if c == "turn"]) > turns + 6)  # noqa: B023
    assert sorted(found) == sorted(problem.id for problem in many)


async def test_a_caller_that_stops_while_solutions_wait_is_not_held_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metagen.cluster.work.WAITING", 1)
    workers, _ = workers_here(3, order(tmp_path))
    async with workers:
        solving = workers.solve_all(PROBLEMS, Vote(2))
        await anext(solving)
        await until(lambda: sum(slot.problems for slot in workers.slots) > 3)
        await solving.aclose()
