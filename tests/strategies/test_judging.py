"""A verifier that fails on one sample, in strategies that ask it for one verdict after another."""

from collections.abc import Sequence

import pytest

from metagen import Candidate, Generator, Problem, Run, Score, Scripted, VerifierError, parse, solve, solve_all

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
    names = {"returns_text": returns_text, "raises": raises, "always_raises": always_raises}
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
