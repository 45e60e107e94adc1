import asyncio

import pytest
from metagen_universal import UniversalVote, choice

from metagen import Candidate, InputError, Model, Request, Scripted, parse, solve
from metagen.solution import Solution


def solved(strategy: UniversalVote, choosing: str) -> Solution:
    replies = ["It is a cat.", "A dog.", "A small cat."]

    def script(request: Request) -> str:
        return choosing if "most consistent" in request.prompt else replies[request.draw]

    return asyncio.run(solve("Which animal is it?", strategy, Scripted(script)))


def test_the_model_chooses_among_its_samples() -> None:
    solution = solved(UniversalVote(3), "The most consistent response is Response 3")
    assert solution.text == "A small cat."
    assert solution.usage.calls == 2, "the samples are one request, the choice another"


def test_a_choice_that_cannot_be_read_is_noted() -> None:
    solution = solved(UniversalVote(3), "All of them.")
    assert solution.text == "It is a cat."
    assert any("cannot be read" in note for note in solution.notes)


def test_one_sample_needs_no_choice() -> None:
    assert solved(UniversalVote(1), "").usage.calls == 1


@pytest.mark.parametrize(
    ("reply", "place"),
    [("Response 2", 1), ("response 1 is best", 0), ("Response 4", None), ("Response 0", None), ("", None)],
)
def test_a_choice_is_one_of_the_responses(reply: str, place: int | None) -> None:
    assert choice(reply, 3) == place


def test_it_is_found_by_its_name_and_nests() -> None:
    spec = 'Vote(3, of=UniversalVote(8, of=CoT(), by=Model("judge")))'
    assert repr(parse(spec)) == spec
    assert parse("UniversalVote(2)") == UniversalVote(2)


@pytest.mark.parametrize(("n", "by"), [(0, None), (2, Candidate(("x",))), (2, Model)])
def test_nonsense_is_refused(n: int, by: object) -> None:
    with pytest.raises(InputError, match=r"UniversalVote: (n|by)"):
        UniversalVote(n, by=by)  # type: ignore[arg-type]
