import asyncio
import random
import weakref
from collections.abc import Callable
from decimal import Decimal
from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metagen.budget import Account, Budget, Price, Usage, tightest
from metagen.errors import BudgetExceeded, InputError
from tests.support.timing import Clock, turns

counts = st.integers(0, 10**6)
usages = st.builds(
    Usage, calls=counts, prompt_tokens=counts, cached_tokens=counts, completion_tokens=counts, verifier_tokens=counts
)


@given(usages, usages, usages)
def test_usage_adds(a: Usage, b: Usage, c: Usage) -> None:
    assert (a + b) + c == a + (b + c)
    assert a + Usage() == a
    assert (a + b).tokens == a.tokens + b.tokens
    assert a + Usage(seconds=1.5, verifier_seconds=2.5) == a, "seconds differ between equal runs"


@given(st.lists(usages, max_size=40))
def test_an_account_holds_the_sum_at_any_moment(spent: list[Usage]) -> None:
    account, total = Account(), Usage()
    for usage in spent:
        account.inner().spend(usage)
        total += usage
        assert account.spent == total


def test_an_account_is_freed_as_soon_as_nobody_has_it() -> None:
    outer = Account()
    inner = outer.inner(Budget(tokens=5))
    freed: list[str] = []
    weakref.finalize(inner, freed.append, "inner")
    del inner
    assert freed == ["inner"]


