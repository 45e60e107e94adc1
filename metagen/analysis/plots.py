"""Curves as pictures. Needs matplotlib, which nothing else does."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from metagen.analysis.calibration import Calibration
from metagen.analysis.choice import Estimate
from metagen.analysis.curve import Curve, Unit, has_costs, unit_of
from metagen.analysis.fronts import Point
from metagen.analysis.fronts import unit_of as unit_of_points
from metagen.disk.files import replace_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Panel = TypeVar("Panel")
Corner = Literal["lower right", "upper left"]

COLOURS = {
    "coverage": "#009E73",
    "majority": "#0072B2",
    "weighted vote": "#E69F00",
    "best-of": "#D55E00",
    "shortest": "#CC79A7",
}
"""Okabe and Ito (2008): they can be distinguished without seeing red or green."""
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")
SHAPES = "osD^vP*X"
COSTS: tuple[Unit, ...] = ("FLOPs", "money")
"""What curves are drawn against beside samples."""
LINES = ("-", "--", ":", "-.")
"""One after the other, whenever all colours have been used."""
TITLE, LEGEND = 48, 32
"""Characters of a line over a panel, and beside one."""
MARKERS = {"coverage": "^", "majority": "o", "weighted vote": "s", "best-of": "D", "shortest": "v"}


def available() -> bool:
    """Whether matplotlib is there."""
    return find_spec("matplotlib") is not None


def draw(panels: Mapping[str, Mapping[str, Curve]], folder: Path) -> list[Path]:
    """Draw a panel for each source, a curve for each of its rules, as `curves.png` and `curves.svg` in a folder.

    Accuracy in per cent, against samples on a logarithmic axis; the bootstrap intervals are shaded. Where all curves
    know their FLOPs, the same against FLOPs, as `flops.png` and `flops.svg`, and so for money. Returns the files.
    """
    every = [curve for curves in panels.values() for curve in curves.values()]
    files = _draw(panels, folder, "curves", draw_against_samples)
    for unit in COSTS:
        if all(has_costs(curve.costs_in(unit)) for curve in every):
            files += _draw(panels, folder, unit.lower(), partial(draw_against, unit=unit))
    return files


def draw_calibrations(panels: Mapping[str, Calibration], folder: Path) -> list[Path]:
    """Draw the share of right samples against their scores, as `calibration.png` and `.svg`. Returns the files."""
    return _draw(panels, folder, "calibration", draw_calibration, "upper left")


def draw_costs(sources: Mapping[str, Mapping[str, Curve]], folder: Path) -> list[Path]:
    """Draw what each rule of several sources reaches at which cost, in one picture, as `front.png` and `.svg`.

    In money where all know it, else in FLOPs, else in tokens. Coverage is left out: no rule reaches it.
    Returns the files; none where costs are not known.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 (optional)

    curves = {
        f"{source}, {rule}": curve
        for source, rules in sources.items()
        for rule, curve in rules.items()
        if rule != "coverage"
    }
    if not (unit := unit_of(curves.values())):
        return []
    figure = Figure(figsize=(8, 4), layout="constrained")
    points = [point for name, curve in curves.items() for point in _reached(name, curve, unit)]
    draw_front(figure.subplots(), "accuracy against cost", points)
    return saved(figure, folder, "front")


def _reached(name: str, curve: Curve, unit: Unit) -> Iterator[Point]:
    """What a curve comes to, and what that costs, for each k."""
    costs = curve.costs_in(unit)
    assert costs is not None
    for k, mean, low, high, cost in zip(curve.ks, curve.means, *curve.interval(), costs.mean(0), strict=True):
        spent = {"tokens": 0.0, "flops": 0.0, "money": 0.0} | {unit.lower(): float(cost)}
        yield Point("", "", f"{name} {k}", "", 1, len(curve.values), mean, low, high, calls=1, **spent)


