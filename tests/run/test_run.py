import asyncio
import gc
import json
import random
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from math import inf
from typing import Any

import msgspec
import numpy as np
import pytest

from metagen import (
    Account,
    Ask,
    BackendGone,
    Beam,
    BestOf,
    Budget,
    BudgetExceeded,
    Calculator,
    Candidate,
    Cosine,
    CoT,
    ExactStop,
    Feedback,
    GenerationError,
    Generator,
    InputError,
    Intrinsic,
    Joined,
    Limited,
    Mapped,
    MatchesReference,
    Medoid,
    Model,
    NoCandidate,
    OnText,
    Problem,
    Reason,
    Refine,
    Request,
    Run,
    Score,
    Scripted,
    Solution,
    Until,
    VerifierError,
    Vote,
    solve,
    solve_all,
    stream,
)
from metagen.disk.traces import row_of
from metagen.solve import map_problems
from tests.support.scripts import Counting, dice, late, length
from tests.support.spans import kept_spans
from tests.support.timing import Clock, forever, turns

PROBLEM = Problem("p", "What is 3 + 4?", "7")


async def test_all_samples_are_asked_for_in_one_request_where_the_leaf_can() -> None:
    backend = Counting(dice)
    await solve(PROBLEM, Vote(16), backend)
    assert [request.n for request in backend.requests] == [16]


async def test_a_lost_sample_costs_itself_alone() -> None:
    def flaky(request: Request) -> str:
        if request.draw % 2:
            raise GenerationError("the server hiccuped")
        return "The answer is 7."

    async def singly(problem: Problem, run: Run) -> Candidate:
        return await run.ask(None, problem)

    solution = await solve(PROBLEM, Vote(4, of=singly), Scripted(flaky))
    assert (solution.answer, solution.lost, solution.samples) == ("7", 2, 2)
    errors = [span.error for span in solution.trace.walk() if span.status == "lost" and not span.children]
    assert errors == ["GenerationError: the server hiccuped"] * 2


async def test_a_problem_whose_every_sample_is_lost_is_a_failed_one() -> None:
    def down(request: Request) -> str:
        raise GenerationError("no")

    solution = await solve(PROBLEM, Vote(3), Scripted(down))
    assert solution.failed
    assert solution.correct is False
    assert "GenerationError: no" in solution.error
    assert solution.lost == 3


@pytest.mark.parametrize("error", [KeyError("a bug"), BackendGone("gone"), InputError("wrong")])
async def test_a_bug_a_dead_model_and_a_wrong_setting_stop_the_run_as_they_are(error: Exception) -> None:
    cancelled: list[int] = []

    async def script(request: Request) -> str:
        if request.draw == 2:
            raise error
        try:
            await forever()
        except asyncio.CancelledError:
            cancelled.append(request.draw)
            raise
        return ""

    async def singly(problem: Problem, run: Run) -> Candidate:
        return await run.ask(None, problem)

    with pytest.raises(type(error)) as caught:
        await solve(PROBLEM, Vote(4, of=singly), Scripted(script))
    assert caught.value is error
    assert sorted(cancelled) == [0, 1, 3]


async def test_a_stream_hands_over_in_the_order_of_issue_within_its_window() -> None:
    started: list[int] = []

    async def script(request: Request) -> str:
        started.append(request.draw)
        await turns(20 if request.draw % 3 == 0 else 1)
        return f"The answer is {request.draw}."

    async def first_five(problem: Problem, run: Run) -> Candidate:
        seen = []
        async with run.stream(None, problem, limit=50, window=4) as candidates:
            async for candidate in candidates:
                seen.append(candidate)
                if len(seen) == 5:
                    break
        return Candidate(tuple(candidate.text for candidate in seen))

    solution = await solve(PROBLEM, first_five, Scripted(script))
    assert solution.text == "".join(f"The answer is {draw}." for draw in range(5))
    assert len(started) <= 5 + 3
    statuses = [span.status for span in solution.trace.children[0].children]
    assert statuses == ["ok"] * 5 + ["cancelled"] * (len(statuses) - 5)


async def test_seeds_follow_the_structure() -> None:
    async def seeds(run_seed: int | None, problem: str) -> list[int | None]:
        backend = Counting(dice)
        await solve(Problem(problem, "x"), Vote(3, of=Vote(2)), backend, seed=run_seed)
        return [request.seed for request in backend.requests]

    once = await seeds(1, "p")
    assert once == await seeds(1, "p")
    assert len(set(once)) == 3
    assert set(once).isdisjoint(await seeds(2, "p"))
    assert set(once).isdisjoint(await seeds(1, "q"))
    assert await seeds(None, "p") == [None] * 3
    assert len(set(await seeds(1, "\ud800"))) == 3


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ([Score(1.0)], "gave 1 verdict for 3 candidates"),
        ([Score(float("nan"))] * 3, "a verdict is a Score with a number, or None"),
        (["1.0"] * 3, "a verdict is a Score with a number, or None"),
        ([float("nan")] * 3, "a verdict is a Score with a number, or None"),
        ([np.array([1.0])] * 3, "a verdict is a Score with a number, or None"),
    ],
)
async def test_a_verifier_that_breaks_its_contract_fails(verdicts: list[Any], said: str) -> None:
    async def verifier(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Any]:
        return verdicts

    solution = await solve(PROBLEM, Vote(3, by=verifier), Scripted("The answer is 7."))
    assert said in solution.error


async def test_a_verdict_that_is_no_number_costs_no_other() -> None:
    async def verifier(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Any]:
        return [1.0, float("nan"), None, "2"]

    replies = ["The answer is 7.", "The answer is 8."]
    solution = await solve(PROBLEM, Vote(4, by=verifier), Scripted(lambda request: replies[request.draw > 0]))
    assert (solution.answer, solution.unscored, solution.lost) == ("7", 3, 0)
    (note,) = solution.notes
    assert note == (
        "no verdict on 2 of 4 candidates; the first: verifier gave nan: a verdict is a Score with a number, or None"
    )


