from collections.abc import Hashable, Sequence

import pytest

from metagen import (
    BestOf,
    Candidate,
    ExactStop,
    GenerationError,
    Generator,
    InputError,
    MatchesReference,
    Model,
    Problem,
    Request,
    Run,
    Score,
    Scripted,
    Sigmoid,
    Verifier,
    Vote,
    WeightError,
    Within,
    solve,
    solve_all,
)
from metagen.strategies.parallel.stopping import Stop
from tests.support.scripts import Counting, two_votes

SPECS = ["Vote(5)", "Vote(3, by=length)", "Vote(5, until=two_votes)", "BestOf(4, by=length)"]
WRAPPERS = ["Vote(3, of={})", "Vote(3, of={}, by=length)", "BestOf(2, of={}, by=length)"]

PROBLEM = Problem("p", "What is 3 + 4?", "7")


def saying(*answers: str) -> Scripted:
    """A model whose draws say these answers in turn."""
    return Scripted(lambda request: answers[request.draw])


def giving(*values: float | None) -> Verifier:
    """A verifier with these verdicts."""

    async def verifier(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        return [None if value is None else Score(value) for value in values[: len(candidates)]]

    return verifier


def boxed(*answers: str) -> list[str]:
    return [f"So \\boxed{{{answer}}}" for answer in answers]


async def test_equal_answers_vote_together_however_they_are_written() -> None:
    solution = await solve(PROBLEM, Vote(5), saying(*boxed("3", "1/2", "3", "0.5", r"\frac12")))
    assert solution.answer == "1/2"


def losing(*lost: int) -> Counting:
    """A model that loses the draws with these numbers."""

    def script(request: Request) -> str:
        if request.draw in lost:
            raise GenerationError("away")
        return "The answer is 1."

    return Counting(script)


@pytest.mark.parametrize(
    ("lost", "left", "requests"),
    [
        ((), [9, 8, 7, 6, 5], 5),
        ((0, 1, 2, 3), [5, 4, 3], 7),  # six may come at most, so three that agree are enough
        ((1, 3, 5), [9, 7, 5, 3], 7),
        (tuple(range(6)), [3, 2], 8),
        (tuple(range(9)), [0], 10),
    ],
)
@pytest.mark.parametrize("window", [1, 3, 20])
async def test_a_rule_is_told_what_may_still_come(
    lost: tuple[int, ...], left: list[int], requests: int, window: int
) -> None:
    """Lost samples do not come again, so they count neither as votes nor as votes that may come."""
    told: list[int] = []

    def rule(keys: Sequence[object], weights: Sequence[float], left: int) -> bool:
        told.append(left)
        return ExactStop()(keys, weights, left)

    backend = losing(*lost)
    solution = await solve(PROBLEM, Vote(10, until=rule, window=window), backend)
    assert told == left
    assert solution.answer == "1"
    assert f"settled after {len(left)} of 10 samples" in solution.notes
    assert len(backend.requests) <= requests + window - 1


async def test_where_a_budget_is_used_up_no_more_may_come() -> None:
    told: list[int] = []

    def rule(keys: Sequence[object], weights: Sequence[float], left: int) -> bool:
        told.append(left)
        return False

    async def sampled(problem: Problem, run: Run) -> Candidate:
        async with run.stream(None, problem, limit=50, window=3) as candidates:
            lefts = [(candidate, candidates.left) async for candidate in candidates]
        told.extend(left for _, left in lefts)
        return lefts[0][0]

    limited = Within(tokens=100, of=sampled)
    solution = await solve(PROBLEM, limited, Scripted("The answer is 1."))
    assert solution.lost >= 1
    assert told[0] == 49
    assert told[-1] <= 49 - len(told) + 1


async def test_a_vote_that_a_budget_ended_is_not_said_to_be_settled() -> None:
    model = saying(*boxed("1", "2", "3"))
    vote = Within(tokens=60, of=Vote(9, window=3, until=ExactStop()))
    solution = await solve(PROBLEM, vote, model)
    assert solution.lost
    assert not [note for note in solution.notes if "settled" in note]


async def test_a_rule_sees_the_weight_of_each_vote() -> None:
    """1 without a verifier; a sample without a verdict has no vote and no weight."""
    told: list[object] = []

    def rule(keys: Sequence[object], weights: Sequence[float], left: int) -> bool:
        told.append((list(keys), list(weights)))
        return False

    async def by(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        return [None if "2" in each.text else Score(0.5) for each in candidates]

    await solve(PROBLEM, Vote(3, until=rule), saying(*boxed("1", "2", "1")))
    await solve(PROBLEM, Vote(3, until=rule, by=by), saying(*boxed("1", "2", "1")))
    assert told[2::3] == [(["1", "2", "1"], [1.0, 1.0, 1.0]), (["1", None, "1"], [0.5, 0.0, 0.5])]


async def test_a_tie_goes_to_the_answer_drawn_first() -> None:
    assert (await solve(PROBLEM, Vote(4), saying(*boxed("9", "8", "8", "9")))).answer == "9"


async def test_who_has_no_answer_does_not_vote() -> None:
    solution = await solve(PROBLEM, Vote(4), saying("I do not know", "no idea", *boxed("8"), "hm"))
    assert solution.answer == "8"
    assert (solution.samples, solution.samples_correct) == (4, 0)


async def test_a_number_that_was_cut_off_does_not_vote() -> None:
    replies = ["The answer is 123", "The answer is 123", "Seven. The answer is 7."]
    backend = Scripted(lambda request: replies[request.draw])
    strategy = Vote(3, of=Model(max_tokens=len("The answer is 1")))
    assert (await solve(PROBLEM, strategy, backend)).answer is None
    assert (await solve(PROBLEM, Vote(3, of=Model(max_tokens=23)), backend)).answer == "123"


async def test_a_vote_without_any_answer_says_so() -> None:
    solution = await solve(PROBLEM, Vote(3), saying("a", "b", "c"))
    assert solution.text == "a"
    assert solution.notes == ("none of 3 samples has an answer: the first is returned",)


async def test_weights_add_up_and_the_heaviest_member_speaks() -> None:
    strategy = Vote(4, by=giving(0.9, 0.3, 0.35, 0.3))
    solution = await solve(PROBLEM, strategy, saying(*boxed("1", "2", "2.0", "2.")))
    assert solution.answer == "2.0"


async def test_a_candidate_without_a_verdict_does_not_vote() -> None:
    strategy = Vote(3, by=giving(None, 0.1, None))
    assert (await solve(PROBLEM, strategy, saying(*boxed("1", "2", "1")))).answer == "2"


@pytest.mark.parametrize("until", [None, two_votes])
async def test_where_no_answer_has_a_verdict_the_majority_decides_and_says_so(until: Stop | None) -> None:
    strategy = Vote(2, by=giving(0.9, None) if until is None else no_sevens, until=until)
    solution = await solve(PROBLEM, strategy, saying("I do not know", *boxed("7")))
    assert solution.answer == "7"
    assert "no sample with an answer has a verdict: the majority decides" in solution.notes


async def no_sevens(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
    return [None if "7" in candidate.text else Score(0.9) for candidate in candidates]


async def test_without_any_verdict_the_majority_decides_and_says_so() -> None:
    strategy = Vote(3, by=giving(None, None, None))
    solution = await solve(PROBLEM, strategy, saying(*boxed("1", "2", "2")))
    assert solution.answer == "2"
    assert solution.notes == ("no sample has a verdict: the majority decides",)


@pytest.mark.parametrize("weight", [-0.5, float("inf")])
async def test_a_weight_that_cannot_be_one_names_the_transform(weight: float) -> None:
    strategy = Vote(2, by=giving(0.5, weight))
    with pytest.raises(WeightError, match=r"by=Sigmoid\("):
        await solve(PROBLEM, strategy, saying(*boxed("1", "2")))


async def test_the_transform_makes_logits_vote() -> None:
    strategy = Vote(3, by=Sigmoid(giving(-4.0, -3.0, 5.0)))
    assert (await solve(PROBLEM, strategy, saying(*boxed("1", "1", "2")))).answer == "2"


@pytest.mark.parametrize(
    ("values", "chosen"),
    [((1.0, 3.0, 2.0), "2"), ((2.0, 2.0, 1.0), "1"), ((None, -5.0, None), "2"), ((None, None, None), "1")],
)
async def test_the_best_is_handed_over(values: tuple[float | None, ...], chosen: str) -> None:
    solution = await solve(PROBLEM, BestOf(3, by=giving(*values)), saying(*boxed("1", "2", "3")))
    assert solution.answer == chosen
    assert solution.notes == (() if any(values) else ("no sample has a verdict: the first is returned",))


async def test_an_oracle_picks_the_right_one() -> None:
    solution = await solve(PROBLEM, BestOf(3, by=MatchesReference()), saying(*boxed("1", "7.0", "3")))
    assert solution.correct
    assert (solution.samples, solution.samples_correct) == (3, 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Vote(0),
        lambda: Vote(True),
        lambda: Vote("16"),  # type: ignore[arg-type]
        lambda: Vote(4, of=Model),  # type: ignore[arg-type]
        lambda: Vote(4, by="MatchesReference"),  # type: ignore[arg-type]
        lambda: BestOf(4),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(make: type[Generator]) -> None:
    with pytest.raises(InputError):
        make()


async def test_the_verifier_reads_the_question_that_the_user_asked() -> None:
    read: list[str] = []

    async def verifier(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        read.append(problem.prompt)
        return [Score(1.0)] * len(candidates)

    async def rephrase(problem: Problem, run: Run) -> Candidate:
        return await run.ask(BestOf(2, by=verifier), problem.asking("Something else"))

    def echo(request: Request) -> str:
        assert request.prompt == "Something else"
        return "The answer is 7."

    await solve(PROBLEM, rephrase, Scripted(echo))
    assert read == [PROBLEM.prompt]


async def test_a_rule_that_fails_on_one_problem_costs_no_other() -> None:
    def odd(keys: Sequence[Hashable | None], weights: Sequence[float], left: int) -> bool:
        if "8" in keys:
            raise ValueError("an odd key")
        return len(keys) == 2

    backend = Scripted(lambda request: f"The answer is {request.prompt}.")
    for strategy in (Vote(3, until=odd), Vote(3, until=odd, by=giving(1.0), window=2)):
        solved = [each async for each in solve_all(["7", "8"], strategy, backend, concurrency=1)]
        assert [each.answer for each in solved] == ["7", None]
        assert solved[0].notes == ("settled after 2 of 3 samples",)
        assert solved[1].error.startswith("ToolError: odd raised ValueError: an odd key (test_vote.py, line ")


async def test_a_rule_may_return_whatever_counts_as_true() -> None:
    solution = await solve(PROBLEM, Vote(5, until=lambda keys, weights, left: len(keys) // 2), saying(*"77788"))  # type: ignore[arg-type]
    assert solution.notes[0] == "settled after 2 of 5 samples"