def _draw(
    panels: Mapping[str, Panel],
    folder: Path,
    name: str,
    panel: Callable[["Axes", Panel], None],
    legend: Corner = "lower right",
) -> list[Path]:
    from matplotlib.figure import Figure  # noqa: PLC0415 (optional)

    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(5 * columns, 3.8 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
    for place, (source, curves) in zip(axes, panels.items(), strict=False):
        panel(place, curves)
        _label(place, source, legend)
    for place in axes[len(panels) :]:
        place.set_axis_off()
    return saved(figure, folder, name)


def draw_fronts(panels: Mapping[str, Sequence[Point]], folder: Path) -> list[Path]:
    """Draw accuracy against cost, a panel for each model and file, as `sweep.png` and `.svg`. Returns the files.

    Strategies whose names differ only in a number at the end, such as vote4 and vote16, are joined by a line.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 (optional)

    figure = Figure(figsize=(5.5 * len(panels), 4), layout="constrained")
    for axes, (name, points) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        draw_front(axes, name, points)
    return saved(figure, folder, "sweep")


def draw_choice(
    every: Sequence[tuple[float, float]], front: Sequence[tuple[float, Estimate]], unit: str, folder: Path
) -> list[Path]:
    """Draw all strategies by cost and accuracy, and the front with its intervals, as `choice.png` and `.svg`."""
    from matplotlib.figure import Figure  # noqa: PLC0415 (optional)

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    costs, means = zip(*every, strict=True)
    axes.scatter(costs, 100 * np.array(means), s=12, color="#999999", label="each strategy, on all problems")
    label = "the best for its cost, on problems that did not choose it"
    rights = [(right.value, right.low, right.high) for _, right in front]
    _bars(axes, [cost for cost, _ in front], rights, marker="o", label=label)
    _number_costs(axes, unit)
    _label(axes, "accuracy against cost")
    return saved(figure, folder, "choice")


def _bars(axes: "Axes", x: Sequence[float], rights: Sequence[tuple[float, float, float]], **look: Any) -> None:
    """Draw means with the ends of their intervals, all from 0 to 1, in per cent."""
    means, low, high = 100 * np.array(rights).T
    axes.errorbar(x, means, yerr=np.abs([low - means, high - means]), capsize=2, **look)


def draw_front(axes: "Axes", name: str, points: Sequence[Point]) -> None:
    unit = unit_of_points(points)
    for number, series in enumerate(dict.fromkeys(map(_series, points))):
        part = [point for point in points if _series(point) == series]
        _bars(
            axes,
            [point.costs_in(unit) for point in part],
            [(point.accuracy, point.low, point.high) for point in part],
            label=_in_lines(series, LEGEND),
            color=PALETTE[number % len(PALETTE)],
            marker=SHAPES[number % len(SHAPES)],
            linestyle=LINES[number // len(PALETTE) % len(LINES)],
            fillstyle="full" if number < len(PALETTE) else "none",
            linewidth=1,
        )
    _number_costs(axes, unit)
    _entitle(axes, name)
    axes.set_ylabel("right, per cent")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _number_costs(axes: "Axes", unit: str) -> None:
    """Make the axis of costs logarithmic once all is drawn, with some numbers on it however little they differ."""
    from matplotlib.ticker import (  # noqa: PLC0415 (optional)
        LogFormatterSciNotation,
        LogLocator,
        MaxNLocator,
        NullFormatter,
        StrMethodFormatter,
    )

    axes.set_xscale("log")
    axes.set_xlabel(f"{unit} per problem")
    low, high = axes.get_xlim()
    if high < 1000 * low:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if high > 10 * low else MaxNLocator(4))
        plain = StrMethodFormatter("{x:,g}")
        powers = LogFormatterSciNotation(minor_thresholds=(np.inf, np.inf))
        axes.xaxis.set_major_formatter(powers if unit == "FLOPs" else plain)
    axes.xaxis.set_minor_formatter(NullFormatter())


def _series(point: Point) -> str:
    return point.strategy.rstrip("0123456789") or point.strategy


def saved(figure: "Figure", folder: Path, name: str, kinds: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Write a figure as PNG and SVG, or as one of them; the same figure gives the same files."""
    from matplotlib import rc_context  # noqa: PLC0415 (optional)

    settings: Mapping[str, Mapping[str, Any]] = {
        "png": {"dpi": 150, "metadata": {"Software": "metagen"}},
        "svg": {"metadata": {"Date": None, "Creator": "metagen"}},
    }
    files = [folder / f"{name}.{kind}" for kind in kinds]
    with rc_context({"svg.hashsalt": "metagen", "svg.fonttype": "none"}):
        for file, kind in zip(files, kinds, strict=True):
            replace_file(file, partial(figure.savefig, format=kind, **settings[kind]))
    return files


def draw_against_samples(axes: "Axes", curves: Mapping[str, Curve]) -> None:
    for rule, curve in curves.items():
        _curve(axes, rule, curve, curve.ks)
    ks = sorted({k for curve in curves.values() for k in curve.ks})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ks, labels=list(map(str, ks)))
    axes.set_xticks([], minor=True)
    axes.set_xlabel("samples per problem")


def draw_calibration(axes: "Axes", found: Calibration) -> None:
    axes.plot([0, 1], [0, 100], color="#999999", linestyle="--", label="as many right as the score says")
    rights = [(each.right.value, *each.right.interval()) for each in found.bins]
    label = f"samples (calibration error {found.error:.2f})"
    _bars(axes, [each.score for each in found.bins], rights, color=PALETTE[0], marker="o", label=label)
    axes.set_xlabel("score")


def draw_against(axes: "Axes", curves: Mapping[str, Curve], unit: Unit) -> None:
    for rule, curve in curves.items():
        if (costs := curve.costs_in(unit)) is not None:
            _curve(axes, rule, curve, costs.mean(0))
    _number_costs(axes, unit)


def _curve(axes: "Axes", rule: str, curve: Curve, x: Any) -> None:
    low, high = curve.interval()
    style: dict[str, Any] = {"color": COLOURS.get(rule, "#000000")}
    axes.plot(x, 100 * curve.means, marker=MARKERS.get(rule, "x"), markersize=4, label=rule, **style)
    axes.fill_between(x, 100 * low, 100 * high, alpha=0.2, linewidth=0, **style)


def _entitle(axes: "Axes", title: str) -> None:
    axes.set_title(_in_lines(title, TITLE), fontsize="medium", parse_math=False)


def _in_lines(text: str, width: int) -> str:
    """A name in lines for which there is room: of what is wider, matplotlib shows a part or draws one over another."""
    return "\n".join(fill(line, width) for line in text.splitlines())


def _label(axes: "Axes", source: str, legend: Corner = "lower right") -> None:
    _entitle(axes, source)
    axes.set_ylabel("right, per cent")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize="small", loc=legend)
