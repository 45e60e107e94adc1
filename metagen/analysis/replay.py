"""What strategies that decide on the way would give over recorded samples: votes that stop, and searches with a check.

The samples of a problem are put in random orders, and a strategy sees them one by one in each. Its outcome is the mean
over the orders. What is expected of a strategy that only counts, such as a vote of k, `rules` gives without orders.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metagen.analysis.curve import Samples
from metagen.analysis.intervals import Array, Index
from metagen.analysis.votes import numbered
from metagen.strategies.parallel.stopping import Keys, Stop, counted, needed

ORDERS = 32
"""Random orders of the samples of a problem."""


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """What a strategy comes to, problem by problem: [P] each."""

    right: Array
    """How often the answer is right."""
    samples: Array
    """Samples that were begun."""
    requests: Array
    """Each reads the prompt."""
    written: Array
    """Tokens, those of unfinished samples too."""
    depth: Array
    """Tokens that are written one after another; what is written at the same time counts once."""


@dataclass(frozen=True, slots=True, eq=False)
class Prefixes:
    """The vote after each of the first samples, in random orders: [P, O, n] each."""

    right: NDArray[np.bool_]
    """Whether the leading answer is right; without any answer, the first sample."""
    first: NDArray[np.int64]
    """Votes of the leading answer."""
    second: NDArray[np.int64]
    tied: NDArray[np.bool_]
    """Whether a tie with the second would be the leader's, which was drawn first."""
    tokens: NDArray[np.int64]
    """Of each sample."""

    @property
    def n(self) -> int:
        return int(self.right.shape[2])


def prefixes(samples: Samples, orders: int = ORDERS, seed: int = 0) -> Prefixes:
    """The votes over the samples in random orders. Ties go to the answer that came first, as in `Vote`."""
    order = _orders(samples, orders, seed)
    groups, right = (_ordered(each, order) for each in (_numbered(samples.groups), samples.right))
    tokens = np.ones_like(samples.groups) if samples.tokens is None else samples.tokens
    found = _counted(groups, right, samples.n)
    return Prefixes(*found, _ordered(tokens, order))


def stopped(votes: Prefixes, n: int, rule: Stop, window: int = 1) -> Played:
    """`Vote(n, until=rule, window=window)`."""
    return stopped_at(votes, n, stops(votes, n, rule), window)


def stops(votes: Prefixes, n: int, rule: Stop) -> Index:
    """[P, O]: the sample at which a rule stops a vote of n; the last if it never does."""
    at = np.full(votes.right.shape[:2], n - 1)
    going = np.ones(at.shape, np.bool_)
    for drawn in range(n):
        if not going.any():
            break
        first, second, tied = votes.first[..., drawn], votes.second[..., drawn], votes.tied[..., drawn]
        state = first[going], second[going], tied[going], np.array(drawn + 1)
        settled = _by_state(lambda keys: rule(keys, [1.0] * len(keys), n - len(keys)), *state)
        at[going] = np.where(settled, drawn, n - 1)
        going[going] = ~settled
    return at


def stopped_at(votes: Prefixes, n: int, judged: Index, window: int = 1) -> Played:
    """A vote of n that stops at the samples `judged` [P, O], with `window` samples in flight.

    Samples in flight advance together, a token at a time; at the stop, the unfinished are paid as far as they came.
    """
    judged_at = _judged_at(votes.tokens[..., :n], window)
    now = _at(judged_at, judged)
    begun_at = np.zeros_like(judged_at)
    begun_at[..., window:] = judged_at[..., :-window] if window < n else 0
    begun = np.arange(n) < np.minimum(n, judged + window)[..., None]
    written = np.where(begun, np.clip(now[..., None] - begun_at, 0, votes.tokens[..., :n]), 0).sum(2)
    count = begun.sum(2)
    return _mean(_at(votes.right, judged), count, count, written, now)


def accepted(votes: Prefixes, k: int, rule: Stop) -> tuple[Played, Array]:
    """A vote of k that is accepted where a rule finds it settled: what it gives then, and how often [P] it is not.

    What it gives is that of the accepted votes alone; what it costs, that of all.
    """
    tokens = votes.tokens[..., :k]
    state = votes.first[..., k - 1], votes.second[..., k - 1], votes.tied[..., k - 1], np.array(k)
    settled = _by_state(lambda keys: rule(keys, [1.0] * len(keys), 0), *state)
    one = np.ones_like(settled, np.int64)
    played = _mean(votes.right[..., k - 1] & settled, k * one, one, tokens.sum(2), tokens.max(2))
    return played, np.asarray(1 - settled.mean(1))


def grown(votes: Prefixes, n: int, rule: Stop, first: int, rounds: int) -> Played:
    """`Rounds(n, until=rule, first=first, rounds=rounds)`: the samples of a round are written at the same time."""
    tokens, samples = votes.tokens[..., :n], np.full(votes.right.shape[:2], min(first, n))
    used, depth = np.ones_like(samples), tokens[..., : min(first, n)].max(2)
    places = np.arange(n)
    for _ in range(1, rounds):
        state = (*(_at(each, samples - 1) for each in (votes.first, votes.second, votes.tied)), samples)
        more = _by_state(lambda keys: needed(rule, keys, n - len(keys)), *state)
        drawn = (places >= samples[..., None]) & (places < (samples + more)[..., None])
        used, depth, samples = used + (more > 0), depth + np.where(drawn, tokens, 0).max(2), samples + more
    written = np.where(places < samples[..., None], tokens, 0).sum(2)
    return _mean(_at(votes.right, samples - 1), samples, used, written, depth)


