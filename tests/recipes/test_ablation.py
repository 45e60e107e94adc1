"""The comparison of the shipped model's kin: its figures, its training, its table and its picture."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from metagen.errors import InputError
from recipes import ablation
from recipes.ablation import VARIANTS, Load, Variant, by_problem, draw, gathered, load, mean, parameters, table
from recipes.evaluate import watch_routers
from recipes.mixture import Shape, held_out
from recipes.trainer import Plan

TINY = Variant(
    Shape(vocabulary=700, width=32, layers=2, heads=1, experts=4, expert_width=32),
    Plan(steps=4, tokens=256, rate=1e-2, threads=1),
)


@pytest.mark.parametrize(
    ("fractions", "expected"),
    [
        ([0.25] * 4, Load(1.0, 4.0, 0)),
        ([0.5, 0.5, 0.0, 0.0], Load(2.0, 2.0, 2)),
        ([1.0, 0.0, 0.0, 0.0], Load(4.0, 1.0, 3)),
        ([0.5, 0.499, 0.001, 0.0], Load(2.0, 2.014, 2)),
    ],
)
def test_the_load_of_a_layer(fractions: list[float], expected: Load) -> None:
    found = load(fractions)
    assert found.busiest == pytest.approx(expected.busiest)
    assert found.effective == pytest.approx(expected.effective, abs=0.001)
    assert found.idle == expected.idle


def test_the_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    values = np.tile([0.0, 1.0], 250)
    found = mean(values)
    assert found.value == 0.5
    half = 1.96 * 0.5 / math.sqrt(500)
    assert found.low == pytest.approx(0.5 - half, abs=0.004)
    assert found.high == pytest.approx(0.5 + half, abs=0.004)
    assert str(mean(np.ones(5))) == "100.0 [100.0, 100.0]"


def test_the_figures_by_problem() -> None:
    found = by_problem([7, 3], [[7, 7, 1, None], [2, 2, 3, 4]])
    assert {name: list(values) for name, values in found.items()} == {
        "pass@1": [0.5, 0.25],
        "majority": [1.0, 0.0],
        "coverage": [1.0, 1.0],
    }


def test_the_dense_model_has_the_active_parameters_of_the_mixture() -> None:
    mixture, dense = (parameters(VARIANTS[name].shape) for name in ("balanced", "dense"))
    assert mixture["total"] > 1.5 * mixture["active"]
    assert dense["total"] == dense["active"]
    routers = 4 * 8 * 128
    assert mixture["active"] - routers == dense["active"]


def test_the_variants_differ_in_one_thing_each() -> None:
    plans = {name: replace(variant.plan, balance=0.0) for name, variant in VARIANTS.items()}
    assert plans["balanced"] == plans["unbalanced"] == plans["dense"] == replace(plans["dense-longer"], steps=2000)
    assert [variant.plan.balance for variant in VARIANTS.values()] == [0.01, 0, 0, 0]


def test_routers_are_counted_as_they_choose() -> None:
    model = nn.Module()
    model.config = SimpleNamespace(num_experts_per_tok=2)
    model.mlp = nn.ModuleDict({"gate": nn.Identity()})
    routes = watch_routers(model)
    model.mlp["gate"]((torch.tensor([[3.0, 2.0, 1.0, 0.0], [3.0, 0.0, 2.0, 1.0]]), None))
    model.mlp["gate"]((torch.tensor([[0.0, 1.0, 2.0, 3.0]]), None))
    assert [[step.tolist() for step in layer] for layer in routes] == [[[2, 1, 1, 0], [0, 0, 1, 1]]]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is looked at on a few problems."""
    monkeypatch.setattr(ablation, "held_out", lambda split, recipe, _: held_out(split, recipe, 8))


@pytest.mark.usefixtures("few")
def test_a_variant_is_trained_and_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation, "LOOK_EVERY", 1)
    monkeypatch.setattr(ablation, "SAVE_EVERY", 2)

    class Cut(Exception):
        pass

    def cut(*_: Any) -> str:
        raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(ablation, "progress_line", lambda trainer, found: cut() if trainer.step == 4 else "")
        with pytest.raises(Cut):
            ablation.run(TINY, tmp_path)
    assert [row["step"] for row in ablation.read_rows(tmp_path / "history.jsonl")] == [1, 2]
    ablation.run(TINY, tmp_path)
    rows = ablation.read_rows(tmp_path / "history.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert rows[3]["text"] < rows[0]["text"]
    assert [sum(layer) for layer in rows[3]["loads"]] == pytest.approx([1.0, 1.0], abs=1e-3)
    assert (tmp_path / "config.json").exists()


@pytest.mark.usefixtures("few")
def test_a_dense_variant_has_no_loads(tmp_path: Path) -> None:
    ablation.run(replace(TINY, shape=replace(TINY.shape, experts=0)), tmp_path)
    (row,) = ablation.read_rows(tmp_path / "history.jsonl")
    assert (row["loads"], row["balance"]) == ([], 1.0)


def test_what_was_measured_becomes_a_table_and_a_picture(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"balanced.measured\.json: there is no such file: train and measure balanced"):
        gathered(tmp_path)
    for name, variant in VARIANTS.items():
        loads = [[0.125] * 8, [0.5, 0.5, 0, 0, 0, 0, 0, 0]] if variant.shape.experts else []
        rows = [
            {"step": step, "seconds": step / 2, "tokens": step, "text": 1 / step, "balance": 1.0, "loads": loads}
            for step in (25, 50)
        ]
        answers = [[1, 1, 2, 1], [1, 3, 3, 3]] if name == "dense" else [[1, 1, 1, 1], [2, 2, 2, 3]]
        served = {"right": [1, 2], "answers": answers, "tokens_per_second": 10}
        (tmp_path / name).mkdir()
        (tmp_path / name / "measured.json").write_text(json.dumps(served))
        (tmp_path / name / "routed.json").write_text(json.dumps({"loads": loads}))
        (tmp_path / name / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = gathered(tmp_path)
    text = table(found)
    assert "| unbalanced | 1.17 M" in text.replace(f"{found['unbalanced']['parameters']['total'] / 1e6:.2f}", "1.17")
    assert "| dense | " in text
    assert "| 37.5 [0.0, 75.0] | 50.0 [0.0, 100.0] | 50.0 [0.0, 100.0] |" in text
    assert "| balanced − dense | | | 50.0 [25.0, 75.0] | 50.0 [0.0, 100.0] | 50.0 [0.0, 100.0] |" in text
    assert "| balanced | 1 | 4.00, 4.00 | 2.00, 2.00 | 6, 6 |" in text
    draw(found, tmp_path)
    assert (tmp_path / "experts.png").stat().st_size > 10_000
    assert "<svg" in (tmp_path / "experts.svg").read_text()
