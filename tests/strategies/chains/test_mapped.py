from collections.abc import Callable
from typing import Any

import pytest

from metagen import Candidate, CoT, InputError, Mapped, Model, Problem, Request, Run, Scripted, Vote, parse, solve
from tests.support.scripts import Counting


def last_line(text: str) -> str:
    """The answer alone."""
    return text.splitlines()[-1]


def same(text: str) -> str:
    return text


async def late_map(text: str) -> str:
    return text


def framed(text: str) -> str:
    """The same answer in another text."""
    return f"Here it is.\n{text}"


SPECS = ["Mapped(framed)"]
WRAPPERS = ["Mapped(framed, of={})"]
GIVEN = {"framed": framed}

PROBLEM = Problem("p", "What is 3 + 4?", "7")


async def test_samples_share_one_request_and_each_is_changed() -> None:
    backend = Counting(lambda request: f"{request.draw}\nThe answer is {request.draw % 3}.")
    solution = await solve(PROBLEM, Vote(8, of=Mapped(last_line, of=CoT())), backend)
    assert [request.n for request in backend.requests] == [8]
    assert (solution.text, solution.samples) == ("The answer is 0.", 8)


async def test_one_reply_is_changed() -> None:
    assert (await solve(PROBLEM, Mapped(by=str.upper, of=Model()), Scripted("seven"))).text == "SEVEN"


def whole(text: str) -> str:
    """Fails on some texts."""
    return f"The answer is {int(text)}."


async def test_what_it_raises_costs_that_sample_alone() -> None:
    def script(request: Request) -> str:
        return ["07", "x", "7"][request.draw]

    solution = await solve(PROBLEM, Vote(3, of=Mapped(whole)), Scripted(script))
    assert (solution.answer, solution.samples, solution.lost) == ("7", 2, 1)
    alone = await solve(PROBLEM, Mapped(whole), Scripted("x"))
    assert alone.error.startswith("ToolError: whole raised ValueError: ")
    none = await solve(PROBLEM, Vote(2, of=Mapped(whole)), Scripted("x"))
    assert "whole raised ValueError" in none.error


async def test_what_is_no_text_costs_the_sample() -> None:
    solution = await solve(PROBLEM, Mapped(len), Scripted("x"))  # type: ignore[arg-type]
    assert solution.error.endswith("returned int, not a text")


async def test_a_text_that_stays_keeps_its_ids_and_a_new_one_has_none() -> None:
    async def ids(problem: Problem, run: Run) -> Candidate:
        kept = await run.ask(Mapped(same), problem)
        assert kept.tokens == tuple(map(ord, kept.text))
        changed = await run.ask(Mapped(last_line, of=Model(max_tokens=3)), problem)
        assert (changed.text, changed.tokens, changed.cut, changed.finished) == ("b", (), True, False)
        return changed

    assert not (await solve(PROBLEM, ids, Scripted("a\nbc"))).failed


def thinking(text: str) -> Scripted:
    """A reasoning model that says so."""
    return Scripted(text, thinking="qwen3")


@pytest.mark.parametrize("by", [str.upper, same, str.strip])
async def test_a_thought_stays(by: Callable[[str], str]) -> None:
    backend = thinking("<think>\nHm.\n</think>\n\nthe answer is 7.")
    for strategy in (Mapped(by), Vote(2, of=Mapped(by))):
        candidate = (await solve(PROBLEM, strategy, backend)).candidate
        assert candidate is not None
        assert (candidate.text, candidate.thought.strip()) == (by("the answer is 7."), "Hm.")
        assert (candidate.thought_tokens > 0, candidate.open) == (True, False)


async def test_a_thought_without_an_end_is_not_made_an_answer() -> None:
    def adds(text: str) -> str:
        return f"{text}The answer is {len(text)}. So much for that."

    solution = await solve(PROBLEM, Mapped(adds), thinking("<think>\nHm, and so on"))
    assert solution.candidate is not None
    assert (solution.candidate.open, solution.text, solution.answer) == (True, "", None)
    assert (await solve(PROBLEM, Mapped(adds), Scripted(""))).answer == "0"


async def test_a_changed_text_has_nothing_that_was_known_of_the_old_one() -> None:
    strategy = Mapped(last_line, of=Model(top_logprobs=2))
    candidate = (await solve(PROBLEM, strategy, Scripted("a\nb"))).candidate
    assert candidate == Candidate(("b",))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Mapped("x"), 'Mapped: by="x" is not a function of the text of a reply'),  # type: ignore[arg-type]
        (lambda: Mapped(str), "Mapped: by=.* is not a function"),
        (lambda: Mapped(late_map), "Mapped: by=late_map is async: write a plain def"),  # type: ignore[arg-type]
        (lambda: Mapped(same, of=3), "Mapped: of=3 is not a strategy"),  # type: ignore[arg-type]
    ],
)
def test_nonsense_is_refused(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()


def test_its_text_can_be_read_back() -> None:
    strategy = Vote(8, of=Mapped(framed, of=CoT()))
    assert parse(repr(strategy), GIVEN) == strategy
