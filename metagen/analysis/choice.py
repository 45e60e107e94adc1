"""Which of many strategies to use for a budget, from what each gives on a few problems. Pure.

The best of many noisy means is too high: it was chosen for its luck as well (the winner's curse). So no accuracy is
reported of a strategy on the problems that chose it. The problems are split at random into parts, the strategy is
chosen on all parts but one and is judged on that one; the mean over parts, and over several splits, is what the choice
is worth (cross-fitting; Stone 1974). The interval is that of a mean over problems.
"""

from dataclasses import dataclass

import numpy as np

from metagen.analysis.intervals import Array, percentiles, resampled_means
from metagen.analysis.share import wilson
from metagen.errors import InputError

PARTS, SPLITS = 3, 16
"""Parts of a split, and splits. With few large parts, the estimate hardly depends on how a split falls, even where many
strategies are equally good: there intervals from 10 parts covered 80 %, from 3 they cover 94 %."""
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over problems, with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Choice:
    """What to use for a budget."""

    place: int
    """Of the strategy, among those that were compared."""
    budget: float
    cost: float
    """The mean over problems."""
    accuracy: Estimate
    """Judged on problems that did not choose."""
    apparent: float
    """The mean on all problems, those that chose included: too high."""
    sure: float
    """The share of resamples of the problems in which it is the best that the budget allows."""
    rivals: tuple[int, ...]
    """Others within the budget whose difference is within chance, the cheapest first."""


def choose(values: Array, costs: Array, budget: float) -> Choice:
    """Choose one of C strategies for a budget per problem; `values` and `costs` are [P, C].

    Raises `InputError` if every strategy costs more than the budget, or if there are fewer than two problems.
    """
    require_two(len(values))
    means, spent = values.mean(0), costs.mean(0)
    if (cheapest := float(spent.min())) > budget:
        raise InputError(f"every strategy costs more than {budget:g}: the cheapest costs {cheapest:g}")
    place = best_within(means, spent, budget)
    resampled = resampled_means(values)
    allowed = np.flatnonzero(spent <= budget)
    winners = np.where(spent <= budget, resampled, -np.inf).max(1)
    sure = float((resampled[:, place] >= winners - ROUNDING).mean())
    _, highs = percentiles(resampled[:, allowed] - resampled[:, [place]])
    rivals = [int(each) for each, high in zip(allowed, highs, strict=True) if each != place and high >= 0]
    return Choice(
        place=place,
        budget=budget,
        cost=float(spent[place]),
        accuracy=estimate(held_out(values, costs, budget)),
        apparent=float(means[place]),
        sure=sure,
        rivals=tuple(sorted(rivals, key=lambda each: spent[each])),
    )


def require_two(problems: int) -> None:
    """Raise `InputError` if there are fewer than two problems."""
    if problems < 2:
        raise InputError("a choice needs two problems or more: one to choose by, and one to judge by")


def best_within(means: Array, costs: Array, budget: float) -> int:
    """The strategy with the highest mean within the budget, the cheapest of equals; of none within it, the cheapest."""
    if (costs > budget).all():
        return int(costs.argmin())
    highest = means[costs <= budget].max() - ROUNDING
    return int(np.where((costs <= budget) & (means >= highest), costs, np.inf).argmin())


def held_out(values: Array, costs: Array, budget: float) -> Array:
    """[S, P]: what each problem gives under the strategy that was chosen without it, in each of several splits."""
    problems, rng = len(values), np.random.default_rng(0)
    both = np.stack([values, costs])
    sums = both.sum(1)
    found = np.empty((SPLITS, problems))
    for split in found:
        for part in np.array_split(rng.permutation(problems), min(PARTS, problems)):
            means, spent = (sums - both[:, part].sum(1)) / (problems - len(part))
            split[part] = values[part, best_within(means, spent, budget)]
    return found


def estimate(values: Array, z: float = 1.959964) -> Estimate:
    """The mean of values from 0 to 1 [P], with Wilson's interval for as many problems as its standard error is worth.

    A mean of chances varies less than one of rights and wrongs, as if there were more problems. Near 0 and 1 the
    interval is not even, as it must not be. Of several splits [S, P] the mean varies as that of one does: they share
    the problems.
    """
    problems, mean = values.shape[-1], float(values.mean())
    variance = float(values.var(-1, ddof=1).mean()) if problems > 1 else 0.0
    n = problems * max(1.0, mean * (1 - mean) / variance) if variance > ROUNDING**2 else float(problems)
    return Estimate(mean, *wilson(mean, n, z))


def doubled(values: Array, costs: Array, budget: float) -> Estimate:
    """What twice the budget would add, judged on problems that did not choose."""
    more = (held_out(values, costs, 2 * budget) - held_out(values, costs, budget)).mean(0)
    low, high = percentiles(resampled_means(more[:, None]))
    return Estimate(float(more.mean()), float(low[0]), float(high[0]))


def budgets(costs: Array) -> list[float]:
    """Budgets to look at: from the cheapest strategy's cost, doubled until the most expensive is among them."""
    spent = costs.mean(0)
    found = [float(spent.min())]
    least = float(spent[spent > 0].min(initial=spent.max()))  # a strategy may cost nothing
    while found[-1] < spent.max() - ROUNDING:
        found.append(min(max(2 * found[-1], least), float(spent.max())))
    return found


def front(values: Array, costs: Array) -> list[Choice]:
    """The choice for each of several budgets, without those that are worth no more than a cheaper one."""
    found: list[Choice] = []
    for budget in budgets(costs):
        choice = choose(values, costs, budget)
        if not found or choice.accuracy.value > found[-1].accuracy.value + ROUNDING:
            found.append(choice)
    return found
