"""Says which strategy to use: from pools of samples to a front, a choice and the command that uses it."""

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metagen.analysis import formats, plots
from metagen.analysis.arms import Arm, Unit
from metagen.analysis.choice import Choice, Estimate, choose, doubled, estimate, front
from metagen.analysis.intervals import Array
from metagen.analysis.sheet import Sheet
from metagen.cli.console import keep, out, show
from metagen.errors import InputError

FOOT = (
    "Right answers in per cent, with 95 % intervals, each problem under the strategy that the other problems chose; so "
    "no strategy is judged by the luck that chose it. Costs are means over problems. Tokens in a row are written one "
    "after another: what is written at the same time counts once."
)


@dataclass(frozen=True, slots=True)
class Amount:
    """What may be spent on one problem."""

    value: float
    unit: Unit

    @classmethod
    def parse(cls, text: str) -> "Amount":
        """From such as `1000 tokens`, `2e9 FLOPs`, `$0.01`, `5 s`. Raises `InputError`."""
        number, _, name = (text[1:] + " money" if text.startswith("$") else text).strip().rpartition(" ")
        units: dict[str, Unit] = {
            "samples": "samples", "tokens": "tokens", "flops": "FLOPs", "money": "money", "s": "seconds",
            "seconds": "seconds",
        }  # fmt: skip
        try:
            value, unit = float(number.replace(",", "")), units[name.lower()]
        except (ValueError, KeyError):
            value, unit = 0.0, "tokens"
        if not 0 < value < float("inf"):
            raise InputError(
                f"--budget {text!r}: write an amount per problem, such as '1000 tokens', '2e9 FLOPs', '$0.01', '5 s' "
                "or '8 samples'"
            )
        return cls(value, unit)


@dataclass(frozen=True, slots=True)
class Finding:
    """Everything that was found out about some strategies."""

    title: str
    arms: Sequence[Arm]
    """Those that can be used."""
    bounds: Sequence[Arm]
    unit: Unit
    values: Array
    """[P, C]"""
    costs: Array
    front: Sequence[Choice]
    choice: Choice
    more: Estimate
    """What twice the budget adds."""
    command: Callable[[str], Sequence[str]]
    """What solves a file with a strategy, by its spec, up to the strategy."""


def find(title: str, arms: Sequence[Arm], command: Callable[[str], Sequence[str]], budget: Amount | None) -> Finding:
    """Choose among strategies; without a budget, the best of all. Raises `InputError` for costs that are not known."""
    unit = budget.unit if budget else _best_unit(arms)
    usable = [arm for arm in arms if not arm.is_bound and unit in arm.costs]
    if not usable:
        raise InputError(f"--budget in {unit}: {_UNKNOWN[unit]}")
    values = np.stack([arm.played.right for arm in usable], 1)
    costs = np.stack([arm.costs[unit] for arm in usable], 1)
    limit = budget.value if budget else float(costs.mean(0).max())
    if (cheapest := float(costs.mean(0).min())) > limit:
        raise InputError(f"--budget of {said(limit, unit)}: the cheapest strategy costs {said(cheapest, unit)}")
    return Finding(
        title=title,
        arms=usable,
        bounds=[arm for arm in arms if arm.is_bound and unit in arm.costs],
        unit=unit,
        values=values,
        costs=costs,
        front=front(values, costs),
        choice=choose(values, costs, limit),
        more=doubled(values, costs, limit),
        command=command,
    )


_UNKNOWN: Mapping[Unit, str] = {
    "samples": "there are no samples",
    "tokens": "the samples have no tokens: give a pool that counts them, or a budget in samples",
    "FLOPs": "give the model's config.json with --card",
    "money": "give the model's price with --price READ/WRITE",
    "seconds": "give the tokens of one sample that are written per second with --pace",
}


def require_known(amount: Amount | None, given: Mapping[str, Any]) -> None:
    """Refuse a budget in what the options for pools do not tell, before verifiers are asked. Raises `InputError`."""
    told_by = {"FLOPs": "card", "money": "price", "seconds": "pace"}
    if amount and (option := told_by.get(amount.unit)) and not given[option]:
        raise InputError(f"--budget in {amount.unit}: {_UNKNOWN[amount.unit]}")


def _best_unit(arms: Sequence[Arm]) -> Unit:
    """FLOPs where they are known, since a prefix cache counts there, else tokens."""
    units: tuple[Unit, ...] = ("FLOPs", "tokens", "samples")
    return next(unit for unit in units if all(unit in arm.costs for arm in arms))


