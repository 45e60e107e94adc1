import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metagen.analysis import plots
from metagen.analysis.calibration import Bin, Calibration
from metagen.analysis.curve import Curve
from metagen.analysis.fronts import Point
from metagen.analysis.share import Share

CURVE = Curve("coverage", (1, 2, 4), np.array([[0.1, 0.2, 0.4], [0.3, 0.4, 0.8]]), np.zeros((2, 3)))
OTHER = Curve("best-of", (1, 2), np.array([[0.1, 0.2]]), np.zeros((1, 2)))


def test_matplotlib_is_found_if_it_is_there() -> None:
    assert plots.available() == (find_spec("matplotlib") is not None)


@pytest.mark.parametrize("names", [["one"], ["one", "t$w_o$"], ["1", "2", "3", "4"]])
def test_each_source_has_a_panel_with_its_curves(tmp_path: Path, names: list[str]) -> None:
    pytest.importorskip("matplotlib")
    png, svg = plots.draw({name: {"coverage": CURVE, "best-of": OTHER} for name in names}, tmp_path)
    assert png.read_bytes().startswith(b"\x89PNG")
    text = svg.read_text()
    for name in names:
        assert f">{name}</text>" in text
    assert text.count(">coverage</text>") == len(names)
    assert text.count(">samples per problem</text>") == len(names)
    for colour in (plots.COLOURS["coverage"], plots.COLOURS["best-of"]):
        assert colour.lower() in text


def test_the_axis_is_logarithmic_and_intervals_are_shaded() -> None:
    axes = pytest.importorskip("matplotlib.figure").Figure().subplots()
    plots.draw_against_samples(axes, {"coverage": CURVE})
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "4"]
    assert axes.lines[0].get_ydata() == pytest.approx([20, 30, 60])
    (band,) = axes.collections
    low, high = CURVE.interval()
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((100 * low.min(), 100 * high.max()))


def test_curves_that_know_their_flops_are_drawn_against_them(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    curve = replace(CURVE, flops=np.array([[1e9, 2e9, 4e9], [3e9, 4e9, 8e9]]))
    files = plots.draw({"one": {"coverage": curve}}, tmp_path)
    assert [file.name for file in files] == ["curves.png", "curves.svg", "flops.png", "flops.svg"]
    paid = plots.draw({"one": {"coverage": replace(CURVE, money=curve.flops)}}, tmp_path)
    assert [file.name for file in paid] == ["curves.png", "curves.svg", "money.png", "money.svg"]
    assert ">FLOPs per problem</text>" in files[3].read_text()
    axes = pytest.importorskip("matplotlib.figure").Figure().subplots()
    plots.draw_against(axes, {"coverage": curve}, "FLOPs")
    assert axes.get_xscale() == "log"
    assert axes.lines[0].get_xdata() == pytest.approx([2e9, 3e9, 6e9])


def test_the_same_curves_give_the_same_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        plots.draw({"one": {"coverage": CURVE}}, folder)
    assert (first / "curves.svg").read_bytes() == (second / "curves.svg").read_bytes()


def test_colours_are_those_that_all_can_tell_apart() -> None:
    okabe_ito = {"#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#000000"}
    assert set(plots.COLOURS.values()) <= okabe_ito
    assert len(set(plots.COLOURS.values())) == len(plots.COLOURS) == len(set(plots.MARKERS.values()))


def test_strategies_that_differ_in_a_number_are_joined_with_their_intervals() -> None:
    axes = pytest.importorskip("matplotlib.figure").Figure().subplots()
    points = [
        Point("p", "m", "vote1", "", 1, 9, 0.5, 0.4, 0.7, tokens=10, flops=0, calls=1),
        Point("p", "m", "best4", "", 1, 9, 0.6, 0.5, 0.8, tokens=30, flops=0, calls=4),
        Point("p", "m", "vote4", "", 1, 9, 0.8, 0.7, 0.9, tokens=40, flops=0, calls=4),
    ]
    plots.draw_front(axes, "some", points)
    vote, best = axes.containers
    assert (vote.get_label(), best.get_label()) == ("vote", "best")
    assert vote.lines[0].get_xydata().ravel() == pytest.approx([10, 50, 40, 80])
    assert best.lines[0].get_xydata().ravel() == pytest.approx([30, 60])
    (bars,) = vote.lines[2]
    assert np.array(bars.get_segments())[:, :, 1].ravel() == pytest.approx([40, 70, 70, 90])


def test_no_two_strategies_of_a_front_look_alike() -> None:
    axes = pytest.importorskip("matplotlib.figure").Figure().subplots()
    points = [Point("p", "m", f"{name}4", "", 1, 9, 0.5, 0.4, 0.6, 10, 1e9, 1) for name in "abcdefghijklmnopqrst"]
    plots.draw_front(axes, "many", points)
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line, *_ in axes.containers}
    assert len(looks) == len(points)


