"""How alike two texts are, from 0 to 1. Pure."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from math import nan
from typing import Any

import numpy as np

from metagen.answers.by_key import normalised
from metagen.distribution import how_to_install
from metagen.errors import InputError, MetagenError, SampleError, VerifierError
from metagen.settings import counted, literal, require_plain, spelled, takes
from metagen.strategies.judging import TRIES

Similarity = Callable[[str, str], float]
"""Of a text and another that stands in for its reference."""

_ORDERS = range(1, 7)
_BETA = 2


def token_f1(text: str, other: str) -> float:
    """The F1 of the words of two texts, without case, articles and punctuation (SQuAD; Rajpurkar et al. 2016)."""
    words, wanted = (Counter(normalised(each).split()) for each in (text, other))
    if not words or not wanted:
        return float(words == wanted)
    return 2 * (words & wanted).total() / (words.total() + wanted.total())


def chrf(text: str, other: str) -> float:
    """Return chrF with its usual settings: n-grams of 1 to 6 characters, without space, β = 2 (Popović 2015).

    Precision and recall are means over the orders that both texts are long enough for.
    """
    bare, wanted = ("".join(each.split()) for each in (text, other))
    orders = [order for order in _ORDERS if order <= min(len(bare), len(wanted))]
    if not orders:
        return float(bare == wanted)
    shared = [_shared(_grams(bare, order), _grams(wanted, order)) for order in orders]
    precision = sum(n / (len(bare) - order + 1) for n, order in zip(shared, orders, strict=True)) / len(orders)
    recall = sum(n / (len(wanted) - order + 1) for n, order in zip(shared, orders, strict=True)) / len(orders)
    if not precision and not recall:
        return 0.0
    return (1 + _BETA**2) * precision * recall / (_BETA**2 * precision + recall)


def edit_similarity(text: str, other: str) -> float:
    """1 − d/m, for the edit distance d (Levenshtein 1966) and the length m of the longer text. Needs rapidfuzz."""
    return float(levenshtein().normalized_similarity(text, other))


def levenshtein() -> Any:
    """The module of edit distances. Raises `InputError`, which says what to install, where there is none."""
    try:
        from rapidfuzz.distance import Levenshtein  # noqa: PLC0415 (optional)
    except ImportError:
        raise InputError(f"similarity='edit' needs rapidfuzz: {how_to_install('similarity')}") from None
    return Levenshtein


@dataclass(frozen=True, slots=True, repr=False)
class Cosine:
    """The cosine of two embeddings; `embed` is a plain function of texts that returns a vector for each."""

    embed: Callable[[Sequence[str]], Any]

    __repr__ = spelled

    def __post_init__(self) -> None:
        if isinstance(self.embed, type) or not takes(self.embed, 1):
            raise InputError(f"Cosine: embed={literal(self.embed)} is not called with (texts)")
        require_plain(self.embed, f"Cosine: embed={literal(self.embed)}")

    def __call__(self, text: str, other: str) -> float:
        return float(self.matrix([text, other])[0, 1])

    def matrix(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """[n, n]: the similarities of n texts, each embedded once."""
        vectors = np.array(self.embed(texts), float)
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise InputError(
                f"{self!r}: a vector for each of {counted(len(texts), 'text')} is needed, not {vectors.shape}"
            )
        vectors[~np.isfinite(vectors).all(axis=1)] = np.nan  # a text without a vector, which is like none
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit = vectors / np.where(lengths, lengths, 1)
        return np.asarray(unit @ unit.T)


NAMED: dict[str, Similarity] = {"f1": token_f1, "chrf": chrf, "edit": edit_similarity}


def similarities(
    texts: Sequence[str], similarity: Similarity, note: Callable[[str], object] = lambda _: None
) -> np.ndarray[Any, Any]:
    """[n, n]: how alike each of n texts, in rows, is to each, in columns; equal texts are compared once.

    A pair on which the user's function fails, or of which it gives no finite number, is NaN, as a `note` says. So is
    all of the row of a text that cannot be compared with any other.

    Raises:
        InputError: the embeddings of `Cosine` are no vectors, one for each text.
        VerifierError: the user's function failed on all pairs of two texts.
    """
    distinct = list(dict.fromkeys(texts))
    failures: list[str] = []
    matrix = getattr(similarity, "matrix", None) or partial(_pairs, similarity=similarity, failures=failures)
    compare = partial(_called, matrix, similarity=similarity)
    try:
        alike = compare(distinct)
    except SampleError as error:
        failures.append(str(error))
        alike = _of_sound(distinct, compare)
    alike[~np.isfinite(alike)] = np.nan
    failed = np.isnan(alike)
    if failed.any():
        why = failures[0] if failures else f"{literal(similarity)} gave what is no finite number"
        alone = (failed | np.eye(len(distinct), dtype=bool)).all(axis=1)
        if alone.all() and len(distinct) > 1:
            raise VerifierError(why)
        note(f"{int(failed.sum())} of {failed.size} pairs of texts were not compared; the first: {why}")
        alike[alone] = np.nan
    places = [distinct.index(text) for text in texts]
    return alike[np.ix_(places, places)]


def _called(
    matrix: Callable[[Sequence[str]], Any], texts: Sequence[str], *, similarity: Similarity
) -> np.ndarray[Any, Any]:
    try:
        return np.array(matrix(texts), float)
    except MetagenError:
        raise
    except (Exception, SystemExit) as error:  # whatever a user's function raises is its failure
        raise VerifierError(_failure(similarity, error)) from error


def _of_sound(texts: Sequence[str], compare: Callable[[Sequence[str]], np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """How alike those texts are on which the user's function does not fail, each tried alone; NaN for the others.

    If it fails on each of the first five, it is broken, and no more are tried.
    """
    sound: list[int] = []
    for place, text in enumerate(texts):
        if place == TRIES and not sound:
            break
        with suppress(SampleError):
            compare([text])
            sound.append(place)
    alike = np.full((len(texts), len(texts)), nan)
    if sound:
        with suppress(SampleError):
            alike[np.ix_(sound, sound)] = compare([texts[place] for place in sound])
    return alike


def _pairs(texts: Sequence[str], similarity: Similarity, failures: list[str]) -> list[list[float]]:
    def compared(text: str, other: str) -> float:
        try:
            return _compared(text, other, similarity)
        except SampleError as error:
            failures.append(str(error))
            return nan

    return [[compared(text, other) for other in texts] for text in texts]


def _compared(text: str, other: str, similarity: Similarity) -> float:
    try:
        return float(similarity(text, other))
    except MetagenError:
        raise
    except (Exception, SystemExit) as error:  # whatever a user's function raises is its failure
        raise VerifierError(_failure(similarity, error)) from error


def _failure(similarity: Similarity, error: BaseException) -> str:
    return f"{literal(similarity)}: {type(error).__name__}: {error}"


def _shared(grams: Counter[str], others: Counter[str]) -> int:
    """How many n-grams two texts share, each as often as both have it."""
    return sum(min(grams[each], others[each]) for each in grams.keys() & others.keys())


@lru_cache(1024)  # each text of a vote meets all others
def _grams(text: str, order: int) -> Counter[str]:
    return Counter(text[start : start + order] for start in range(len(text) - order + 1))
