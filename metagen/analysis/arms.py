"""The strategies that pools of samples can stand for, with what each would give and cost, problem by problem. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import Literal

import numpy as np

from metagen.analysis.curve import Samples
from metagen.analysis.intervals import Array
from metagen.analysis.replay import Played, accepted, grown, largest, prefixes, stopped_at, stops, until_right
from metagen.analysis.rules import best_of, majority_vote, weighted_vote
from metagen.analysis.votes import ERROR
from metagen.budget import Price
from metagen.errors import WeightError
from metagen.strategies import BetaStop, PredictiveStop
from metagen.strategies.parallel.rounds import FIRST, UNTIL
from metagen.strategies.parallel.stopping import Stop

Unit = Literal["samples", "tokens", "FLOPs", "money", "seconds"]
RULES: tuple[Stop, ...] = (PredictiveStop(0.8), PredictiveStop(0.9), PredictiveStop(0.95), BetaStop(0.9))
WINDOWS = (1, 4)
BETWEEN = (3, 6, 12, 24, 48)
"""Numbers of samples beside the powers of two."""
GROWN = tuple((PredictiveStop(threshold), first) for threshold in (0.8, 0.9) for first in (4, 8))
"""Rules and first rounds of votes in rounds."""
ROUNDS = 3
SETTLED = (BetaStop(0.8), BetaStop(0.95))
"""When a cascade is content with the vote of a model."""


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """What a verifier says of the samples, and what a verdict costs: [P, n], and [P] by unit."""

    by: str
    """As a spec."""
    scores: Array
    """nan is no verdict."""
    costs: Mapping[Unit, Array] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Samples with what they cost, by unit."""

    samples: Samples
    prompt: Mapping[Unit, Array]
    """[P]: of reading the prompt; of FLOPs only the first time, since a prefix cache holds it then."""
    token: Mapping[Unit, Array]
    """[P]: of one token that is written; of seconds, of one token after another."""
    again: Mapping[Unit, Array] = field(default_factory=dict)
    """[P]: of what a second request per sample reads again, where there is one; a prefix cache holds it."""
    verifiers: Sequence[Verdicts] = ()
    of: str = ""
    """The spec of what drew a sample; empty for the model itself."""

    @property
    def inside(self) -> str:
        """How a strategy names what draws its samples."""
        return f", of={self.of}" if self.of else ""

    def arm(self, spec: str, played: Played, verdicts: Verdicts | None = None, judged: Array | float = 0.0) -> "Arm":
        """A strategy over these samples, with `judged` verdicts per problem."""
        costs: dict[Unit, Array] = {"samples": played.samples}
        for unit, price in self.token.items():
            read = np.minimum(played.requests, 1.0) if unit == "FLOPs" else played.requests
            written = played.depth if unit == "seconds" else played.written
            if verdicts and verdicts.costs and unit not in verdicts.costs and unit != "seconds":
                continue  # what they cost in it is not known, which is not nothing
            verdict = verdicts.costs.get(unit, 0.0) if verdicts else 0.0
            again = played.samples * self.again.get(unit, 0.0)
            costs[unit] = np.asarray(read * self.prompt[unit] + again + written * price + judged * verdict)
        return Arm(spec, played, costs)


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """A strategy with what it comes to."""

    spec: str
    played: Played
    costs: Mapping[Unit, Array]
    """[P] by unit."""
    is_bound: bool = False
    """It knows the reference, so nobody can use it: it shows what a perfect verifier would be worth."""


def pool_of(
    samples: Samples,
    verifiers: Sequence[Verdicts] = (),
    of: str = "",
    price: Price | None = None,
    pace: float | None = None,
) -> Pool:
    """Samples with every cost that is known of them; `pace` is how many tokens of one sample are written per second."""
    one = np.ones(samples.problems)
    prompt: dict[Unit, Array] = {}
    token: dict[Unit, Array] = {}
    again: dict[Unit, Array] = {}
    if samples.tokens is not None and samples.tokens.any():
        read = one * 0 if samples.prompts is None else samples.prompts.astype(np.float64)
        twice = one * 0 if samples.again is None else samples.again
        prompt["tokens"], again["tokens"], token["tokens"] = read, twice, one
        if price:
            prompt["money"], again["money"] = read * price.read / 1e6, twice * price.read / 1e6
            token["money"] = one * price.write / 1e6
        if samples.flops is not None and samples.prompt_flops is not None:
            prompt["FLOPs"] = samples.prompt_flops
            token["FLOPs"] = samples.flops.sum(1) / np.maximum(samples.tokens.sum(1), 1)
        if pace:
            prompt["seconds"], token["seconds"] = one * 0, one / pace
    return Pool(samples, prompt, token, again, verifiers, of)


