"""Failures that pass, and those that do not."""

import asyncio
import traceback
from collections import Counter
from dataclasses import replace
from math import inf

import psutil
import pytest

from metagen import (
    Account,
    BackendGone,
    Budget,
    Completion,
    Fallback,
    GenerationError,
    InputError,
    Model,
    Problem,
    Reading,
    Request,
    Retrying,
    RetryingReward,
    Scripted,
    ScriptedReward,
    ServerBusy,
    TransientError,
    Usage,
    VLLMServer,
    Vote,
    solve,
    solve_all,
)
from metagen.backends.retrying import REST
from metagen.backends.wrapper import Wrapper
from metagen.request import Meter, Outcome
from metagen.solve import cancel
from tests.support.fake_server import FakeServer, reserved_port
from tests.support.outcomes import completed
from tests.support.timing import advance, turns, until

REQUEST = Request("p", "3 + 4?", n=4, seed=10)


class Failing(Scripted):
    """Raises these errors first, each after spending what it says."""

    def __init__(self, *errors: Exception | list[Outcome], spends: int = 0) -> None:
        super().__init__(lambda request: f"sample {request.seed}")
        self.errors = list(errors)
        self.spends = spends
        self.requests: list[Request] = []

    async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
        self.requests.append(request)
        if self.errors:
            spent = min(self.spends, request.limit(self.spends) * request.n)
            spend(Usage(calls=1, completion_tokens=spent, estimated_tokens=spent))
            error = self.errors.pop(0)
            if isinstance(error, list):
                return error
            raise error
        return await super().generate(request, spend)


def quick(of: Scripted, **settings: float) -> Retrying:
    return Retrying(of, wait=0.001, longest=0.002, **settings)  # type: ignore[arg-type]


async def test_a_request_is_asked_again_until_it_is_answered() -> None:
    backend = Failing(TransientError("busy"), TransientError("busy"))
    books: list[Usage] = []
    completions = completed(await quick(backend).generate(REQUEST, books.append))
    assert [one.text for one in completions] == [f"sample {seed}" for seed in (10, 11, 12, 13)]
    assert len(backend.requests) == len(books) == 3


async def test_only_the_missing_samples_are_asked_for_again() -> None:
    lost = TransientError("gave 2 of 4 samples")
    backend = Failing([Completion("first"), lost, lost, Completion("last")])
    completions = completed(await quick(backend).generate(REQUEST, lambda _: None))
    assert [one.text for one in completions] == ["first", "sample 11", "sample 12", "last"]
    assert [(asked.n, asked.seed) for asked in backend.requests] == [(4, 10), (2, 11)]


async def test_what_will_not_change_is_raised_at_once() -> None:
    backend = Failing(GenerationError("too long"))
    with pytest.raises(GenerationError, match="too long"):
        await quick(backend).generate(REQUEST, lambda _: None)
    assert len(backend.requests) == 1


async def test_after_its_attempts_the_last_error_is_raised() -> None:
    backend = Failing(*(TransientError(f"busy {number}") for number in range(9)))
    with pytest.raises(TransientError, match="busy 2"):
        await quick(backend, attempts=3).generate(REQUEST, lambda _: None)


async def test_where_a_rate_is_limited_each_request_waits_for_its_turn() -> None:
    class Limiting(Scripted):
        """Turns one problem away, and answers another meanwhile."""

        turned_away = 0

        async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
            if request.problem == "other" or self.turned_away == 20:
                return await super().generate(request, spend)
            self.turned_away += 1
            await server.generate(replace(REQUEST, problem="other"), lambda _: None)
            raise ServerBusy("too many requests")

    server = quick(Limiting("7"), attempts=3)
    assert len(completed(await server.generate(REQUEST, lambda _: None))) == 4


async def test_a_request_that_is_turned_away_while_nobody_is_answered_is_given_up() -> None:
    backend = Failing(*(ServerBusy(f"busy {number}") for number in range(9)))
    with pytest.raises(TransientError, match="busy 2"):
        await quick(backend, attempts=3).generate(REQUEST, lambda _: None)