def report(found: Finding, folder: Path | None, others: Sheet | None = None, more: Iterable[str] = ()) -> None:
    """Print what was found and, if there is a folder for it, write it down; `others` and what is said of them too."""
    pages, said = [sheet(found), *([others] if others else [])], [*sentences(found), *more]
    for page in pages:
        show(page)
    for sentence in (*said, FOOT):
        out.print(sentence, soft_wrap=True)
    out.print(command(found), soft_wrap=True)
    if folder:
        picture = "\n![Accuracy against cost](choice.png)\n" if plots.available() else ""
        text = "\n".join(f"- {each}" for each in (*said, FOOT))
        rows, tables = list(lines(found)), "\n".join(map(formats.markdown, pages))
        texts = {
            "choice.md": f"{tables}{picture}\n{text}\n\n```sh\n{command(found)}\n```\n",
            "choice.csv": formats.lines_as_csv(rows),
            "choice.json": json.dumps(rows, indent=1) + "\n",
        }
        keep(folder, texts, lambda: plots.draw_choice(*points(found), folder))


def sheet(found: Finding) -> Sheet:
    """The front, to be read."""
    rows = tuple(
        (
            found.arms[each.place].spec,
            said(each.cost, found.unit),
            f"{found.arms[each.place].played.depth.mean():,.0f}",
            interval(each.accuracy),
            f"{100 * each.sure:.0f} %",
        )
        for each in found.front
    )
    columns = ("strategy", "cost", "tokens in a row", "right", "best in")
    return Sheet(f"{found.title}: what to use, the cheapest first", columns, rows)


def sentences(found: Finding) -> Iterator[str]:
    """What the choice is, how sure it is, and what more would buy."""
    choice, unit = found.choice, found.unit
    chosen = found.arms[choice.place]
    yield (
        f"For {said(choice.budget, unit)} per problem: {chosen.spec}, which costs {said(choice.cost, unit)} and is "
        f"right in {interval(choice.accuracy)} per cent ({100 * choice.apparent:.1f} on the problems that chose it)."
    )
    yield (
        f"It is the best within the budget in {100 * choice.sure:.0f} % of resamples of the problems; "
        f"{_rivals(found) or 'no other is within chance of it'}."
    )
    more = found.more
    yield (
        f"Twice the budget adds {100 * more.value:+.1f} points [{100 * more.low:+.1f}, {100 * more.high:+.1f}]."
        if found.costs.mean(0).max() > choice.budget
        else "Nothing that costs more was looked at: a pool with more samples shows what more would buy."
    )
    affordable = [arm for arm in found.bounds if arm.costs[unit].mean() <= choice.budget]
    if affordable:
        bound = max(affordable, key=lambda arm: float(arm.played.right.mean()))
        yield (
            f"A perfect verifier would be right in {100 * bound.played.right.mean():.1f} per cent for "
            f"{said(float(bound.costs[unit].mean()), unit)}: {bound.spec}."
        )


def _rivals(found: Finding) -> str:
    """Which strategies might be as good, and what the cheapest of them costs."""
    if not (rivals := found.choice.rivals):
        return ""
    cheapest = found.arms[rivals[0]].spec
    several = f"{len(rivals)} others are within chance of it, the cheapest {cheapest}"
    said = several if len(rivals) > 1 else f"one other is within chance of it, {cheapest}"
    if not found.choice.cost:
        return said
    return f"{said} at {100 * found.costs.mean(0)[rivals[0]] / found.choice.cost:.0f} % of its cost"


def command(found: Finding) -> str:
    """What to paste."""
    spec = found.arms[found.choice.place].spec
    return shlex.join([*found.command(spec), "--strategy", spec])


def lines(found: Finding) -> Iterator[dict[str, object]]:
    """A row for each strategy, bounds too. The accuracy is that on all problems: only the choice is corrected."""
    places = {each.place for each in found.front}
    for place, arm in enumerate((*found.arms, *found.bounds)):
        right = estimate(arm.played.right)
        yield {
            "strategy": arm.spec,
            "right": round(right.value, 6),
            "low": round(right.low, 6),
            "high": round(right.high, 6),
            "chosen": place == found.choice.place,
            "front": place in places,
            "bound": arm.is_bound,
            "depth": round(float(arm.played.depth.mean()), 3),
            "requests": round(float(arm.played.requests.mean()), 3),
            **{unit: float(f"{cost.mean():.6g}") for unit, cost in arm.costs.items()},
        }


def points(found: Finding) -> tuple[list[tuple[float, float]], list[tuple[float, Estimate]], Unit]:
    """All strategies as cost and accuracy on all problems, and the front with its intervals: for the picture."""
    every = list(zip(found.costs.mean(0).tolist(), found.values.mean(0).tolist(), strict=True))
    return every, [(each.cost, each.accuracy) for each in found.front], found.unit


def said(value: float, unit: Unit) -> str:
    """An amount, to be read."""
    if unit == "money":
        return f"{value:.3g} of money"
    return f"{value:.3g} {unit}" if value >= 1e7 or value < 10 else f"{value:,.0f} {unit}"


def interval(right: Estimate) -> str:
    return f"{100 * right.value:.1f} ({100 * right.low:.1f}–{100 * right.high:.1f})"
