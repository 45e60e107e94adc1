"""A verifier that fails on one sample, in strategies that ask it for one verdict after another."""

import re
from collections.abc import Sequence

import pytest

from metagen import (
    Candidate,
    Generator,
    Problem,
    Request,
    Run,
    Score,
    Scripted,
    VerifierError,
    parse,
    solve,
    solve_all,
)
from metagen.strategies.judging import TRIES
from tests.support.scripts import brief

PROBLEM = Problem("p", "What is 3 + 4?", "7")
ANSWERS = ["6", "8", "7", "7", "7", "7", "7", "7"]


async def returns_text(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | str]:
    """A verifier that gives no number for an 8."""
    return ["none" if "8" in candidate.text else _score(candidate) for candidate in candidates]


async def raises(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score]:
    if any("8" in candidate.text for candidate in candidates):
        raise VerifierError("out of order")
    return [_score(candidate) for candidate in candidates]


async def always_raises(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score]:
    raise VerifierError("out of order")


def _score(candidate: Candidate) -> Score:
    return Score(0.9 if "7" in candidate.text else 0.1)


def model() -> Scripted:
    """Answers 6, 8 and then 7."""
    return Scripted(lambda request: f"The answer is {ANSWERS[request.draw + ('Improve' in request.prompt)]}.")


def read(spec: str) -> Generator:
    names = {"returns_text": returns_text, "raises": raises, "always_raises": always_raises, "brief": brief}
    strategy: Generator = parse(spec, names)
    return strategy


ASKED_SINGLY = [
    "Until({by}, limit=4, threshold=0.5)",
    "Until({by}, limit=3, window=2)",
    "Vote(8, by={by}, until=ConsensusStop(0.6, least=4), window=2)",
    "Tournament(5, by={by})",
    "DeepConf(6, by={by}, warmup=1, chunk=400, keep=1.0)",
]


@pytest.mark.parametrize("by", ["returns_text", "raises"])
@pytest.mark.parametrize("spec", ASKED_SINGLY)
async def test_a_verifier_that_fails_on_one_sample_costs_no_other_its_verdict(spec: str, by: str) -> None:
    solution = await solve(PROBLEM, read(spec.format(by=by)), model(), seed=1)
    assert solution.answer == "7"
    assert any("no verdict on " in note for note in solution.notes)


@pytest.mark.parametrize("spec", ASKED_SINGLY)
async def test_a_verifier_that_fails_on_all_is_an_error(spec: str) -> None:
    solution = await solve(PROBLEM, read(spec.format(by="always_raises")), model(), seed=1)
    assert (solution.answer, solution.error) == (None, "VerifierError: out of order")


@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize(
    "spec", ["Until({by}, limit=64, {window})", "Vote(64, by={by}, until=ConsensusStop(0.95, least=8), {window})"]
)
async def test_a_broken_verifier_is_noticed_before_all_samples_are_paid_for(spec: str, window: int) -> None:
    given = spec.format(by="always_raises", window=f"window={window}")
    solution = await solve(PROBLEM, read(given), Scripted("The answer is 7."), seed=1)
    assert solution.error == "VerifierError: out of order"
    assert solution.usage.calls <= TRIES + window - 1


@pytest.mark.parametrize("spec", ["Until(late, limit=64)", "Vote(9, by=late, until=ConsensusStop(0.95, least=8))"])
async def test_a_verifier_that_fails_at_first_is_asked_on(spec: str) -> None:
    asked: list[str] = []

    async def late(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score]:
        asked.extend(candidate.text for candidate in candidates)
        if len(asked) < TRIES:
            raise VerifierError("not yet")
        return [Score(1.0)]

    solution = await solve(PROBLEM, parse(spec, {"late": late}), Scripted("The answer is 7."), seed=1)
    assert (solution.answer, solution.error) == ("7", "")
    assert any(note.startswith(f"no verdict on {TRIES - 1} of ") for note in solution.notes)


