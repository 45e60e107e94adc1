"""A report as plain data: what was measured, as rows for machines and as sheets for people. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os.path import commonpath
from pathlib import Path

import numpy as np

from metagen.analysis.calibration import Calibration
from metagen.analysis.compare import Comparison, Difference, at_equal_cost, compare, cost_to_reach, difference
from metagen.analysis.curve import Curve, Unit, intervals, unit_of
from metagen.analysis.intervals import Array, Index
from metagen.analysis.over_optimisation import Fall, over_optimised
from metagen.analysis.sheet import Sheet
from metagen.settings import counted

FOOT = (
    "Right answers in per cent, with 95 % bootstrap intervals over problems (Wilson's if all or none are right, and "
    "with Student's t if there are fewer than 20 problems). After ± comes the standard error of the draws, if only "
    "some of them were counted. Where votes or scores tie, a report takes the mean over all orders of the samples, and "
    "`solve` takes the sample that was drawn first, so there the two can differ. Tokens are those that the samples "
    "wrote; `solve` counts prompts too."
)
"""What the numbers of a sheet are."""


FIRST = "first k, "
"""Before the rule of a row that counts the first k samples as they stand."""


WHOLE = ""
"""The label and value of rows that count all problems."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The curves of a pool or a run."""

    name: str
    ids: tuple[str, ...]
    curves: Mapping[str, Curve]
    """By rule."""
    labels: Mapping[str, Sequence[str]]
    scored_by: str = ""
    notes: tuple[str, ...] = ()
    correct: Mapping[str, bool] | None = None
    """Of a run, whether its answers are right, by problem."""
    silence: str = ""
    """How many samples gave no answer; empty if all gave one."""
    first: Mapping[str, Curve] = field(default_factory=dict)
    """By rule, what the first k samples come to as they stand; empty where nobody asked."""
    calibration: Calibration | None = None
    """Of what scored the samples, where its scores are probabilities."""


@dataclass(frozen=True, slots=True)
class Row:
    """One mean with its interval, both from 0 to 1."""

    source: str
    label: str
    value: str
    rule: str
    k: int
    problems: int
    mean: float
    low: float
    high: float
    error: float
    """The Monte Carlo standard error of the mean; 0 where it is exact."""
    tokens: float | None
    """Drawn per problem, on average."""
    flops: float | None = None
    money: float | None = None


@dataclass(frozen=True, slots=True)
class Versus:
    """One rule of two sources at the largest k that both have, over the problems that both have."""

    first: str
    second: str
    rule: str
    k: int
    problems: int
    difference: Difference


@dataclass(frozen=True, slots=True)
class Equal:
    """One rule of two sources where they cost the same per problem, over the problems that both have."""

    first: str
    second: str
    rule: str
    unit: str
    cost: float
    first_mean: float
    second_mean: float
    difference: Difference


@dataclass(frozen=True, slots=True)
class Reaching:
    """What one rule of a source costs per problem until an accuracy is reached; `None` is never."""

    source: str
    rule: str
    accuracy: float
    unit: str
    cost: float | None
    low: float | None
    high: float | None


def measured(source: Source) -> Iterator[Row]:
    """All means of a source: of all its problems, then label by label."""
    parts = [
        (label, value, curve.of(problems))
        for label, value, problems in _parts(source)
        for curve in source.curves.values()
    ]
    parts += [(WHOLE, WHOLE, replace(curve, rule=f"{FIRST}{curve.rule}")) for curve in source.first.values()]
    for part, (low, high) in zip(parts, intervals([curve for *_, curve in parts]), strict=True):
        yield from _rows(source.name, *part, low, high)


def sheets(source: Source, rows: Iterable[Row]) -> Iterator[Sheet]:
    """The curves of a source, and what they reach by level and subject, if its problems say so."""
    rows, drawn = _parted(rows)
    whole = [row for row in rows if row.label == WHOLE]
    ks = list(dict.fromkeys(row.k for row in whole))
    title = f"{source.name}: {counted(whole[0].problems, 'problem')}, {counted(ks[-1], 'sample')} each"
    yield Sheet(
        title + (f", scored by {source.scored_by}" if source.scored_by else ""),
        ("k", "tokens", *(name for name, cost in _known(whole[0])), *source.curves),
        tuple(_line(str(k), [row for row in whole if row.k == k]) for k in ks),
    )
    if drawn:
        yield Sheet(
            f"{source.name}: the first k samples as they stand, beside the expectations above",
            ("k", *(row.rule.removeprefix(FIRST) for row in drawn if row.k == 1)),
            tuple((str(k), *(_cell(row) for row in drawn if row.k == k)) for k in ks),
        )
    for label in source.labels:
        yield Sheet(
            f"{source.name}, by {label}, with {counted(ks[-1], 'sample')}",
            (label, "problems", "one sample", *source.curves),
            tuple(
                _part_line([row for row in rows if (row.label, row.value) == (label, value)], ks[-1])
                for value in dict.fromkeys(row.value for row in rows if row.label == label)
            ),
        )