async def test_a_verifier_that_raises_never_reads_as_wrong() -> None:
    async def verifier(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score]:
        raise ZeroDivisionError("oh")

    solution = await solve(PROBLEM, Until(verifier), Scripted("The answer is 7."))
    assert re.fullmatch(
        r"VerifierError: verifier raised ZeroDivisionError: oh \(test_run.py, line \d+\)", solution.error
    )
    assert VerifierError.__name__ in solution.error


async def test_without_room_for_verdicts_the_majority_decides_and_a_note_says_so() -> None:
    clock = Clock()

    def slow(request: Request) -> str:
        clock.now += 10
        return "The answer is 7."

    account = Account(Budget(seconds=5), clock=clock)
    (solution,) = [each async for each in solve_all([PROBLEM], Vote(3, by=length), Scripted(slow), account=account)]
    assert solution.answer == "7"
    assert any("not verified" in note for note in solution.notes)


async def test_a_budget_too_small_for_all_at_once_draws_what_it_can() -> None:
    strategy = Vote(8, of=Model(max_tokens=20))
    account = Account(Budget(tokens=120))
    (solution,) = [each async for each in solve_all([PROBLEM], strategy, Scripted("The answer is 7."), account=account)]
    assert solution.answer == "7"
    assert 0 < solution.samples < 8
    assert solution.lost == 8 - solution.samples
    assert account.spent.tokens <= 120


async def test_when_the_budget_of_a_run_is_spent_no_problem_is_begun_any_more() -> None:
    problems = [Problem(str(number), "What is 3 + 4?", "7") for number in range(1000)]
    account = Account(Budget(tokens=300))
    solutions = [
        each
        async for each in solve_all(problems, Vote(2), Scripted("The answer is 7."), account=account, concurrency=4)
    ]
    assert len(solutions) < 20
    assert solutions[0].correct


@pytest.mark.parametrize("at_once", [1, 8, 64, 256])
async def test_a_small_budget_finishes_problems_however_many_are_begun_at_once(at_once: int) -> None:
    """Votes that stop early draw one sample after another: a budget that all share evenly would finish none."""
    account = Account(Budget(tokens=20_000))
    vote = Vote(16, until=lambda votes, weights, left: len(votes) == 5)
    backend = Scripted(lambda request: "Let me think about it. The answer is 7.")
    solved = solve_all(["What is 3 + 4?"] * 256, vote, backend, account=account, concurrency=at_once)
    finished = [each async for each in solved if not each.unfinished]
    assert all(each.compared == 5 for each in finished)
    assert 0 <= 20_000 // finished[0].usage.tokens - len(finished) <= 2, "one or two are cut short at the end"
    assert account.spent.tokens <= 20_000


async def test_a_budget_around_that_of_the_run_ends_it_too() -> None:
    outer = Account(Budget(tokens=300))
    answers, asked = Scripted("The answer is 7."), ["What is 3 + 4?"] * 1000
    solving = solve_all(asked, Vote(2), answers, account=outer.inner(), concurrency=4)
    assert len([each async for each in solving]) < 20


async def test_a_refused_verdict_is_no_lost_sample() -> None:
    async def costly(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score]:
        await run.sample(None, problem.asking("x" * 500), 2)
        return []

    account = Account(Budget(tokens=200))
    strategy = Vote(2, of=Model(max_tokens=20), by=costly)
    (solution,) = [each async for each in solve_all([PROBLEM], strategy, Scripted("The answer is 7."), account=account)]
    assert (solution.answer, solution.lost, solution.samples) == ("7", 0, 2)
    assert solution.notes[0].startswith("not verified: ")


async def test_a_budget_is_no_account() -> None:
    wrong: Any = Budget(tokens=10)
    said = r"account must be an Account, such as Account\(Budget\(tokens=1000\)\), not Budget\(tokens=10"
    with pytest.raises(InputError, match=said):
        await solve("q", None, Scripted("7"), account=wrong)
    for call in (
        solve_all(["q"], None, Scripted("7"), account=wrong),
        map_problems(length, ["q"], Scripted("7"), account=wrong),  # type: ignore[arg-type]
        stream("q", None, Scripted("7"), account=wrong),
    ):
        with pytest.raises(InputError, match=said):
            await anext(call)


async def test_numbers_of_any_kind_are_verdicts_in_plain_floats() -> None:
    async def verifier(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score]:
        return [Score(np.float32(0.5), steps=(np.float64(1.0), 1))]  # type: ignore[arg-type]

    solution = await solve(PROBLEM, BestOf(1, by=verifier), Scripted("The answer is 7."))
    (span,) = [span for span in solution.trace.walk() if span.verifying]
    assert json.dumps(row_of(span, "p")["verdicts"]) == "[0.5]"


@pytest.mark.parametrize(
    "verdict", [0.5, 1, True, np.float32(0.5), np.int64(3), np.bool_(1), np.array(2.0), Decimal("0.5"), Fraction(1, 2)]
)
async def test_a_number_stands_for_a_score(verdict: Any) -> None:
    async def verifier(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Any]:
        return [None, verdict]

    solution = await solve(PROBLEM, BestOf(2, by=verifier), Scripted(lambda request: f"{request.draw}"))
    assert solution.text == "1"
    (span,) = [span for span in solution.trace.walk() if span.verifying]
    assert span.verdicts == [None, float(verdict)]


@pytest.mark.parametrize("kind", ["score", "ask", "criticise"])
async def test_a_plain_function_stops_the_run_where_only_the_run_meets_it(kind: str) -> None:
    def plain(*args: object) -> str:
        return "?"

    async def strategy(problem: Problem, run: Run) -> Candidate:
        candidate = await run.ask(None, problem)
        arguments = {
            "score": (problem, [candidate]),
            "ask": (problem,),
            "call": ("x",),
            "criticise": (problem, candidate),
        }
        await getattr(run, kind)(plain, *arguments[kind])
        return candidate

    with pytest.raises(InputError, match=r"^plain is not async: write async def$"):
        await solve(PROBLEM, strategy, Scripted("x"))


