"""One rule for replies that are written in several requests: what is there is kept where the rest finds no room."""

from collections.abc import Sequence

import pytest

from metagen import (
    Budget,
    Candidate,
    DeepConf,
    Problem,
    Request,
    Run,
    Scripted,
    Solution,
    UnfitRequest,
    Vote,
    Within,
    parse,
    solve,
)
from metagen.run import Generator
from tests.strategies.test_thinking import Thinker
from tests.support.scripts import NAMES

PROBLEM = Problem("p", "?", "a")
IN_SEVERAL_REQUESTS = [
    "Model(thinking=12)",
    "Model(thinking=100)",
    'Model(stop=(" is",))',
    'Model(form={"choice": ("a", "b")})',
    "Think(12)",
    "Think(100, waits=1)",
    "EarlyExit(12)",
    "EarlyExit(12, tokens=24)",
    "Shortest(1, n=1, every=9)",
    "Vote(1, of=Think(12))",
]


def read(spec: str) -> Generator:
    strategy: Generator = parse(spec, NAMES)
    return strategy


def check_kept(solution: Solution) -> bool:
    """Whether the reply was cut. Nothing of it is lost, and what broke off before its answer gives none."""
    assert (solution.error, solution.lost, solution.why_lost) == ("", 0, "")
    assert solution.candidate is not None
    assert solution.candidate.thought
    assert solution.answer is None or not solution.candidate.open
    return solution.candidate.cut


@pytest.mark.parametrize("spec", IN_SEVERAL_REQUESTS)
async def test_a_budget_cuts_a_reply_wherever_a_request_ends(spec: str) -> None:
    limits = [Within(tokens=tokens, of=read(spec)) for tokens in (*range(13, 160, 3), 2000)]
    cut = [check_kept(await solve(PROBLEM, within, Thinker(30))) for within in limits]
    assert (cut[0], cut[-1]) == (True, False)
    run = await solve(PROBLEM, read(spec), Thinker(30), budget=Budget(tokens=30))
    assert check_kept(run)
    assert run.unfinished


@pytest.mark.parametrize("spec", [spec for spec in IN_SEVERAL_REQUESTS if "form" not in spec])
async def test_the_context_cuts_a_reply_wherever_a_request_ends(spec: str) -> None:
    cut = []
    for context in range(12, 120):
        backend = Thinker(30)
        backend.context = context
        cut.append(check_kept(await solve(PROBLEM, read(spec), backend)))
    assert (cut[0], cut[-1]) == (True, False)


async def test_a_chunk_that_finds_no_room_costs_no_sample() -> None:
    async def alike(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[float]:
        return [1.0] * len(candidates)

    cut = 0
    for tokens in range(80, 400, 7):
        strategy = Within(tokens=tokens, of=DeepConf(3, by=alike, warmup=1, chunk=12))
        solution = await solve(PROBLEM, strategy, Thinker(30))
        assert solution.error == ""
        assert solution.lost <= 1, "one that was never begun ends the drawing"
        cut += any(note.startswith("a sample is cut") for note in solution.notes)
    assert cut


async def test_a_form_that_the_model_does_not_take_is_a_lost_sample_and_no_cut_one() -> None:
    class Refusing(Thinker):
        def _go_on(self, request: Request) -> str:
            if request.sampling.form:
                raise UnfitRequest("it knows no such form")
            return super()._go_on(request)

    solution = await solve(PROBLEM, read('Model(form={"regex": "a+"})'), Refusing(30))
    assert "it knows no such form" in solution.error


async def test_samples_that_were_never_begun_are_lost() -> None:
    solution = await solve(PROBLEM, Vote(2, of=read("Think(12)")), Scripted("a", context=1, thinking="qwen3"))
    assert (solution.lost, solution.failed) == (2, True)


@pytest.mark.parametrize(
    "spec", ['Model(stop=("END",))', "Vote(2, of=Model(thinking=9))", "Beam(2, 2, by=brief, step=8)"]
)
async def test_where_nothing_was_thought_there_is_nothing_to_keep(spec: str) -> None:
    """A model that could think does not, so that its reply is drawn anew, for which there is no room."""
    backend = Scripted(lambda request: "The answer is a."[len(request.partial) :], thinking="qwen3")
    for tokens in range(2, 120):
        solution = await solve(PROBLEM, read(spec), backend, budget=Budget(tokens=tokens))
        assert (solution.candidate is None) == ("BudgetExceeded" in solution.error)
        assert solution.candidate is None or solution.text