def _parted(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """The expectations, and what the first k samples come to."""
    every = list(rows)
    return [row for row in every if not row.rule.startswith(FIRST)], [
        row for row in every if row.rule.startswith(FIRST)
    ]


def remarks(source: Source) -> Iterator[str]:
    """What is to be known beside the numbers: what was left out, and where more samples made it worse."""
    if source.silence:
        yield f"no answer: {source.silence}"
    yield from source.notes
    if (curve := source.curves.get("shortest")) and curve.costs is not None:
        written = f"{curve.costs.mean(0)[-1]:,.0f} tokens per problem at k = {curve.ks[-1]}"
        yield f"shortest is Shortest(1, n=k), which gives up the others when one is done: it writes {written}"
    for rule in ("best-of", "weighted vote"):
        if rule in source.curves and (fall := over_optimised(source.curves[rule])):
            yield _said(rule, fall)


def shared(*ids: Sequence[str]) -> list[Index]:
    """Where in each list the ids are that all of them have, in the order of the first; [problems] each."""
    every = set(ids[0]).intersection(*ids[1:])
    places = [{name: place for place, name in enumerate(each)} for each in ids]
    return [np.array([place[name] for name in ids[0] if name in every], np.intp) for place in places]


def versus(first: Source, second: Source) -> Iterator[Versus]:
    """Every rule of two sources, problem by problem."""
    places = shared(first.ids, second.ids)
    for rule in first.curves if len(places[0]) else ():
        one, other = first.curves[rule], second.curves.get(rule)
        if other and (ks := set(one.ks) & set(other.ks)):
            k = max(ks)
            between = difference(one.at(k)[places[0]], other.at(k)[places[1]])
            yield Versus(first.name, second.name, rule, k, len(places[0]), between)


def equals(first: Source, second: Source) -> Iterator[Equal]:
    """Every rule of two sources at equal cost: in money where both know it, else in FLOPs, else in tokens."""
    places = shared(first.ids, second.ids)
    for rule in [rule for rule in first.curves if rule in second.curves] if len(places[0]) else ():
        one, other = first.curves[rule].of(places[0]), second.curves[rule].of(places[1])
        if unit := unit_of((one, other)):
            for each in at_equal_cost(_in(one, unit), _in(other, unit)):
                yield Equal(first.name, second.name, rule, unit, each.cost, each.first, each.second, each.difference)


def at_equal(found: Sequence[Equal]) -> Sheet:
    """The differences at equal cost, to be read."""
    names = within(name for each in found for name in (each.first, each.second))
    rows = tuple(
        (
            f"{names[each.second]} - {names[each.first]}",
            each.rule,
            f"{_cost(each.cost)} {each.unit}",
            f"{100 * each.first_mean:.1f}",
            f"{100 * each.second_mean:.1f}",
            points(each.difference),
        )
        for each in found
    )
    columns = ("what", "rule", "cost per problem", "first", "second", "difference")
    return Sheet("Differences in points at equal cost, in pairs", columns, rows, keys=2)


def reached(sources: Iterable[Source], accuracy: float) -> Iterator[Reaching]:
    """What each rule of each source costs per problem until its accuracy, from 0 to 1, is reached."""
    for source in sources:
        for rule, curve in source.curves.items():
            if unit := unit_of((curve,)):
                found = cost_to_reach(_in(curve, unit), accuracy)
                yield Reaching(
                    source.name, rule, accuracy, unit, *map(_known_cost, (found.cost, found.low, found.high))
                )


def reaching(found: Sequence[Reaching], accuracy: float) -> Sheet:
    """What it costs to reach an accuracy, to be read."""
    names = within(each.source for each in found)
    rows = tuple(
        (names[each.source], each.rule, f"{_cost(each.cost)} ({_cost(each.low)}–{_cost(each.high)})", each.unit)
        for each in found
    )
    title = f"What {100 * accuracy:g} per cent cost per problem, with 95 % bootstrap intervals over problems"
    return Sheet(title, ("source", "rule", "cost", "in"), rows, keys=2)


def uncounted(source: Source) -> str:
    """That nothing can be said of what an accuracy costs; empty where it can."""
    return "" if unit_of(source.curves.values()) else "its samples lack token counts, so what an accuracy costs is open"


def answers(first: Source, second: Source) -> Comparison | None:
    """The answers that two runs returned, on the problems where both have a verdict; `None` if either is a pool."""
    one, other = first.correct or {}, second.correct or {}
    shared = sorted(one.keys() & other.keys())
    if not shared:
        return None
    return compare(np.array([one[name] for name in shared]), np.array([other[name] for name in shared]))


def comparisons(found: Sequence[Versus]) -> Sheet:
    """The differences, to be read."""
    names = within(name for each in found for name in (each.first, each.second))
    rows = tuple(
        (
            f"{names[each.second]} - {names[each.first]}",
            each.rule,
            str(each.k),
            str(each.problems),
            points(each.difference),
        )
        for each in found
    )
    return Sheet("Differences in points, in pairs", ("what", "rule", "k", "problems", "difference"), rows, keys=2)


def said(first: Source, second: Source, found: Comparison) -> str:
    """The comparison of two runs in a sentence."""
    return (
        f"Answers of {second.name} - {first.name}: {points(found.difference)} points on "
        f"{counted(found.problems, 'problem')}; right in one run only {found.only_second} and {found.only_first}, "
        f"p = {found.p:.2g} (McNemar's mid-p)"
    )


def _parts(source: Source) -> Iterator[tuple[str, str, Index]]:
    yield WHOLE, WHOLE, np.arange(len(source.ids))
    for label, values in source.labels.items():
        for value in sorted(set(values) - {""}):
            yield label, value, np.flatnonzero(np.array(values) == value)


def _rows(source: str, label: str, value: str, curve: Curve, low: Array, high: Array) -> Iterator[Row]:
    costs = [None if each is None else each.mean(0) for each in (curve.costs, curve.flops, curve.money)]
    for place, k in enumerate(curve.ks):
        mean, least, most, error = (float(each[place]) for each in (curve.means, low, high, curve.errors))
        spent = (None if each is None else float(each[place]) for each in costs)
        yield Row(source, label, value, curve.rule, k, len(curve.values), mean, least, most, error, *spent)


def _line(first: str, rows: Sequence[Row]) -> tuple[str, ...]:
    tokens = rows[0].tokens
    return (first, f"{tokens:,.0f}" if tokens else "", *(cost for _, cost in _known(rows[0])), *map(_cell, rows))


def _known(row: Row) -> list[tuple[str, str]]:
    """The costs beside tokens that are known, each with the head of its column."""
    costs = (("FLOPs", row.flops), ("money", row.money))
    return [(name, f"{cost:.3g}") for name, cost in costs if cost]


def _part_line(rows: Sequence[Row], n: int) -> tuple[str, ...]:
    single = next(row for row in rows if row.k == 1)
    return (single.value, str(single.problems), _cell(single), *(_cell(row) for row in rows if row.k == n))


def _cell(row: Row) -> str:
    """In per cent, with the interval, and the Monte Carlo error where there is one."""
    error = f" ±{100 * row.error:.2f}" if row.error else ""
    return f"{100 * row.mean:.1f}{error} ({100 * row.low:.1f}–{100 * row.high:.1f})"


def _in(curve: Curve, unit: Unit) -> Curve:
    return replace(curve, costs=curve.costs_in(unit))


def within(names: Iterable[str]) -> dict[str, str]:
    """Paths without the folders that all of them are in: tables and pictures have no room for those."""
    paths = {name: Path(name) for name in names}
    try:
        shared = commonpath([path.parent for path in paths.values()])
    except ValueError:  # of none, or of absolute and relative ones
        shared = ""
    return {name: str(path.relative_to(shared) if shared else path) for name, path in paths.items()}


def _known_cost(value: float) -> float | None:
    return None if np.isinf(value) else value


def _cost(value: float | None) -> str:
    if value is None:
        return "never"
    return f"{value:.3g}" if value >= 1e6 or value < 10 else f"{value:,.0f}"


def points(found: Difference) -> str:
    """A difference in points, with its interval."""
    return f"{100 * found.value:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def _said(rule: str, fall: Fall) -> str:
    return (
        f"{rule} is over-optimised: best at k = {fall.best}, and from k = {fall.worse_from} on worse than with fewer "
        f"samples ({points(Difference(fall.difference, fall.low, fall.high))} points)"
    )
