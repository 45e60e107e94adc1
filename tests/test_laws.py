"""The laws that every strategy obeys, run over all of them."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing, suppress
from dataclasses import replace
from math import inf
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metagen import (
    Account,
    Budget,
    GenerationError,
    Generator,
    Limited,
    ModelCard,
    Price,
    Priced,
    Problem,
    Request,
    Scripted,
    Solution,
    parse,
    solve,
    solve_all,
)
from metagen.budget import Hold
from metagen.disk.traces import row_of
from metagen.models import SMALL
from metagen.request import Meter, Outcome
from metagen.strategies import __all__ as every_strategy
from metagen.trace import Span
from tests.support.scripts import Counting, dice, late
from tests.support.specs import NAMES, SPECS, WRAPPERS
from tests.support.timing import Clock

PROBLEM = Problem("p", "What is 3 + 4?", "7")
TALK = Problem(
    "p",
    answer="7",
    messages=[
        {"role": "system", "content": "You are brief."},
        {"role": "user", "content": "Do you know numbers?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": PROBLEM.prompt},
    ],
)
PROBLEMS = [Problem(str(number), f"What is {number} + 4?", str(number + 4)) for number in range(4)]
NESTED = [wrapper.format(spec) for wrapper in WRAPPERS for spec in SPECS]
ORACLES = ["Until(MatchesReference())", "BestOf(3, by=MatchesReference())"]

spec_texts = st.recursive(
    st.sampled_from(SPECS), lambda inner: st.builds(str.format, st.sampled_from(WRAPPERS), inner), max_leaves=3
)


def read(spec: str) -> Generator:
    strategy: Generator = parse(spec, NAMES)
    return strategy


def test_all_strategies_are_tried() -> None:
    assert all(any(f"{name}(" in spec for spec in SPECS) for name in every_strategy)


@pytest.fixture
def without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users' plain functions work in threads, and how long one takes decides how much is drawn ahead."""

    async def at_once(function: Callable[..., Any], *given: Any) -> Any:
        return function(*given)

    monkeypatch.setattr(asyncio, "to_thread", at_once)


@pytest.mark.usefixtures("without_threads")
@pytest.mark.parametrize("spec", NESTED)
async def test_any_strategy_works_as_the_of_of_any_other(spec: str) -> None:
    """It answers, its usage adds up, and neither the reference nor the turns around the question change its prompts.

    The tests below say each of these laws apart, over single strategies.
    """
    plain, talk = Counting(dice), Counting(dice)
    solution = await solve(PROBLEM, read(spec), plain, seed=2)
    assert not solution.failed
    assert solution.answer in {"7", "8", "9"}
    check_sums(solution)
    await solve(replace(TALK, answer=None), read(spec), talk, seed=2)
    assert {request.before for request in talk.requests} == {TALK.before}
    assert [replace(request, before=()) for request in talk.requests] == plain.requests


@pytest.mark.parametrize("spec", SPECS)
async def test_the_best_of_one_is_that_one(spec: str) -> None:
    def blind(request: Request) -> str:
        return f"{len(request.prompt)}, {request.draw}. The answer is {request.draw % 3}."

    alone, best = [
        await solve(PROBLEM, read(text), Scripted(blind, context=2000)) for text in (spec, f"BestOf(1, of={spec})")
    ]
    assert alone.text == best.text


def check_sums(solution: Solution) -> None:
    leaves = [span for span in solution.trace.walk() if not span.children]
    assert solution.trace.total() == solution.usage
    assert sum(span.usage.tokens for span in leaves) == solution.usage.tokens


@pytest.mark.parametrize("spec", [*SPECS, *ORACLES])
async def test_the_usage_of_the_leaves_is_the_usage_of_the_whole(spec: str) -> None:
    account = Account()
    backend = Scripted(late(dice, 3), context=2000)
    async for solution in solve_all(PROBLEMS[:3], read(spec), backend, seed=1, account=account):
        check_sums(solution)
        account_left = account.spent.tokens
    assert account_left == account.spent.tokens
    assert account.in_flight == 0


@pytest.mark.parametrize("outer", ["{}", "Vote(4, of={})", "Until(length, of={}, limit=9, window=4, threshold=50)"])
@pytest.mark.parametrize("spec", [*SPECS, *ORACLES])
async def test_one_seed_gives_one_trace_at_any_concurrency_and_latency(outer: str, spec: str) -> None:
    strategy = read(outer.format(spec))
    traces = [
        await traced(strategy, Scripted(dice, context=2000), 1),
        await traced(strategy, Scripted(late(dice, 1), context=2000), 3),
        await traced(strategy, Limited(Scripted(late(dice, 2), context=2000), 2), 4),
    ]
    assert traces[0] == traces[1] == traces[2]