async def nothing_heard(event: object) -> None:
    """A listener that nobody awaits."""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"problem": 7}, "problem 1 must be a text or a Problem"),
        ({"problem": {"prompt": "?"}}, "problem 1 must be a text or a Problem"),
        (
            {"strategy": "Vote(4)"},
            r'solve: strategy="Vote\(4\)" is not a strategy, .* without quotes, or parse\("Vote\(4\)"\)$',
        ),
        ({"strategy": Vote}, "solve: strategy=Vote is a class"),
        ({"strategy": lambda problem, run: None}, "is not async"),
        ({"model": "http://localhost:8000/v1"}, "model must be a backend, such as"),
        ({"model": Scripted}, "model must be a backend"),
        ({"model": {"a": 3}}, "a must be a backend"),
        ({"seed": "1"}, "seed must be a whole number, not '1'"),
        ({"budget": 100}, r"budget must be a Budget, such as Budget\(tokens=1000\), not 100"),
        (
            {"strategy": Vote(2), "default": Vote(3)},
            r"default must be a Model, such as Model\(temperature=0\.6\), not Vote",
        ),
        ({"default": "small"}, "default must be a Model, such as .*, not 'small'"),
        ({"listener": []}, "listener must be a plain function of an event, without async, not"),
        ({"listener": nothing_heard}, "listener must be a plain function of an event, without async, not"),
    ],
)
async def test_arguments_of_the_wrong_type_are_one_line(arguments: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"problem": "?", "model": Scripted("x")} | arguments
    with pytest.raises(InputError, match=said) as refused:
        await solve(**given)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("problems", "said"),
    [
        ("What?", "problems must be a list of texts or Problems"),
        (PROBLEM, "problems must be a list"),
        ({"1": "?"}, "problems must be a list"),
        (7, "problems must be a list"),
        (["a", 7], "problem 2 must be a text or a Problem"),
        (("a", None), "problem 2 must be a text or a Problem"),
    ],
)
async def test_what_are_no_problems_is_refused_before_one_is_begun(problems: Any, said: str) -> None:
    backend = Counting(lambda request: "x")
    with pytest.raises(InputError, match=said):
        _ = [each async for each in solve_all(problems, None, backend)]
    assert backend.requests == []


TWINS = [
    [Problem("a", "?"), Problem("b", "?"), Problem("a", "What else?")],
    [Problem("2", "?"), "a text is called by its number"],
]


@pytest.mark.parametrize("problems", TWINS)
async def test_two_problems_with_one_id_are_refused_before_one_is_begun(problems: list[Problem | str]) -> None:
    backend = Counting(dice)
    with pytest.raises(
        InputError, match=rf"problem {len(problems)} has the id '.', as problem 1 does: give each an id"
    ):
        _ = [each async for each in solve_all(problems, None, backend)]
    with pytest.raises(InputError, match="as problem 1 does"):
        _ = [each async for each in map_problems(late, problems, backend)]  # type: ignore[arg-type]
    assert not backend.requests


@pytest.mark.parametrize("problems", TWINS)
async def test_the_second_problem_with_an_id_in_a_stream_is_refused(problems: list[Problem | str]) -> None:
    solved = solve_all(iter(problems), None, Scripted(dice), concurrency=1)
    done = [(await anext(solved)).problem for _ in problems[1:]]
    with pytest.raises(InputError, match="as problem 1 does"):
        await anext(solved)
    assert len(done) == len(problems) - 1


async def solved_until(error: type[Exception], solutions: AsyncIterator[Solution], first: asyncio.Event) -> list[str]:
    """Problems that are solved, by a slow consumer, before an error is raised."""
    done = []
    with pytest.raises(error):  # noqa: PT012 (what was done before it is to be known)
        async for solution in solutions:
            done.append(solution.problem)
            first.set()
            await turns(50)
    return done


async def test_a_failure_loses_no_solution_that_is_there() -> None:
    first = asyncio.Event()

    async def strategy(problem: Problem, run: Run) -> Candidate:
        if problem.id == "4":
            await forever()
        if problem.id != "1":
            await first.wait()
        if problem.id == "2":
            raise KeyError("a bug")
        return await run.ask(None, problem)

    solutions = solve_all(["?"] * 9, strategy, Scripted("x"), concurrency=4)
    assert await solved_until(KeyError, solutions, first) == ["1", "3"]


async def test_problems_under_way_are_solved_before_a_stream_fails() -> None:
    def stream() -> Iterator[str]:
        yield from ["?"] * 5
        raise OSError("the stream broke")

    done = await solved_until(OSError, solve_all(stream(), Vote(2), Counting(dice), concurrency=8), asyncio.Event())
    assert sorted(done) == ["1", "2", "3", "4", "5"]


async def test_texts_are_problems_called_by_their_number() -> None:
    problems: list[Problem | str] = ["a", Problem("own", "b"), "c"]
    solutions = [each async for each in solve_all(problems, None, Scripted(lambda request: request.prompt))]
    assert {each.problem: each.text for each in solutions} == {"1": "a", "own": "b", "3": "c"}
    streamed = [each async for each in solve_all(iter(["a"]), None, Scripted("x"))]
    assert [each.problem for each in streamed] == ["1"]


@pytest.mark.parametrize("value", ["high", None, float("nan"), 1j])
async def test_a_verdict_without_a_number_fails(value: object) -> None:
    async def verifier(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score]:
        return [Score(value)]  # type: ignore[arg-type]

    solution = await solve(PROBLEM, BestOf(1, by=verifier), Scripted("The answer is 7."))
    assert "a verdict is a Score with a number, or None" in solution.error


