"""Accuracy against the number of samples, from one set of samples per problem: exact or with its error stated. Pure.

Of n samples each, drawn once, every smaller number k is estimated by the expectation over draws of k of the n without
replacement. Draws come in random order, which decides ties as the strategies do: first seen wins.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from math import comb, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metagen.analysis.curve import Curve, Samples, check_ks, costs_of, scores_of
from metagen.analysis.intervals import Array, Index
from metagen.analysis.votes import ERROR, vote_curve
from metagen.errors import InputError, WeightError
from metagen.strategies.thinking import EVERY


def pass_at_k(right: int, n: int, k: int) -> float:
    """The chance that k of n samples, drawn without replacement, hold a right one, if `right` of the n are.

    The unbiased estimate of coverage (Chen et al. 2021, section 2.1). Raises `ValueError` unless 1 ≤ k ≤ n and
    0 ≤ right ≤ n.
    """
    if not 1 <= k <= n:
        raise ValueError(f"k must be from 1 to {n}, not {k}")
    if not 0 <= right <= n:
        raise ValueError(f"right must be from 0 to {n}, not {right}")
    return 1.0 - comb(n - right, k) / comb(n, k)


def powers_of_two(n: int) -> tuple[int, ...]:
    """1, 2, 4 … and n itself."""
    return tuple(sorted({1 << power for power in range(n.bit_length())} | {n}))


def coverage(samples: Samples, ks: Iterable[int]) -> Curve:
    """The chance that one of k samples is right: unbiased pass@k (Chen et al. 2021, section 2.1). Exact."""
    ks = check_ks(ks, samples.n)
    return _exact("coverage", samples, ks, 1 - _missing(samples.n, ks)[samples.right.sum(1)])


def best_of(samples: Samples, ks: Iterable[int]) -> Curve:
    """Whether the sample with the highest score is right (Stiennon et al. 2020; Cobbe et al. 2021, section 4). Exact.

    By order statistics: the i-th best of n is the best of k with chance C(n−i, k−1) / C(n, k). Equal scores take turns,
    since either may have been drawn first; no verdict ranks last. Raises `InputError` without scores.
    """
    ks = check_ks(ks, samples.n)
    scores = scores_of(samples)
    ranks = np.unique(scores, return_inverse=True)[1].reshape(scores.shape)
    keys = np.where(np.isnan(scores), 1, -ranks)
    order = np.argsort(keys, 1)
    ranked, right = np.take_along_axis(keys, order, 1), np.take_along_axis(samples.right, order, 1)
    chances = -np.diff(_missing(samples.n, ks), axis=0)
    return _exact("best-of", samples, ks, _averaged(right.astype(float), ranked) @ chances)


def shortest(samples: Samples, ks: Iterable[int]) -> Curve:
    """Whether the shortest of k samples is right: `Shortest(1, n=k)` (short-1@k, Hassid et al. 2025, section 4). Exact.

    Equal lengths take turns; a sample that was cut off comes after all that are done. The others are given up when one
    is done, and cost what was written until then. Raises `InputError` without lengths or thoughts.
    """
    ks = check_ks(ks, samples.n)
    if samples.tokens is None or samples.done is None or not _know_lengths(samples):
        raise InputError("these samples have no lengths or no thoughts, and this rule chooses by how long they think")
    lengths = np.where(samples.done, samples.tokens, samples.tokens + samples.tokens.max() + 1)
    values = best_of(replace(samples, scores=-lengths.astype(np.float64)), ks).values
    order, chances = np.argsort(lengths, 1), -np.diff(_missing(samples.n, ks), axis=0)
    tokens, done = np.take_along_axis(samples.tokens, order, 1), np.take_along_axis(samples.done, order, 1)
    ends = np.where(done, -(tokens // -EVERY) * EVERY, tokens.max())  # all are written in equal parts
    written = np.empty_like(values)
    for problem, (row, end) in enumerate(zip(tokens, ends, strict=True)):
        longer = np.triu(np.minimum(row, end[:, None]), 1).sum(1) / np.maximum(np.arange(samples.n)[::-1], 1)
        written[problem] = row @ chances + longer @ chances * (np.array(ks) - 1)
    every, flops, money = costs_of(samples, ks)
    assert every is not None
    saved = every - written
    if flops is not None and samples.flops is not None:
        flops = flops - saved * (samples.flops.sum(1) / samples.tokens.sum(1))[:, None]
    if money is not None and samples.price:
        money = money - saved * samples.price.write / 1e6
    return Curve("shortest", ks, values, np.zeros_like(values), written, flops, money)


def majority_vote(samples: Samples, ks: Iterable[int], seed: int = 0, error: float = ERROR) -> Curve:
    """Whether the most frequent answer of k is right (self-consistency; Wang et al. 2023, section 2).

    Exact where all draws of k can be gone through (up to 20,000, as for n = 16), and for k = 1 and n. Else a Monte
    Carlo estimate, over as many draws as bring the standard error of the mean over problems down to `error`, but at
    most as many as 8 problems need for it: 32,768 by default.

    A sample without an answer does not vote; if none votes, the first drawn is returned. A group whose members were
    graded differently is right by the share that is.
    """
    return vote_curve("majority", samples, None, ks, seed, error)


def weighted_vote(samples: Samples, ks: Iterable[int], seed: int = 0, error: float = ERROR) -> Curve:
    """Whether the answer with the largest sum of scores is right (Li et al. 2023, section 3).

    As `majority_vote`, and a sample without a verdict does not vote; if no sample drawn with an answer has one, the
    majority decides. Of a group whose members were graded differently, the heaviest that was drawn counts. Raises
    `WeightError` for scores that are negative or infinite: turn logits into weights first, as `Sigmoid` does.
    """
    scores = scores_of(samples)
    if np.any(np.isinf(scores) | (scores < 0)):
        raise WeightError("scores that weigh votes must be finite and not negative: turn logits into weights first")
    return vote_curve("weighted vote", samples, scores, ks, seed, error)


def all_rules(samples: Samples, ks: Iterable[int], seed: int = 0, *, votes: bool = True) -> dict[str, Curve]:
    """The curves of all rules that the samples allow, by name; without `votes`, of those that need no answers.

    Scores that are negative or infinite weigh no votes, so there is no weighted vote.
    """
    ks = check_ks(ks, samples.n)
    curves = [coverage(samples, ks)]
    if votes:
        curves.append(majority_vote(samples, ks, seed))
    if samples.scores is not None:
        if votes:
            with suppress(WeightError):
                curves.append(weighted_vote(samples, ks, seed))
        curves.append(best_of(samples, ks))
    if samples.done is not None and _know_lengths(samples):
        curves.append(shortest(samples, ks))
    return {curve.rule: curve for curve in curves}


def first_k(samples: Samples) -> dict[str, Curve]:
    """What the first k samples come to as they stand, for k = 1, 2, 4 …: one draw of each, and no expectation.

    This is what papers report that draw k samples and count once.
    """
    ks = powers_of_two(samples.n)
    each = [all_rules(samples.first(k), (k,)) for k in ks]
    return {rule: _joined([curves[rule] for curves in each]) for rule in each[-1]}


SPENT = ("costs", "flops", "money")
"""The costs that a curve may know."""


def _joined(curves: Sequence[Curve]) -> Curve:
    """Curves of one k each as one."""
    ks = tuple(k for curve in curves for k in curve.ks)
    values, variances = (np.hstack([getattr(each, name) for each in curves]) for name in ("values", "variances"))
    known = [[getattr(each, name) for each in curves] for name in SPENT]
    spent = (None if any(cost is None for cost in each) else np.hstack(each) for each in known)
    return Curve(curves[0].rule, ks, values, variances, *spent)


def curves(
    right: Sequence[Sequence[bool]],
    answers: Sequence[Sequence[str | None]] | None = None,
    scores: Sequence[Sequence[float | None]] | None = None,
    tokens: Sequence[Sequence[int]] | None = None,
    ks: Iterable[int] | None = None,
) -> dict[str, Curve]:
    """Return how accuracy grows with samples, by rule, for samples graded anywhere.

    Each argument holds a list per problem, with as many values for each: whether a sample is right; the key of its
    answer, equal for equal answers, `None` without one (`canonical` makes keys of mathematics); a verdict, `None` for
    none; its length. Without `answers` there are no votes, and without scores that are finite and not negative no
    weighted one. `ks` are 1, 2, 4 … and n. Raises `InputError` for what does not fit.
    """
    if len({len(row) for row in right}) != 1:
        raise InputError("curves: right must hold a list per problem, all of one length")
    _check_right(right)
    _check_lengths(right, answers=answers, scores=scores, tokens=tokens)
    keys = [[None] * len(row) for row in right] if answers is None else answers
    known = [{key: number for number, key in enumerate(dict.fromkeys(row)) if key is not None} for row in keys]
    groups = [[-1 if key is None else each[key] for key in row] for row, each in zip(keys, known, strict=True)]
    judged = None if scores is None else [[nan if score is None else score for score in row] for row in scores]
    samples = Samples(
        np.array(groups, np.int64),
        np.array(right, np.bool_),
        None if judged is None else _numbers("scores", judged, np.float64),
        None if tokens is None else _numbers("tokens", tokens, np.int64),
    )
    return all_rules(samples, powers_of_two(samples.n) if ks is None else ks, votes=answers is not None)


def _check_right(right: Sequence[Sequence[Any]]) -> None:
    for each in chain.from_iterable(right):
        if not (isinstance(each, int | float | np.generic) and each in (0, 1)):
            hint = ", which is no verdict: leave the problem out, or count the sample as wrong" if each is None else ""
            raise InputError(f"curves: right must say True or False of each sample, not {each!r}{hint}")


def _check_lengths(right: Sequence[Sequence[bool]], **given: Sequence[Sequence[Any]] | None) -> None:
    for name, rows in given.items():
        if rows is not None and list(map(len, rows)) != list(map(len, right)):
            raise InputError(f"curves: {name} must hold a list per problem, as long as those of right")


def _numbers(name: str, rows: Sequence[Sequence[Any]], kind: type[np.number[Any]]) -> NDArray[Any]:
    try:
        return np.array(rows, kind)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"curves: {name} must be numbers: {error}") from None


def _know_lengths(samples: Samples) -> bool:
    """Whether the samples of every problem count their tokens: pools from elsewhere may not."""
    return samples.tokens is not None and bool(samples.tokens.any(1).all())


def _missing(n: int, ks: tuple[int, ...]) -> Array:
    """[n + 1, K]: the chance C(n−r, k) / C(n, k) that k of n hold none of r certain ones, for r from 0 to n."""
    r = np.arange(n)[:, None]
    factors = np.maximum(n - np.array(ks) - r, 0) / (n - r)
    return np.concatenate([np.ones((1, len(ks))), np.cumprod(factors, 0)])


def _exact(rule: str, samples: Samples, ks: tuple[int, ...], values: Array) -> Curve:
    return Curve(rule, ks, values, np.zeros_like(values), *costs_of(samples, ks))


def _averaged(right: Array, keys: Index) -> Array:
    """[P, n]: each value replaced by the mean over the equal keys beside it; `keys` ascend in each row."""
    starts = np.ones(keys.shape, dtype=bool)
    starts[:, 1:] = keys[:, 1:] != keys[:, :-1]
    run = np.cumsum(starts.ravel()) - 1
    return np.asarray((np.bincount(run, right.ravel()) / np.bincount(run))[run].reshape(keys.shape))
