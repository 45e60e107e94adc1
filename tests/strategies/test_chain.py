import pytest

from metagen import CoT, InputError, Model, Problem, Vote, solve
from tests.scripts import Counting, dice

PROBLEM = Problem("p", "What is 3 + 4?", "7")


async def asked(strategy: CoT | Vote) -> list[tuple[str, int]]:
    backend = Counting(dice)
    await solve(PROBLEM, strategy, backend)
    return [(request.prompt, request.n) for request in backend.requests]


async def test_zero_shot_asks_for_the_thought() -> None:
    assert await asked(CoT()) == [("What is 3 + 4?\n\nLet's think step by step.", 1)]


async def test_few_shot_shows_examples_first() -> None:
    strategy = CoT(shots=(("1 + 1?", "1 + 1 = 2\nThe answer is 2."),))
    prompt = "Question: 1 + 1?\nAnswer: 1 + 1 = 2\nThe answer is 2.\n\nQuestion: What is 3 + 4?\nAnswer:"
    assert await asked(strategy) == [(prompt, 1)]


async def test_samples_of_a_chain_share_one_request() -> None:
    strategy = Vote(3, of=CoT(of=Model(temperature=0.5)))
    assert await asked(strategy) == [("What is 3 + 4?\n\nLet's think step by step.", 3)]


@pytest.mark.parametrize("shots", [("ab",), (("only one",),), ((1, 2),), (("a", "b", "c"),)])
def test_shots_that_are_no_pairs_are_refused(shots: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(InputError, match="pairs of texts"):
        CoT(shots=shots)
