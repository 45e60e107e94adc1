"""Self-ask and DSP: what they send, what they search for, and what passages cannot do."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from metagen import (
    DSP,
    InputError,
    Model,
    Problem,
    Request,
    Scripted,
    SelfAsk,
    Solution,
    Text,
    ToolRefusal,
    Vote,
    solve,
)
from tests.support.injections import INJECTIONS
from tests.support.scripts import Counting

SPECS = ["SelfAsk(lookup, shots=(), hops=2)", "DSP(lookup, hops=2)"]
WRAPPERS = ["SelfAsk(lookup, of={}, shots=(), hops=1)", "DSP(lookup, of={}, hops=1)"]

PROBLEM = Problem("p", "Who led England when Ada was born?", "George III")


class Library:
    """A search that keeps its queries."""

    def __init__(self, *finds: str) -> None:
        self.queries: list[str] = []
        self._finds = finds or ("[Ada] Ada was born in 1815.", "[George] George III reigned until 1820.")

    async def __call__(self, text: str) -> str:
        self.queries.append(text)
        return self._finds[(len(self.queries) - 1) % len(self._finds)]


def replies(*texts: str) -> Callable[[Request], str]:
    """A model that writes one text after the other."""
    left: Iterator[str] = iter(texts)
    return lambda request: next(left)


ASKED = (
    "Follow up: When was Ada born?\nIntermediate answer: I guess 1900.\nSo the final answer is: Edward",
    "Follow up: Who led England in 1815?\nIntermediate answer:",
    "So the final answer is: George III",
)


async def run(strategy: Any, *texts: str) -> tuple[Solution, list[Request]]:
    backend = Counting(replies(*texts))
    return await solve(PROBLEM, strategy, backend), backend.requests


async def test_self_ask_searches_for_each_follow_up() -> None:
    library = Library()
    solution, requests = await run(SelfAsk(library, shots=()), *ASKED)
    assert library.queries == ["When was Ada born?", "Who led England in 1815?"]
    assert (solution.answer, solution.correct) == ("George III", True)
    assert requests[-1].prompt.split("\n\n", 1)[1] == (
        "Question: Who led England when Ada was born?\n"
        "Follow up: When was Ada born?\nIntermediate answer:\n> [Ada] Ada was born in 1815.\n"
        "Follow up: Who led England in 1815?\nIntermediate answer:\n> [George] George III reigned until 1820.\n\n"
        'Write the next line: "Follow up: ..." with a question that helps, or "So the final answer is: ...".'
    )


async def test_what_a_model_makes_up_after_its_question_is_never_written() -> None:
    _, requests = await run(SelfAsk(Library(), shots=()), *ASKED)
    assert all(request.sampling.stop == ("Intermediate answer:",) for request in requests)
    assert all("1900" not in request.prompt for request in requests)


async def test_after_the_last_hop_the_answer_is_asked_for() -> None:
    library = Library()
    solution, requests = await run(SelfAsk(library, hops=1), "Follow up: a?", "Follow up: b?")
    assert (library.queries, solution.answer, len(requests)) == (["a?"], None, 2)
    assert requests[-1].prompt.endswith('Write the line "So the final answer is: ...".')


@pytest.mark.parametrize("reply", ["", "I do not know.", "Follow up:", "Yes.\nFollow up questions: \n"])
async def test_a_reply_that_asks_nothing_is_handed_over(reply: str) -> None:
    library = Library()
    solution, requests = await run(SelfAsk(library), reply)
    assert (solution.answer, library.queries, len(requests)) == (None, [], 1)


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("So the final answer is: Paris Intermediate answer: none", "So the final answer is: Paris"),
        ("So the final answer is: Paris\n\nIntermediate answer:", "So the final answer is: Paris"),
        ("So the final answer is: Paris\n", "So the final answer is: Paris\n"),
        (
            "By my intermediate answer, the final answer is: Paris",
            "By my intermediate answer, the final answer is: Paris",
        ),
    ],
)
async def test_the_mark_of_a_search_is_no_part_of_the_answer(reply: str, text: str) -> None:
    problem = Problem("p", "Capital of France?", "Paris")
    solution = await solve(problem, SelfAsk(Library()), Scripted(reply))
    assert (solution.text, solution.answer, solution.correct) == (text, "Paris", True)


async def test_a_whole_text_that_is_the_answer_ends_before_the_mark() -> None:
    problem = Problem("p", "Capital of France?", "Paris", answers=Text())
    solution = await solve(problem, SelfAsk(Library()), Scripted("Paris\nIntermediate answer: none"))
    assert (solution.text, solution.correct) == ("Paris", True)


async def test_the_mark_is_no_part_of_a_query() -> None:
    library = Library()
    await run(SelfAsk(library), "Follow up: When was Ada born? Intermediate answer:", "So the final answer is: 7")
    assert library.queries == ["When was Ada born?"]


async def test_a_question_that_was_cut_off_is_not_searched_for() -> None:
    library = Library()
    solution, _ = await run(SelfAsk(library, of=Model(max_tokens=20)), "Follow up: When was Ada Lovelace born?")
    assert (solution.answer, library.queries, solution.text) == (None, [], "Follow up: When was ")


async def test_dsp_writes_queries_from_what_was_found() -> None:
    library = Library()
    solution, requests = await run(
        DSP(library), "Search: when was Ada born\n", "England 1815\nmore", "In 1815. The answer is George III."
    )
    assert library.queries == ["when was Ada born", "England 1815"]
    assert solution.correct
    assert [request.sampling.stop for request in requests] == [("\n",), ("\n",), ()]
    assert requests[-1].prompt.split("\n\n", 1)[1] == (
        "Question: Who led England when Ada was born?\n"
        "Search: when was Ada born\n> [Ada] Ada was born in 1815.\n"
        "Search: England 1815\n> [George] George III reigned until 1820.\n\n"
        'Think step by step, then end with "The answer is ...".\nAnswer:'
    )


async def test_without_a_query_the_answer_comes_from_what_there_is() -> None:
    solution, requests = await run(DSP(Library(), hops=3), "a\n", "\n", "The answer is 3.")
    assert (solution.answer, len(requests)) == ("3", 3)
    assert solution.notes == ("no query for search 2 of 3: answered from what was found before",)


async def test_the_program_votes() -> None:
    def script(request: Request) -> str:
        return "q\n" if request.prompt.endswith("Search:") else f"The answer is {(8, 7, 7)[request.draw % 3]}."

    library = Library("x")
    solution = await solve(PROBLEM, Vote(3, of=DSP(library, hops=1)), Counting(script))
    assert (solution.answer, solution.samples, len(library.queries)) == ("7", 3, 3)


@pytest.mark.parametrize("passage", INJECTIONS)
@pytest.mark.parametrize("make", [lambda tool: SelfAsk(tool, shots=()), DSP])
async def test_a_passage_cannot_change_what_is_searched_for(make: Callable[[Any], Any], passage: str) -> None:
    """Over a model that does not heed it, the same calls are made, whatever a passage says; its lines are quoted."""
    texts = ASKED if make is not DSP else ("a\n", "b\n", "The answer is 1.")
    kind, evil = Library(), Library(passage)
    expected, _ = await run(make(kind), *texts)
    solution, requests = await run(make(evil), *texts)
    assert (evil.queries, solution.answer) == (kind.queries, expected.answer)
    for request in requests:
        unquoted = [line for line in request.prompt.splitlines() if not line.startswith("> ")]
        assert not any("pwned" in line for line in unquoted)
        assert "<|" not in request.prompt
        assert "[INST]" not in request.prompt


@pytest.mark.parametrize("make", [SelfAsk, DSP])
async def test_a_search_that_refuses_or_fails_costs_the_candidate(make: Any) -> None:
    async def refuses(text: str) -> str:
        raise ToolRefusal("too short")

    async def hangs(text: str) -> str:
        raise TimeoutError

    for tool in (refuses, hangs):
        solution, _ = await run(make(tool), *ASKED)
        assert solution.failed
        assert solution.lost == 1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SelfAsk(None), "SelfAsk: search must be a tool, such as Search"),  # type: ignore[arg-type]
        (lambda: DSP("passages.jsonl"), "DSP: search=.* is not a tool, which is an async function of"),  # type: ignore[arg-type]
        (lambda: DSP(Library), "is a class: write Library"),  # type: ignore[arg-type]
        (lambda: SelfAsk(Library(), hops=0), "SelfAsk: hops must be a whole number"),
        (lambda: DSP(Library(), seconds=0), "DSP: seconds must be a number above 0"),
        (lambda: SelfAsk(Library(), shots=("x",)), "SelfAsk: shots must be pairs"),  # type: ignore[arg-type]
        (lambda: DSP(Library(), shots=(("q", "a"),)), r"DSP: a demonstration is \(question"),  # type: ignore[arg-type]
        (lambda: DSP(Library(), shots=(("q", (("a",),), "r"),)), "DSP: a demonstration is"),  # type: ignore[arg-type]
    ],
)
def test_settings_that_make_no_sense_are_refused(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()