async def test_the_server_says_how_long_to_wait() -> None:
    backend = Failing(TransientError("busy", retry_after=3600.0))
    waited: list[float] = []
    request = replace(REQUEST, waited=waited.append)
    task = asyncio.create_task(quick(backend, patience=inf).generate(request, lambda _: None))
    await until(lambda: backend.requests)
    advance(3000)
    await turns()
    assert len(backend.requests) == 1
    advance(600)
    await task
    assert len(backend.requests) == 2
    assert waited == [3600]


async def test_a_server_that_stays_silent_is_given_up_once_for_all() -> None:
    class Silent(Failing):
        async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
            self.errors = [TransientError("no")]
            advance(60)
            return await super().generate(request, spend)

    backend = Silent()
    retrying = quick(backend, attempts=1000, patience=3600)
    attempts = (retrying.generate(REQUEST, lambda _: None) for _ in range(20))
    errors = await asyncio.gather(*attempts, return_exceptions=True)
    assert {str(error) for error in errors} == {"scripted has not answered for 3600 s; the last error: no"}
    assert all(isinstance(error, BackendGone) for error in errors)
    asked = len(backend.requests)
    assert 60 <= asked <= 61 + len(errors)
    with pytest.raises(BackendGone):
        await retrying.generate(REQUEST, lambda _: None)
    assert len(backend.requests) == asked


async def test_a_server_that_was_given_up_is_taken_back_once_it_answers() -> None:
    class Away(Failing):
        away = True

        async def probe(self) -> None:
            if self.away:
                raise TransientError("no")

        async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
            self.errors = [TransientError("no")] if self.away else []
            return await super().generate(request, spend)

    backend = Away()
    retrying = quick(backend, patience=0)
    asked = []
    for seconds in (0, 1, REST, 1):
        advance(seconds)
        with pytest.raises(BackendGone, match="has not answered"):
            await retrying.generate(REQUEST, lambda _: None)
        asked.append(len(backend.requests))
    assert asked == [5] * 4, "while it answers nobody, it is looked at and not asked"
    backend.away = False
    advance(REST)
    assert len(await retrying.generate(REQUEST, lambda _: None)) == 4
    backend.away = True
    with pytest.raises(BackendGone):
        await retrying.generate(REQUEST, lambda _: None)
    assert len(backend.requests) == 5 + 1 + 5, "it is given up after as many failures as before"


async def test_a_server_that_refuses_the_key_is_asked_again_only_after_a_while() -> None:
    backend = Failing(*(BackendGone("answered 401") for _ in range(3)))
    retrying, asked = quick(backend), []
    for seconds in (0, 1, REST, 1):
        advance(seconds)
        with pytest.raises(BackendGone, match="answered 401"):
            await retrying.generate(REQUEST, lambda _: None)
        asked.append(len(backend.requests))
    assert asked == [1, 1, 2, 2]
    advance(REST)
    backend.errors.clear()
    assert len(await retrying.generate(REQUEST, lambda _: None)) == 4


async def test_a_run_that_falls_back_does_not_ask_a_dead_server_for_each_problem() -> None:
    large = Failing(*(TransientError("no", unreachable=True) for _ in range(10_000)))
    retrying = quick(large, patience=0)
    models = {"large": retrying, "small": Scripted("The answer is 7.")}
    problems = [Problem(str(number), "?", "7") for number in range(200)]
    strategy = Fallback(Vote(2, of=Model("large")), Model("small"))
    solutions = [each async for each in solve_all(problems, strategy, models, concurrency=4)]
    assert {solution.correct for solution in solutions} == {True}
    assert {solution.why_lost for solution in solutions} == {
        "BackendGone: scripted has not answered for 0 s; the last error: no"
    }
    assert len(large.requests) < 20
    assert (gone := retrying._patience._gone)
    assert len([*traceback.walk_tb(gone.__traceback__)]) < 100, "what it was raised to is not kept"


async def test_counting_is_tried_again_too() -> None:
    class Forgetful(Scripted):
        failures = 2

        async def count(self, request: Request) -> int:
            if self.failures:
                self.failures -= 1
                raise TransientError("busy")
            return await super().count(request)

    assert await quick(Forgetful("7")).count(REQUEST) == len("3 + 4?")


