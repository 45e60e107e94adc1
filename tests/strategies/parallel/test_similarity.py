import sys
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import Cosine, InputError, Medoid, VerifierError
from metagen.strategies.parallel.medoid import medoid
from metagen.strategies.parallel.similarity import (
    NAMED,
    chrf,
    edit_similarity,
    similarities,
    token_f1,
)

TEXTS = st.text("abc ", max_size=80)


@pytest.mark.parametrize("name", NAMED)
@given(text=TEXTS, other=TEXTS)
def test_a_similarity_is_a_share_and_1_for_equal_texts(name: str, text: str, other: str) -> None:
    assert 0 <= NAMED[name](text, other) <= 1 + 1e-9
    assert NAMED[name](text, text) == pytest.approx(1)


def test_known_values() -> None:
    assert edit_similarity("kitten", "sitting") == pytest.approx(4 / 7)
    assert token_f1("The cat sat.", "a cat ran off") == pytest.approx(2 * 1 / (2 + 3))
    assert token_f1("x", "y") == 0
    # one bigram of two, two letters of three, and no trigram: precision and recall are 7/18
    assert chrf("abc", "abx") == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert chrf("ab", "abcd") == pytest.approx(5 * 1 * (5 / 12) / (4 + 5 / 12))
    # two of three letters are shared, and one of two bigrams: each as often as both texts have it
    assert chrf("aaa", "aa") == pytest.approx(5 * (7 / 12) * 1 / (4 * 7 / 12 + 1))


def test_without_its_package_the_edit_distance_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidfuzz.distance", None)
    with pytest.raises(InputError, match=r"^similarity='edit' needs rapidfuzz: .*\[similarity\]"):
        Medoid(3, similarity="edit")


def test_equal_texts_are_compared_once() -> None:
    asked = []

    def alike(text: str, other: str) -> float:
        asked.append((text, other))
        return float(text == other)

    assert similarities(["a", "b", "a"], alike).tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    assert len(asked) == 4


def test_embeddings_are_compared_by_their_angle() -> None:
    vectors = {"a": [1.0, 0.0], "b": [0.0, 2.0], "c": [3.0, 3.0], "": [0.0, 0.0]}
    cosine = Cosine(lambda texts: [vectors[text] for text in texts])
    assert similarities(["a", "b", "c"], cosine)[2].tolist() == pytest.approx([0.5**0.5, 0.5**0.5, 1])
    assert cosine("a", "") == 0


@pytest.mark.parametrize(
    "similarity", [lambda text, other: 1 / 0, lambda text, other: float("nan"), Cosine(lambda texts: [1 / 0])]
)
def test_a_function_that_fails_is_named(similarity: object) -> None:
    with pytest.raises(VerifierError):
        similarities(["a", "b"], similarity)  # type: ignore[arg-type]


def test_a_text_that_cannot_be_embedded_costs_no_other() -> None:
    vectors, asked = {"a": [1.0, 0.0], "b": [1.0, 0.0], "c": [0.0, 1.0]}, list[list[str]]()

    def embed(texts: Sequence[str]) -> list[list[float]]:
        asked.append([*texts])
        return [vectors[text] for text in texts]

    notes: list[str] = []
    alike = similarities(["x", "a", "b", "c", "y"], Cosine(embed), notes.append)
    assert alike[1:4, 1:4].tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert np.isnan(alike[[0, 4]]).all()
    assert np.isnan(alike[:, [0, 4]]).all()
    assert notes == ["16 of 25 pairs of texts were not compared; the first: Cosine(embed): KeyError: 'x'"]
    assert asked == [["x", "a", "b", "c", "y"], *([each] for each in "xabcy"), ["a", "b", "c"]]
    assert medoid(["x", "a", "b", "c"], Cosine(embed)) == 1


def test_an_embedding_that_always_fails_is_given_up() -> None:
    asked = []

    def vector(text: str) -> list[float]:
        raise OSError(f"no route for {text}")

    def embed(texts: Sequence[str]) -> list[list[float]]:
        asked.append(texts)
        return [vector(text) for text in texts]

    with pytest.raises(VerifierError, match=r"Cosine\(embed\): OSError: no route for a"):
        similarities(list("abcdefghij"), Cosine(embed))
    assert len(asked) < 10


def test_what_is_no_embedding_is_refused() -> None:
    with pytest.raises(InputError, match="Cosine: embed="):
        Cosine(3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a vector for each of 2 texts is needed"):
        similarities(["a", "b"], Cosine(lambda texts: [[1.0]]))
