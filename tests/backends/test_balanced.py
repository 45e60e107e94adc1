"""Several servers of one model."""

import asyncio
from dataclasses import replace

import pytest
from aiohttp import web

from metagen import (
    BackendGone,
    Balanced,
    InputError,
    Model,
    Problem,
    Request,
    Retrying,
    Scripted,
    TransientError,
    VLLMServer,
    Vote,
    solve_all,
)
from metagen.request import Meter, Outcome
from tests.support.fake_server import FakeServer, reserved_port
from tests.support.timing import advance, turns, until


class Slow(Scripted):
    """A backend that counts its requests and answers when told."""

    def __init__(self, name: str = "m") -> None:
        super().__init__("7", name=name)
        self.asked = 0
        self.gate = asyncio.Event()

    async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
        self.asked += 1
        await self.gate.wait()
        return await super().generate(request, spend)


async def test_a_request_goes_to_the_one_with_the_fewest_samples_in_flight() -> None:
    one, other = Slow(), Slow()
    async with Balanced(one, other) as backend:
        tasks = [asyncio.create_task(backend.generate(Request("p", "?", n=8), lambda _: None))]
        await asyncio.sleep(0)
        tasks += [asyncio.create_task(backend.generate(Request("p", "?"), lambda _: None)) for _ in range(4)]
        await asyncio.sleep(0)
        assert (one.asked, other.asked) == (1, 4)
        one.gate.set()
        other.gate.set()
        await asyncio.gather(*tasks)
        await asyncio.gather(*(backend.generate(Request("p", "?"), lambda _: None) for _ in range(2)))
        assert (one.asked, other.asked) == (2, 5), "nothing is in flight any more, so each gets one"


async def test_a_problem_stays_where_its_prefix_is_cached_unless_that_one_is_much_busier() -> None:
    one, other = Slow(), Slow()
    one.gate.set()
    async with Balanced(one, other, lean=4) as backend:

        async def ask(problem: str, n: int = 1) -> None:
            await backend.generate(Request(problem, "?", n=n, session=problem), lambda _: None)

        await ask("a")
        other.gate.set()
        await ask("b", 2)
        asked = [one.asked, other.asked]
        assert sum(asked) == 2
        one.gate.clear()
        busy = [asyncio.create_task(ask("a", n)) for n in (4, 1)]
        await turns()
        assert one.asked == asked[0] + 2, "at most 4 more than at the other"
        await ask("a")
        assert other.asked == asked[1] + 1, "more than 4"
        one.gate.set()
        await asyncio.gather(*busy)
        await ask("a")
        assert other.asked == asked[1] + 2, "it has moved"


async def test_a_dead_server_is_left_out_and_taken_back() -> None:
    alive, dead = FakeServer(), FakeServer()
    problems = [Problem(str(number), "3 + 4?", "7") for number in range(40)]
    with reserved_port() as port:
        async with alive.running():
            pair = Balanced(VLLMServer(f"http://127.0.0.1:{port}/v1"), VLLMServer(alive.url), rest=60)
            async with Retrying(pair, wait=0.01, longest=0.05) as backend:
                solutions = [each async for each in solve_all(problems, Vote(2), backend, concurrency=8)]
                assert all(each.correct and not each.lost for each in solutions)
                assert len(alive.bodies) == 40
                async with dead.running(port):
                    advance(61)
                    others = [replace(problem, id=f"other {problem.id}") for problem in problems]
                    solutions = [each async for each in solve_all(others, Vote(2), backend, concurrency=8)]
                    assert all(each.correct for each in solutions)
    assert len(dead.bodies) > 10


@pytest.mark.parametrize("fault", ["429", "503", "500", "424", "reset", "malformed", "truncated"])
async def test_one_that_fails_every_request_costs_none_while_others_answer(fault: str) -> None:
    sound, broken = FakeServer(), FakeServer()
    problems = [Problem(str(number), "3 + 4?", "7") for number in range(40)]
    async with sound.running(), broken.running():
        pair = Balanced(VLLMServer(broken.url), VLLMServer(sound.url), rest=60)
        async with Retrying(pair, wait=0, longest=0, attempts=3) as backend:
            broken.faults = [fault] * 1000
            solutions = [each async for each in solve_all(problems, Vote(2), backend, concurrency=8)]
            assert all(each.correct and not each.lost for each in solutions)
            assert len(broken.bodies) <= 8
            broken.faults.clear()
            advance(61)
            others = [replace(problem, id=f"other {problem.id}") for problem in problems]
            assert all([each.correct async for each in solve_all(others, Vote(2), backend, concurrency=8)])
    assert len(broken.bodies) > 10, "it is asked again"


