"""A tool that hangs, raises or floods costs one candidate; `Run.call` is the edge."""

import asyncio
from typing import Any

import pytest

from metagen import (
    Account,
    BackendGone,
    Budget,
    Calculator,
    Candidate,
    Generator,
    InputError,
    Problem,
    Request,
    Run,
    Scripted,
    Solution,
    Tool,
    ToolRefusal,
    Vote,
    solve,
    solve_all,
)
from metagen.trace import Call
from tests.support.timing import Clock, forever, outlast

PROBLEM = Problem("p", "What is 3 + 4?", "7")


async def hangs(text: str) -> str:
    await outlast()
    return text


async def raises(text: str) -> str:
    raise KeyError(text)


async def floods(text: str) -> str:
    return "x" * 1_000_000


async def times_out(text: str) -> str:
    raise TimeoutError("the socket")


async def gives_a_number(text: str) -> Any:
    return 7


async def forgets_to_await(text: str) -> Any:
    return refuses(text)


def is_not_async(text: str) -> Any:
    return text


async def refuses(text: str) -> str:
    raise ToolRefusal("no vowels, please")


BROKEN = {
    hangs: "ToolError: hangs took longer than 60 s",
    raises: "ToolError: raises raised KeyError: '3 + 4'",
    floods: "ToolError: floods said 1000000 characters, and at most 20000 are read",
    times_out: "ToolError: times_out raised TimeoutError: the socket",
    gives_a_number: "ToolError: gives_a_number returned int, not a text",
    forgets_to_await: "ToolError: forgets_to_await returned refuses(...) without awaiting it: write await before",
    is_not_async: "ToolError: is_not_async is not async: write async def",
    refuses: "ToolRefusal: no vowels, please",
}


def calling(*tools: Tool) -> Generator:
    """A strategy whose sample i calls tool i."""

    async def caller(problem: Problem, run: Run) -> Candidate:
        first = await run.ask(None, problem)
        said = await run.call(tools[int(first.text) % len(tools)], "3 + 4", seconds=60.0)
        return Candidate((f"The answer is {said}.",))

    return caller


async def solved(*tools: Tool, n: int) -> Solution:
    return await solve(PROBLEM, Vote(n, of=calling(*tools)), Scripted(lambda request: str(request.draw)))


@pytest.mark.parametrize(("tool", "error"), BROKEN.items())
async def test_a_broken_tool_costs_one_candidate(tool: Tool, error: str) -> None:
    solution = await solved(Calculator(), tool, Calculator(), n=3)
    assert (solution.answer, solution.samples, solution.lost) == ("7", 2, 1)
    (lost,) = [span for span in solution.trace.walk() if span.name == "caller" and span.status == "lost"]
    assert lost.error.startswith(error)


async def test_a_call_has_a_span_with_what_went_in_and_out() -> None:
    solution = await solved(Calculator(), refuses, n=2)
    calls = [(span.name, span.call) for span in solution.trace.walk() if span.call]
    assert calls == [
        ("Calculator", Call("3 + 4", "7")),
        ("refuses", Call("3 + 4", refusal="no vowels, please")),
    ]


@pytest.mark.parametrize("error", [InputError("no corpus"), BackendGone("gone")])
async def test_what_ends_a_run_ends_it_from_a_tool_too(error: Exception) -> None:
    async def tool(text: str) -> str:
        raise error

    with pytest.raises(type(error), match=str(error)):
        await solved(tool, n=2)


async def test_no_call_begins_after_the_deadline() -> None:
    called: list[str] = []

    async def tool(text: str) -> str:
        called.append(text)
        return text

    def slow(request: Request) -> str:
        clock.now += 6
        return "0"

    clock = Clock()
    account = Account(Budget(seconds=5), clock=clock)
    (solution,) = [each async for each in solve_all([PROBLEM], calling(tool), Scripted(slow), account=account)]
    assert "BudgetExceeded" in solution.error
    assert not called


async def test_a_cancelled_call_is_cancelled_inside() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def tool(text: str) -> str:
        begun.set()
        try:
            await forever()
        finally:
            ended.set()
        return text

    task = asyncio.create_task(solve(PROBLEM, calling(tool), Scripted("0")))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
