from collections.abc import Sequence

import pytest

from metagen import Candidate, InputError, Pairwise, Problem, Request, Run, Score, Scripted, Tournament, parse, solve

SPECS = [
    "Tournament(3, by=Mean(Pairwise(), Judge(of=Model(top_logprobs=2)), SelfCertainty()), of=Model(top_logprobs=2))"
]
WRAPPERS = ["Tournament(2, of={}, by=length)"]

PROBLEM = Problem("p", "?")


class Referee:
    """Gives each text the number that stands in it, and keeps who met whom; a dot is no verdict."""

    def __init__(self) -> None:
        self.met: list[tuple[str, ...]] = []

    async def __call__(self, problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
        texts = tuple(candidate.text for candidate in candidates)
        self.met.append(texts)
        return [None if "." in text else Score(float(text[1:])) for text in texts]


async def winner(*texts: str) -> tuple[str, list[tuple[str, ...]], tuple[str, ...]]:
    referee = Referee()
    model = Scripted(lambda request: texts[request.draw])
    solution = await solve(PROBLEM, Tournament(len(texts), by=referee), model)
    return solution.text, referee.met, solution.notes


async def test_neighbours_meet_and_one_that_is_left_over_goes_on() -> None:
    text, met, _ = await winner("a1", "b2", "c4", "d3", "e5")
    assert text == "e5"
    assert met == [("a1", "b2"), ("c4", "d3"), ("b2", "c4"), ("c4", "e5")]


async def test_ties_go_to_who_was_drawn_first_and_no_verdict_ranks_last() -> None:
    assert (await winner("a1", "b1", "c1"))[0] == "a1"
    assert (await winner("a.", "b-9"))[0] == "b-9"
    text, _, notes = await winner("a.", "b.", "c1", "d.")
    assert (text, notes) == ("c1", ("a match has no verdict: the first advances",))
    assert await winner("a1") == ("a1", [], ())


async def test_a_model_compares_in_both_orders() -> None:
    judged: list[str] = []

    def knows(request: Request) -> str:
        """Finds 2 the better answer, and else favours the first place."""
        if "Which solution" not in request.prompt:
            return f"The answer is {request.draw}."
        _, _, second = request.prompt.split("Solution ")
        judged.append(second)
        return "B" if "is 2." in second else "A"

    solution = await solve(PROBLEM, Tournament(4, by=Pairwise()), Scripted(knows))
    assert solution.answer == "2"
    assert len(judged) == 6, "three matches, each in both orders"
    assert solution.usage.verifier_calls == 6


def test_it_prints_as_its_spec() -> None:
    text = "Tournament(8, by=Pairwise(), of=CoT())"
    assert repr(parse(text)) == text


@pytest.mark.parametrize(
    ("spec", "said"),
    [("Tournament(2, by=None)", "needs a verifier that compares"), ("Tournament(0, by=Judge())", "n must be")],
)
def test_nonsense_is_refused(spec: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(spec)