async def test_one_success_between_keeps_a_server() -> None:
    backend = Failing(*(TransientError("no") for _ in range(4)))
    retrying = quick(backend, patience=0)
    await retrying.generate(REQUEST, lambda _: None)
    backend.errors = [TransientError("no") for _ in range(4)]
    assert len(await retrying.generate(REQUEST, lambda _: None)) == 4


@pytest.mark.parametrize("tokens", [100, 300, 1000])
async def test_no_budget_is_passed_by_tries_that_were_paid_for(tokens: int) -> None:
    account = Account(Budget(tokens=tokens))
    backend = quick(Failing(*(TransientError("cut", sent=True) for _ in range(3)), spends=40))
    problems = [Problem(str(number), "3 + 4?") for number in range(5)]
    solutions = [each async for each in solve_all(problems, Vote(2), backend, account=account)]
    assert solutions
    assert account.spent.tokens <= tokens
    assert account.fits(tokens - account.spent.tokens), "something stayed reserved"


async def test_a_try_for_which_no_token_is_left_is_not_sent() -> None:
    backend = Failing(TransientError("busy"), spends=64)
    account = Account(Budget(tokens=75))
    problem = Problem("p", "3 + 4?")
    (solution,) = [
        each async for each in solve_all([problem], Vote(8, of=Model(max_tokens=8)), quick(backend), account=account)
    ]
    assert "64 of 75 tokens are spent, and a prompt of 6 tokens leaves no room" in solution.why_lost
    assert account.refused
    assert [request.n for request in backend.requests] == [8]


async def test_a_request_is_not_asked_again_after_the_deadline() -> None:
    backend = Failing(*(TransientError("busy", retry_after=1800.0) for _ in range(100)))
    account = Account(Budget(seconds=5000), clock=lambda: asyncio.get_running_loop().time())
    solutions = solve_all([Problem("p", "?")], None, quick(backend, patience=inf), account=account)
    task = asyncio.ensure_future(anext(solutions))
    for tries in (1, 2, 3):
        await until(lambda: len(backend.requests) == tries)  # noqa: B023 (it is awaited here)
        await turns(50)  # so that it waits
        advance(2000)
    solution = await task
    await solutions.aclose()
    assert "the deadline passed" in solution.error
    assert len(backend.requests) == 3


async def test_what_a_wait_is_after_is_told_where_a_sample_is_missing_in_a_reply() -> None:
    class Missing(Scripted):
        async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
            return [TransientError("gave 0 of 1 sample")]

    backend = Retrying(Missing("7"), wait=1000, longest=1000)
    task = asyncio.create_task(solve(Problem("p", "?"), None, backend))
    await until(lambda: backend.waits)
    assert backend.waits == "scripted: 1 waiting to be sent again after: gave 0 of 1 sample"
    await cancel([task])


async def test_no_wait_is_longer_than_the_deadline_leaves() -> None:
    backend = Failing(*(TransientError("busy", retry_after=1800.0) for _ in range(100)))
    account = Account(Budget(seconds=60), clock=lambda: asyncio.get_running_loop().time())
    task = asyncio.create_task(solve(Problem("p", "?"), None, quick(backend, patience=inf), account=account))
    await until(lambda: backend.requests)
    await turns(50)  # so that it waits
    advance(61)
    await turns(50)
    assert task.done()
    solution = task.result()
    assert "the deadline passed" in solution.error
    assert solution.unfinished
    assert solution.seconds < 70
    assert len(backend.requests) == 1


async def test_where_nothing_listens_the_first_word_is_an_error_of_the_user() -> None:
    class Knocking(VLLMServer):
        knocks = 0

        async def __aenter__(self) -> "Knocking":
            self.knocks += 1
            return await super().__aenter__()

    with reserved_port() as port:
        server = Knocking(f"http://127.0.0.1:{port}/v1")
        with pytest.raises(InputError, match=rf"cannot connect to 127\.0\.0\.1:{port}.*is the server running\?"):
            async with Retrying(server):
                pass
    assert server.knocks == 1


