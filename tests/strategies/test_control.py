import asyncio
from collections.abc import Sequence
from dataclasses import replace
from math import inf

import pytest

from metagen import (
    ABMCTS,
    Account,
    BackendGone,
    Budget,
    Candidate,
    Fallback,
    GenerationError,
    InputError,
    MatchesReference,
    Model,
    Problem,
    Request,
    Run,
    Scripted,
    Until,
    Vote,
    WindowStop,
    Within,
    parse,
    solve,
    solve_all,
)
from metagen.request import Meter, Outcome
from tests.support.scripts import length, silent
from tests.support.timing import Clock, forever

SPECS = [
    "Until(length, limit=6, window=3, threshold=60)",
    "Within(tokens=100000, seconds=1000)",
    "Fallback(fails, CoT())",
]
WRAPPERS = [
    "Until(length, of={}, limit=4, window=2, threshold=60)",
    "Within(tokens=100000, of={})",
    "Fallback({}, Model())",
]

PROBLEM = Problem("p", "What is 3 + 4?", "7")


async def once(problem: Problem, run: Run) -> Candidate:
    return await run.ask(None, problem)


def right_at(draw: int) -> Scripted:
    return Scripted(lambda request: f"The answer is {7 if request.draw == draw else request.draw + 10}.")


async def test_sampling_stops_at_the_first_that_is_accepted() -> None:
    solution = await solve(PROBLEM, Until(MatchesReference(), limit=20), right_at(5))
    assert solution.correct
    assert (solution.samples, solution.usage.calls) == (6, 6)


async def test_siblings_in_flight_are_cancelled_and_counted() -> None:
    begun, cancelled = list[int](), list[int]()

    async def script(request: Request) -> str:
        begun.append(request.draw)
        if request.draw > 2:
            try:
                await forever()
            except asyncio.CancelledError:
                cancelled.append(request.draw)
                raise
        return f"The answer is {5 + request.draw}."

    account = Account()
    strategy = Until(MatchesReference(), limit=20, window=4)
    (solution,) = [each async for each in solve_all([PROBLEM], strategy, Scripted(script), account=account)]
    assert solution.correct
    assert 3 in cancelled
    assert cancelled == [draw for draw in begun if draw > 2]
    assert solution.usage.calls == len(begun) <= 6
    assert solution.lost == 0
    assert account.in_flight == 0


async def test_if_none_is_accepted_the_best_is_handed_over_and_a_note_says_so() -> None:
    backend = Scripted(lambda request: "x" * (request.draw % 3))
    solution = await solve(PROBLEM, Until(length, limit=6, threshold=99), backend)
    assert solution.text == "xx"
    assert solution.notes == ("none of 6 samples was accepted: the best is returned",)


async def test_an_inner_budget_does_not_end_the_sampling() -> None:
    solution = await solve(PROBLEM, Until(MatchesReference(), of=Within(tokens=5), limit=6), right_at(0))
    assert (solution.failed, solution.lost) == (True, 6)


async def test_the_budget_around_it_ends_the_sampling_whatever_error_says_so() -> None:
    account = Account(Budget(tokens=200))
    strategy = Until(MatchesReference(), of=Vote(2, of=once), limit=1000)
    (solution,) = [each async for each in solve_all([PROBLEM], strategy, right_at(-1), account=account)]
    assert not solution.correct
    assert sum(span.name == "Vote" for span in solution.trace.walk()) < 10


def losing(number: int, reply: str = "The answer is 8.") -> Scripted:
    """A model that loses one of its samples."""
    calls = iter(range(10**6))

    def script(request: Request) -> str:
        if next(calls) == number:
            raise GenerationError("flaky")
        return reply

    return Scripted(script)


