"""The models of workers as backends of the driver: the same requests, wherever they are answered."""

import asyncio
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from metagen import (
    Account,
    Allocate,
    BackendGone,
    Beam,
    Budget,
    GenerationError,
    Model,
    OpenAIServer,
    Problem,
    ProcessReward,
    Recorded,
    Refine,
    Request,
    Retrying,
    TransientError,
    Usage,
    Vote,
    solve,
    solve_all,
)
from metagen.backends.wrapper import innermost
from metagen.cluster import Workers
from metagen.cluster.remote import Ear, _Spread
from metagen.events import Event, SampleDone
from metagen.jobs.job import ModelOrder, make_models
from metagen.jobs.loading import load_all
from metagen.request import generates
from metagen.run import Generator
from tests.support.clusters import Here, Places, order, plain, workers_here
from tests.support.timing import until

PROBLEMS = [Problem(str(number), f"What is {number}?", str(number % 5)) for number in range(12)]
MORE = [Problem(str(number), f"What is {number}?", str(number % 5)) for number in range(48)]
TEAM = """
from metagen import Scripted, ScriptedReward

def reply(request):
    number = int.from_bytes(str(request.seed).encode()) % 5
    return f"First.\\n\\nThen.\\n\\nThe answer is {number}."

def writer():
    return Scripted(reply, name="writer")

def judge():
    return ScriptedReward(lambda reading: [len(step) / 40 for step in reading.steps])
"""


def team(folder: Path) -> ModelOrder:
    file = folder / "team.py"
    file.write_text(TEAM)
    return ModelOrder(models={"writer": "writer", "judge": "judge"}, load=[file])


@pytest.mark.parametrize("strategy", [Vote(3), Refine(rounds=1), Beam(2, 2, by=ProcessReward()), Allocate(3, among=4)])
async def test_a_strategy_here_finds_what_it_finds_over_models_here(tmp_path: Path, strategy: Generator) -> None:
    asked = team(tmp_path)
    workers, _ = workers_here(3, asked)
    _, local = make_models(asked, load_all(asked.load))
    alone = {each.problem: plain(each) async for each in solve_all(PROBLEMS, strategy, local, seed=3)}
    account = Account()
    async with workers:
        models = workers.models
        assert [type(innermost(model)).__name__ for model in models.values()] == ["Balanced", "BalancedReward"]
        for model in models.values():
            await model.__aenter__()
        solved = {
            each.problem: plain(each) async for each in solve_all(PROBLEMS, strategy, models, seed=3, account=account)
        }
        for model in models.values():
            await model.__aexit__(None, None, None)
    assert solved == alone
    assert sum((slot.usage for slot in workers.slots), Usage()).prompt_tokens > 0
    assert sum(slot.questions for slot in workers.slots) == account.spent.calls + account.spent.verifier_calls
    assert all(slot.questions for slot in workers.slots)


async def test_opening_a_model_starts_the_workers_and_closing_it_ends_them(tmp_path: Path) -> None:
    workers, places = workers_here(2, order(tmp_path))
    model = workers.models["model"]
    assert model.name == "echo"
    assert not places
    async with model:
        assert len(places) == 2
        assert model.context == 8192
        assert (await solve("?", Vote(2), model)).answer
    assert all(place.is_dead for place in places)


async def test_the_requests_of_a_problem_stay_with_one_worker(tmp_path: Path) -> None:
    workers, places = workers_here(3, order(tmp_path))
    async with workers.models["model"] as model:
        for problem in PROBLEMS[:6]:
            before = [place.calls.count("ask") for place in places]
            await solve(problem, Refine(rounds=3), model)
            after = [place.calls.count("ask") - count for place, count in zip(places, before, strict=True)]
            assert sorted(after)[:2] == [0, 0]


async def test_what_a_dead_worker_was_asked_is_asked_of_others(tmp_path: Path) -> None:
    asked = order(tmp_path)
    workers, places = workers_here(2, asked)
    _, local = make_models(asked, load_all(asked.load))
    alone = {each.problem: plain(each) async for each in solve_all(PROBLEMS, Refine(rounds=2), local, seed=3)}
    solved = {}
    async with workers.models["model"] as model:
        async for each in solve_all(PROBLEMS, Refine(rounds=2), model, seed=3, concurrency=3):
            solved[each.problem] = plain(each) | {"usage": alone[each.problem]["usage"]}  # a dead one's call counts
            if len(solved) in (2, 6):
                places[-1].kill()
    assert solved == alone
    assert sum(slot.restarts for slot in workers.slots) >= 1


def poison(workers: Workers, places: Places) -> None:
    """Let each worker die of a request whose prompt says "bad"."""
    call = workers.call

    async def poisoned(number: int, method: str, *arguments: object) -> object:
        if method == "ask" and "bad" in arguments[2].prompt:  # type: ignore[attr-defined]
            next(place for place in reversed(places) if place.number == number).kill()
        return await call(number, method, *arguments)

    workers.call = poisoned  # type: ignore[method-assign]


