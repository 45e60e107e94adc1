"""What a vote among k of n samples is expected to give: exact where possible, else by Monte Carlo."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, combinations
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metagen.analysis.curve import Curve, Samples, check_ks, costs_of
from metagen.analysis.intervals import BLOCK, Array, Index

ERROR = 0.001
"""The largest Monte Carlo standard error of a mean that is accepted: a tenth of a point."""


SUBSETS = 20_000
"""Draws of k of n, at most, that are all gone through."""


WORK = 5e7
"""Samples looked at, at most, to go through them for all problems."""


MOST = 1 << 15
"""Draws of one k, at most, for an error of `ERROR`: of few problems nothing is known so well that more would show."""


_PILOT = 64
"""Draws to see how much the outcome varies."""


PRODUCT = 256
"""Groups times samples, at most, for each sample of a draw that matrices are multiplied for."""


_TIE = 1e-12
"""Sums of weights that differ by less, relatively, are equal: they were only added in another order."""


@dataclass(frozen=True, slots=True, eq=False)
class _Ballots:
    """What votes need to know of problems, sorted by their number of different answers."""

    groups: NDArray[np.int32]
    """[P, n], from 0; the samples of one problem in random order. The largest number stands for no answer."""
    weights: Array | None
    right: NDArray[np.bool_]
    shares: Array
    """[P, n + 1]: the share of right ones in each group."""
    sizes: Index
    """[P]: different answers."""

    def part(self, problems: slice) -> "_Ballots":
        weights = None if self.weights is None else self.weights[problems]
        sizes = self.sizes[problems]
        return _Ballots(self.groups[problems], weights, self.right[problems], self.shares[problems], sizes)


def vote_curve(rule: str, samples: Samples, weights: Array | None, ks: Iterable[int], seed: int, error: float) -> Curve:
    ks, rng = check_ks(ks, samples.n), np.random.default_rng(seed)
    ballots, order = _ballots(samples, weights, rng)
    values, variances = np.empty((2, samples.problems, len(ks)))
    for column, k in enumerate(ks):
        values[order, column], variances[order, column] = _expected(ballots, k, rng, error)
    return Curve(rule, ks, values, variances, *costs_of(samples, ks))


def _ballots(samples: Samples, weights: Array | None, rng: np.random.Generator) -> tuple[_Ballots, Index]:
    """The ballots, and which problem stands where.

    All problems share the random draws. With the samples of each in a random order of its own, draws of two problems
    are independent all the same, so their errors do not add up.
    """
    groups, shares = np.empty(samples.groups.shape, np.int32), np.empty((samples.problems, samples.n + 1))
    sizes = np.empty(samples.problems, np.intp)
    for start in range(0, samples.problems, max(1, BLOCK // samples.n)):
        part = slice(start, start + max(1, BLOCK // samples.n))
        groups[part], sizes[part] = numbered(samples.groups[part])
        shares[part] = _shares(groups[part], samples.right[part])
    order = np.argsort(sizes, kind="stable")
    every = np.broadcast_to(np.arange(samples.n, dtype=np.int32), samples.groups.shape)
    shuffled = rng.permuted(every, axis=1)[order]
    shuffle = (order[:, None], shuffled)
    weights = None if weights is None else weights[shuffle]
    return _Ballots(groups[shuffle], weights, samples.right[shuffle], shares[order], sizes[order]), order


def numbered(groups: NDArray[np.int64]) -> tuple[Index, Index]:
    """Groups renumbered from 0 in each row, with n for no answer; and how many there are in each row."""
    order = np.argsort(groups, 1, kind="stable")
    ranked = np.take_along_axis(groups, order, 1)
    new = np.zeros(groups.shape, dtype=np.intp)
    new[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    numbers = np.cumsum(new, 1) - (ranked[:, :1] == -1)
    renumbered = np.empty_like(numbers)
    np.put_along_axis(renumbered, order, np.where(ranked == -1, groups.shape[1], numbers), 1)
    return renumbered, numbers.max(1) + 1


def _shares(groups: NDArray[np.int32], right: NDArray[np.bool_]) -> Array:
    """[P, n + 1]: the share of right ones in each group, 0 where there is none."""
    problems, n = groups.shape
    cells = (groups + (n + 1) * np.arange(problems)[:, None]).ravel()
    rights, members = (np.bincount(cells, each, problems * (n + 1)) for each in (right.ravel(), None))
    return np.asarray((rights / np.maximum(members, 1)).reshape(problems, n + 1))


def _expected(ballots: _Ballots, k: int, rng: np.random.Generator, error: float) -> tuple[Array, Array]:
    """([P], [P]): the expected outcome of a vote of k, and the variance of that estimate."""
    problems, n = ballots.groups.shape
    subsets, most = comb(n, k), min(1.0, ERROR / error) ** 2 * SUBSETS
    if subsets <= most and subsets * problems * k <= max(WORK, problems * n):
        if k == 1:
            alone = np.take_along_axis(ballots.shares, ballots.groups, 1)
            return np.where(ballots.groups < n, alone, ballots.right).sum(1) / n, np.zeros(problems)
        every = np.fromiter(chain.from_iterable(combinations(range(n), k)), np.intp, subsets * k).reshape(subsets, k)
        return _outcomes(ballots, every)[0] / subsets, np.zeros(problems)
    return _sampled(ballots, k, rng, error)


def _sampled(ballots: _Ballots, k: int, rng: np.random.Generator, error: float) -> tuple[Array, Array]:
    """As many random draws as the error asks for: a pilot says about how many, and the rest follow in batches."""
    problems, n = ballots.groups.shape
    largest, most = max(_PILOT, 4 * BLOCK // n), int((ERROR / error) ** 2 * MOST)
    sums, squares, draws, batch = np.zeros(problems), np.zeros(problems), 0, _PILOT
    contested = ballots.right.any(1) & ~ballots.right.all(1)
    while True:
        drawn = np.argpartition(rng.random((batch, n)), k - 1, axis=1)[:, :k]
        more = _outcomes(ballots, drawn)
        sums, squares, draws = sums + more[0], squares + more[1], draws + batch
        # Half a deviation is added, since outcomes that were all alike so far may still differ.
        deviations = np.maximum(squares - sums**2 / draws, 0) + contested / 2
        variances = deviations / (draws * (draws - 1))
        excess = variances.sum() / (problems * error) ** 2
        if excess <= 1 or draws >= most:
            return sums / draws, variances
        batch = int(min(max(_PILOT, draws * (excess - 1) + 1), largest, max(_PILOT, most - draws)))


def _outcomes(ballots: _Ballots, draws: Index) -> tuple[Array, Array]:
    """([P], [P]): the sums over draws of the outcomes of each problem, and of their squares."""
    sums, squares = np.empty((2, len(ballots.groups)))
    for problems in _blocks(ballots.sizes, ballots.groups.shape[1], draws.shape):
        part = ballots.part(problems)
        size = BLOCK // max(1, int(part.sizes[-1]), draws.shape[1])
        outcomes = np.concatenate(
            [_outcome(part, draws[start : start + size]) for start in range(0, len(draws), max(1, size))], 1
        )
        sums[problems], squares[problems] = outcomes.sum(1), (outcomes**2).sum(1)
    return sums, squares


def _blocks(sizes: Index, n: int, draws: tuple[int, ...]) -> Iterator[slice]:
    """Slices of problems such that each fits into memory; `sizes` ascend."""
    cells = np.maximum(draws[0] * np.maximum(sizes + 1, draws[1]), n * (sizes + 1))
    start = 0
    while start < len(sizes):
        held = np.arange(1, len(sizes) - start + 1) * cells[start:]
        end = start + max(1, int(np.searchsorted(held, BLOCK, "right")))
        yield slice(start, end)
        start = end


def _outcome(ballots: _Ballots, draws: Index) -> Array:
    """[P, D]: the expectation over the orders of each draw that the answer returned is right."""
    size = int(ballots.sizes[-1])
    groups, shares, weights = np.minimum(ballots.groups, size), ballots.shares[:, :size], ballots.weights
    if weights is None:
        chosen = _winners(groups, shares, None, draws)
    else:
        silent = (unscored := np.isnan(weights)) | (groups == size)
        right = ballots.right if np.any((shares > 0) & (shares < 1)) else None
        voting, weights = np.where(silent, size, groups), np.where(unscored, 0.0, weights)
        chosen = _winners(voting, shares, weights, draws, right)
        if unscored.any():
            chosen = np.where(silent[:, draws].all(2), _winners(groups, shares, None, draws, right), chosen)
    nobody = np.nonzero(np.isnan(chosen))  # voted, so the first sample is returned
    chosen[nobody] = ballots.right[nobody[0][:, None], draws[nobody[1]]].mean(1)
    return chosen


def _winners(
    groups: NDArray[np.int32],
    shares: Array,
    weights: Array | None,
    draws: Index,
    right: NDArray[np.bool_] | None = None,
) -> Array:
    """[P, D]: the share of right answers among those that may win; nan where nobody votes.

    `groups` and `weights` are [P, n], `shares` [P, G]; a sample in group G does not vote. Of groups with equal sums
    the one that was seen first wins, so each has a chance in proportion to its voters. Where members of a group differ
    and are not all as likely to be returned, `right` [P, n] says of each whether it is right, in place of the shares.
    """
    voters, sums = _tallies(groups, shares.shape[1], weights, draws)
    if weights is not None:
        sums = np.where(voters > 0, sums, -1.0)
    voters *= sums >= sums.max(1, initial=0.0, keepdims=True) * (1 - _TIE)
    votes = voters.sum(1)
    if right is None:
        rights = np.matmul(shares[:, None, :], voters)[:, 0]
    else:
        rights = (_heaviest(groups, shares.shape[1], weights, right, draws) * voters).sum(1)
    return np.asarray(np.divide(rights, votes, out=np.full(votes.shape, np.nan), where=votes > 0))


def _heaviest(
    groups: NDArray[np.int32], size: int, weights: Array | None, right: NDArray[np.bool_], draws: Index
) -> Array:
    """[P, G, D]: the share of right ones among the heaviest members that each draw has of a group: one is returned."""
    weighed = np.zeros((len(groups), *draws.shape)) if weights is None else weights[:, draws]
    rows = (size + 1) * np.arange(len(groups))[:, None, None] + groups[:, draws]
    cells = rows * len(draws) + np.arange(len(draws))[:, None]
    most = np.full(len(groups) * (size + 1) * len(draws), -1.0)
    np.maximum.at(most, cells.ravel(), weighed.ravel())
    cells, spoken = cells[heaviest := weighed == most[cells]], right[:, draws][heaviest]
    rights, members = (np.bincount(cells, each, len(most)) for each in (spoken, None))
    return np.asarray((rights / np.maximum(members, 1)).reshape(len(groups), size + 1, len(draws))[:, :size])


def _tallies(
    groups: NDArray[np.int32], size: int, weights: Array | None, draws: Index
) -> tuple[NDArray[Any], NDArray[Any]]:
    """([P, G, D], [P, G, D]): the voters in each group of each draw, and the sums of their weights.

    Without weights, both are the same. Where a draw takes much of all samples, a product of matrices is faster than
    to count sample by sample.
    """
    problems, n = groups.shape
    count, k = draws.shape
    if n * size <= PRODUCT * k:
        members = groups[:, None, :] == np.arange(size, dtype=np.int32)[:, None]
        held = np.zeros((n, count), np.float32)
        held[draws.T, np.arange(count)] = 1
        voters = (members.astype(np.float32).reshape(-1, n) @ held).reshape(problems, size, count)
        if weights is None:
            return voters, voters
        weighed = (members * weights[:, None, :]).reshape(-1, n)
        return voters, (weighed @ held.astype(np.float64)).reshape(voters.shape)
    rows = (size + 1) * np.arange(problems)[:, None, None] + groups[:, draws]
    cells = (rows * count + np.arange(count)[:, None]).ravel()
    shape = (problems, size + 1, count)
    voters = np.bincount(cells, None, math.prod(shape)).reshape(shape)[:, :size].astype(np.float32)
    if weights is None:
        return voters, voters
    return voters, np.bincount(cells, weights[:, draws].ravel(), math.prod(shape)).reshape(shape)[:, :size]
