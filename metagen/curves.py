"""Accuracy against the number of samples, from one set of samples a problem: exact or with its error stated. Pure.

Of n samples each, drawn once, every smaller number k is estimated by the expectation over draws of k of the n without
replacement. Draws come in random order, which decides ties as the strategies do: first seen wins.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, combinations, pairwise
from math import comb
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metagen.errors import InputError, WeightError
from metagen.report import Share

Array = NDArray[np.float64]
Index = NDArray[np.intp]

ERROR = 0.001
"""The largest Monte Carlo standard error of a mean that is accepted: a tenth of a point."""
DRAWS = 1000
"""Bootstrap resamples."""
LEVEL = 0.95
_SUBSETS = 20_000
"""Draws of k of n, at most, that are all gone through."""
_WORK = 5e7
"""Samples looked at, at most, to go through them for all problems."""
_BLOCK = 1 << 19
"""Cells that are in memory at once."""
_PILOT = 64
"""Draws to see how much the outcome varies."""
_TIE = 1e-12
"""Sums of weights that differ by less, relatively, are equal: they were only added in another order."""
_FEWEST = 6
"""Problems without which nothing is claimed: with 5, even a sign test has p = 2·2⁻⁵ > 0.05."""


def pass_at_k(right: int, n: int, k: int) -> float:
    """The chance that k of n samples, drawn without replacement, hold a right one, if `right` of the n are.

    The unbiased estimate of coverage (Chen et al. 2021, section 2.1). Raises `ValueError` unless 1 ≤ k ≤ n.
    """
    if not 1 <= k <= n:
        raise ValueError(f"k must be from 1 to {n}, not {k}")
    return 1.0 - comb(n - right, k) / comb(n, k)


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """n samples of each of P problems, as arrays [P, n]."""

    groups: NDArray[np.int64]
    """Samples with equal answers have equal numbers, 0 or more; −1 has no answer."""
    right: NDArray[np.bool_]
    scores: Array | None = None
    """A verifier's verdicts, higher is better; nan is no verdict."""
    tokens: NDArray[np.int64] | None = None
    """What each sample cost."""
    flops: Array | None = None
    """Of writing each sample, where the model's card is known."""
    prompt_flops: Array | None = None
    """[P]: of reading the prompt, once for all samples; beside `flops`."""
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Such as level and subject, one value a problem; empty where a problem has none."""

    def __post_init__(self) -> None:
        """Raises `InputError` for arrays that do not fit together."""
        shape = np.shape(self.groups)
        if len(shape) != 2 or 0 in shape:
            raise InputError(f"groups must be an array of problems by samples, with one of each or more, not {shape}")
        for name in ("right", "scores", "tokens", "flops"):
            given = getattr(self, name)
            if given is not None and np.shape(given) != shape:
                raise InputError(f"{name} must have the shape {shape} of groups, not {np.shape(given)}")
        for name, values in self.labels.items():
            if len(values) != shape[0]:
                raise InputError(f"label {name!r} must have a value for each of {shape[0]} problems, not {len(values)}")
        if np.min(self.groups) < -1:
            raise InputError(f"a group is a number of 0 or more, or -1 for no answer, not {np.min(self.groups)}")

    @property
    def problems(self) -> int:
        return int(self.groups.shape[0])

    @property
    def n(self) -> int:
        """Samples a problem."""
        return int(self.groups.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """The expected accuracy of one rule for each k in `ks`, problem by problem."""

    rule: str
    ks: tuple[int, ...]
    values: Array
    """[P, K], each from 0 to 1."""
    variances: Array
    """[P, K]: of the Monte Carlo estimate of each value; 0 where it is exact."""
    costs: Array | None = None
    """[P, K]: the expected tokens of k samples."""
    flops: Array | None = None
    """[P, K]: the expected FLOPs of k samples that share one reading of the prompt."""

    @property
    def means(self) -> Array:
        """[K]: over problems."""
        return np.asarray(self.values.mean(0))

    @property
    def errors(self) -> Array:
        """[K]: the Monte Carlo standard error of each mean; 0 where it is exact. Not the error of few problems."""
        return np.asarray(np.sqrt(self.variances.sum(0)) / len(self.values))

    def interval(self, level: float = LEVEL, draws: int = DRAWS, seed: int = 0) -> tuple[Array, Array]:
        """([K], [K]): the percentile bootstrap interval of each mean, over problems (Efron 1979).

        Where every problem is right, or none is, resampling cannot show what else might be: there it is Wilson's.
        """
        low, high = percentiles(resampled_means(self.values, draws, seed), level)
        problems = len(self.values)
        for total in (0, problems):
            alike = self.values.sum(0) == total
            low[alike], high[alike] = Share(total, problems).interval(NormalDist().inv_cdf((1 + level) / 2))
        return low, high

    def of(self, problems: Index) -> "Curve":
        """The same for some of the problems, by their numbers."""
        costs, flops = (None if each is None else each[problems] for each in (self.costs, self.flops))
        return Curve(self.rule, self.ks, self.values[problems], self.variances[problems], costs, flops)

    def in_flops(self) -> "Curve":
        """The same with FLOPs for costs."""
        return replace(self, costs=self.flops)

    def at(self, k: int) -> Array:
        """[P]: the values at one k of `ks`."""
        return np.asarray(self.values[:, self.ks.index(k)])


def powers_of_two(n: int) -> tuple[int, ...]:
    """1, 2, 4 … and n itself."""
    return tuple(sorted({1 << power for power in range(n.bit_length())} | {n}))


def coverage(samples: Samples, ks: Iterable[int]) -> Curve:
    """The chance that one of k samples is right: unbiased pass@k (Chen et al. 2021, section 2.1). Exact."""
    ks = _checked(ks, samples.n)
    return _exact("coverage", samples, ks, 1 - _missing(samples.n, ks)[samples.right.sum(1)])


def best_of(samples: Samples, ks: Iterable[int]) -> Curve:
    """Whether the sample with the highest score is right (Stiennon et al. 2020; Cobbe et al. 2021, section 4). Exact.

    By order statistics: the i-th best of n is the best of k with chance C(n−i, k−1) / C(n, k). Equal scores take turns,
    since either may have been drawn first; no verdict ranks last. Raises `InputError` without scores.
    """
    ks = _checked(ks, samples.n)
    scores = _scores(samples)
    ranks = np.unique(scores, return_inverse=True)[1].reshape(scores.shape)
    keys = np.where(np.isnan(scores), 1, -ranks)
    order = np.argsort(keys, 1)
    ranked, right = np.take_along_axis(keys, order, 1), np.take_along_axis(samples.right, order, 1)
    chances = -np.diff(_missing(samples.n, ks), axis=0)
    return _exact("best-of", samples, ks, _averaged(right.astype(float), ranked) @ chances)


def majority_vote(samples: Samples, ks: Iterable[int], seed: int = 0, error: float = ERROR) -> Curve:
    """Whether the most frequent answer of k is right (self-consistency; Wang et al. 2023, section 2).

    Exact where all draws of k can be gone through (up to 20,000, as for n = 16), and for k = 1 and n. Else a Monte
    Carlo estimate, over as many draws as bring the standard error of the mean over problems down to `error`. A sample
    without an answer does not vote; if none votes, the first drawn is handed over. A group whose members were graded
    differently is right by the share that is.
    """
    return _vote("majority", samples, None, ks, seed, error)


def weighted_vote(samples: Samples, ks: Iterable[int], seed: int = 0, error: float = ERROR) -> Curve:
    """Whether the answer with the largest sum of scores is right (Li et al. 2023, section 3).

    As `majority_vote`, and a sample without a verdict does not vote; if no sample drawn has one, the majority decides.
    Raises `WeightError` for scores that are negative or infinite: turn logits into weights first, as `Sigmoid` does.
    """
    scores = _scores(samples)
    if np.any(np.isinf(scores) | (scores < 0)):
        raise WeightError("scores that weigh votes must be finite and not negative: turn logits into weights first")
    return _vote("weighted vote", samples, scores, ks, seed, error)


def all_rules(samples: Samples, ks: Iterable[int], seed: int = 0) -> dict[str, Curve]:
    """The curves of all rules that the samples allow, by name."""
    ks = _checked(ks, samples.n)
    curves = [coverage(samples, ks), majority_vote(samples, ks, seed)]
    if samples.scores is not None:
        curves += [weighted_vote(samples, ks, seed), best_of(samples, ks)]
    return {curve.rule: curve for curve in curves}


@dataclass(frozen=True, slots=True)
class Fall:
    """More samples made it worse: the verifier is over-optimised (Gao et al. 2023)."""

    best: int
    """The k with the highest mean before that."""
    worse_from: int
    """The first k after it that is certainly worse than some smaller k."""
    difference: float
    """Of the means at `worse_from` and at the smaller k that shows it most clearly."""
    low: float
    high: float
    """The interval of that difference, simultaneous over all pairs of k."""


def over_optimised(curve: Curve, level: float = LEVEL, draws: int = DRAWS, seed: int = 0) -> Fall | None:
    """Find out from which k on a curve is lower than it was at a smaller k, beyond chance; `None` if it is not.

    All pairs of k are looked at, so the intervals of their paired differences are simultaneous: as wide as the
    `level` quantile of the largest standardised fall among all pairs in the bootstrap. A curve that is flat is thus
    accused in 1 − `level` of cases at most. With fewer than 6 problems nothing is claimed.
    """
    earlier, later = np.triu_indices(len(curve.ks), 1)
    if len(curve.values) < _FEWEST or not len(later):
        return None
    means = resampled_means(curve.values, draws, seed)
    noise = (means - curve.means)[:, later] - (means - curve.means)[:, earlier]
    spread = np.maximum(noise.std(0), 1e-9)
    widest = np.quantile((noise / spread).max(1), level) * spread
    difference = curve.means[later] - curve.means[earlier]
    if not (falls := np.flatnonzero(difference + widest < 0)).size:
        return None
    first = later[falls].min()
    pair = min(falls[later[falls] == first], key=lambda pair: float(difference[pair] / spread[pair]))
    value, width = float(difference[pair]), float(widest[pair])
    best = curve.ks[int(curve.means[: first + 1].argmax())]
    return Fall(best, curve.ks[first], value, value - width, value + width)


def resampled_means(values: ArrayLike, draws: int = DRAWS, seed: int = 0) -> Array:
    """[draws, K]: the means of `values` [P, K] over bootstrap resamples of the P problems.

    The same seed resamples the same problems, so the differences of two curves are paired. Each resample is a row of
    multinomial counts, and a block of them one matrix product.
    """
    values = np.asarray(values, dtype=np.float64)
    problems, rng = len(values), np.random.default_rng(seed)
    block = max(1, _BLOCK // problems)
    return np.concatenate(
        [_counts(problems, min(block, draws - start), rng) @ values / problems for start in range(0, draws, block)]
    )


def percentiles(means: Array, level: float = LEVEL) -> tuple[Array, Array]:
    """The middle `level` of the rows of `means`, column by column."""
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def _counts(problems: int, draws: int, rng: np.random.Generator) -> Array:
    """[draws, P]: how often each problem stands in each resample."""
    drawn = rng.integers(problems, size=(draws, problems)) + problems * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * problems).reshape(draws, problems).astype(np.float64)


def _checked(ks: Iterable[int], n: int) -> tuple[int, ...]:
    ks = tuple(ks)
    if not ks or not all(1 <= k <= n for k in ks) or any(one >= other for one, other in pairwise(ks)):
        raise InputError(f"k must go up from 1 to at most {n}, the samples of a problem, not {ks}")
    return ks


def _scores(samples: Samples) -> Array:
    if samples.scores is None:
        raise InputError("these samples have no scores, and this rule chooses by them")
    return np.asarray(samples.scores, dtype=np.float64)


def _missing(n: int, ks: tuple[int, ...]) -> Array:
    """[n + 1, K]: the chance C(n−r, k) / C(n, k) that k of n hold none of r certain ones, for r from 0 to n."""
    r = np.arange(n)[:, None]
    factors = np.maximum(n - np.array(ks) - r, 0) / (n - r)
    return np.concatenate([np.ones((1, len(ks))), np.cumprod(factors, 0)])


def _exact(rule: str, samples: Samples, ks: tuple[int, ...], values: Array) -> Curve:
    return Curve(rule, ks, values, np.zeros_like(values), _costs(samples, ks), _flops(samples, ks))


def _costs(samples: Samples, ks: tuple[int, ...]) -> Array | None:
    return None if samples.tokens is None else np.outer(samples.tokens.mean(1), ks)


def _flops(samples: Samples, ks: tuple[int, ...]) -> Array | None:
    if samples.flops is None or samples.prompt_flops is None:
        return None
    return np.asarray(np.outer(samples.flops.mean(1), ks) + samples.prompt_flops[:, None])


def _averaged(right: Array, keys: Index) -> Array:
    """[P, n]: each value replaced by the mean over the equal keys beside it; `keys` ascend in each row."""
    starts = np.ones(keys.shape, dtype=bool)
    starts[:, 1:] = keys[:, 1:] != keys[:, :-1]
    run = np.cumsum(starts.ravel()) - 1
    return np.asarray((np.bincount(run, right.ravel()) / np.bincount(run))[run].reshape(keys.shape))


@dataclass(frozen=True, slots=True, eq=False)
class _Ballots:
    """What votes need to know of problems, sorted by their number of different answers."""

    groups: Index
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


def _vote(rule: str, samples: Samples, weights: Array | None, ks: Iterable[int], seed: int, error: float) -> Curve:
    ks, rng = _checked(ks, samples.n), np.random.default_rng(seed)
    ballots, order = _ballots(samples, weights, rng)
    values, variances = np.empty((2, samples.problems, len(ks)))
    for column, k in enumerate(ks):
        values[order, column], variances[order, column] = _expected(ballots, k, rng, error)
    return Curve(rule, ks, values, variances, _costs(samples, ks), _flops(samples, ks))


def _ballots(samples: Samples, weights: Array | None, rng: np.random.Generator) -> tuple[_Ballots, Index]:
    """The ballots, and which problem stands where.

    All problems share the random draws. With the samples of each in a random order of its own, draws of two problems
    are independent all the same, so their errors do not add up.
    """
    groups, sizes = _numbered(samples.groups)
    order = np.argsort(sizes, kind="stable")
    shuffled = rng.permuted(np.tile(np.arange(samples.n), (samples.problems, 1)), axis=1)[order]
    shuffle = (order[:, None], shuffled)
    weights = None if weights is None else weights[shuffle]
    shares = _shares(groups, samples.right)[order]
    return _Ballots(groups[shuffle], weights, samples.right[shuffle], shares, sizes[order]), order


def _numbered(groups: NDArray[np.int64]) -> tuple[Index, Index]:
    """Groups renumbered from 0 in each row, with n for no answer; and how many there are in each row."""
    order = np.argsort(groups, 1, kind="stable")
    ranked = np.take_along_axis(groups, order, 1)
    new = np.zeros(groups.shape, dtype=np.intp)
    new[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    numbers = np.cumsum(new, 1) - (ranked[:, :1] == -1)
    renumbered = np.empty_like(numbers)
    np.put_along_axis(renumbered, order, np.where(ranked == -1, groups.shape[1], numbers), 1)
    return renumbered, numbers.max(1) + 1


def _shares(groups: Index, right: NDArray[np.bool_]) -> Array:
    """[P, n + 1]: the share of right ones in each group, 0 where there is none."""
    problems, n = groups.shape
    cells = (groups + (n + 1) * np.arange(problems)[:, None]).ravel()
    rights, members = (np.bincount(cells, each, problems * (n + 1)) for each in (right.ravel(), None))
    return np.asarray((rights / np.maximum(members, 1)).reshape(problems, n + 1))


def _expected(ballots: _Ballots, k: int, rng: np.random.Generator, error: float) -> tuple[Array, Array]:
    """([P], [P]): the expected outcome of a vote of k, and the variance of that estimate."""
    problems, n = ballots.groups.shape
    if (subsets := comb(n, k)) <= _SUBSETS and subsets * problems * k <= max(_WORK, problems * n):
        every = np.fromiter(chain.from_iterable(combinations(range(n), k)), np.intp, subsets * k).reshape(subsets, k)
        return _outcomes(ballots, every)[0] / subsets, np.zeros(problems)
    return _sampled(ballots, k, rng, error)


def _sampled(ballots: _Ballots, k: int, rng: np.random.Generator, error: float) -> tuple[Array, Array]:
    """As many random draws as the error asks for: a pilot says about how many, and the rest follow in batches."""
    problems, n = ballots.groups.shape
    largest = max(_PILOT, 4 * _BLOCK // n)
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
        if excess <= 1:
            return sums / draws, variances
        batch = int(min(max(_PILOT, draws * (excess - 1) + 1), largest))


def _outcomes(ballots: _Ballots, draws: Index) -> tuple[Array, Array]:
    """([P], [P]): the sums over draws of the outcomes of each problem, and of their squares."""
    sums, squares = np.empty((2, len(ballots.groups)))
    for problems in _blocks(ballots.sizes, draws.shape):
        part = ballots.part(problems)
        size = _BLOCK // max(1, int(part.sizes[-1]), draws.shape[1])
        outcomes = np.concatenate(
            [_outcome(part, draws[start : start + size]) for start in range(0, len(draws), max(1, size))], 1
        )
        sums[problems], squares[problems] = outcomes.sum(1), (outcomes**2).sum(1)
    return sums, squares


def _blocks(sizes: Index, draws: tuple[int, ...]) -> Iterator[slice]:
    """Slices of problems such that each fits into memory; `sizes` ascend."""
    start = 0
    while start < len(sizes):
        end = start + 1
        while end < len(sizes) and (end + 1 - start) * draws[0] * max(int(sizes[end]) + 1, draws[1]) <= _BLOCK:
            end += 1
        yield slice(start, end)
        start = end


def _outcome(ballots: _Ballots, draws: Index) -> Array:
    """[P, D]: the expectation over the orders of each draw that the answer handed over is right."""
    size = int(ballots.sizes[-1])
    groups = np.minimum(ballots.groups, size)[:, draws]
    shares = ballots.shares[:, :size]
    weights = None if ballots.weights is None else ballots.weights[:, draws]
    if weights is None or not (silent := np.isnan(weights)).any():
        chosen = _winners(groups, shares, weights)
    else:
        weighted = _winners(np.where(silent, size, groups), shares, np.where(silent, 0.0, weights))
        chosen = np.where(silent.all(2), _winners(groups, shares, None), weighted)
    nobody = np.nonzero(np.isnan(chosen))  # voted, so the first sample is handed over
    chosen[nobody] = ballots.right[nobody[0][:, None], draws[nobody[1]]].mean(1)
    return chosen


def _winners(groups: Index, shares: Array, weights: Array | None) -> Array:
    """[P, D]: the share of right answers among those that may win; nan where nobody votes.

    `groups` and `weights` are [P, D, k], `shares` [P, G]; who is in group G does not vote. Of groups with equal sums
    the one that was seen first wins, so each has a chance in proportion to its voters.
    """
    problems, draws, _ = groups.shape
    shape = (problems, draws, shares.shape[1] + 1)
    cells = (groups + shape[2] * np.arange(problems * draws).reshape(problems, draws, 1)).ravel()
    voters = np.bincount(cells, minlength=problems * draws * shape[2]).reshape(shape)[..., :-1].astype(np.float64)
    sums = voters
    if weights is not None:
        sums = np.bincount(cells, weights.ravel(), problems * draws * shape[2]).reshape(shape)[..., :-1]
    sums = np.where(voters > 0, sums, -1.0)
    chances = np.where(sums >= sums.max(2, initial=0.0, keepdims=True) * (1 - _TIE), voters, 0.0)
    votes = chances.sum(2)
    right = np.matmul(chances, shares[:, :, None])[..., 0]
    return np.asarray(np.divide(right, votes, out=np.full(votes.shape, np.nan), where=votes > 0))