async def test_each_request_of_one_node_has_a_seed_and_a_place_of_its_own() -> None:
    async def twice(problem: Problem, run: Run) -> Candidate:
        for text in ("a", "b"):
            await run.generate("", Request(problem="p", prompt=text))
        return Candidate(("done",))

    backend = Counting(dice)
    solution = await solve(PROBLEM, twice, backend, seed=1)
    assert len({request.seed for request in backend.requests}) == 2
    prompts = {span.name: span.request and span.request.prompt for span in solution.trace.walk()}
    assert prompts == {"solve": None, "twice": "a", "request": "b"}


async def test_a_key_names_one_call_of_a_node() -> None:
    async def named(problem: Problem, run: Run) -> Candidate:
        await run.ask(None, problem, key="draft")
        return await run.ask(None, problem, key="draft")

    async def numbered(problem: Problem, run: Run) -> Candidate:
        return await run.ask(None, problem, key=0)  # type: ignore[arg-type]

    with pytest.raises(ValueError, match="'draft' was given to another call"):
        await solve(PROBLEM, named, Scripted("7"))
    with pytest.raises(TypeError, match="a key must be a text"):
        await solve(PROBLEM, numbered, Scripted("7"))


async def test_two_models_that_are_called_alike_are_told_apart() -> None:
    seen: list[str] = []

    async def both(problem: Problem, run: Run) -> Candidate:
        seen.extend(run.identity(name) for name in ("", "a", "b", "same", "c"))
        drafts = [await run.ask(Model(name), problem.stepping("."), key=name) for name in ("a", "b")]
        continued = [await run.ask(Model("b"), problem.continuing(draft)) for draft in drafts]
        return continued[0]

    one, two = Counting(lambda request: "x." + request.partial), Counting(lambda request: "y." + request.partial)
    await solve(PROBLEM, both, {"a": one, "b": two, "same": one, "c": Scripted("", name="c")})
    assert seen == ["scripted (a)", "scripted (a)", "scripted (b)", "scripted (a)", "c"]
    assert [(request.partial, bool(request.tokens)) for request in two.requests[1:]] == [("x.", False), ("y.", True)]
    assert [request.draw for request in (*one.requests, two.requests[0])] == [0, 0]


async def test_a_grader_that_fails_keeps_the_solution_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(answer: str, reference: str, seconds: float) -> bool:
        raise VerifierError("the process that compares answers did not start")

    monkeypatch.setattr(sys.modules["metagen.answers.kinds"], "graded", lambda *_: None)
    monkeypatch.setattr(sys.modules["metagen.answers.kinds"], "grade", broken)
    solution = await solve(PROBLEM, Vote(2), Scripted("The answer is 7."))
    assert (solution.answer, solution.correct, solution.unjudged) == ("7", None, True)
    assert solution.notes == ("not graded: the process that compares answers did not start",)


async def test_a_window_or_a_concurrency_of_nothing_is_refused() -> None:
    async def idle(problem: Problem, run: Run) -> Candidate:
        async with run.stream(None, problem, limit=3, window=0):
            return Candidate(())

    with pytest.raises(InputError, match="a window of 1 or more, not 0"):
        await solve(PROBLEM, idle, Scripted("7"))
    with pytest.raises(InputError, match="concurrency must be 1 or more, and at most 2,147,483,648, not 0"):
        _ = [each async for each in solve_all([PROBLEM], None, Scripted("7"), concurrency=0)]


async def test_what_waits_past_the_deadline_is_not_sent() -> None:
    sent = []

    clock = Clock()

    async def slow(request: Request) -> str:
        sent.append(request.draw)
        await turns()
        clock.now += 2
        return "The answer is 7."

    async def singly(problem: Problem, run: Run) -> Candidate:
        return await run.ask(None, problem)

    account = Account(Budget(seconds=3), clock=clock)
    backend = Limited(Scripted(slow), 1)
    (solution,) = [each async for each in solve_all([PROBLEM], Vote(5, of=singly), backend, account=account)]
    assert (len(sent), solution.lost, solution.answer) == (2, 3, "7")


@pytest.mark.parametrize(("budget", "at_once"), [(Budget(), 1), (Budget(tokens=60), 9)])
async def test_a_request_that_waits_for_a_place_or_for_room_says_how_long(budget: Budget, at_once: int) -> None:
    clock = Clock()

    async def slow(request: Request) -> str:
        await turns()
        clock.now += 2
        return "The answer is 7."

    async def singly(problem: Problem, run: Run) -> Candidate:
        return await run.ask(Model(max_tokens=20), problem)

    backend = Limited(Scripted(slow), at_once)
    account = Account(budget, clock=clock)
    (solution,) = [each async for each in solve_all([PROBLEM], Vote(2, of=singly), backend, account=account)]
    asked = [span for span in solution.trace.walk() if span.request]
    assert [(span.waited, span.seconds) for span in asked] == [(0, 2), (2, 4)]


async def hands_on(problem: Problem, run: Run) -> Any:
    return run.ask(None, problem)


class HandsOn:
    async def __call__(self, problem: Problem, run: Run) -> Any:
        return await run.ask(None, problem)

    async def sample(self, problem: Problem, run: Run, n: int) -> Any:
        return run.sample(None, problem, n)


async def scores_on(problem: Problem, candidates: Sequence[Candidate], run: Run) -> Any:
    return run.score(MatchesReference(), problem, candidates)


async def test_spans_start_when_they_do_since_their_problem_was_begun() -> None:
    clock = Clock()
    clock.now = 100.0

    def script(_: Request) -> str:
        clock.now += 2.0
        return "7"

    async def twice(problem: Problem, run: Run) -> Candidate:
        await run.ask(None, problem)
        return await run.ask(None, problem)

    solution = await solve(PROBLEM, twice, Scripted(script), account=Account(clock=clock))
    times = [(span.name, span.started, span.seconds) for span in solution.trace.walk()]
    assert times == [("solve", 0.0, 4.0), ("twice", 0.0, 4.0), ("Model", 0.0, 2.0), ("Model", 2.0, 2.0)]