async def test_under_faults_of_every_kind_nothing_is_lost_and_all_is_counted() -> None:
    kinds = ["429", "500", "reset", "truncated", "malformed", "fewer", "", "", "", "", "", "", ""]
    fake = FakeServer()
    before = psutil.Process().num_fds(), len(asyncio.all_tasks())
    async with (
        fake.running(),
        Retrying(VLLMServer(fake.url, silence=60), wait=0.01, longest=0.05, attempts=99, patience=inf) as server,
    ):
        fake.faults = kinds * 70
        problems = [Problem(str(number), f"What is {number} + 1?", "7") for number in range(500)]
        solutions = [each async for each in solve_all(problems, Vote(4), server, seed=1)]
        assert fake.in_flight == 0
    await until(lambda: psutil.Process().num_fds() <= before[0])  # else a connection is left
    await until(lambda: len(asyncio.all_tasks()) <= before[1])  # else a task is left
    assert len(solutions) == 500
    assert all(each.correct and each.samples == 4 and each.lost == 0 for each in solutions)
    usage = sum((each.usage for each in solutions), Usage())
    assert usage.estimated_tokens > 0
    assert usage.completion_tokens == pytest.approx(fake.written, rel=0.1)


async def test_a_run_goes_on_when_the_server_comes_back() -> None:
    class Noting(Wrapper):
        failures = 0

        async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
            try:
                return await super().generate(request, spend)
            except TransientError:
                self.failures += 1
                raise

    fake = FakeServer()
    problems = [Problem(str(number), "3 + 4?", "7") for number in range(60)]
    with reserved_port() as port:
        noting = Noting(VLLMServer(f"http://127.0.0.1:{port}/v1"))
        server = Retrying(noting, wait=0.01, longest=0.05, attempts=1000)
        async with fake.running(port):
            await server.__aenter__()
            run = asyncio.create_task(collect(problems, server))
            await until(lambda: len(fake.bodies) >= 10)
        await until(lambda: noting.failures >= 20)
        assert not run.done()
        async with fake.running(port):
            assert len(await run) == 60
            await server.__aexit__(None, None, None)


async def collect(problems: list[Problem], server: Retrying) -> list[str]:
    solutions = solve_all(problems, Vote(2), server, concurrency=4)
    return [each.problem async for each in solutions if each.correct]


async def test_a_reading_is_asked_again_unless_it_was_paid_for() -> None:
    tries: list[str] = []
    faults = iter([TransientError("busy"), None, TransientError("broke off", sent=True)])

    class Flaky(ScriptedReward):
        async def rate(self, reading: Reading, spend: Meter) -> tuple[float, ...]:
            tries.append(reading.prompt)
            if fault := next(faults):
                spend(Usage(calls=1, prompt_tokens=5 if fault.sent else 0))
                raise fault
            return await super().rate(reading, spend)

    spent: list[Usage] = []
    async with RetryingReward(Flaky(lambda _: [0.5]), wait=0.0) as reward:
        assert await reward.rate(Reading("p", "first", ("x",)), spent.append) == (0.5,)
        with pytest.raises(TransientError, match="broke off"):
            await reward.rate(Reading("p", "second", ("x",)), spent.append)
        assert await reward.count(Reading("p", "ab", ("c",))) == 3
    assert tries == ["first", "first", "second"]
    assert [usage.prompt_tokens for usage in spent] == [0, 6, 5]


async def test_samples_that_are_drawn_one_by_one_are_tried_again_one_by_one() -> None:
    asked = Counter[int | None]()

    class Singly(Scripted):
        """Loses the first tries of each second sample."""

        singly = True

        async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
            assert request.n == 1
            asked[request.seed] += 1
            if request.seed and request.seed % 2 and asked[request.seed] < 3:
                raise TransientError("busy")
            if request.seed == 12:
                raise GenerationError("withheld")
            return await super().generate(request, spend)

    outcomes = await quick(Singly("7"), attempts=3).generate(REQUEST, lambda _: None)
    assert [isinstance(each, Completion) for each in outcomes] == [True, True, False, True]
    assert asked == {10: 1, 11: 3, 12: 1, 13: 3}
