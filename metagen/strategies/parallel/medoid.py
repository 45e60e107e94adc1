"""A vote of texts that are never quite equal: the one that is most like the others."""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal

import numpy as np

from metagen.candidate import Candidate
from metagen.errors import InputError
from metagen.problem import Problem
from metagen.run import Generator, Run
from metagen.settings import counted, literal, require_generator, require_plain, require_whole, spelled, takes
from metagen.strategies.choosing import vote_answer
from metagen.strategies.parallel.similarity import NAMED, Similarity, levenshtein, similarities


@dataclass(frozen=True, slots=True, repr=False)
class Medoid:
    """The sample that is most like the others: y⁽¹⁾ … y⁽ⁿ⁾ ~ g(· | x);  argmax over i of Σⱼ s(y⁽ⁱ⁾, y⁽ʲ⁾).

    (Minimum Bayes risk decoding with samples; Eikema and Aziz 2022, section 3.) The similarity s is `"f1"` of words,
    `"chrf"` or `"edit"` of characters (the latter needs the extra `similarity`), `Cosine(embed)` of embeddings, or a
    plain function (text, other) -> number. The answers are compared, as `problem.answers` reads them, and samples
    without an answer take no part; the whole texts, if none has an answer. Ties go to the sample that was drawn first.
    A pair on which a function of yours fails does not count, and a text that it can compare with no other ranks last.
    """

    n: int
    _: KW_ONLY
    of: Generator | None = None
    similarity: Literal["f1", "chrf", "edit"] | Similarity = "f1"

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_whole(self, n=self.n)
        require_generator(self, of=self.of)
        given = self.similarity
        if isinstance(given, str) and given not in NAMED:
            raise InputError(f"Medoid: similarity must be {', '.join(NAMED)} or a function, not {given!r}")
        if given == "edit":
            levenshtein()
        if not isinstance(given, str) and (isinstance(given, type) or not takes(given, 2)):
            raise InputError(f"Medoid: similarity={literal(given)} is not called with (text, other)")
        require_plain(given, f"Medoid: similarity={literal(given)}")

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        candidates = await run.sample(self.of, problem, self.n)
        answers = [vote_answer(problem, each) for each in candidates]
        voting = [index for index, answer in enumerate(answers) if answer is not None]
        if not voting:
            run.note(f"none of {counted(len(candidates), 'sample')} has an answer: the whole texts are compared")
        texts = [answers[index] or "" for index in voting] or [each.text for each in candidates]
        named = NAMED[self.similarity] if isinstance(self.similarity, str) else self.similarity
        chosen = medoid(texts, named, run.note)
        return candidates[voting[chosen] if voting else chosen]


def medoid(texts: Sequence[str], similarity: Similarity, note: Callable[[str], object] = lambda _: None) -> int:
    """The index of the text that is most like all; ties, up to rounding, go to the first.

    A pair that could not be compared counts as the other pairs of its text do on average.
    """
    alike = similarities(texts, similarity, note)
    known = np.isfinite(alike)
    others = known & ~np.eye(len(texts), dtype=bool)
    means = np.where(others, alike, 0).sum(axis=1) / np.maximum(others.sum(axis=1), 1)
    sums = np.where(known, alike, means[:, None]).sum(axis=1).round(9)
    return int(np.where(known.any(axis=1), sums, -np.inf).argmax())