async def test_what_a_budget_refused_is_known_of_each_child() -> None:
    found = []

    async def strategy(problem: Problem, run: Run) -> Candidate:
        with run.within(Budget(tokens=1)) as tight:
            for key in "ab":
                with suppress(BudgetExceeded):
                    await tight.ask(None, problem, key=key)
            found.extend([*(tight.out_of_budget(key) for key in "abc"), tight.out_of_budget(), run.out_of_budget()])
        return await run.ask(None, problem)

    assert (await solve(PROBLEM, strategy, Scripted("7"))).text == "7"
    assert found == [True, True, False, True, False]


@pytest.mark.parametrize(("strategy", "passing"), [(Vote(2, until=ExactStop(), of=CoT()), True), (Vote(2), False)])
async def test_what_may_be_cancelled_is_told_to_the_backend_however_deep_it_is(
    strategy: Generator, passing: bool
) -> None:
    backend = Counting(dice)
    await solve(PROBLEM, Vote(2, of=strategy), backend)
    assert {request.passing for request in backend.requests} == {passing}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (Feedback("no"), ""),
        (None, ""),
        ("no", r"VerifierError: critic gave 'no': a critic gives Feedback, or None: write Feedback\('no'\)$"),
        (3, "VerifierError: critic gave 3: a critic gives Feedback, or None$"),
    ],
)
async def test_a_critic_gives_feedback_or_nothing(said: Any, why: str) -> None:
    async def critic(problem: Problem, candidate: Candidate, run: Run) -> Any:
        return said

    async def strategy(problem: Problem, run: Run) -> Candidate:
        candidate = await run.ask(None, problem)
        return candidate.saying(repr(await run.criticise(critic, problem, candidate)))

    solution = await solve(PROBLEM, strategy, Scripted("7"))
    assert re.match(why, solution.error)
    assert why or solution.text == repr(said)


async def criticises_on(problem: Problem, candidate: Candidate, run: Run) -> Any:
    return run.criticise(Intrinsic(), problem, candidate)


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        (hands_on, r"hands_on returned Run.ask\(...\) without awaiting it: write await before the call"),
        (Vote(2, of=hands_on), r"hands_on returned Run.ask\(...\)"),
        (Vote(2, of=HandsOn()), r"HandsOn returned Run.sample\(...\)"),
        (BestOf(2, by=scores_on), r"scores_on returned Run.score\(...\)"),
        (Refine(criticises_on), r"criticises_on returned Run.criticise\(...\)"),
    ],
)
async def test_a_call_that_is_not_awaited_is_told_so(strategy: Generator, said: str) -> None:
    with pytest.raises(InputError, match=f"^{said}"):
        await solve(PROBLEM, strategy, Scripted("Follow up: who?"))


async def later(*given: object) -> Any:
    return False


def calls_later(*given: object) -> Any:
    return later(*given)


async def scores_later(problem: Problem, candidates: Sequence[Candidate], run: Run) -> Any:
    return [later(candidate) for candidate in candidates]


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        (Mapped(calls_later), "write a plain def"),
        (Ask(calls_later), "write a plain def"),
        (Vote(3, until=calls_later), "write a plain def"),
        (Beam(2, 2, by=MatchesReference(), of=Joined(calls_later)), "write a plain def"),
        (BestOf(2, by=OnText(calls_later)), "write a plain def"),
        (BestOf(2, by=scores_later), "write await before the call"),
    ],
)
async def test_a_call_that_is_not_awaited_is_no_value(strategy: Generator, said: str) -> None:
    """It would count as true, or as a text of its own, and Python would warn of it at some later time."""
    solution = await solve(PROBLEM, strategy, Scripted("One.\nThe answer is 7."))
    assert f"later(...) without awaiting it: {said}" in solution.error


async def test_more_samples_than_were_asked_for_are_refused() -> None:
    class Generous(HandsOn):
        async def sample(self, problem: Problem, run: Run, n: int) -> list[Candidate]:
            return await run.sample(None, problem, n + 1)

    with pytest.raises(InputError, match=r"^Generous.sample returned 4 Candidates where 3 were asked for$"):
        await solve(PROBLEM, Vote(3, of=Generous()), Scripted("7"))


async def test_a_strategy_that_returns_no_candidate_is_refused() -> None:
    async def wrong(problem: Problem, run: Run) -> str:
        return "7"

    with pytest.raises(InputError, match="wrong returned str, not a Candidate"):
        await solve(PROBLEM, wrong, Scripted(""))  # type: ignore[arg-type]


async def test_map_gives_each_item_a_node_of_its_own() -> None:
    async def one(text: str, run: Run) -> str:
        if text == "b":
            raise NoCandidate("b is lost")
        return (await run.ask(None, PROBLEM.asking(text))).text

    async def strategy(problem: Problem, run: Run) -> Candidate:
        return Candidate(tuple(map(str, await run.map(one, ["a", "b", "c"]))))

    solution = await solve(PROBLEM, strategy, Scripted(lambda request: request.prompt.upper()))
    assert solution.text == "ANoneC"
    assert solution.lost == 1


async def test_spawned_work_is_taken_in_the_order_of_its_beginning_and_the_rest_is_cancelled() -> None:
    async def one(text: str, run: Run) -> str:
        if text == "b":
            raise NoCandidate("b is lost")
        return (await run.ask(None, PROBLEM.asking(text))).text

    async def strategy(problem: Problem, run: Run) -> Candidate:
        taken = []
        async with run.spawn(one) as spawned:
            for text in "abcd":
                spawned.begin(f"/{text}", text)
            assert len(spawned) == 4
            for _ in range(3):
                item, result = await spawned.take()
                taken.append(f"{item}{'-' if isinstance(result, NoCandidate) else result} ")
            with pytest.raises(ValueError, match="the key '/a' was given"):
                spawned.begin("/a", "a")
        return Candidate(tuple(taken))

    async def script(request: Request) -> str:
        if request.prompt == "d":
            await forever()
        await turns(20 if request.prompt == "a" else 1)
        return request.prompt.upper()

    solution = await solve(PROBLEM, strategy, Scripted(script), seed=1)
    assert solution.text == "aA b- cC "
    (span,) = solution.trace.children
    assert [(child.path[-1], child.status) for child in span.children] == [
        ("/a", "ok"),
        ("/b", "lost"),
        ("/c", "ok"),
        ("/d", "cancelled"),
    ]