@pytest.mark.parametrize("unit", ["tokens", "FLOPs", "money"])
@pytest.mark.parametrize("factor", [1.0, 1.05, 2.3, 8, 12, 900, 1e5])
def test_costs_have_numbers_on_their_axis(unit: Any, factor: float) -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    costs: dict[str, Any] = {"costs" if unit == "tokens" else unit.lower(): 2100 * np.array([[1, factor**0.5, factor]])}
    curve = replace(CURVE, **costs)
    plots.draw_against(axes, {"coverage": curve}, unit)
    figure.canvas.draw()
    low, high = axes.get_xlim()
    numbers = [label.get_text() for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]
    assert 2 <= len([number for number in numbers if number]) <= 9, numbers


def test_the_calibration_of_a_verifier_is_drawn_beside_what_it_should_be(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = Calibration((Bin(0.25, Share(1, 4)), Bin(0.95, Share(9, 10))))
    _, svg = plots.draw_calibrations({"pool: verifier": found}, tmp_path)
    text = svg.read_text()
    assert ">as many right as the score says</text>" in text
    assert ">samples (calibration error 0.04)</text>" in text
    axes = pytest.importorskip("matplotlib.figure").Figure().subplots()
    plots.draw_calibration(axes, found)
    assert axes.lines[1].get_xydata().tolist() == [[0.25, 25.0], [0.95, 90.0]]


def test_long_names_are_drawn_in_lines_inside_the_picture(tmp_path: Path) -> None:
    """Where they are not, matplotlib warns and draws no layout, which is an error here."""
    pytest.importorskip("matplotlib")
    curve = replace(OTHER, costs=np.array([[10.0, 20.0]]))
    names = [f"experiments/{'of-a-study-' * 8}/{each}/{'runs-of-votes/' * 4}" for each in ("one", "two")]
    files = plots.draw({name: {"best-of": OTHER} for name in names}, tmp_path)
    files += plots.draw_costs({name: {"best-of": curve} for name in names}, tmp_path)
    for file in (each for each in files if each.suffix == ".svg"):
        drawn = re.findall(r">([^<>]+)</text>", file.read_text())
        assert max(map(len, drawn)) <= plots.TITLE
        assert "".join(drawn).count("runs-of-votes/") == 8


def test_what_several_sources_reach_at_which_cost_is_one_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    curve = replace(OTHER, costs=np.array([[10.0, 20.0]]))
    files = plots.draw_costs({"one": {"coverage": CURVE, "best-of": curve}, "two": {"best-of": curve}}, tmp_path)
    text = files[1].read_text()
    assert [file.name for file in files] == ["front.png", "front.svg"]
    assert (">one, best-of</text>" in text, "coverage" in text, ">tokens per problem</text>" in text) == (
        True,
        False,
        True,
    )
    assert plots.draw_costs({"one": {"best-of": OTHER}}, tmp_path) == []