def arms(pool: Pool, error: float = ERROR, most: int | None = None) -> list[Arm]:
    """Every strategy that is estimated exactly from these samples, or by replaying it over random orders of them.

    One sample, votes, votes that stop, and for each verifier weighted votes, the best of k and, where its verdicts are
    0 and 1, sampling until it accepts; at last the oracle, as a bound. An `error` above the usual one saves time where
    votes are counted. None draws more than `most` samples of a problem, if that is given.
    """
    samples, ks = pool.samples, numbers(min(pool.samples.n, most or pool.samples.n))
    found = [pool.arm(pool.of or "Model()", _drawn(samples, 1, samples.right.mean(1)))]
    found += _votes(pool, ks, error)
    for each in pool.verifiers:
        found += _verified(pool, each, ks, error)
    for k in ks:
        oracle = pool.arm(f"Until(MatchesReference(){pool.inside}, limit={k})", until_right(samples, samples.right, k))
        found.append(replace(oracle, is_bound=True))
    return found


def cascades(pools: Sequence[Pool]) -> list[Arm]:
    """`Escalate` for every two pools over the same problems: the second model where the vote of the first is open."""
    found = []
    for first, second in permutations(pools, 2):
        votes = prefixes(first.samples)
        for k in [k for k in numbers(min(first.samples.n, second.samples.n)) if k >= 4 and k not in BETWEEN]:
            other = _drawn(second.samples, k, majority_vote(second.samples, (k,)).at(k))
            for rule in SETTLED:
                spec = f"Escalate(({first.of}, {second.of}), until={rule!r}, n={k})"
                found.append(_escalated(spec, first, second, accepted(votes, k, rule), other))
    return found


def numbers(n: int) -> tuple[int, ...]:
    """The numbers of samples that are looked at, above 1."""
    powers = {1 << power for power in range(1, n.bit_length())}
    return tuple(sorted(k for k in powers | set(BETWEEN) | {n} if 1 < k <= n))


def _votes(pool: Pool, ks: Sequence[int], error: float) -> Iterator[Arm]:
    if not ks:
        return
    curve = majority_vote(pool.samples, ks, error=error)
    for k in ks:
        yield pool.arm(f"Vote({k}{pool.inside})", _drawn(pool.samples, k, curve.at(k)))
    votes = prefixes(pool.samples)
    for n in [k for k in ks if k >= 4 and k not in BETWEEN]:
        for rule in RULES:
            judged = stops(votes, n, rule)
            for window in [each for each in WINDOWS if each < n]:
                flying = f", window={window}" if window > 1 else ""
                played = stopped_at(votes, n, judged, window)
                if played.samples.max() > 1:  # else it is one sample, written in another way
                    yield pool.arm(f"Vote({n}{pool.inside}, until={rule!r}{flying})", played)
        for rule, first in (each for each in GROWN if each[1] < n):
            how = f", until={rule!r}" * (rule != UNTIL) + f", first={first}" * (first != FIRST)
            spec = f"Rounds({n}{pool.inside}{how})"
            yield pool.arm(spec, grown(votes, n, rule, first, ROUNDS))


def _verified(pool: Pool, verdicts: Verdicts, ks: Sequence[int], error: float) -> Iterator[Arm]:
    """The strategies that use one verifier."""
    samples = replace(pool.samples, scores=verdicts.scores)
    if not ks:
        return
    try:
        weighted = weighted_vote(samples, ks, error=error)
    except WeightError:
        pass  # logits rank, and do not vote
    else:
        for k in ks:
            spec = f"Vote({k}{pool.inside}, by={verdicts.by})"
            yield pool.arm(spec, _drawn(samples, k, weighted.at(k)), verdicts, k)
    best = best_of(samples, ks)
    for k in ks:
        spec = f"BestOf({k}{pool.inside}, by={verdicts.by})"
        yield pool.arm(spec, _drawn(samples, k, best.at(k)), verdicts, k)
    if np.isin(verdicts.scores, (0.0, 1.0)).all():
        for k in ks:
            yield _accepting(pool, verdicts, k)


def _accepting(pool: Pool, verdicts: Verdicts, k: int) -> Arm:
    """Sampling until a verifier with verdicts of 0 and 1 accepts; where it never does, a sample is returned."""
    samples, accepts = pool.samples, verdicts.scores == 1
    played = until_right(samples, accepts, k)
    good, bad = ((samples.right & each).sum(1) / np.maximum(each.sum(1), 1) for each in (accepts, ~accepts))
    right = played.right * good + (1 - played.right) * bad
    spec = f"Until({verdicts.by}{pool.inside}, limit={k})"
    return pool.arm(spec, replace(played, right=right), verdicts, played.samples)


def _escalated(spec: str, first: Pool, second: Pool, before: tuple[Played, Array], other: Played) -> Arm:
    """The first vote, and the other one as often as the first is not accepted."""
    played, open_ = before
    parts = {name: getattr(played, name) + open_ * getattr(other, name) for name in Played.__slots__}
    ours, theirs = first.arm("", played).costs, second.arm("", other).costs
    return Arm(spec, Played(**parts), {unit: ours[unit] + open_ * theirs[unit] for unit in ours if unit in theirs})


def _drawn(samples: Samples, k: int, right: Array) -> Played:
    """K samples in one request."""
    tokens = np.ones_like(samples.groups) if samples.tokens is None else samples.tokens
    one = np.ones(samples.problems)
    return Played(np.asarray(right), k * one, one, k * tokens.mean(1), largest(tokens, k))