async def test_an_early_call_has_its_place_from_when_it_is_wanted_and_is_freed_when_it_is_dropped() -> None:
    begun, freed = asyncio.Event(), asyncio.Event()

    async def strategy(problem: Problem, run: Run) -> Candidate:
        async def one(text: str, run: Run) -> str:
            reply = await run.ask(None, PROBLEM.asking(text))
            await spawned.wanted(text)
            return reply.text

        async with run.spawn(one) as spawned:
            for text in ("early", "dropped"):
                spawned.begin_early(text, text)
            await begun.wait()
            spawned.begin("a", "a")
            assert len(spawned) == 1
            spawned.begin("early", "early")
            spawned.drop_early()
            await freed.wait()
            return Candidate(tuple(f"{result} " for _, result in [await spawned.take(), await spawned.take()]))

    async def script(request: Request) -> str:
        if request.prompt == "dropped":
            begun.set()
            try:
                await forever()
            finally:
                freed.set()
        return request.prompt.upper()

    solution = await solve(PROBLEM, strategy, Scripted(script), seed=1)
    assert solution.text == "A EARLY "
    (span,) = solution.trace.children
    assert {child.path[-1]: child.status for child in span.children} == {
        "early": "ok",
        "dropped": "cancelled",
        "a": "ok",
    }


async def test_random_numbers_for_decisions_follow_from_the_seed_and_the_place_and_are_kept() -> None:
    async def drawn(seed: int | None) -> tuple[str, object]:
        async def strategy(problem: Problem, run: Run) -> Candidate:
            return Candidate((str(run.random().random()),))

        solution = await solve(PROBLEM, strategy, Scripted(""), seed=seed)
        return solution.text, solution.trace.children[0].seed

    assert await drawn(1) == await drawn(1) != await drawn(2)
    text, kept = await drawn(None)
    assert text == str(random.Random(kept).random())  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(5))
async def test_100_cancellations_anywhere_leave_nothing_behind(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    strategy = Vote(2, of=Until(length, of=Vote(2), limit=6, window=3, threshold=60))
    before = asyncio.all_tasks()
    gc.collect()
    gc.freeze()  # so that each look below is at what this test made, and not at all that is loaded
    for _ in range(100):
        account = Account(Budget(tokens=rng.choice([10**6, 600])))
        spans = kept_spans(monkeypatch)
        backend = Scripted(late(dice, rng.randrange(10**6)))
        task = asyncio.create_task(anext(solve_all([PROBLEM], strategy, backend, seed=1, account=account)))
        for _ in range(rng.randrange(30)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        gc.collect()
        await asyncio.sleep(0)
        assert account.in_flight == 0
        assert account.spent == sum((span.total() for span in spans), start=type(account.spent)())
        assert account.fits((account.budget.tokens or 0) - account.spent.tokens)
    gc.unfreeze()
    assert asyncio.all_tasks() == before


class Own:
    """A generator of one's own, whose `sample` gives something."""

    def __init__(self, given: Any) -> None:
        self.given = given

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        raise NotImplementedError

    async def sample(self, problem: Problem, run: Run, n: int) -> Any:
        return self.given


class Plain(Own):
    """Its `sample` is not async."""

    def sample(self, problem: Problem, run: Run, n: int) -> Any:
        return self.given


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["x", "x"], "Own.sample returned str, not Candidates: return what"),
        ([Candidate(("x",)), None], "Own.sample returned NoneType, not Candidates"),
        ("xx", "Own.sample returned str, not Candidates"),
        (None, "Own.sample returned NoneType, not Candidates"),
        (Candidate(("x",)), "Own.sample returned Candidate, not Candidates"),
        ({Candidate(("x",)): 1}, "Own.sample returned dict, not Candidates"),
    ],
)
async def test_samples_that_are_no_candidates_are_an_error_in_one_line(given: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        await solve("?", Vote(2, of=Own(given)), Scripted("7"))


async def test_a_sample_that_is_not_async_is_an_error_in_one_line() -> None:
    with pytest.raises(InputError, match=r"^Plain is not async: write async def"):
        await solve("?", Vote(2, of=Plain([Candidate(("7",))])), Scripted("7"))


@pytest.mark.parametrize("given", [[Candidate(("The answer is 7.",))] * 2, (Candidate(("The answer is 7.",)),)])
async def test_samples_may_be_fewer_and_a_tuple(given: Any) -> None:
    solution = await solve("?", Vote(2, of=Own(given)), Scripted("8"))
    assert (solution.answer, solution.compared) == ("7", len(given))


async def test_no_samples_at_all_are_lost() -> None:
    assert "all 2 samples were lost" in (await solve("?", Vote(2, of=Own([])), Scripted("8"))).error


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda run: run.ask(Model(), "3 + 4?"), r'not "3 \+ 4\?": write problem.asking\("3 \+ 4\?"\)$'),
        (lambda run: run.sample(PROBLEM, Model(), 2), r"not Model\(\): the Problem comes second$"),
    ],
)
async def test_what_is_asked_for_must_be_a_problem(call: Any, said: str) -> None:
    async def own(problem: Problem, run: Run) -> Candidate:
        return await call(run)  # type: ignore[no-any-return]

    with pytest.raises(InputError, match=f"run.stream want a generator, then a Problem, {said}"):
        await solve(PROBLEM, own, Scripted("7"))


