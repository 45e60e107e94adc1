"""Training: the loss falls, a run can be taken up again, and what is saved can be loaded."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from metagen.errors import InputError
from metagen.train.optimizer import rate_factor
from recipes.mixture import Shape, make_trainer, save_model
from recipes.trainer import Plan, Trainer, load_checkpoint, save_checkpoint

TINY = Shape(vocabulary=700, width=32, layers=1, heads=1, experts=4, expert_width=32)
PLAN = Plan(steps=10, tokens=1024, rate=1e-2)


@pytest.fixture
def trainer() -> Trainer:
    return make_trainer(TINY, PLAN)


def test_ten_steps_lower_the_loss(trainer: Trainer) -> None:
    found = [losses.text.item() for losses in trainer.train()]
    assert trainer.step == len(found) == 10
    assert found[-1] < found[0] - 0.5


def test_a_run_taken_up_again_ends_where_an_unbroken_one_does(trainer: Trainer, tmp_path: Path) -> None:
    for _ in trainer.train():
        if trainer.step == 5:
            save_checkpoint(trainer, tmp_path / "five.safetensors")
    again = make_trainer(TINY, PLAN)
    load_checkpoint(again, tmp_path / "five.safetensors")
    assert again.step == 5
    assert len(list(again.train())) == 5
    for unbroken, resumed in zip(trainer.model.parameters(), again.model.parameters(), strict=True):
        torch.testing.assert_close(resumed, unbroken)


def test_a_checkpoint_of_another_plan_is_refused(trainer: Trainer, tmp_path: Path) -> None:
    next(trainer.train())
    save_checkpoint(trainer, tmp_path / "one.safetensors")
    with pytest.raises(InputError, match="another plan"):
        load_checkpoint(make_trainer(TINY, replace(PLAN, seed=1)), tmp_path / "one.safetensors")


def test_the_coefficient_switches_the_balance_loss_off() -> None:
    found = next(make_trainer(TINY, replace(PLAN, steps=1)).train())
    assert found.total(0) is found.text
    assert found.total(0.5).item() == pytest.approx(found.text.item() + 0.5 * found.balance.item())


def test_the_rate_rises_and_falls() -> None:
    rates = [rate_factor(progress / 100, 0.1) for progress in range(101)]
    assert max(rates) == rates[10] == 1.0
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.01)


def test_a_saved_model_is_loaded_as_it_was(trainer: Trainer, tmp_path: Path) -> None:
    save_model(trainer, tmp_path, temperature=0.9)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float16)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert model.generation_config.temperature == 0.9
    assert model.config.norm_topk_prob
    assert tokenizer.chat_template == trainer.tokenizer.chat_template
    for loaded, saved in zip(model.parameters(), trainer.model.parameters(), strict=True):
        assert torch.equal(loaded, saved)
