from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from metagen import InputError
from metagen.train.finetune import Progress, Schedule, Tuning


@dataclass(frozen=True)
class Number:
    ids: list[int]


ITEMS = [Number([number] * (1 + number % 4)) for number in range(40)]
SCHEDULE = Schedule(epochs=3, rate=0.1, tokens=16, save_every=2)


def tuning(schedule: Schedule = SCHEDULE) -> Tuning[Number]:
    torch.manual_seed(0)
    model = nn.Linear(1, 1)

    def loss(batch: Sequence[Number]) -> Tensor:
        x = torch.tensor([[float(item.ids[0])] for item in batch]) / 40
        return Tensor(((model(x) - 3 * x - 1) ** 2).mean())

    return Tuning(model, ITEMS, loss, schedule)


def test_every_example_is_seen_once_an_epoch_in_batches_of_a_size() -> None:
    made = tuning()
    for epoch in (0, 1):
        groups = made.epoch_batches(epoch)
        assert sorted(item.ids[0] for group in groups for item in group) == list(range(40))
        assert all(len(group) * max(len(item.ids) for item in group) <= SCHEDULE.tokens for group in groups)
    assert made.epoch_batches(0) != made.epoch_batches(1)


def test_the_loss_falls() -> None:
    steps = list(tuning(replace(SCHEDULE, epochs=20)).run())
    assert steps[-1].loss < steps[0].loss / 20
    assert (steps[-1].step, steps[0].steps) == (steps[-1].steps, len(steps))


def test_a_killed_training_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = [step.loss for step in tuning().run()]
    checkpoint = tmp_path / "checkpoint.safetensors"
    killed: Iterator[Progress] = tuning().run(checkpoint)
    assert len(list(islice(killed, 6))) == 6  # stands before the checkpoint of step 6
    resumed = list(tuning().run(checkpoint))
    assert resumed[0].step == 5
    assert [step.loss for step in resumed] == pytest.approx(whole[4:])
    assert checkpoint.exists()  # until the model is kept


def test_the_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    list(islice(tuning().run(checkpoint), 4))
    with pytest.raises(InputError, match="of another training"):
        next(tuning(replace(SCHEDULE, rate=0.2)).run(checkpoint))
    fewer = tuning()
    with pytest.raises(InputError, match="of another training"):
        next(replace(fewer, items=fewer.items[1:]).run(checkpoint))
    other = tuning()
    with torch.no_grad():
        next(other.model.parameters()).add_(1)
    with pytest.raises(InputError, match="of another training"):
        next(other.run(checkpoint))