@pytest.mark.parametrize("limits", [{"tokens": 0}, {"tokens": -1}, {"seconds": 0}, {"seconds": float("nan")}])
def test_a_budget_that_allows_nothing_is_refused(limits: dict[str, float]) -> None:
    with pytest.raises(InputError, match="allows nothing"):
        Budget(**limits)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"tokens": "100"}, "must be a whole number, not '100'"),
        ({"tokens": True}, "must be a whole number, not True"),
        ({"tokens": 100.5}, r"must be a whole number, not 100\.5"),
        ({"tokens": float("inf")}, "must be a whole number"),
        ({"seconds": "5"}, "must be a number, not '5'"),
        ({"seconds": True}, "must be a number, not True"),
        ({"flops": [1]}, r"must be a number, not \[1\]"),
        ({"flops": 10**400}, "must be a number that a float can hold"),
        ({"money": "1"}, "must be a number, not '1'"),
        ({"seconds": Decimal(1)}, "must be a number"),
        ({"money": Decimal("nan")}, "money must be a number, not Decimal"),
        ({"money": float("inf")}, "money must be a number of 0 or more"),
    ],
)
def test_what_is_no_limit_is_refused(limits: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Budget(**limits)


@pytest.mark.parametrize(
    "limits",
    [
        {"money": Decimal("0.5")},
        {"tokens": 1e6},
        {"tokens": 10**400},
        {"tokens": np.int64(5)},
        {"seconds": float("inf")},
        {"flops": 1e30},
        {"flops": 7},
    ],
)
def test_any_number_is_a_limit(limits: dict[str, Any]) -> None:
    assert Budget(**limits).limits == limits.keys()


async def test_decimals_of_money_are_refused_as_others_are() -> None:
    account = Account(Budget(money=Decimal("0.001")))  # type: ignore[arg-type]
    with pytest.raises(BudgetExceeded, match=r"of 0\.001 in money"):
        await account.reserve(10, 10, cost=lambda output: 10**12)


async def test_an_output_shrinks_to_what_is_left() -> None:
    account = Account(Budget(tokens=100))
    assert (await account.reserve(prompt=30, output=500)).output == 70


async def test_a_prompt_that_leaves_no_room_is_refused() -> None:
    account = Account(Budget(tokens=100))
    with pytest.raises(BudgetExceeded, match="0 of 100 tokens are spent"):
        await account.reserve(prompt=100, output=1)
    assert account.refused
    assert account.fits(100)
    assert await account.can_hold(100)


async def test_only_the_budget_that_has_no_room_has_refused() -> None:
    outer = Account(Budget(tokens=1000))
    inner = Account(Budget(tokens=50), outer)
    await outer.reserve(0, 990)
    with pytest.raises(BudgetExceeded, match="0 of 50 tokens are spent"):
        await inner.reserve(prompt=60, output=1)
    assert (inner.refused, outer.refused) == (True, False)
    assert (inner.exhausted, outer.exhausted) == (True, False)
    assert (inner.level, outer.level) == (1, 0)


def test_the_deadline_is_the_first_of_those_around() -> None:
    clock = Clock()
    outer = Account(Budget(seconds=5), clock=clock)
    assert Account(Budget(tokens=1), outer).deadline == 5
    assert Account(Budget(seconds=3), outer).deadline == 3
    assert Account(Budget(tokens=1)).deadline is None


def test_the_tightest_limits_hold() -> None:
    assert tightest(Budget(5, 2.0), Budget(7, 1.0), Budget()) == Budget(5, 1.0)
    clock = Clock()
    outer = Account(Budget(tokens=5, seconds=9), clock=clock)
    clock.now = 3
    assert outer.inner(Budget(tokens=7, flops=2)).left() == Budget(tokens=5, seconds=6, flops=2)


async def test_a_reservation_waits_for_what_others_may_give_back() -> None:
    account = Account(Budget(tokens=100))
    first = await account.reserve(10, 80)
    second = asyncio.create_task(account.reserve(10, 60))
    await asyncio.sleep(0)
    assert not second.done()
    account.spend(Usage(prompt_tokens=10, completion_tokens=5))
    account.settle(first)
    assert (await second).output == 60


async def test_room_goes_to_the_work_that_was_begun_first_however_late_it_asks() -> None:
    whole = Account(Budget(tokens=100))
    first, second, third = whole.inner(), whole.inner(), whole.inner()
    held = await third.reserve(0, 90)
    late = asyncio.create_task(second.reserve(0, 80))
    await turns()
    early = asyncio.create_task(first.inner().reserve(0, 80))
    await turns()
    assert not await second.can_hold(5), "an earlier one waits for room"
    assert await first.can_hold(5)
    small = asyncio.create_task(third.reserve(0, 5))
    third.settle(held)
    await turns()
    assert (early.done(), late.done(), small.done()) == (True, False, False)
    first.settle(await early)
    second.settle(await late)
    assert (await small).output == 5


async def test_a_turn_that_is_not_taken_goes_to_the_next() -> None:
    whole = Account(Budget(tokens=100))
    every = [whole.inner(Budget(tokens=90)) for _ in range(4)]
    held = await whole.reserve(0, 95)
    waiting = [asyncio.create_task(each.reserve(0, size)) for each, size in zip(every, (60, 60, 60, 20), strict=True)]
    await turns()
    waiting[0].cancel()  # it gives up its turn before it comes
    every[1].spend(Usage(completion_tokens=90))  # it is refused by its own budget
    whole.settle(held)
    waiting[2].cancel()  # it is called, and gives up then
    await turns()
    assert [each.cancelled() for each in waiting] == [True, False, True, False]
    assert isinstance(waiting[1].exception(), BudgetExceeded)
    assert waiting[3].result().output == 10, "what is left of 100"
    assert whole.held.tokens == 10


async def test_what_an_inner_account_spends_the_outer_one_spends_too() -> None:
    outer = Account(Budget(tokens=100))
    inner = Account(Budget(tokens=1000), outer)
    hold = await inner.reserve(0, 500)
    assert hold.output == 100
    inner.spend(Usage(completion_tokens=100))
    inner.settle(hold)
    with pytest.raises(BudgetExceeded):
        await inner.reserve(0, 1)
    assert outer.refused
    assert not inner.refused


async def test_nothing_starts_after_the_deadline_and_the_overshoot_is_measured() -> None:
    clock = Clock()
    outer = Account(Budget(seconds=5), clock=clock)
    inner = Account(Budget(tokens=100), outer)
    await inner.reserve(1, 1)
    clock.now = 7.5
    with pytest.raises(BudgetExceeded, match="the deadline of 5 s has passed"):
        await inner.reserve(1, 1)
    assert outer.overshoot() == 2.5
    assert inner.overshoot() == 0


def test_a_deadline_is_late_as_soon_as_it_has_passed_and_reserves_nothing() -> None:
    clock = Clock()
    outer = Account(Budget(seconds=5), clock=clock)
    inner = outer.inner(Budget(tokens=10)).inner(Budget(seconds=8))
    assert (outer.limited, inner.limited) == (False, True)
    late = []
    for clock.now in (4.5, 5.0, 5.25, 8.5):
        late.append(inner.late())
    assert late == [inf, inf, 0, 0]
    outer.start()
    assert inner.late() == 2


def test_what_is_in_flight_is_in_flight_all_around() -> None:
    outer = Account()
    one, other = outer.inner(), outer.inner()
    one.count_in_flight(3)
    other.count_in_flight(2)
    one.count_in_flight(-1)
    assert [each.in_flight for each in (one, other, outer)] == [2, 2, 4]


async def test_a_cancelled_waiter_holds_nothing() -> None:
    account = Account(Budget(tokens=10))
    held = await account.reserve(0, 10)
    waiter = asyncio.create_task(account.reserve(0, 5))
    await asyncio.sleep(0)
    waiter.cancel()
    account.settle(held)
    assert account.fits(10)


@settings(max_examples=60, deadline=None)
@given(limit=st.integers(1, 200), inner=st.integers(1, 200), seed=st.integers(0, 2**32))
async def test_no_limit_is_passed_by_any_interleaving(limit: int, inner: int, seed: int) -> None:
    rng = random.Random(seed)
    root = Account(Budget(tokens=limit))
    accounts = [root, *(Account(Budget(tokens=inner), root) for _ in range(3))]

    async def request() -> None:
        account = rng.choice(accounts)
        prompt, output = rng.randrange(20), rng.randrange(1, 60)
        try:
            hold = await account.reserve(prompt, output)
        except BudgetExceeded:
            return
        try:
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)
        finally:
            account.spend(Usage(prompt_tokens=prompt, completion_tokens=rng.randrange(hold.output + 1)))
            account.settle(hold)

    tasks = [asyncio.create_task(request()) for _ in range(30)]
    for task in rng.sample(tasks, 8):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert all(account.spent.tokens <= (account.budget.tokens or 0) for account in accounts)
    assert all(account.fits((account.budget.tokens or 0) - account.spent.tokens) for account in accounts[:1])