@pytest.mark.parametrize("ahead", [1, 2])
@pytest.mark.parametrize(
    "spec", ["Beam(3, 2, {})", "DVTS(2, 3, {})", "BestFirst(12, 3, {})", "MCTS(12, 3, {}, window=2)"]
)
async def test_what_a_search_writes_ahead_changes_no_result(spec: str, ahead: int) -> None:
    """And whatever is written and not used is booked as cancelled work."""
    plain, early = (read(spec.format(f"by=brief, ahead={each}")) for each in (0, ahead))
    expected = await traced(plain, Scripted(dice, context=2000), 1)
    for seed in range(3):
        backend = Limited(Scripted(late(dice, seed), context=2000), 5)
        assert await traced(early, backend, 3) == expected
    solution = await solve(PROBLEM, early, Scripted(late(dice, 1), context=2000), seed=5)
    check_sums(solution)
    cancelled = [span.total().tokens for span in solution.trace.walk() if span.status == "cancelled"]
    assert sum(cancelled) > 0, "nothing was written ahead"


async def traced(strategy: Generator, backend: Any, concurrency: int) -> dict[str, Any]:
    solutions = solve_all(PROBLEMS[:4], strategy, backend, seed=5, concurrency=concurrency)
    return {
        each.problem: (each.text, each.samples, each.lost, each.notes, list(timeless(each.trace)))
        async for each in solutions
    }


def timeless(span: Span) -> Iterator[Any]:
    """A trace without times and cancelled work."""
    if span.status != "cancelled":
        yield {name: value for name, value in row_of(span, "p").items() if name not in ("started", "seconds", "waited")}
        for child in sorted(span.children, key=lambda child: str(child.path)):
            yield from timeless(child)


@settings(max_examples=150, deadline=None)
@given(spec=spec_texts, tokens=st.integers(1, 3000), inner=st.integers(1, 1000), latency=st.integers(0, 9))
async def test_no_budget_in_tokens_is_ever_passed(spec: str, tokens: int, inner: int, latency: int) -> None:
    account = Account(Budget(tokens=tokens))
    strategy = read(f"Vote(2, of=Within(tokens={inner}, of={spec}))")
    backend = Scripted(late(dice, latency), context=400)
    async for solution in solve_all(PROBLEMS[:3], strategy, backend, seed=latency, account=account):
        for span in solution.trace.walk():
            if span.name == "Within" and len(span.path) == 3:
                assert span.total().tokens <= inner
    assert account.spent.tokens <= tokens
    assert account.fits(tokens - account.spent.tokens), "something stayed reserved"


CARD = ModelCard.read(SMALL)
PRICE = Price(0.15, 0.6, 0.075)


@settings(max_examples=100)
@given(
    spec=spec_texts,
    flops=st.integers(10**6, 4 * 10**9),
    inner=st.integers(10**6, 10**9),
    money=st.integers(1, 4000).map(lambda parts: parts / 10**6),
    latency=st.integers(0, 9),
)
async def test_no_budget_in_flops_or_money_is_ever_passed(
    spec: str, flops: int, inner: int, money: float, latency: int
) -> None:
    account = Account(Budget(flops=flops, money=money))
    strategy = read(f"Vote(2, of=Within(flops={inner}, money={money / 2}, of={spec}))")
    backend = Priced(Scripted(late(dice, latency), context=400, card=CARD), PRICE)
    async for solution in solve_all(PROBLEMS[:3], strategy, backend, seed=latency, account=account):
        for span in solution.trace.walk():
            if span.name == "Within" and len(span.path) == 3:
                assert span.total().all_flops <= inner
                assert span.total().money <= money / 2
    assert account.spent.all_flops <= flops
    assert account.spent.money <= money
    assert account.held == Hold(), "something stayed reserved"


class Watched(Scripted):
    """A model of random latency, by a clock of its own, that sees to it that nothing comes too late."""

    def __init__(self, seed: int, clock: Clock, end: float) -> None:
        super().__init__(self._reply_late, context=400, card=CARD)
        self._chance = random.Random(seed)
        self._clock = clock
        self._end = end
        self.in_flight = 0

    @property
    def price(self) -> Price:
        return PRICE

    async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
        assert request.deadline is not None
        assert self._clock.now <= request.deadline <= self._end, "it was sent after a deadline"
        self.in_flight += 1
        try:
            return await super().generate(request, spend)
        finally:
            self.in_flight -= 1

    async def _reply_late(self, request: Request) -> str:
        for _ in range(self._chance.randrange(6)):
            await asyncio.sleep(0)
            self._clock.now += self._chance.random()
        return dice(request)


class Kept(Account):
    """Books that are kept until the end."""

    every: ClassVar[list[Account]] = []

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.every.append(self)


limits = st.builds(
    "Within(tokens={}, flops={}, seconds={}, money={}, of={{}})".format,
    st.integers(50, 2000),
    st.integers(10**7, 10**9),
    st.floats(0.5, 40.0),
    st.integers(1, 1500).map(lambda parts: parts / 10**6),
)
MONEY = st.none() | st.integers(1, 4000).map(lambda parts: parts / 10**6)
three_deep = st.builds(
    lambda outer, middle, inner, spec: str(outer.format(middle.format(inner.format(spec)))),
    limits | st.sampled_from(WRAPPERS),
    st.sampled_from(WRAPPERS),
    limits | st.sampled_from(WRAPPERS),
    st.sampled_from([*SPECS, *ORACLES]),
)


