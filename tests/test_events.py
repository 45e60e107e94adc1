"""What `metagen.stream` reports, over models that are functions."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

import pytest

from metagen import (
    Account,
    Ask,
    BestFirst,
    BestOf,
    Budget,
    Candidate,
    Chain,
    CoT,
    Expanded,
    GenerationError,
    InputError,
    Judged,
    Model,
    Problem,
    ReAct,
    Refine,
    Request,
    Run,
    SampleDone,
    Score,
    Scripted,
    Solved,
    StageBegun,
    StageEnded,
    TextAdded,
    ToolCalled,
    Usage,
    Vote,
    solve,
    stream,
)
from metagen.events import Event
from metagen.run import Generator
from metagen.run.telling import Teller
from tests.support.timing import forever


async def heard(strategy: Generator | None, model: Scripted, problem: str = "3 + 4?") -> list[Event]:
    return [event async for event in stream(problem, strategy, model)]


def said(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextAdded))


def numbered(request: Request) -> str:
    return f"The answer is {(7, 7, 8, 7)[request.draw]}."


async def length(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
    return [Score(len(each.text)) for each in candidates]


async def test_the_last_event_is_the_solution_that_solve_gives() -> None:
    *before, last = await heard(Vote(4), Scripted(numbered))
    assert isinstance(last, Solved)
    assert replace(last.solution, seconds=0) == replace(await solve("3 + 4?", Vote(4), Scripted(numbered)), seconds=0)
    assert not any(isinstance(event, Solved) for event in before)


async def test_each_sample_is_reported_with_the_votes_so_far() -> None:
    samples = [event for event in await heard(Vote(4), Scripted(numbered)) if isinstance(event, SampleDone)]
    first = samples[:4]
    assert [(each.done, each.wanted, each.answer) for each in first] == [
        (1, 4, "7"),
        (2, 4, "7"),
        (3, 4, "8"),
        (4, 4, "7"),
    ]
    assert dict(first[-1].votes) == {"7": 3, "8": 1}


async def test_samples_are_reported_as_they_end_and_not_all_together() -> None:
    gates = [asyncio.Event() for _ in range(2)]

    async def gated(request: Request) -> str:
        await gates[request.draw].wait()
        return numbered(request)

    async with aclosing(stream("3 + 4?", Vote(2), Scripted(gated))) as events:
        gates[1].set()
        async for event in events:
            if isinstance(event, SampleDone):
                assert (event.number, event.done, event.wanted) == (1, 1, 2)
                return
    pytest.fail("no sample was reported before the other was done")


async def test_samples_of_a_function_are_reported_as_they_end() -> None:
    async def once(problem: Problem, run: Run) -> Candidate:
        return await run.ask(Model(), problem)

    samples = [event for event in await heard(Vote(3, of=once), Scripted(numbered)) if isinstance(event, SampleDone)]
    assert [event.done for event in samples if event.wanted == 3] == [1, 2, 3]


@pytest.mark.parametrize("strategy", [None, Model(), CoT(), Chain(Ask("{question} Plan."), Ask("{1} Now?"))])
async def test_a_single_reply_is_reported_while_it_is_written(strategy: Generator | None) -> None:
    reply = "It is not hard at all: we add them up, and so the answer is 7."
    events = await heard(strategy, Scripted(reply))
    added = [event for event in events if isinstance(event, TextAdded)]
    assert len(added) > 2
    assert said(added) == reply


@pytest.mark.parametrize("strategy", [Vote(3), Refine(rounds=1), BestOf(2, by=length), Chain(CoT(), Vote(2))])
async def test_no_text_is_reported_that_may_not_be_the_answer(strategy: Generator) -> None:
    assert said(await heard(strategy, Scripted("The answer is 7."))) == ""


async def test_thoughts_are_reported_apart() -> None:
    model = Scripted("<think>Let me add the two numbers.</think>The answer is 7, as was shown.", thinking="think")
    events = [event for event in await heard(None, model) if isinstance(event, TextAdded)]
    assert "".join(event.thought for event in events) == "Let me add the two numbers."
    assert said(events) == "The answer is 7, as was shown."


def test_what_may_be_a_mark_is_held_back_and_another_reply_is_not_told() -> None:
    events: list[Event] = []
    hearing = Teller(events.append, Problem("1", "?").answers).hearing((), 1, "", "", alone=True)
    assert hearing
    assert hearing.grew
    whole = "Seven <thin air is no mark, it is too long"
    for text in ("Seven ", "Seven <", "Seven <thin", whole, "Eight", f"{whole} and more"):
        hearing.grew("", text)
    assert [event.text for event in events if isinstance(event, TextAdded)] == ["Seven", whole.removeprefix("Seven")]


async def test_verdicts_expansions_and_tools_are_reported() -> None:
    async def echo(text: str) -> str:
        return text

    def acting(request: Request) -> str:
        return "The answer is 7." if "Observation" in request.prompt else "Action: echo[7]"

    judged = await heard(BestOf(2, by=length), Scripted(lambda request: "7" * (request.draw + 1)))
    assert [list(event.verdicts) for event in judged if isinstance(event, Judged)] == [[1.0, 2.0]]
    tree = await heard(BestFirst(8, 2, by=length), Scripted("a\nb\nThe answer is 7."))
    assert any(isinstance(event, Expanded) for event in tree)
    called = [
        event for event in await heard(ReAct((("echo", echo),)), Scripted(acting)) if isinstance(event, ToolCalled)
    ]
    assert [(event.name, event.call.output) for event in called] == [("echo", "7")]


async def test_every_stage_that_begins_ends() -> None:
    events = await heard(Chain(CoT(), Vote(2, of=Refine(rounds=1))), Scripted("The answer is 7."))
    begun = [event.path for event in events if isinstance(event, StageBegun)]
    ended = [event.path for event in events if isinstance(event, StageEnded)]
    assert begun[0] == (0,)
    assert sorted(map(str, begun)) == sorted(map(str, ended))


async def test_leaving_the_stream_cancels_the_work_and_books_it() -> None:
    account, cancelled = Account(Budget(tokens=10_000)), asyncio.Event()

    async def hanging(request: Request) -> str:
        try:
            await forever()
        finally:
            cancelled.set()
        return ""

    async with aclosing(stream("3 + 4?", Vote(2), Scripted(hanging), account=account)) as events:
        async for event in events:
            if isinstance(event, StageBegun) and event.name == "Model":
                await asyncio.sleep(0)
                break
    assert account.held.tokens == account.in_flight == 0


async def test_an_error_of_the_caller_is_raised_as_by_solve() -> None:
    with pytest.raises(InputError, match="stream: strategy"):
        await heard(7, Scripted("7"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="needs the sizes"):
        async for _ in stream("?", None, Scripted("7"), budget=Budget(flops=1.0)):
            pass


async def test_the_default_says_how_the_answer_is_drawn_and_not_what_is_asked_on_the_way() -> None:
    limits: list[int | None] = []

    def noting(request: Request) -> str:
        limits.append(request.sampling.max_tokens)
        return "The answer is 7."

    strategy = Chain(Ask("{question} Plan."), Ask("{1} Now?"))
    solution = await solve("3 + 4?", strategy, Scripted(noting), default=Model(max_tokens=5))
    assert limits == [None, 5]
    assert solution.text == "The a"


async def test_an_account_around_several_calls_keeps_their_books() -> None:
    account = Account(Budget(tokens=40))
    first = await solve("3 + 4?", None, Scripted("The answer is 7."), account=account)
    second = await solve("3 + 4?", None, Scripted("The answer is 7."), account=account)
    assert first.answer == "7"
    assert account.spent == first.usage + second.usage
    assert account.spent.tokens <= 40
    assert first.usage + Usage() == first.usage


async def test_the_samples_of_a_request_that_lost_one_are_reported_once() -> None:
    def script(request: Request) -> str:
        if request.draw == 0:
            raise GenerationError("lost")
        return numbered(request)

    events = await heard(Vote(3), Scripted(script))
    samples = [event for event in events if isinstance(event, SampleDone) and event.wanted == 3]
    assert [(each.number, each.done, each.answer) for each in samples] == [(1, 1, "7"), (2, 2, "8")]
    assert dict(samples[-1].votes) == {"7": 1, "8": 1}


async def test_samples_of_limited_thoughts_are_reported_with_their_answers() -> None:
    def script(request: Request) -> str:
        if request.tokens and not request.open:
            return "The answer is 7."
        return "<think>\n" + "a" * 50

    events = await heard(Vote(3, of=Model(thinking=12)), Scripted(script, thinking="think"))
    samples = [event for event in events if isinstance(event, SampleDone) and event.wanted == 3]
    assert [(each.done, each.text, each.answer) for each in samples] == [
        (n, "The answer is 7.", "7") for n in (1, 2, 3)
    ]
    assert dict(samples[-1].votes) == {"7": 3}