async def test_an_output_shrinks_to_what_the_flops_leave() -> None:
    account = Account(Budget(flops=1000))
    assert account.limited
    hold = await account.reserve(5, 500, lambda output: 100 + output * output)
    assert (hold.output, hold.flops) == (30, 1000)
    account.spend(Usage(flops=150, verifier_flops=50))
    account.settle(hold)
    assert account.fits(10**9, 800)
    assert not account.fits(0, 801)
    with pytest.raises(BudgetExceeded, match="200 of 1000 FLOPs are spent, and a prompt of 5 tokens leaves no room"):
        await account.reserve(5, 500, lambda output: 800 + output)


def in_flops(limit: int, tokens: int | None = None) -> Budget:
    return Budget(tokens=tokens, flops=limit)


def in_money(limit: int, tokens: int | None = None) -> Budget:
    """So many trillionths of the money."""
    return Budget(tokens=tokens, money=Decimal(limit).scaleb(-12))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("budget", "rate", "spent"), [(in_flops, "flops", "all_flops"), (in_money, "cost", "all_cost")]
)
@given(limit=st.integers(100, 3000), tokens=st.integers(50, 2000), seed=st.integers(0, 2**32))
async def test_no_limit_in_flops_or_money_is_passed_by_any_interleaving(
    budget: Callable[..., Budget], rate: str, spent: str, limit: int, tokens: int, seed: int
) -> None:
    rng = random.Random(seed)
    limits = limit, rng.randrange(1, 2000)
    outer = Account(budget(limits[0]))
    inner = Account(budget(limits[1], tokens), outer)

    async def request() -> None:
        account, prompt, output = rng.choice([outer, inner]), rng.randrange(20), rng.randrange(1, 60)

        def price(written: int) -> int:
            return 3 * prompt + written * (7 + written // 4)

        try:
            hold = await account.reserve(prompt, output, **{rate: price})  # type: ignore[arg-type]
        except BudgetExceeded:
            return
        await asyncio.sleep(0)
        written = rng.randrange(hold.output + 1)
        account.spend(Usage(prompt_tokens=prompt, completion_tokens=written, **{rate: price(written)}))
        account.settle(hold)

    await asyncio.gather(*(request() for _ in range(30)))
    for account, most in zip((outer, inner), limits, strict=True):
        assert getattr(account.spent, spent) <= most
        assert account.spent.tokens <= (account.budget.tokens or 10**9)
        assert account.fits(0, 0)


def test_what_tokens_cost_is_added_exactly() -> None:
    price = Price(0.15, 0.6, 0.0375)
    assert price.of(3, 2) == 3 * 150_000 + 2 * 600_000
    assert price.of(3, 2, cached=1) == price.of(3, 2) - 112_500
    tenth = Usage(cost=Price(0.1, 0).of(10**6, 0), verifier_cost=Price(0.2, 0).of(10**6, 0))
    assert sum([tenth] * 10, Usage()).money == 3
    assert tenth.of_verifier() == Usage(verifier_cost=300_000_000_000)


@pytest.mark.parametrize("text", ["", "1", "a/b", "1/2/3/4", "-1/2", "nan/1", "0.1/0.2/0.3", "0.0000001/1"])
def test_a_price_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"price|money|cached"):
        Price.parse(text)