async def wordy(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[float]:
    """A verifier that asks with a long prompt."""
    await run.ask(Model(), problem.aside("J" * 4000))
    return [1.0] * len(candidates)


async def test_a_lost_sample_ends_nothing_where_only_a_verifier_found_no_room() -> None:
    solution = await solve("q", Until(wordy, limit=6), losing(1), budget=Budget(tokens=2000))
    assert solution.notes[-1] == "none of 5 samples was accepted: the first, without a verdict, is returned"
    assert (solution.compared, solution.lost) == (5, 1)


async def test_nor_where_another_problem_was_too_long_for_the_budget() -> None:
    account = Account(Budget(tokens=3000))
    assert (await solve("x" * 5000, Vote(2), Scripted("7"), account=account)).failed
    for strategy in (Vote(10, until=WindowStop(2)), Until(MatchesReference(), limit=9), ABMCTS(6, by=length)):
        solution = await solve(PROBLEM, strategy, losing(0, "The answer is 7."), account=account)
        assert solution.answer == "7", strategy


@pytest.mark.parametrize("limit", ["tokens=12", "seconds=0.0000001"])
@pytest.mark.parametrize("of", ["Model()", "Vote(2)", "Within(tokens=50, of=Vote(2))", "Fallback(CoT(), Model())"])
async def test_a_sample_that_finds_no_room_is_the_last_that_is_drawn(limit: str, of: str) -> None:
    """What is left, 12 tokens, may be more than nothing, but no sample of this problem will ever fit."""
    strategy = parse(f"Within({limit}, of=Until(MatchesReference(), of={of}, limit=1000))")
    solution = await solve(PROBLEM, strategy, Scripted("The answer is 7."))
    assert solution.failed
    name = of.partition("(")[0]
    assert sum(span.name == name for span in solution.trace.walk()) <= 4
    votes = await solve(
        PROBLEM, parse(f"Within({limit}, of=ABMCTS(500, of={of}, by=length))", {"length": length}), Scripted("x")
    )
    assert sum(span.name == "expansion" for span in votes.trace.walk()) <= 4


async def test_the_choice_does_not_depend_on_which_comes_back_first() -> None:
    done = [asyncio.Event() for _ in range(6)]
    done[5].set()

    async def script(request: Request) -> str:
        await done[request.draw + 1].wait()  # the last comes back first
        done[request.draw].set()
        return f"draw {request.draw}. The answer is {7 if request.draw in (2, 4) else 0}."

    solution = await solve(PROBLEM, Until(MatchesReference(), limit=5, window=5), Scripted(script))
    assert solution.text.startswith("draw 2")


async def test_within_its_tokens_a_strategy_answers_from_what_is_finished() -> None:
    solution = await solve(PROBLEM, Within(tokens=100, of=Vote(16)), Scripted("The answer is 7."))
    assert solution.correct
    assert solution.usage.tokens <= 100
    assert solution.samples + solution.lost == 16


async def test_within_no_tokens_at_all_the_problem_fails() -> None:
    solution = await solve(PROBLEM, Within(tokens=5, of=Vote(2)), Scripted("The answer is 7."))
    assert "NoCandidate" in solution.error or "BudgetExceeded" in solution.error


async def test_nothing_starts_after_the_deadline() -> None:
    clock = Clock()

    def script(request: Request) -> str:
        clock.now += 2
        return f"The answer is {request.draw + 10}."

    strategy = Within(seconds=5, of=Until(MatchesReference(), limit=60))
    account = Account(clock=clock)
    (solution,) = [each async for each in solve_all([PROBLEM], strategy, Scripted(script), account=account)]
    assert solution.usage.calls == 3
    (within,) = [span for span in solution.trace.walk() if span.name == "Within"]
    assert within.overshoot == 1


async def test_a_fallback_is_asked_only_if_the_one_before_fails() -> None:
    def fails_at_first(request: Request) -> str:
        if request.sampling.temperature == 0:
            raise GenerationError("no")
        return "The answer is 7."

    strategy = Fallback(Model(temperature=0), Model(temperature=1), Model(temperature=2))
    solution = await solve(PROBLEM, strategy, Scripted(fails_at_first))
    assert solution.correct
    assert solution.usage.calls == 2
    assert solution.notes == ("Model(temperature=0) failed (no): trying the next",)


async def test_a_reply_that_was_cut_after_some_text_is_no_failure_to_fall_back_from() -> None:
    solution = await solve(PROBLEM, Fallback(Model(max_tokens=10), Model()), Scripted("The answer is 7."))
    assert (solution.text, solution.usage.calls) == ("The answer", 1)


def gone(request: Request) -> str:
    raise BackendGone("large answered 401: wrong key")


GONE = {"large": Scripted(gone), "small": Scripted("    The answer is 7.")}


@pytest.mark.parametrize(
    ("spec", "lost"),
    [
        ('Fallback(Model("large"), Model("small"))', 1),
        ('Fallback(Vote(4, of=Model("large")), Model("small"))', 4),
        ('Fallback(Vote(2, of=Panel((Model("small"), Model("large")))), Model("small"))', 1),
        ('Fallback(Model("large"), Model("large"), Model("small"))', 2),
        ('Fallback(BestOf(2, of=Model("small"), by=Judge(of=Model("large"))), Model("small"))', 1),
        ('Vote(2, of=Fallback(Model("large"), Model("small")))', 2),
        ('Within(tokens=10000, of=Fallback(Model("large"), Model("small")))', 1),
    ],
)
async def test_a_model_that_is_gone_is_a_failure_to_fall_back_from(spec: str, lost: int) -> None:
    budget = Budget(tokens=100_000)
    solution = await solve(PROBLEM, parse(spec, {}), GONE, budget=budget)
    assert (solution.correct, solution.lost) == (True, lost)
    assert solution.why_lost == "BackendGone: large answered 401: wrong key"
    assert any("failed (large answered 401: wrong key): trying the next" in note for note in solution.notes)


@pytest.mark.parametrize(
    "spec",
    [
        'Model("large")',
        'Fallback(Model("large"))',
        'Fallback(Vote(2, of=Model("large")), Model("large"))',
        'Fallback(Model("small", max_tokens=1), Model("large"))',  # what is cut holds no answer
        'Panel((Model("small"), Model("large")))',
        'Vote(2, of=Panel((Model("small"), Model("large"))))',
        'Escalate((Model("large"), Model("small")), until=MatchesReference())',
    ],
)
async def test_a_model_that_is_gone_ends_the_run_where_nothing_says_what_to_do_instead(spec: str) -> None:
    with pytest.raises(BackendGone, match="wrong key"):
        async for _ in solve_all([replace(PROBLEM, id=str(number)) for number in range(8)], parse(spec, {}), GONE):
            pass


@pytest.mark.parametrize(
    "make",
    [
        lambda: Until(None),  # type: ignore[arg-type]
        lambda: Until(MatchesReference(), limit=0),
        lambda: Until(MatchesReference(), window=0),
        lambda: Within(tokens=0),
        lambda: Within(seconds=-1),
        lambda: Within(money=inf),
        lambda: Within(money=1e-13),
        Fallback,
        lambda: Fallback(Vote),  # type: ignore[arg-type]
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(make: type[Until]) -> None:
    with pytest.raises(InputError):
        make()  # type: ignore[call-arg]


def test_a_limit_is_refused_in_the_name_of_what_it_limits() -> None:
    with pytest.raises(
        InputError, match=r"^Within: money must be a number of 0 or more with up to 12 decimals, not inf"
    ):
        Within(money=inf)


async def test_until_says_that_no_sample_has_a_verdict() -> None:
    backend = Scripted(lambda request: f"The answer is {7 + request.draw}.")
    solution = await solve(PROBLEM, Until(silent, limit=3), backend)
    assert solution.answer == "7"
    assert solution.notes == ("none of 3 samples was accepted: the first, without a verdict, is returned",)
    judged = await solve(PROBLEM, Until(length, limit=3, threshold=999), backend)
    assert judged.notes == ("none of 3 samples was accepted: the best is returned",)


@pytest.mark.parametrize(
    ("spec", "tokens", "short"),
    [
        ("Model()", 1000, False),
        ("Model()", 35, False),  # the room is shortened, and the reply of 16 tokens ends by itself
        ("Model()", 20, True),
        ("Vote(4)", 70, True),
        ("Refine(rounds=1)", 30, True),
        ("Within(tokens=20)", 1000, False),
        ("Within(tokens=70, of=Vote(4))", 1000, False),
        ("Within(tokens=70, of=Vote(4))", 40, True),
        ("Until(MatchesReference(), limit=8)", 1000, False),
    ],
)
async def test_what_the_budget_of_the_whole_call_cut_short_is_unfinished(spec: str, tokens: int, short: bool) -> None:
    account = Account(Budget(tokens=tokens))
    strategy = parse(spec, {})
    (solution,) = [each async for each in solve_all([PROBLEM], strategy, right_at(0), account=account)]
    assert not solution.failed
    assert solution.unfinished == short
    assert solution.final != short
    assert ("unfinished" in solution.row()) == short


@pytest.mark.parametrize("spec", ["Refine(rounds=1)", "BestOf(2, of=once, by=length)"])
async def test_what_a_deadline_of_the_whole_call_left_out_is_unfinished(spec: str) -> None:
    clock = Clock()
    account = Account(Budget(seconds=5), clock=clock)

    def script(request: Request) -> str:
        clock.now += 10
        return "The answer is 7."

    given = {"once": once, "length": length}
    (solution,) = [each async for each in solve_all([PROBLEM], parse(spec, given), Scripted(script), account=account)]
    assert (solution.answer, solution.unfinished) == ("7", True)


async def test_a_deadline_that_passed_while_a_request_waited_leaves_the_problem_unfinished() -> None:
    clock = Clock()

    class Late(Scripted):
        async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
            if request.draw:
                clock.now += 10
                request.check_time()
            return await super().generate(request, spend)

    for strategy, short in ((Vote(2, of=once), True), (Within(seconds=5, of=Vote(2, of=once)), False)):
        account = Account(Budget(seconds=5 if short else 1000), clock=clock)
        (solution,) = [each async for each in solve_all([PROBLEM], strategy, Late("The answer is 7."), account=account)]
        assert (solution.answer, solution.lost, solution.unfinished) == ("7", 1, short)


async def test_a_request_that_nobody_waits_for_any_more_leaves_nothing_unfinished() -> None:
    """The budget has shortened the second request, and the strategy has its answer from the first."""
    asked = asyncio.Event()

    async def script(request: Request) -> str:
        if request.draw:
            asked.set()
            await asyncio.Event().wait()
        return "The answer is 7."

    async def first(problem: Problem, run: Run) -> Candidate:
        async with run.stream(once, problem, 2, 2) as candidates:
            candidate = await anext(aiter(candidates))
            await asked.wait()
            return candidate

    account = Account(Budget(tokens=70))
    (solution,) = [each async for each in solve_all([PROBLEM], first, Scripted(script), account=account)]
    assert (solution.answer, solution.unfinished) == ("7", False)
