import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from metagen import BestOf, Candidate, InputError, OnText, Problem, Run, Score, Scripted, parse, solve


def shortest(prompt: str, text: str) -> float:
    return -len(text)


async def verdicts(function: Callable[[str, str], Any], *texts: str) -> list[Score | None]:
    found: list[Score | None] = []

    async def strategy(problem: Problem, run: Run) -> Candidate:
        found.extend(await run.score(OnText(function), problem, [Candidate((text,)) for text in texts]))
        return Candidate(("done",))

    solution = await solve("What?", strategy)
    assert not solution.failed, solution.error
    return found


async def test_a_plain_function_judges_texts() -> None:
    replies = ["long", "s", "longer"]
    strategy = parse("BestOf(3, by=OnText(shortest))", {"shortest": shortest})
    assert repr(strategy) == "BestOf(3, by=OnText(shortest))"
    assert (await solve("?", strategy, Scripted(lambda request: replies[request.draw]))).text == "s"


async def test_it_gives_a_number_a_score_or_no_verdict() -> None:
    given: dict[str, Any] = {"a": 1, "b": True, "c": None, "d": Score(0.5, (0.5,), "why")}
    assert await verdicts(lambda prompt, text: given[text], *"abcd") == [
        Score(1.0),
        Score(1.0),
        None,
        Score(0.5, (0.5,), "why"),
    ]


async def test_it_sees_the_question_and_runs_off_the_loop() -> None:
    seen = []

    def look(prompt: str, text: str) -> float:
        seen.append((prompt, text, threading.current_thread() is threading.main_thread()))
        return 0.0

    await verdicts(look, "a", "b")
    assert seen == [("What?", "a", False), ("What?", "b", False)]


async def test_the_loop_goes_on_while_a_function_works() -> None:
    gate = threading.Event()

    def waits(prompt: str, text: str) -> float:
        return float(gate.wait())

    asking = asyncio.create_task(verdicts(waits, "a"))
    await asyncio.sleep(0)
    gate.set()
    assert await asking == [Score(1.0)]


async def test_who_is_cancelled_is_not_asked_about_the_next() -> None:
    begun, gate, seen = threading.Event(), threading.Event(), []

    def waits(prompt: str, text: str) -> float:
        seen.append(text)
        begun.set()
        return float(gate.wait())

    asking = asyncio.create_task(verdicts(waits, "a", "b"))
    await asyncio.to_thread(begun.wait, 10)
    asking.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert seen == ["a"]


@pytest.mark.parametrize("given", ["1", float("nan"), [1.0]])
async def test_what_is_no_number_is_the_failure_of_the_verifier(given: Any) -> None:
    solution = await solve("?", BestOf(2, by=OnText(lambda prompt, text: given)), Scripted("x"))
    assert solution.error == f"VerifierError: <lambda> gave {given!r}: a verdict is a Score with a number, or None"


async def test_what_it_raises_is_the_failure_of_the_verifier() -> None:
    def fails(prompt: str, text: str) -> float:
        raise KeyError(text)

    solution = await solve("?", BestOf(2, by=OnText(fails)), Scripted("x"))
    assert solution.error.startswith("VerifierError: fails raised KeyError: 'x' (test_plain.py, line ")


async def test_one_candidate_that_it_fails_on_costs_no_other_its_verdict() -> None:
    def reads(prompt: str, text: str) -> float:
        return float(text)

    for text, said in (("many", "raised ValueError: could not convert"), ("nan", "gave nan: a verdict is a Score")):
        replies = iter(["1", text, "3", "2"])
        solution = await solve("?", BestOf(4, by=OnText(reads)), Scripted(lambda _: next(replies)))  # noqa: B023
        assert (solution.text, solution.unscored) == ("3", 1)
        (note,) = solution.notes
        assert note.startswith(f"no verdict on 1 of 4 candidates; the first: reads {said}")


async def verifier(prompt: str, text: str) -> float:
    return 0.0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: OnText(len), "OnText: <built-in function len> is not a function of"),  # type: ignore[arg-type]
        (lambda: OnText(verifier), "OnText: verifier is async: make it a verifier"),  # type: ignore[arg-type]
        (lambda: OnText(str), "is not a function of"),  # type: ignore[arg-type]
        (lambda: BestOf(2, by=shortest), "is not a verifier, .*; a plain function of .* goes into OnText"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_plain_function_is_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()