async def test_an_output_shrinks_to_what_the_money_leaves() -> None:
    account, price = Account(Budget(money=0.000_1)), Price(1, 4)
    hold = await account.reserve(20, 500, cost=lambda output: price.of(20, output))
    assert (hold.output, hold.cost) == (20, 100_000_000)
    account.spend(Usage(cost=price.of(20, 19)))
    account.settle(hold)
    assert account.fits(10**9, 10**18, 4_000_000)
    assert not account.fits(0, 0, 4_000_001)
    with pytest.raises(BudgetExceeded, match=r"9.6e-05 of 0.0001 in money are spent, and a prompt of 20 tokens"):
        await account.reserve(20, 1, cost=lambda output: price.of(20, output))


def test_what_a_verifier_uses_is_told_apart() -> None:
    usage = Usage(calls=2, prompt_tokens=30, completion_tokens=12, flops=500, seconds=1.5, verifier_tokens=3)
    assert usage.of_verifier() == Usage(verifier_calls=2, verifier_tokens=45, verifier_flops=500)
    assert usage.of_verifier().verifier_seconds == 1.5
    assert usage.of_verifier().tokens == usage.tokens
    assert (usage + usage).all_flops == 1000


@pytest.mark.parametrize("amount", ["0.1", True, None, float("nan")])
def test_a_price_is_made_of_numbers(amount: Any) -> None:
    with pytest.raises(InputError, match=r"^Price: money must be a number of 0 or more with up to 6 decimals, not "):
        Price(amount, 2)
    with pytest.raises(InputError, match=r"^Price: money must be a number"):
        Price(2, amount)


@pytest.mark.parametrize("budget", [100, {"tokens": 100}, Account()])
def test_books_are_kept_under_a_budget(budget: Any) -> None:
    with pytest.raises(
        InputError, match=r"^Account: budget must be a Budget, such as Account\(Budget\(tokens=1000\)\), not "
    ):
        Account(budget)
