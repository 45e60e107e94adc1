import asyncio
import random
from collections import Counter
from collections.abc import Callable

import pytest

from metagen import (
    Bandit,
    Budget,
    GenerationError,
    InputError,
    MatchesReference,
    Model,
    Problem,
    Request,
    Scripted,
    Solution,
    WeightError,
    parse,
    solve,
    solve_all,
)
from metagen.budget import Account
from metagen.strategies.bandit import Arm, Result, Table, mixture, posterior
from tests.support.scripts import late, length

SPECS = ["Bandit((Model(), Model(temperature=0.5)), by=brief, window=2, among=3)"]
AB = (Model("a"), Model("b"))


def problems(count: int) -> list[Problem]:
    return [
        Problem(str(number), f"Question {number}?", "7", tags={"kind": "xy"[number % 2]}) for number in range(count)
    ]


def right(share: float, name: str, text: str = "") -> Callable[[Request], str]:
    """A model that is right on so many problems, of which more are hard for a weaker one."""

    def script(request: Request) -> str:
        known = random.Random(f"{name} {request.problem}").random() < share
        return f"{text}The answer is {7 if known else 8}."

    return script


def models(a: float, b: float, wrap: Callable[..., object] = lambda script, _: script) -> dict[str, Scripted]:
    return {name: Scripted(wrap(right(share, name), 3), name=name) for name, share in (("a", a), ("b", b))}  # type: ignore[arg-type]


async def solved(strategy: Bandit, count: int, backends: dict[str, Scripted], **settings: object) -> list[Solution]:
    every = solve_all(problems(count), strategy, backends, **settings)  # type: ignore[arg-type]
    return sorted([each async for each in every], key=lambda each: int(each.problem))


def arms(solutions: list[Solution]) -> list[str]:
    return [each.notes[-1][4:5] for each in solutions]


@pytest.mark.parametrize(
    ("here", "everywhere", "shared", "weight", "expected"),
    [
        (Arm(), Arm(), 3, 1, (0.5, 0.5)),
        (Arm(2, 3), Arm(2, 3), 3, 1, (2.5, 1.5)),
        (Arm(2, 3), Arm(8, 11), 4, 1, (2.5 + 3, 1.5 + 1)),
        (Arm(2, 3), Arm(3, 5), 4, 2, (2 * 3.5, 2 * 2.5)),
    ],
)
def test_a_posterior_counts_what_was_here_and_some_of_what_was_elsewhere(
    here: Arm, everywhere: Arm, shared: float, weight: float, expected: tuple[float, float]
) -> None:
    assert posterior(here, everywhere, shared, weight) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("rewards", "costs", "left", "expected"),
    [
        ([0.2, 0.8], [10, 20], 30, (1, 1, 0.0)),
        ([0.2, 0.8], [10, 30], 15, (0, 1, 0.25)),
        ([0.2, 0.8], [10, 30], 5, (0, 0, 0.0)),
        ([0.7, 0.6], [10, 30], 15, (0, 0, 0.0)),
        ([0.1, 0.5, 0.8], [10, 20, 60], 40, (1, 2, 0.5)),
        ([0.2, 0.8, 0.9], [10, 10, 20], 5, (1, 1, 0.0)),  # of the cheapest the best
        ([0.2, 0.8], [10, 20], 20, (1, 1, 0.0)),
    ],
)
def test_the_mixture_makes_the_most_of_what_is_left(
    rewards: list[float], costs: list[float], left: float, expected: tuple[int, int, float]
) -> None:
    assert mixture(rewards, costs, left) == pytest.approx(expected)


async def test_it_learns_which_arm_is_better() -> None:
    solutions = await solved(Bandit(AB, by=MatchesReference()), 120, models(0.2, 0.9), seed=1)
    assert Counter(arms(solutions[40:]))["1"] > 70


async def test_each_kind_has_an_arm_of_its_own() -> None:
    def only(kind: int) -> Scripted:
        return Scripted(lambda request: f"The answer is {7 if int(request.problem) % 2 == kind else 8}.")

    strategy = Bandit(AB, by=MatchesReference(), per="kind")
    chosen = arms(await solved(strategy, 120, {"a": only(0), "b": only(1)}, seed=1))
    assert Counter(chosen[60::2])["0"] > 25
    assert Counter(chosen[61::2])["1"] > 25
    mixed = arms(await solved(Bandit(AB, by=MatchesReference()), 120, {"a": only(0), "b": only(1)}, seed=1))
    assert Counter(mixed[60::2]) != Counter(chosen[60::2])