async def test_a_request_that_failed_goes_to_another_server() -> None:
    class Failing(Slow):
        async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
            self.asked += 1
            raise TransientError("no")

    one, other = Failing(), Slow()
    other.gate.set()
    async with Balanced(one, other) as backend:
        with pytest.raises(TransientError):
            await backend.generate(Request("p", "?", session="a"), lambda _: None)
        await backend.generate(Request("p", "?", session="a"), lambda _: None)
    assert (one.asked, other.asked) == (1, 1)


async def test_one_that_counts_no_prompt_costs_no_request() -> None:
    class Mute(FakeServer):
        mute = False

        async def _tokenize(self, request: web.Request) -> web.Response:
            return web.json_response({}, status=500) if self.mute else await super()._tokenize(request)

    sound, broken = FakeServer(), Mute()
    problems = [Problem(str(number), f"3 + {number}?", "7") for number in range(20)]
    async with sound.running(), broken.running():
        pair = Balanced(VLLMServer(broken.url), VLLMServer(sound.url), rest=60)
        async with Retrying(pair, wait=0, longest=0, attempts=3) as backend:
            broken.mute = True
            limited = Vote(2, of=Model(max_tokens=50))
            solutions = [each async for each in solve_all(problems, limited, backend, concurrency=4)]
    assert all(each.correct and not each.lost for each in solutions)


async def test_where_all_fail_all_are_asked() -> None:
    one, two = FakeServer(), FakeServer()
    async with one.running(), two.running():
        pair = Balanced(VLLMServer(one.url), VLLMServer(two.url), rest=60)
        async with Retrying(pair, wait=0, longest=0, attempts=20) as backend:
            one.faults, two.faults = ["500"] * 7, ["429"] * 7
            (solution,) = [each async for each in solve_all([Problem("p", "3 + 4?", "7")], Vote(2), backend)]
    assert solution.correct
    assert not solution.lost


async def test_one_that_opens_slowly_is_opened_once() -> None:
    class Sleepy(Scripted):
        opened = 0

        async def __aenter__(self) -> "Sleepy":
            self.opened += 1
            if self.opened == 1:
                raise TransientError("not yet", unreachable=True)
            await turns()
            return self

    sleepy, busy = Sleepy("7", name="m"), Slow()
    async with Balanced(busy, sleepy, rest=0.0) as backend:
        busy.gate.set()
        tasks = [backend.generate(Request("p", "?"), lambda _: None) for _ in range(9)]
        assert len(await asyncio.gather(*tasks)) == 9
    assert sleepy.opened == 2, "once in vain, and once for all"


async def test_servers_of_two_models_are_refused() -> None:
    with pytest.raises(InputError, match="these are called a, b"):
        async with Balanced(Scripted("7", name="a"), Scripted("7", name="b")):
            pass
    with pytest.raises(InputError, match="needs backends"):
        Balanced()


async def test_one_that_comes_back_with_another_model_is_left_out() -> None:
    class Late(Slow):
        opened = closed = 0

        async def __aenter__(self) -> "Late":
            self.opened += 1
            if self.opened == 1:
                raise TransientError("nobody is there", unreachable=True)
            return self

        async def __aexit__(self, *_: object) -> None:
            self.closed += 1

    late, usual = Late("another"), Slow()
    async with Retrying(Balanced(late, usual, rest=60), wait=0.0, longest=0.0) as backend:
        late.gate.set()
        usual.gate.set()

        async def ask() -> None:
            advance(61)
            await asyncio.gather(*(backend.generate(Request("p", "?"), lambda _: None) for _ in range(8)))

        await ask()
        await ask()
        assert (late.asked, usual.asked) == (0, 16)
        assert (late.opened, late.closed) == (3, 2)
        late.name = "m"
        await ask()
        assert late.asked > 0
    assert (late.opened, late.closed) == (4, 3)