@pytest.mark.parametrize("given", [1.0, None])
async def test_a_verifier_that_gives_no_list_is_told_so(given: Any) -> None:
    async def one(problem: Problem, candidates: Sequence[Candidate], run: Run) -> Any:
        return given

    solution = await solve(PROBLEM, BestOf(2, by=one), Scripted("7"))
    said = f"one gave {given}: a verifier returns a list, with a verdict for each candidate"
    assert solution.error == f"VerifierError: {said}"


async def test_an_error_of_a_library_names_the_line_that_called_it() -> None:
    async def reads(problem: Problem, candidates: Sequence[Candidate], run: Run) -> Any:
        return json.loads(candidates[0].text)

    solution = await solve(PROBLEM, BestOf(2, by=reads), Scripted("x"))
    assert re.search(r"reads raised JSONDecodeError: .* \(test_run.py, line \d+\)$", solution.error)


async def test_a_list_of_samples_is_no_candidate() -> None:
    async def both(problem: Problem, run: Run) -> Any:
        return await run.sample(None, problem, 2)

    with pytest.raises(InputError, match=r"both returned list, .* one of the list of `await run.sample\(...\)`"):
        await solve(PROBLEM, both, Scripted("7"))


def test_the_steps_of_a_candidate_are_no_text() -> None:
    with pytest.raises(InputError, match=r"write Candidate\(\('The answer is 7.',\)\)"):
        Candidate("The answer is 7.")  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [(7,), ["7", None], ("The answer is ", 7)])
def test_the_steps_of_a_candidate_are_texts(steps: Any) -> None:
    with pytest.raises(InputError, match=r"^Candidate: steps must be texts in a tuple, not "):
        Candidate(steps)


def test_a_list_of_steps_is_read_as_a_tuple() -> None:
    assert Candidate(["The answer ", "is 7."]) == Candidate(("The answer ", "is 7."))  # type: ignore[arg-type]
    assert hash(Candidate(["7"])) == hash(Candidate(("7",)))  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [0, -1, 2.0, "2"])
@pytest.mark.parametrize("generator", [None, Vote(2)])
async def test_a_number_of_samples_that_is_none_is_refused(generator: Generator | None, n: Any) -> None:
    async def several(problem: Problem, run: Run) -> Candidate:
        return (await run.sample(generator, problem, n))[0]

    with pytest.raises(InputError, match=r"^run.sample draws 1 sample or more: n must be a whole number, not "):
        await solve(PROBLEM, several, Scripted("The answer is 7."))


async def test_a_plain_function_is_not_mapped() -> None:
    async def mapping(problem: Problem, run: Run) -> Candidate:
        samples = await run.sample(None, problem, 2)
        return (await run.map(lambda sample, run: sample, samples))[0] or samples[0]  # type: ignore[arg-type, return-value]

    with pytest.raises(InputError, match=r"is not async: write async def$"):
        await solve(PROBLEM, mapping, Scripted("The answer is 7."))