async def test_one_seed_gives_one_run_at_any_concurrency_and_latency() -> None:
    runs = []
    for concurrency in (1, 3, 50):
        slow = models(0.4, 0.6, late if concurrency > 1 else lambda script, _: script)
        solutions = await solved(Bandit(AB, by=MatchesReference()), 40, slow, seed=3, concurrency=concurrency)
        runs.append([(each.answer, each.notes) for each in solutions])
    assert runs[0] == runs[1] == runs[2]
    other = await solved(Bandit(AB, by=MatchesReference()), 40, models(0.4, 0.6), seed=4)
    assert arms(other) != [notes[-1][4:5] for _, notes in runs[0]]


async def test_no_more_than_the_window_and_the_concurrency_are_asked_at_once() -> None:
    running, most = 0, 0

    async def script(request: Request) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return "The answer is 7."

    for concurrency, expected in ((50, 6), (2, 2)):
        most = 0
        strategy = Bandit(AB, by=MatchesReference(), window=6)
        await solved(strategy, 30, {"a": Scripted(script), "b": Scripted(script)}, concurrency=concurrency)
        assert most == expected


async def test_the_average_cost_is_met_by_a_mixture() -> None:
    backends = {
        "a": Scripted(right(0.2, "a"), name="a"),
        "b": Scripted(right(0.9, "b", text="I think. " * 20), name="b"),
    }
    strategy = Bandit(AB, by=MatchesReference(), average=100)
    solutions = await solved(strategy, 200, backends, seed=1)
    assert 90 < sum(each.usage.tokens for each in solutions) / 200 < 110
    assert 30 < Counter(arms(solutions))["1"] < 100


def test_of_a_mixture_each_arm_has_its_share() -> None:
    table = Table(Bandit(AB, by=MatchesReference(), average=12.5), 1000, 1)
    for _ in range(50):
        table._learn(Result("", 0, reward=0.0, cost=10))
        table._learn(Result("", 1, reward=1.0, cost=20))
    left = (1000 * 12.5 - 50 * 30) / 900  # 12.2, so arm 1 answers 22 of 100
    drawn = [table._choose("", random.Random(seed), 900) for seed in range(1000)]
    assert sum(drawn) / 1000 == pytest.approx((left - 10) / 10, abs=0.04)


async def test_a_lost_arm_got_nothing_and_a_failing_problem_holds_nobody_up() -> None:
    def fails(request: Request) -> str:
        raise GenerationError("away")

    backends = {"a": Scripted(fails), "b": Scripted("The answer is 7.")}
    solutions = await solved(Bandit(AB, by=MatchesReference()), 60, backends, seed=2)
    assert len(solutions) == 60
    assert not any(each.error for each in solutions[40:])


async def test_a_budget_ends_it() -> None:
    account = Account(Budget(tokens=1500))
    solutions = await solved(Bandit(AB, by=MatchesReference()), 100, models(0.5, 0.5), seed=2, account=account)
    assert account.spent.tokens <= 1500
    assert sum(not each.error for each in solutions) > 40


async def test_alone_it_asks_for_no_verdict_and_inside_another_it_draws_an_arm() -> None:
    solution = await solve("?", Bandit(AB, by=length), models(1, 1), seed=1)
    assert solution.scored == 0
    said = {"a": Scripted("a"), "b": Scripted("b")}
    texts = [(await solve("?", Bandit(AB, by=length), said, seed=seed)).text for seed in range(20)]
    assert set(texts) == {"a", "b"}


async def test_a_reward_is_from_0_to_1() -> None:
    with pytest.raises(WeightError, match=r"a reward is from 0 to 1: if logits, Sigmoid\(length\)$"):
        await solved(Bandit(AB, by=length), 2, models(1, 1))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("Bandit((Model(),), by=length)", "two generators or more"),
        ("Bandit((Model(), 3), by=length)", "of=3 is not a strategy"),
        ("Bandit((Model(), Model()), by=None)", "needs a verifier"),
        ("Bandit((Model(), Model()), by=length, average=0)", "must be above 0"),
        ('Bandit((Model(), Model()), by=length, unit="yen")', "tokens, flops or money"),
        ("Bandit((Model(), Model()), by=length, window=0)", "window must be"),
    ],
)
def test_nonsense_is_refused(spec: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(spec, {"length": length})