async def test_one_that_refuses_the_key_or_the_model_is_left_out_while_others_answer() -> None:
    class Refusing(Slow):
        wrong = False

        async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
            if self.wrong:
                self.asked += 1
                raise BackendGone("answered 404: no such model")
            return await super().generate(request, spend)

    one, other = Refusing(), Refusing()
    one.gate.set()
    other.gate.set()
    async with Retrying(Balanced(one, other, rest=60), wait=0.0, longest=0.0) as backend:

        async def ask() -> None:
            await asyncio.gather(*(backend.generate(Request(f"{n}", "?"), lambda _: None) for n in range(8)))

        one.wrong = True
        await ask()
        asked = one.asked
        await ask()
        assert one.asked == asked > 0
        advance(61)
        one.wrong = False
        await ask()
        assert one.asked > asked
        one.wrong = other.wrong = True
        with pytest.raises(BackendGone, match="no such model"):
            await backend.generate(Request("p", "?"), lambda _: None)


async def test_what_is_wrong_with_one_that_comes_back_costs_no_request() -> None:
    class Changed(Slow):
        async def __aenter__(self) -> "Changed":
            if not self.asked:
                self.asked += 1
                raise TransientError("nobody is there", unreachable=True)
            raise InputError("it does not serve 'm'")

    usual = Slow()
    async with Retrying(Balanced(Changed(), usual, rest=0.0), wait=0.0, longest=0.0) as backend:
        usual.gate.set()
        await asyncio.gather(*(backend.generate(Request("p", "?"), lambda _: None) for _ in range(4)))
    assert usual.asked == 4


async def test_without_any_server_it_does_not_open() -> None:
    with reserved_port() as one, reserved_port() as other:
        pair = Balanced(*(VLLMServer(f"http://127.0.0.1:{port}/v1") for port in (one, other)))
        with pytest.raises(InputError, match="is the server running"):
            async with Retrying(pair):
                pass


async def test_tries_that_find_no_server_use_up_none_while_another_one_answers() -> None:
    class Away(Slow):
        async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
            self.asked += 1
            if self.asked == 5:
                busy.gate.set()
            raise TransientError("nobody is there", unreachable=True)

    away, busy = Away(), Slow()
    async with Retrying(Balanced(away, busy, rest=0.0), attempts=2, wait=0.0, longest=0.0) as backend:
        first = asyncio.create_task(backend.generate(Request("a", "?", n=4), lambda _: None))
        await turns()
        (outcome,) = await backend.generate(Request("b", "?"), lambda _: None)
        assert not isinstance(outcome, Exception)
        await first
    assert away.asked >= 5


async def test_what_has_no_room_waits_for_whichever_has_it_first() -> None:
    one, other = Slow(), Slow()
    async with Balanced(one, other, most=4) as backend:
        tasks = [asyncio.create_task(backend.generate(Request(name, "?", n=4), lambda _: None)) for name in "ab"]
        await turns()
        tasks += [asyncio.create_task(backend.generate(Request(name, "?", n=9), lambda _: None)) for name in "cd"]
        await turns()
        assert (one.asked, other.asked) == (1, 1)
        assert await backend.count(Request("e", "?")) == 1, "what takes no place does not wait"
        other.gate.set()
        await until(lambda: other.asked == 3)  # a large request passes the limit, and the next one waits for its end
        assert one.asked == 1
        one.gate.set()
        await asyncio.gather(*tasks)


async def test_a_request_that_waits_can_be_given_up() -> None:
    one = Slow()
    async with Balanced(one, most=1) as backend:
        tasks = [asyncio.create_task(backend.generate(Request(name, "?"), lambda _: None)) for name in "abc"]
        await turns()
        tasks[1].cancel()
        one.gate.set()
        assert [type(each).__name__ for each in await asyncio.gather(*tasks, return_exceptions=True)] == [
            "list",
            "CancelledError",
            "list",
        ]
        assert one.asked == 2


async def test_a_request_at_the_head_of_the_line_can_be_given_up_as_room_comes() -> None:
    one = Slow()
    async with Balanced(one, most=1) as backend:
        first = asyncio.create_task(backend.generate(Request("a", "?"), lambda _: None))
        await turns()
        head = asyncio.create_task(backend.generate(Request("b", "?"), lambda _: None))
        first.add_done_callback(lambda _: head.cancel())
        await turns()
        one.gate.set()
        await first
        with pytest.raises(asyncio.CancelledError):
            await head


async def test_replicas_that_add_nothing_are_like_one() -> None:
    assert Balanced(Scripted("7"), Scripted("8")).always_sent is None