def until_right(samples: Samples, right: NDArray[np.bool_], limit: int) -> Played:
    """Samples are drawn one by one until one is accepted, at most `limit`. Exact.

    `right` [P, n] says which are accepted. What is returned counts as right if an accepted sample was found.
    """
    n, accepted = samples.n, right.sum(1)
    missing = np.cumprod(np.concatenate([np.ones((1, n + 1)), _missing_factors(n, limit)[:-1]]), 0)
    alone = np.cumprod(_missing_factors(n, limit), 0)
    drawn = missing.sum(0)[accepted]
    found = 1 - alone[-1][accepted]
    tokens = np.ones(right.shape) if samples.tokens is None else samples.tokens
    good, bad = (_mean_of(tokens, each) for each in (right, ~right))
    written = found * good + (drawn - found) * bad
    return Played(found, drawn, drawn, written, written)


def _missing_factors(n: int, limit: int) -> Array:
    """[limit, n + 1]: that the next sample is not accepted, after so many that were not, by how many of n are."""
    drawn, accepted = np.arange(limit)[:, None], np.arange(n + 1)
    return np.asarray(np.maximum(n - accepted - drawn, 0) / (n - drawn))


def _mean_of(values: NDArray[Any], chosen: NDArray[np.bool_]) -> Array:
    """[P]: the mean of the chosen values; 0 where there are none."""
    return np.asarray((values * chosen).sum(1) / np.maximum(chosen.sum(1), 1))


def largest(tokens: NDArray[np.int64], k: int) -> Array:
    """[P]: the expected largest of k of the n values, drawn without replacement."""
    n = tokens.shape[1]
    below = np.arange(1, n + 1)
    chance = np.ones(n)
    for drawn in range(k):  # that all k are among the smallest i of n
        chance = chance * np.maximum(below - drawn, 0) / (n - drawn)
    return np.asarray(np.sort(tokens, 1) @ np.diff(chance, prepend=0.0))


def _orders(samples: Samples, orders: int, seed: int) -> Index:
    """[P, O, n]: numbers of samples."""
    every = np.broadcast_to(np.arange(samples.n), (samples.problems, orders, samples.n))
    return np.asarray(np.random.default_rng(seed).permuted(every, axis=2))


def _ordered(values: NDArray[Any], order: Index) -> NDArray[Any]:
    return np.take_along_axis(values[:, None, :], order, 2)


def _numbered(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """The groups of each problem as numbers below n; −1 stays."""
    return np.where(groups < 0, -1, numbered(groups)[0])


def _counted(
    groups: NDArray[np.int64], right: NDArray[np.bool_], n: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """([P, O, n], …): after each sample, whether the leader is right, its votes, those of the second, and its ties."""
    shape = groups.shape
    counts, places = np.zeros(shape, np.int64), np.full(shape, n, np.int64)
    leads, first, second = np.empty(shape, np.bool_), np.empty(shape, np.int64), np.empty(shape, np.int64)
    tied = np.empty(shape, np.bool_)
    rows = np.ix_(*(np.arange(size) for size in shape[:2]))
    for drawn in range(n):
        group = groups[..., drawn]
        voting = group >= 0
        cell = (*rows, np.maximum(group, 0))
        counts[cell] += voting
        places[cell] = np.where(voting, np.minimum(places[cell], drawn), places[cell])
        leader = (*rows, (counts * (n + 1) - places).argmax(2))
        first[..., drawn] = counts[leader]
        place = np.where(counts[leader] > 0, places[leader], 0)
        leads[..., drawn] = np.take_along_axis(right, place[..., None], 2)[..., 0]
        most, counts[leader] = counts[leader], -1
        second[..., drawn] = np.maximum(counts.max(2), 0)
        runner = (*rows, (counts * (n + 1) - places).argmax(2))  # the first that was drawn, of those with most
        tied[..., drawn] = (counts[runner] < 1) | (places[runner] > places[leader])
        counts[leader] = most
    return leads, first, second, tied


def _by_state(
    function: Callable[[Keys], Any], first: Index, second: Index, tied: NDArray[np.bool_], total: Index
) -> NDArray[Any]:
    """What a function says of each state of a vote: of its two largest counts, which came first, and how many drew."""
    size = int(total.max()) + 1
    codes, where = np.unique(((first * size + second) * size + total) * 2 + tied, return_inverse=True)
    said = []
    for code, tie in (divmod(int(each), 2) for each in codes):
        said.append(function(counted(code // size**2, code // size % size, code % size, tied=bool(tie))))
    return np.array(said)[where].reshape(first.shape)


def _judged_at(tokens: NDArray[np.int64], window: int) -> NDArray[np.int64]:
    """[P, O, n]: when each sample is judged: when it and all before it are finished. Time is in tokens."""
    at = np.zeros_like(tokens)
    for number in range(tokens.shape[2]):
        begun = at[..., number - window] if number >= window else 0
        at[..., number] = np.maximum(begun + tokens[..., number], at[..., number - 1] if number else 0)
    return at


def _at(values: NDArray[Any], places: Index) -> NDArray[Any]:
    return np.take_along_axis(values, places[..., None], 2)[..., 0]


def _mean(*outcomes: NDArray[Any]) -> Played:
    """The means over the orders."""
    return Played(*(np.asarray(each.mean(1, dtype=np.float64)) for each in outcomes))
