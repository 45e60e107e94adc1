"""When a vote is settled: pure rules over the votes so far, for `Vote(n, until=…)`.

A rule is called with the keys of the samples drawn so far, in their order (`None` has no answer), with their weights (1
without a verifier), and with the number that may still come. It returns whether to stop. A function of the user's own
serves as well.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import lgamma, log
from typing import TYPE_CHECKING, Protocol

from metagen.errors import InputError
from metagen.settings import kind_of, literal, require_plain, require_whole, spelled, takes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Keys = Sequence[Hashable | None]


class Stop(Protocol):
    """Whether a vote is settled."""

    def __call__(self, keys: Keys, weights: Sequence[float], left: int, /) -> bool: ...


@dataclass(frozen=True, slots=True, repr=False)
class BetaStop:
    """Stop when the leading answer is more probable than the second, with the probability `threshold`.

    With v₁ ≥ v₂ votes and a uniform prior, P(p₁ > p₂) = P(Beta(v₁ + 1, v₂ + 1) > ½). (Adaptive-Consistency, Aggarwal et
    al. 2023, section 3; 0.95 is theirs.)
    """

    threshold: float = 0.95

    __repr__ = spelled

    def __post_init__(self) -> None:
        _probability(self, self.threshold)

    def __call__(self, keys: Keys, _weights: Sequence[float], _left: int, /) -> bool:
        first, second = two_largest(keys)
        return first > 0 and beats(first, second) >= self.threshold


@dataclass(frozen=True, slots=True, repr=False)
class DirichletStop:
    """Stop when the leading answer is the most probable of all, with the probability `threshold`.

    The probabilities have a Dirichlet posterior with a uniform prior over the answers that were seen, or over two where
    only one was seen. (Adaptive-Consistency, Aggarwal et al. 2023, section 3.)
    """

    threshold: float = 0.95

    __repr__ = spelled

    def __post_init__(self) -> None:
        _probability(self, self.threshold)

    def __call__(self, keys: Keys, _weights: Sequence[float], _left: int, /) -> bool:
        counts = sorted(_counts(keys).values(), reverse=True)
        return bool(counts) and leads(tuple(counts)) >= self.threshold


@dataclass(frozen=True, slots=True, repr=False)
class WindowStop:
    """Stop when all `size` answers of a window agree; windows do not overlap.

    (Early-stopping self-consistency, Li et al. 2024, section 3. With as many samples in flight as in a window, it
    wastes nothing.)
    """

    size: int = 4

    __repr__ = spelled

    def __post_init__(self) -> None:
        require_whole(self, 2, size=self.size)

    def __call__(self, keys: Keys, _weights: Sequence[float], _left: int, /) -> bool:
        last = keys[-self.size :]
        return len(keys) > 0 and len(keys) % self.size == 0 and last[0] is not None and len(set(last)) == 1


@dataclass(frozen=True, slots=True, repr=False)
class ExactStop:
    """Stop when the samples that may still come cannot change the majority: the answer is that of all n."""

    __repr__ = spelled

    def __call__(self, keys: Keys, _weights: Sequence[float], left: int, /) -> bool:
        counts = _counts(keys)
        if not counts:
            return False
        order = list(counts)  # in the order in which they were first drawn, which breaks ties
        leader = max(order, key=counts.__getitem__)
        earlier = order[: order.index(leader)]
        most = max((counts[key] for key in order if key != leader), default=0)
        most_earlier = max((counts[key] for key in earlier), default=-1)
        return most + left <= counts[leader] and most_earlier + left < counts[leader]


@dataclass(frozen=True, slots=True, repr=False)
class PredictiveStop:
    """Stop when the leading answer will lead after all n samples too, with the probability `threshold`.

    Where `BetaStop` asks which answer is the more probable one, this asks whether the samples that are left could still
    show it: near the end, or far ahead, less certainty is needed. The votes of the leader, of the second and of all
    others (samples without an answer among them) follow a Pólya urn, which is a uniform prior on their shares. A tie
    counts for the one of the two that was drawn first. (The predictive probability of trials that end early, Lee and
    Liu 2008, section 2; where it is to be certain, use `ExactStop`.)
    """

    threshold: float = 0.9

    __repr__ = spelled

    def __post_init__(self) -> None:
        _probability(self, self.threshold)

    def __call__(self, keys: Keys, _weights: Sequence[float], left: int, /) -> bool:
        return stays_ahead(keys, left) >= self.threshold


@dataclass(frozen=True, slots=True, repr=False)
class ConsensusStop:
    """Stop when the leading answer has the share `threshold` of all weight, after at least `least` samples.

    (The consensus of DeepConf online, Fu et al. 2025, section 3.2; 0.95 is theirs.) The only one of these rules that
    reads weights. In a vote with `by`, it, `WindowStop` and functions are allowed.
    """

    threshold: float = 0.95
    least: int = 4

    __repr__ = spelled

    def __post_init__(self) -> None:
        _probability(self, self.threshold)
        require_whole(self, least=self.least)

    def __call__(self, keys: Keys, weights: Sequence[float], _left: int, /) -> bool:
        sums: dict[Hashable, float] = {}
        for key, weight in zip(keys, weights, strict=True):
            if key is not None:
                sums[key] = sums.get(key, 0.0) + weight
        total = sum(sums.values())
        return len(keys) >= self.least and total > 0 and max(sums.values()) >= self.threshold * total


COUNTING = (BetaStop, DirichletStop, ExactStop, PredictiveStop)
"""Rules for votes that weigh the same: under weights their promise does not hold."""


def check_rule(of: object, until: Stop, *, weighted: bool) -> None:
    """Refuse what is no rule, and one that counts where votes are weighed."""
    name = type(of).__name__
    if isinstance(until, type) or not takes(until, 3):
        raise InputError(f"{name}: until={until!r} is not a rule: write one such as until=BetaStop(0.95)")
    if kind_of(until) == "verifier":
        raise InputError(f"{name}: until={literal(until)} is a verifier: write Until({literal(until)})")
    require_plain(until, f"{name}: until={literal(until)}")
    if weighted and isinstance(until, COUNTING):
        raise InputError(f"{name}: {until!r} counts votes, and by= weighs them: use until=ConsensusStop(0.95)")


def beats(first: int, second: int) -> float:
    """P(Beta(first + 1, second + 1) > ½), exactly: a tail of the binomial distribution."""
    n, ways, total = first + second + 1, 1, 0
    for k in range(first + 1):
        total += ways
        ways = ways * (n - k) // (k + 1)
    return total / (1 << n)


@lru_cache(maxsize=1 << 14)
def leads(counts: tuple[int, ...]) -> float:
    """The probability that the first of these answers has the largest share, under a Dirichlet posterior.

    ∫ f₁(x) Πⱼ Fⱼ(x) dx over gamma variables of shape count + 1, on a grid.
    """
    import numpy as np  # noqa: PLC0415 (slow to load, and few rules need it)

    first, *others = counts if len(counts) > 1 else (*counts, 0)
    x = (np.arange(4000) + 0.5) * (first + 21 + 12 * (first + 1) ** 0.5) / 4000  # midpoints
    density = np.exp(first * np.log(x) - x - lgamma(first + 1))
    below = np.ones_like(x)
    log_x = np.log(x)
    for count in others:
        log_term = -x  # in logs: e to the -x is nothing from 746 on
        tail = np.exp(log_term)
        for k in range(1, count + 1):
            log_term = log_term + log_x - log(k)
            tail = tail + np.exp(log_term)
        below *= np.maximum(1.0 - tail, 0.0)
    return float((density * below).sum() / density.sum())


@lru_cache(maxsize=1 << 16)
def stays(first: int, second: int, others: int, left: int, *, tied: bool = True) -> float:
    """The probability that `first` votes are more than `second` after `left` more draws of a Pólya urn.

    With `tied` it is enough that they are no fewer. How many of the draws go to one of the two is one urn, and which of
    the two gets them is another, a walk: each of its steps changes the probability by what crosses the bar.
    """
    import numpy as np  # noqa: PLC0415 (slow to load, and few rules need it)

    both, every = first + second, np.arange(left + 1)
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, both + others + left + 3)))])

    def urn(start: int, more: "NDArray[np.int64]") -> "NDArray[np.float64]":
        ways: NDArray[np.float64] = factorials[start + more] - factorials[start] - factorials[more]
        return ways

    bar, steps = (0 if tied else 1), every[:-1]
    i = np.clip((steps + bar + second - first) // 2, 0, steps)  # how many the first got, where it is next to the bar
    lead = first - second + 2 * i - steps
    chance = np.exp(urn(first, i) + urn(second, steps - i) - urn(both + 1, steps)) / (both + steps + 2)
    up, down = (lead == bar - 1) * (first + i + 1), (lead == bar) * (second + steps - i + 1)
    ahead = np.concatenate([[0.0], np.cumsum(chance * (up - down))]) + (first - second >= bar)
    ways = urn(both + 1, every) + urn(others, left - every) - urn(both + others + 2, np.array(left))
    return float(np.exp(ways) @ ahead)


def stays_ahead(keys: Keys, left: int) -> float:
    """The probability that the leader is still ahead of the second after `left` more samples; 0 without votes.

    A tie goes to the answer that was drawn first: to the second, if one with so many votes was drawn before the leader.
    """
    counts = _counts(keys)
    first, second = two_largest(keys)
    if not first:
        return 0.0
    tied = next(count for count in counts.values() if count in (first, second)) == first
    return stays(first, second, len(keys) - first - second, left, tied=tied)


def needed(rule: Stop, keys: Keys, left: int) -> int:
    """How many more samples settle a vote if the answers keep their shares: 0 if it is settled, at most `left`.

    The rule must count votes: it sees how many there are of each answer, in the order in which they were first drawn.
    """
    if not left or rule(keys, [1.0] * len(keys), left):
        return 0
    for more in range(1, left):
        total = len(keys) + more
        if rule(scaled(keys, total), [1.0] * total, left - more):
            return more
    return left


def counted(first: int, second: int, total: int, *, tied: bool = True) -> Keys:
    """Votes with these counts: of a leading answer, of a second one, and of samples without an answer.

    The leader was drawn first if a tie is to be its own (`tied`), else the second one.
    """
    votes = [("first", first), ("second", second)]
    keys = [key for key, count in (votes if tied else reversed(votes)) for _ in range(count)]
    return [*keys, *[None] * (total - len(keys))]


def scaled(keys: Keys, total: int) -> Keys:
    """`total` votes with the same shares and order of answers.

    Counts and the lead are rounded down, so a tie stays one; the rest has no answer.
    """
    counts, (first, second) = _counts(keys), two_largest(keys)
    sizes = {key: count * total // len(keys) for key, count in counts.items()}
    if counts:
        leader = max(counts, key=counts.__getitem__)
        sizes[leader] = second * total // len(keys) + (first - second) * total // len(keys)
    votes = [key for key, size in sizes.items() for _ in range(size)]
    return [*votes, *[None] * (total - len(votes))]


def _counts(keys: Keys) -> Counter[Hashable]:
    return Counter(key for key in keys if key is not None)


def two_largest(keys: Keys) -> tuple[int, int]:
    """The votes of the leader and of the second; 0 where there is none."""
    counts = [count for _, count in _counts(keys).most_common(2)]
    first, second = [*counts, 0, 0][:2]
    return first, second


def _probability(rule: object, threshold: float) -> None:
    if not isinstance(threshold, int | float) or not 0.5 < threshold < 1:
        raise InputError(f"{type(rule).__name__}: threshold must be above 0.5 and below 1, not {threshold!r}")