async def test_a_request_that_workers_die_of_is_lost_and_its_siblings_are_not(tmp_path: Path) -> None:
    workers, places = workers_here(2, order(tmp_path))
    async with workers.models["model"] as model:
        poison(workers, places)
        found = [each async for each in solve_all(["a", "bad", "c"], Vote(2), model)]
    assert [each.problem for each in found if each.error] == ["2"]
    assert "died" in next(each.error for each in found if each.error)


async def test_workers_that_die_again_and_again_end_the_run(tmp_path: Path) -> None:
    workers, places = workers_here(1, order(tmp_path))

    async def dead(number: int) -> Here:
        place = await places.launch(number)
        place.kill()
        return place

    async with workers.models["model"] as model:
        workers._launch = dead
        places[-1].kill()
        with pytest.raises(BackendGone, match="worker 0 died 6 times"):
            await solve("?", Vote(2), model)


SLOW = """
import asyncio
from metagen import Scripted

begun = asyncio.Event()

async def reply(request):
    if request.draw:
        begun.set()
        await asyncio.Event().wait()
    return "The answer is 1."

def echo():
    return Scripted(reply, name="echo")
"""


async def test_a_cancelled_request_ends_at_the_worker_and_is_counted(tmp_path: Path) -> None:
    workers, _ = workers_here(1, order(tmp_path, SLOW))
    spent: list[Usage] = []
    async with workers.models["model"] as model:
        assert generates(model)
        asking = asyncio.create_task(model.generate(Request("p", "Why?", n=2), spent.append))
        worker = workers.slots[0].ready.result()._worker  # type: ignore[attr-defined]
        await until(lambda: bool(worker._asked))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert not worker._asked
    assert [(each.calls, each.prompt_tokens, each.completion_tokens) for each in spent] == [(1, 4, 16)]


@pytest.mark.parametrize("seed", range(3))
async def test_a_budget_is_never_passed_while_workers_die(tmp_path: Path, seed: int) -> None:
    workers, places = workers_here(4, order(tmp_path))
    chance, account = Random(seed), Account(Budget(tokens=4000))
    strategy = Vote(3, of=Refine(of=Model(max_tokens=40), rounds=1))
    async with workers.models["model"] as model:
        async for _ in solve_all(MORE[:24], strategy, model, account=account, concurrency=4):
            if chance.random() < 0.3:
                chance.choice([place for place in places if not place.is_dead]).kill()
    assert account.spent.tokens <= 4000
    assert not any(account.held.amounts)
    assert account.in_flight == 0


async def test_errors_come_back_as_they_were(tmp_path: Path) -> None:
    code = """
from metagen import GenerationError, Scripted

def reply(request):
    raise GenerationError("it refuses")

def echo():
    return Scripted(reply, name="echo")
"""
    workers, _ = workers_here(1, order(tmp_path, code))
    spent: list[Usage] = []
    async with workers.models["model"] as model:
        assert generates(model)
        with pytest.raises(GenerationError, match=r"^it refuses$"):
            await model.generate(Request("p", "Why?"), spent.append)
    assert [each.calls for each in spent] == [1]


def test_servers_and_pools_are_asked_from_here(tmp_path: Path) -> None:
    (tmp_path / "pool.jsonl").write_text("")
    models = {"one": "http://127.0.0.1:1/v1", "two": str(tmp_path / "pool.jsonl"), "three": "Scripted:7"}
    workers, _ = workers_here(2, ModelOrder(models=models, prices={"two": "1/2"}))
    one, two, three = workers.models.values()
    assert isinstance(one, Retrying)
    assert isinstance(one.of, OpenAIServer)
    assert isinstance(innermost(two), Recorded)
    assert isinstance(three, _Spread)


async def test_what_happens_at_a_worker_is_heard_as_it_happens(tmp_path: Path) -> None:
    workers, _ = workers_here(1, order(tmp_path, SLOW))
    heard: list[Event] = []
    async with workers.models["model"] as model:
        solving = asyncio.create_task(solve("Why?", Vote(2), model, listener=heard.append))
        await until(lambda: any(isinstance(each, SampleDone) for each in heard))
        assert not solving.done(), "the first sample is told while the second one is written"
        solving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await solving


async def test_of_a_growing_text_the_latest_is_heard_before_what_is_done() -> None:
    ear = Ear()
    hearing = ear.hearing("text")
    assert hearing.grew
    hearing.grew("hm", "The")
    hearing.grew("hm", "The answer")
    hearing.done(0, "The answer is 7.", True)
    assert await ear.listen() == [("hm", "The answer"), (0, "The answer is 7.", True)]
    ear.close()
    assert await ear.listen() == []
    assert ear.hearing("samples").grew is None