SEARCHES = [
    "Beam(4, 2, by={by})",
    "DVTS(2, 2, by={by})",
    "Rebase(4, by={by})",
    "ParticleFilter(4, by={by})",
    "BestFirst(8, 2, by={by})",
    "MCTS(8, 2, by={by}, window=2)",
    "ABMCTS(8, by={by}, window=2)",
]


def two_steps(request: Request) -> str:
    """Writes a step, then an answer: 8 at first."""
    if not request.partial and "Previous" not in request.prompt:
        return f"Step {request.draw}.\nThe answer is 7."
    return f"The answer is {8 if request.draw % 2 == 0 else 7}."


@pytest.mark.parametrize("by", ["returns_text", "raises"])
@pytest.mark.parametrize("spec", SEARCHES)
async def test_a_verifier_that_fails_on_an_expansion_of_a_search_costs_no_child(spec: str, by: str) -> None:
    solution = await solve(PROBLEM, read(spec.format(by=by)), Scripted(two_steps), seed=1)
    assert (solution.error, solution.lost) == ("", 0)
    assert "8" in solution.answers
    assert any(re.match("no verdict on .*; the first: ", note) for note in solution.notes)
    assert not any("subtrees are lost" in note for note in solution.notes)


@pytest.mark.parametrize("spec", SEARCHES)
async def test_a_search_without_any_verdict_is_an_error_if_the_verifier_failed(spec: str) -> None:
    solution = await solve(PROBLEM, read(spec.format(by="always_raises")), Scripted(two_steps), seed=1)
    assert (solution.answer, solution.error) == (None, "VerifierError: out of order")
    assert solution.usage.calls <= 2, "what was under way, and no more"


@pytest.mark.parametrize("spec", SEARCHES)
async def test_an_oracle_that_fails_does_not_end_a_search(spec: str) -> None:
    strategy = read(spec.format(by="brief, until=raises"))
    solution = await solve(PROBLEM, strategy, Scripted(two_steps), seed=1)
    assert (solution.error, solution.lost) == ("", 0)
    assert solution.answer in ("7", "8")
    assert "no verdict on whether to end the search: out of order" in solution.notes


@pytest.mark.parametrize("spec", [*ASKED_SINGLY, *SEARCHES])
async def test_verdicts_that_a_verifier_failed_to_give_are_counted(spec: str) -> None:
    solution = await solve(PROBLEM, read(spec.format(by="always_raises")), Scripted(two_steps), seed=1)
    assert solution.scored == solution.unscored > 0
    assert solution.why_unscored == "always_raises: VerifierError: out of order"


@pytest.mark.parametrize("keep", ["last", "best"])
async def test_a_version_without_a_verdict_is_revised(keep: str) -> None:
    solution = await solve(PROBLEM, read(f'Refine(by=raises, threshold=0.5, keep="{keep}")'), replies("8", "7"))
    assert solution.answer == "7"
    assert any(note.endswith("the first: out of order") for note in solution.notes)


async def test_a_verifier_that_only_ends_a_refinement_costs_no_version() -> None:
    solution = await solve(PROBLEM, read("Refine(by=always_raises, rounds=1)"), replies("8", "7"))
    assert (solution.answer, solution.error) == ("7", "")
    solution = await solve(PROBLEM, read('Refine(by=always_raises, rounds=1, keep="best")'), replies("8", "7"))
    assert solution.error == "VerifierError: out of order"


async def test_an_answer_that_teaches_nothing_is_an_answer() -> None:
    strategy = read("Bandit((Model(), CoT()), by=raises)")
    problems = [Problem(str(number), "What is 4 + 4?", "8") for number in range(3)]
    async for solution in solve_all(problems, strategy, Scripted("The answer is 8."), seed=1):
        assert solution.answer == "8"
        assert "no verdict on the answer: out of order" in solution.notes


def replies(*answers: str) -> Scripted:
    """A model that gives these answers, one after the other."""
    waiting = iter(answers)
    return Scripted(lambda request: f"The answer is {next(waiting, answers[-1])}.")
