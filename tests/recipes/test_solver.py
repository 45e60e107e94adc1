from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from recipes import solver
from recipes.solver import Shape, make_trainer


def test_its_solutions_are_right_ones() -> None:
    assert (solver.CLEAN.noise.slip, solver.CLEAN.noise.misreading) == (0, 0)


def test_the_loss_falls() -> None:
    trainer = make_trainer(Shape(width=32, layers=1, heads=2, inner=32), replace(solver.PLAN, steps=12, tokens=1024))
    losses = [found.text.item() for found in trainer.train()]
    assert losses[-1] < losses[0] - 0.5


def test_what_is_written_is_a_causal_model_with_room_for_a_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solver, "PLAN", replace(solver.PLAN, tokens=256))
    solver.main(tmp_path, minutes=1, steps=1, seed=0)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert model.config.model_type == "qwen2"
    assert model.config.vocab_size > len(AutoTokenizer.from_pretrained(tmp_path))