async def test_while_one_worker_begins_again_the_others_are_asked(tmp_path: Path) -> None:
    workers, places = workers_here(2, order(tmp_path))
    async with workers.models["model"] as model:
        assert generates(model)
        hold = asyncio.Event()

        async def late(number: int) -> Here:
            await hold.wait()
            return await places.launch(number)

        workers._launch = late
        places[0].kill()
        for _ in range(2):
            assert await model.encode("ab") == (97, 98)
            assert await model.count(Request("p", "Why?")) == 4
        await model.forget()
        assert (await solve("?", Vote(2), model)).answer
        assert not workers.slots[0].ready.done()
        hold.set()


async def test_a_request_that_the_only_worker_dies_of_is_lost(tmp_path: Path) -> None:
    workers, places = workers_here(1, order(tmp_path))
    async with workers.models["model"] as model:
        poison(workers, places)
        assert (await solve("bad", Model(), model)).error.startswith("TransientError: worker 0 died")
        assert (await solve("good", Model(), model)).answer


async def test_a_worker_that_dies_as_it_begins_is_started_again(tmp_path: Path) -> None:
    workers, places = workers_here(1, order(tmp_path))

    async def launch(number: int) -> Here:
        place = await places.launch(number)
        if len(places) < 3:
            place.kill()
        return place

    workers._launch = launch
    async with workers.models["model"] as model:
        assert (await solve("?", Vote(2), model)).answer
        places[-1].kill()
        async with workers.models["model"]:  # opened once more, while nobody is ready
            assert (await solve("?", Vote(2), model)).answer
    assert workers.slots[0].restarts == 3


@pytest.mark.parametrize("seed", range(2))
async def test_a_budget_holds_where_reward_models_die(tmp_path: Path, seed: int) -> None:
    workers, places = workers_here(3, team(tmp_path))
    chance, account = Random(seed), Account(Budget(tokens=20_000))
    async with workers.models["writer"], workers.models["judge"]:
        solving = solve_all(MORE, Beam(2, 2, by=ProcessReward()), workers.models, account=account, concurrency=4)
        async for _ in solving:
            if chance.random() < 0.3:
                chance.choice([place for place in places if not place.is_dead]).kill()
    assert account.refused
    assert account.spent.tokens <= 20_000
    assert not any(account.held.amounts)


async def test_a_withdrawal_that_comes_first_is_remembered(tmp_path: Path) -> None:
    workers, places = workers_here(1, order(tmp_path, SLOW))
    async with workers.models["model"]:
        await places[0].call("withdraw", "model", 7)
        reply = await places[0].call("ask", "model", 7, Request("p", "Why?", n=2))
        assert str(reply.error) == "it was withdrawn"
        assert await places[0].call("hear", "model", 7) == []


async def test_a_bug_of_a_listener_is_raised(tmp_path: Path) -> None:
    workers, _ = workers_here(1, order(tmp_path, SLOW.replace("if request.draw:", "if request.draw > 1:")))

    def listener(event: Event) -> None:
        if isinstance(event, SampleDone):
            raise ZeroDivisionError

    async with workers.models["model"] as model:
        with pytest.raises(ZeroDivisionError):
            await solve("Why?", Vote(2), model, listener=listener)


async def test_a_model_that_is_not_open_says_so(tmp_path: Path) -> None:
    workers, places = workers_here(1, order(tmp_path))
    model = workers.models["model"]
    with pytest.raises(RuntimeError, match="no worker is started: open the model with `async with`"):
        await solve("?", Model(), model)
    async with model:
        pass
    with pytest.raises(RuntimeError, match="no worker is started"):
        await solve("?", Model(), model)
    assert len(places) == 1


async def test_where_one_worker_is_given_up_the_others_continue(tmp_path: Path) -> None:
    workers, places = workers_here(2, order(tmp_path))

    async def broken(number: int) -> Here:
        place = await places.launch(number)
        place.kill()
        return place

    async with workers.models["model"] as model:
        workers._launch = broken
        places[0].kill()
        for _ in range(12):
            assert (await solve("?", Vote(2), model)).answer
            await model.probe()
            with suppress(TransientError):
                workers.check_ready(0)
        await until(lambda: workers.slots[0].is_given_up or looked_at(workers))
        assert (await solve("?", Vote(2), model)).answer
        places[1].kill()
        with pytest.raises(BackendGone, match="died 6 times"):
            await solve("?", Vote(2), model)


def looked_at(workers: Workers) -> bool:
    """Look at the first worker, which is then started again if it has died; never true."""
    with suppress(TransientError):
        workers.check_ready(0)
    return False


async def test_a_model_that_is_opened_twice_is_closed_once(tmp_path: Path) -> None:
    workers, places = workers_here(1, order(tmp_path))
    async with workers.models["model"] as model:
        async with model:
            assert (await solve("?", Vote(2), model)).answer
        assert model.context == 8192
        assert (await solve("?", Vote(2), model)).answer
    assert places[0].is_dead
