"""Parts of one budget: together they never pass it, and what one does not use another gets."""

import asyncio
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metagen import Account, BackendGone, Budget, Generator, Model, Problem, Solution, Usage
from metagen.budget import Amounts
from metagen.cluster.leases import Branch, Treasury, amounts_of
from metagen.cluster.parcels import Kinds, Task, posted
from metagen.cluster.slots import Slot
from metagen.cluster.worker import Desk
from metagen.errors import BudgetExceeded
from tests.support.timing import turns


class Office:
    """A driver and its workers' accounts, without anything between them."""

    def __init__(self, budget: Budget, workers: int) -> None:
        self.account = Account(budget)
        self.treasury = Treasury(self.account, workers, self.recall)
        self.alive = set(range(workers))
        self.branches = [Branch(budget, self.asking(number)) for number in range(workers)]
        self.reported = [Usage()] * workers
        self.lost = 0

    def asking(self, number: int):  # type: ignore[no-untyped-def]
        async def ask(amounts: Amounts, wait: bool) -> None:
            lent = await self.treasury.lend(number, amounts, wait=wait)
            assert self.account.spent.tokens + self.account.held.tokens <= (self.account.budget.tokens or 0)
            self.branches[number].add(lent)

        return ask

    def report(self, number: int) -> None:
        spent = self.branches[number].spent
        self.treasury.book(number, spent.since(self.reported[number]))
        self.reported[number] = spent

    async def recall(self) -> None:
        await asyncio.sleep(0)
        for number in sorted(self.alive):
            free = self.branches[number].give_back()
            self.report(number)
            self.treasury.take_back(number, free)

    def kill(self, number: int) -> None:
        self.alive.discard(number)
        self.lost += self.treasury.forfeit(number).tokens


async def test_the_answer_to_a_question_that_was_given_up_is_not_that_of_the_next() -> None:
    account = Branch(Budget(tokens=100), lambda amounts, wait: desk.ask(amounts, wait=wait))
    desk = Desk(Task("Model()"), Model(), None, account, Kinds({}))  # type: ignore[arg-type]
    first = asyncio.create_task(account.lend((10, 0, 0)))
    asked = (await desk.news()).asks
    assert asked
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    second = asyncio.create_task(account.lend((20, 0, 0)))
    again = (await desk.news()).asks
    assert again
    desk.answer((0, 0, 0), asked[2])
    await asyncio.sleep(0)
    assert not second.done()
    desk.answer((20, 0, 0), again[2])
    await second
    assert account.room[0] == 20


async def test_what_is_done_is_reported_before_what_failed() -> None:
    async def solver(problem: Problem, strategy: Generator) -> Solution:
        if problem.id == "b":
            raise BackendGone("the server is gone")
        return Solution(problem.id, "7")

    account = Branch(Budget(), lambda amounts, wait: desk.ask(amounts, wait=wait))
    desk = Desk(Task("Model()", fill=100, concurrency=10), Model(), solver, account, Kinds({}))
    desk.begin([posted(Problem(name, "?"), number) for number, name in enumerate("abc")])
    await turns()
    news = await desk.news()
    assert ([number for number, _, _ in news.done], news.wanted) == ([0, 2], 0)
    with pytest.raises(BackendGone, match="the server is gone"):
        await desk.news()


def test_reports_of_a_total_may_be_lost_or_overtake_each_other() -> None:
    slot = Slot(0, None)  # type: ignore[arg-type]
    totals = [Usage(calls=1, completion_tokens=5), Usage(calls=3, completion_tokens=9)]
    assert [slot.count(each).completion_tokens for each in (*totals, totals[0], totals[1])] == [5, 4, 0, 0]
    assert slot.usage == totals[1]


@settings(max_examples=60)
@given(st.integers(20, 3000), st.integers(1, 5), st.integers(0, 10**6))
async def test_no_budget_is_passed_and_nothing_is_left_while_anybody_waits(
    tokens: int, workers: int, seed: int
) -> None:
    office, chance = Office(Budget(tokens=tokens), workers), Random(seed)
    written = 0

    async def request(number: int) -> None:
        nonlocal written
        prompt, output = chance.randrange(1, 10), chance.randrange(1, 60)
        account = office.branches[number].inner()
        try:
            hold = await account.reserve(prompt, output)
        except BudgetExceeded:
            return
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        used = chance.randrange(hold.output + 1)
        account.spend(Usage(prompt_tokens=prompt, completion_tokens=used))
        account.settle(hold)
        written += prompt + used

    await asyncio.gather(*(request(chance.randrange(workers)) for _ in range(60)))
    await office.recall()
    assert office.account.spent.tokens == written <= tokens
    assert not any(office.account.held.amounts)
    if any(branch.refused for branch in office.branches):
        assert tokens - written < 11  # no room for the prompt of one more and a token


async def test_a_dead_worker_has_spent_all_that_it_was_lent() -> None:
    office = Office(Budget(tokens=1000), 2)
    hold = await office.branches[0].reserve(10, 90)
    office.branches[0].spend(Usage(completion_tokens=40))
    office.report(0)
    lent = 1000 - office.account.spent.tokens - int(office.account.room[0])
    office.kill(0)
    assert hold.tokens == 100
    assert office.lost == lent >= 60
    assert office.account.spent.estimated_tokens == office.lost
    assert not any(office.account.held.amounts)
    whole = await office.branches[1].reserve(10, 10**6)
    assert whole.tokens == 1000 - office.account.spent.tokens


async def test_what_is_set_aside_elsewhere_is_waited_for() -> None:
    office = Office(Budget(tokens=100), 2)
    first = await office.branches[0].reserve(10, 80)
    assert not await office.branches[1].can_hold(50)
    waiting = asyncio.create_task(office.branches[1].reserve(10, 60))
    await asyncio.sleep(0)
    office.branches[0].spend(Usage(prompt_tokens=10, completion_tokens=5))
    office.branches[0].settle(first)
    assert (await waiting).output == 60


async def test_all_limits_are_lent_and_one_that_is_not_set_is_not_counted() -> None:
    office = Office(Budget(tokens=1000, flops=500.0), 1)
    await office.branches[0].reserve(10, 40, lambda output: 2 * output)
    assert office.account.held.tokens >= 50
    assert 80 <= office.account.held.flops <= 500
    assert office.account.held.cost == 0
    with pytest.raises(BudgetExceeded, match="of 500 FLOPs are spent"):
        await Office(Budget(flops=500.0), 1).branches[0].reserve(10, 40, lambda output: 501 + output)


def test_what_a_budget_counts() -> None:
    assert amounts_of(Usage(prompt_tokens=1, verifier_tokens=2, flops=3, verifier_flops=4, cost=5)) == (3, 7, 5)
