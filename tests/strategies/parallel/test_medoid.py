from collections.abc import Sequence
from typing import Any

import pytest

from metagen import Cosine, InputError, Medoid, Problem, Scripted, parse, parse_answers, solve
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


def share(text: str, other: str) -> float:
    """The share of equal words of two texts of three words; 1 for equal texts, which are not looked at."""
    if text == other:
        return 1.0
    one, two = text.split(), other.split()
    if "void" in one + two:
        return float("nan")
    return sum(a == b for a, b in zip(one, two, strict=True)) / (3 if "zero" not in one + two else 0)


@pytest.mark.parametrize("odd", ["one word more here", "zero b c", "void b c"])
@pytest.mark.parametrize("place", [0, 2, 4])
async def test_a_text_that_cannot_be_compared_costs_no_other(odd: str, place: int) -> None:
    texts = ["a b x", "a b c", "a y c", "z b x"]
    texts.insert(place, odd)
    texts.append(odd)  # two that are equal are like each other, and like no other
    solution = await solve(TEXT, Medoid(6, similarity=share), replies(*texts))
    assert solution.text == "a b x"
    assert solution.notes[0].startswith("8 of 25 pairs of texts were not compared; the first: share")


async def test_one_pair_that_fails_does_not_count_against_its_texts() -> None:
    def picky(text: str, other: str) -> float:
        if {text, other} == {"b", "c"}:
            raise ValueError("this pair")
        return float(text == other) or 0.5 + ("b" in (text, other)) / 10

    solution = await solve(TEXT, Medoid(3, similarity=picky), replies("a", "b", "c"))
    assert (solution.text, solution.lost) == ("b", 0)
    assert solution.notes == ("2 of 9 pairs of texts were not compared; the first: picky: ValueError: this pair",)


def test_a_pair_that_fails_counts_as_the_others_of_its_text_do_on_average() -> None:
    likeness = {"ab": 0.5, "ac": float("nan"), "ad": 0.5, "bc": 0.6, "bd": 0.6, "cd": 0.1}
    assert medoid("abcd", lambda text, other: likeness.get("".join(sorted(text + other)), 1.0)) == 1


async def test_a_text_that_is_seldom_compared_does_not_win_by_being_like_itself() -> None:
    def wary(text: str, other: str) -> float:
        if {text, other} in ({"a", "c"}, {"a", "d"}):
            raise ValueError("this pair")
        return float(text == other) or (0.2 if "a" in (text, other) else 0.3)

    assert (await solve(TEXT, Medoid(4, similarity=wary), replies("a", "b", "c", "d"))).text == "c"


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
async def test_a_text_without_an_embedding_costs_no_other(odd: float) -> None:
    def embedded(texts: Sequence[str]) -> list[list[float]]:
        return [[odd, 1.0] if text == "a" else [float(len(text)), 1.0] for text in texts]

    solution = await solve(TEXT, Medoid(4, similarity=Cosine(embedded)), replies("a", "long", "longer", "longest"))
    assert solution.text == "longer"
    assert solution.notes[0].startswith("7 of 16 pairs of texts were not compared; the first: Cosine(")


async def test_a_similarity_that_fails_on_all_pairs_is_told_and_one_that_is_not_needed_costs_nothing() -> None:
    def failing(text: str, other: str) -> float:
        raise ValueError("no power")

    assert "no power" in (await solve(TEXT, Medoid(2, similarity=failing), replies("a", "b"))).error
    assert (await solve(TEXT, Medoid(2, similarity=failing), replies("a", "a"))).text == "a"


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