@settings(max_examples=200)
@given(
    spec=three_deep,
    budget=st.builds(Budget, st.integers(100, 5000), st.floats(1.0, 60.0), st.integers(10**7, 4 * 10**9), MONEY),
    seed=st.integers(0, 2**32),
    cancelled_at=st.none() | st.integers(0, 60),
)
async def test_no_budget_is_passed_under_deadlines_and_cancellations(
    spec: str, budget: Budget, seed: int, cancelled_at: int | None
) -> None:
    clock, before = Clock(), asyncio.all_tasks()
    assert budget.seconds
    backend = Watched(seed, clock, end=budget.seconds)
    with patch.object(Kept, "every", []):
        account = Kept(budget, clock=clock)
        await cancelled(solved(read(spec), backend, seed, account), cancelled_at)
        for each in Kept.every:
            spent, most = each.spent, each.budget
            assert spent.tokens <= (most.tokens or inf)
            assert spent.all_flops <= (most.flops or inf)
            assert spent.money <= (most.money or inf)
            assert each.in_flight == 0
            assert each.held == Hold(), "something stayed reserved"
    assert backend.in_flight == 0
    assert asyncio.all_tasks() == before


async def solved(strategy: Generator, backend: Any, seed: int, account: Account) -> None:
    async with aclosing(solve_all(PROBLEMS[:3], strategy, backend, seed=seed, account=account)) as solutions:
        async for solution in solutions:
            assert solution.trace.total() == solution.usage


async def cancelled(work: Coroutine[Any, Any, None], turns: int | None) -> None:
    """Cancel work after so many turns of the loop, if it goes on so long."""
    task = asyncio.create_task(work)
    for _ in range(turns or 0):
        await asyncio.sleep(0)
    if turns is not None:
        task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("spec", [*SPECS, *(wrapper.format("Vote(2)") for wrapper in WRAPPERS)])
async def test_one_samples_failure_costs_no_sibling(spec: str) -> None:
    """Each second sample of a request is lost; the first of each is there, and so is an answer."""

    def half(request: Request) -> str:
        if request.draw % 2:
            raise GenerationError("an odd one")
        return dice(request)

    solution = await solve(PROBLEM, read(spec), Scripted(half, context=2000), seed=1)
    assert "an odd one" not in solution.error


@pytest.mark.parametrize(
    "spec", [*SPECS, *ORACLES, "Vote(4, until=BetaStop(0.9))", *(wrapper.format("Vote(2)") for wrapper in WRAPPERS)]
)
async def test_where_all_is_lost_the_first_reason_is_said(spec: str) -> None:
    def nothing(request: Request) -> str:
        raise GenerationError("no power")

    for account in (Account(), Account(Budget(tokens=10_000))):
        solution = await solve(PROBLEM, read(spec), Scripted(nothing, context=2000), seed=1, account=account)
        assert solution.failed
        assert "no power" in solution.why_lost


async def test_an_inner_verdict_never_reaches_an_outer_vote() -> None:
    """Best-of winners a, a, b vote a, however much higher the verdict on b was."""
    replies = iter(["a.", "aa.", "a.", "aa.", "b.", "b" * 50 + "."])
    backend = Scripted(lambda _: f"The answer is {next(replies)}")
    solution = await solve(PROBLEM, read("Vote(3, of=BestOf(2, by=length))"), backend)
    assert solution.answer == "aa"


@pytest.mark.usefixtures("without_threads")
@pytest.mark.parametrize("spec", SPECS)
async def test_without_an_oracle_the_reference_changes_no_request(spec: str) -> None:
    seen = []
    for answer in ("7", "8", None):
        backend = Counting(dice)
        await solve(Problem("p", PROBLEM.prompt, answer), read(spec), backend, seed=2)
        seen.append(backend.requests)
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.usefixtures("without_threads")
@pytest.mark.parametrize("spec", [*SPECS, *ORACLES])
async def test_a_system_turn_and_earlier_turns_reach_every_request(spec: str) -> None:
    backend, alone = Counting(dice), Counting(dice)
    await solve(TALK, read(spec), backend, seed=2)
    await solve(PROBLEM, read(spec), alone, seed=2)
    assert {request.before for request in backend.requests} == {TALK.before}
    assert [request.prompt for request in backend.requests] == [request.prompt for request in alone.requests]


@given(spec_texts)
def test_the_repr_of_a_strategy_is_its_spec(spec: str) -> None:
    strategy = read(spec)
    if not hasattr(strategy, "__name__"):
        assert parse(repr(strategy), NAMES) == strategy


async def test_a_plain_function_over_another_model_is_a_strategy() -> None:
    async def escalate(problem: Problem, run: Any) -> Any:
        first = await run.ask(read("Vote(3, of=Model('small'))"), problem)
        return first if "7" in first.text else await run.ask(read("Model('large')"), problem)

    models = {"small": Scripted("The answer is 8."), "large": Scripted("The answer is 7.")}
    solution: Solution = await solve(PROBLEM, escalate, models)
    assert solution.correct
