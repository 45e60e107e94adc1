from typing import Any

import pytest

from metagen import InputError, Medoid, Problem, Scripted, parse, parse_answers, solve
from metagen.strategies.parallel.medoid import medoid
from metagen.strategies.parallel.similarity import token_f1

SPECS = [
    "Medoid(3)",
    'Medoid(3, similarity="chrf")',
    "Medoid(3, similarity=alike)",
    "Medoid(3, similarity=Cosine(embed))",
]
WRAPPERS = ['Medoid(2, of={}, similarity="edit")']


def alike(text: str, other: str) -> float:
    return float(len(text) == len(other))


def embed(texts: list[str]) -> list[list[float]]:
    return [[float(len(text)), 1.0] for text in texts]


GIVEN: dict[str, Any] = {"alike": alike, "embed": embed}
TEXT = Problem("1", "Describe it.", answers=parse_answers("Text()"))


def replies(*texts: str) -> Scripted:
    return Scripted(lambda request: texts[request.draw])


@pytest.mark.parametrize(
    ("texts", "chosen"),
    [
        (["a red car", "a blue boat", "the red car stops"], 0),
        (["a blue boat", "a red car", "the red car stops"], 1),
        (["one", "two", "three"], 0),
        (["x"], 0),
    ],
)
def test_the_text_that_is_most_like_the_others_is_chosen(texts: list[str], chosen: int) -> None:
    assert medoid(texts, token_f1) == chosen


async def test_answers_are_compared_and_not_the_words_around_them() -> None:
    backend = replies("hm. The answer is a red car.", "The answer is blue.", "So: The answer is the red car.")
    assert (await solve(TEXT, Medoid(3), backend)).answer == "a red car"


async def test_samples_without_an_answer_take_no_part_unless_all_have_none() -> None:
    some = replies("no idea at all", "no idea at all", "The answer is 7.")
    assert (await solve("?", Medoid(3), some)).text == "The answer is 7."
    none = await solve("?", Medoid(3), replies("a green car", "red car", "a red car drove"))
    assert none.text == "red car"
    assert none.notes == ("none of 3 samples has an answer: the whole texts are compared",)


async def test_a_similarity_of_your_own_decides() -> None:
    assert (await solve(TEXT, Medoid(3, similarity=alike), replies("aaa", "b", "c"))).text == "b"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("Medoid(0)", "n must be a whole number"),
        ('Medoid(3, similarity="bleu")', "similarity must be f1, chrf, edit or a function, not 'bleu'"),
        ("Medoid(3, similarity=7)", "similarity=7 is not called with"),
        ("Medoid(3, similarity=late)", "similarity=late is async"),
    ],
)
def test_nonsense_is_refused(spec: str, said: str) -> None:
    async def late(text: str, other: str) -> float:
        return 1.0

    with pytest.raises(InputError, match=said):
        parse(spec, {"late": late})