async def test_a_model_in_the_place_of_the_strategy_and_several_problems_in_that_of_one_are_told() -> None:
    said = "the second argument is a strategy, and this is a model: write model= before it"
    with pytest.raises(InputError, match=f"^solve: {said}$"):
        await solve(PROBLEM, Scripted("7"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=f"^solve_all: {said}$"):
        _ = [each async for each in solve_all([PROBLEM], Scripted("7"))]  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^solve answers one problem, not 2: solve_all\("):
        await solve([PROBLEM, PROBLEM], Vote(2), Scripted("7"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda run: run.ask(Vote, PROBLEM), r"run.ask and run.sample: Vote is a class: write Vote\(\.\.\.\)"),
        (
            lambda run: run.ask("Vote(3)", PROBLEM),
            r'run.ask and run.sample: "Vote\(3\)" cannot be called: write parse\(',
        ),
        (lambda run: run.sample(Vote, PROBLEM, 2), "run.ask and run.sample: Vote is a class"),
        (
            lambda run: run.score(MatchesReference, PROBLEM, [Candidate(("7",))]),
            "run.score: MatchesReference is a class",
        ),
        (lambda run: run.score(None, PROBLEM, [Candidate(("7",))]), "run.score: None cannot be called"),
        (
            lambda run: run.score(MatchesReference(), PROBLEM, Candidate(("7",))),
            r"run.score judges .*: write \[candidate\]",
        ),
        (lambda run: run.criticise(Intrinsic, PROBLEM, Candidate(("7",))), "run.criticise: Intrinsic is a class"),
        (lambda run: run.call(Calculator, "3 + 4"), "run.call: Calculator is a class"),
        (lambda run: run.call(Calculator(), 7), "run.call gives a tool a text, not 7"),
    ],
)
async def test_what_a_run_cannot_call_is_told(call: Callable[[Run], Any], said: str) -> None:
    async def calling(problem: Problem, run: Run) -> Any:
        return await call(run)

    with pytest.raises(InputError, match=f"^{said}"):
        await solve(PROBLEM, calling, Scripted("The answer is 7."))


@pytest.mark.parametrize("kind", [dict.fromkeys, set, bytes])
async def test_verdicts_without_an_order_are_no_list(kind: Callable[[list[int]], Any]) -> None:
    async def judges(problem: Problem, candidates: Sequence[Candidate], run: Run) -> Any:
        return kind([*range(len(candidates))])

    solution = await solve(PROBLEM, BestOf(2, by=judges), Scripted("The answer is 7."))
    name = type(kind([])).__name__
    assert solution.error == (
        f"VerifierError: judges gave a {name}: a verifier returns a list, with a verdict for each candidate"
    )


async def test_what_is_said_of_a_reply_is_a_text_and_can_be_written_down() -> None:
    async def objects(problem: Problem, candidate: Candidate, run: Run) -> Any:
        return Feedback(ValueError("no"))  # type: ignore[arg-type]

    async def fails(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score]:
        return [Score(0.0, reason=ValueError("why")) for _ in candidates]  # type: ignore[arg-type]

    async def noting(problem: Problem, run: Run) -> Candidate:
        run.note(ValueError("odd"))  # type: ignore[arg-type]
        return await run.ask(Refine(Reason(by=fails), rounds=1), problem)

    solution = await solve(PROBLEM, Vote(1, of=Refine(objects)), Scripted("The answer is 8."))
    (note,) = solution.notes
    assert note.startswith("not revised: VerifierError: objects gave Feedback(text=ValueError('no'),")
    assert note.endswith("whose text is none: write Feedback(str(...))")
    asked = Counting(lambda request: "The answer is 8.")
    solution = await solve(PROBLEM, noting, asked)
    assert solution.notes == ("odd",)
    assert "A check of the solution failed:\n> why" in asked.requests[1].prompt
    assert msgspec.json.encode([row_of(span, "p") for span in solution.trace.walk()])


async def test_a_plain_function_is_not_mapped_over_problems() -> None:
    with pytest.raises(InputError, match=r"is not async: write async def$"):
        _ = [each async for each in map_problems(lambda problem, run: 1, [PROBLEM], Scripted(""))]  # type: ignore[arg-type, return-value]

    async def sampling(problem: Problem, run: Run) -> Any:
        return run.sample(None, problem, 2)

    with pytest.raises(InputError, match=r"^sampling returned Run.sample\(...\) without awaiting it"):
        _ = [each async for each in map_problems(sampling, [PROBLEM], Scripted(""))]


@pytest.mark.parametrize(("n", "said"), [(1, "the sample was lost"), (2, "all 2 samples were lost")])
@pytest.mark.parametrize("strategy", [lambda n: Vote(n, until=ExactStop()), lambda n: Until(length, limit=n)])
async def test_that_all_samples_were_lost_is_said_of_one_and_of_many(strategy: Any, n: int, said: str) -> None:
    async def away(request: Request) -> str:
        raise GenerationError("away")

    assert said.removeprefix("all ") in (await solve(PROBLEM, strategy(n), Scripted(away))).error


ENDING = [SystemExit(3), asyncio.CancelledError("the call was cancelled by the server")]


@pytest.mark.parametrize("error", ENDING, ids=lambda error: type(error).__name__)
async def test_what_would_end_the_process_is_an_error_of_the_users_code(error: BaseException) -> None:
    async def verifier(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[float]:
        if candidates[0].text.endswith("8"):
            raise error
        return [1.0 for _ in candidates]

    async def tool(text: str) -> str:
        raise error

    async def critic(problem: Problem, candidate: Candidate, run: Run) -> Feedback:
        raise error

    async def caller(problem: Problem, run: Run) -> Candidate:
        return Candidate((await run.call(tool, "3 + 4"),))

    async def strategy(problem: Problem, run: Run) -> Candidate:
        raise error

    said = f"RuntimeError: {type(error).__name__}: {error} (test_run.py, line "
    model = Scripted(lambda request: f"The answer is {7 + request.draw % 2}")
    until = await solve(PROBLEM, Until(verifier, limit=4, threshold=2), model)
    assert (until.scored, until.unscored) == (4, 2)
    assert said in until.why_unscored
    assert said in (await solve(PROBLEM, Vote(2, of=caller), model)).why_lost
    assert said in str((await solve(PROBLEM, Refine(critic), model)).notes)
    for spec in (strategy, Vote(2, of=strategy), Until(verifier, of=strategy)):
        with pytest.raises(RuntimeError, match=type(error).__name__):
            await solve(PROBLEM, spec, model)


async def test_a_cancellation_passes_through_verifiers_tools_and_strategies() -> None:
    begun = asyncio.Event()

    async def waits(*_: object) -> Any:
        begun.set()
        await forever()

    async def caller(problem: Problem, run: Run) -> Candidate:
        return Candidate((await run.call(waits, "3 + 4", seconds=inf),))

    for strategy in (BestOf(2, by=waits), Vote(2, of=caller), Vote(2, of=waits), Refine(waits)):
        begun.clear()
        task = asyncio.create_task(solve(PROBLEM, strategy, Scripted("The answer is 7.")))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


class Exiting:
    """A kind of answers whose function calls `exit()` for one reply."""

    asks, form = "", None

    def extract(self, text: str, *, finished: bool = True) -> str | None:
        return text[-1] if text[-1] != "8" else sys.exit("no answer here")

    def key(self, answer: str) -> str:
        return answer

    async def equal(self, answer: str, reference: str) -> bool | None:
        return answer == reference


def exits(*_: object) -> Any:
    sys.exit("no more")


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        (BestOf(2, by=OnText(exits)), "VerifierError: exits raised SystemExit: no more"),
        (Vote(2, of=Mapped(exits)), "ToolError: exits raised SystemExit: no more"),
        (Medoid(2, similarity=exits), "VerifierError: exits: SystemExit: no more"),
        (Medoid(2, similarity=Cosine(exits)), "VerifierError: Cosine(exits): SystemExit: no more"),
    ],
)
async def test_a_plain_function_that_exits_fails_as_if_it_raised(strategy: Any, said: str) -> None:
    model = Scripted(lambda request: f"The answer is {request.draw}.")
    solution = await solve(PROBLEM, strategy, model)
    assert said in solution.error + solution.why_lost


@pytest.mark.parametrize("strategy", [Model(), Vote(3)])
async def test_answers_whose_function_exits_cost_no_other(strategy: Any) -> None:
    problem = Problem("p", "What is 3 + 4?", "7", answers=Exiting())
    solution = await solve(problem, strategy, Scripted(lambda request: f"It is {8 - request.draw}"))
    assert "not graded: Exiting: SystemExit: no answer here" in solution.notes
    assert solution.answer == (None if solution.compared < 2 else "7")
