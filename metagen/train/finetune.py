"""Fine-tuning, whatever is learned: epochs over examples, with checkpoints that a killed run goes on from."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Generic, Protocol, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from metagen.errors import InputError
from metagen.train.trainer import optimizer_of, rate_factor


class Sequenced(Protocol):
    """An example as tokens."""

    @property
    def ids(self) -> list[int]: ...


Item = TypeVar("Item", bound=Sequenced)


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to learn."""

    epochs: int = 3
    rate: float = 1e-3
    """The peak learning rate: 1e-3 suits a model of a few million parameters, 1e-5 one of billions."""
    tokens: int = 4096
    """Tokens in a batch, padding included."""
    warm_up: float = 0.05
    decay: float = 0.1
    clip: float = 1.0
    seed: int = 0
    save_every: int = 200
    """Steps between checkpoints."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of the training."""

    step: int
    steps: int
    loss: float
    """Of the step's batch, before the step."""


@dataclass(frozen=True, slots=True)
class Tuning(Generic[Item]):
    """A model, what it learns from, and how a batch of that becomes a loss."""

    model: nn.Module
    items: Sequence[Item]
    loss: Callable[[Sequence[Item]], Tensor]
    schedule: Schedule

    def run(self, checkpoint: Path | None = None) -> Iterator[Progress]:
        """Train to the end, from the checkpoint if there is one; it is deleted at the end."""
        schedule = self.schedule
        batches = [batch for epoch in range(schedule.epochs) for batch in self._epoch(epoch)]
        optimizer = optimizer_of(self.model, schedule.rate, schedule.decay)
        begun = _load(self.model, optimizer, checkpoint, schedule) if checkpoint and checkpoint.exists() else 0
        self.model.train()
        for step, batch in enumerate(batches[begun:], begun + 1):
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate * rate_factor(step / len(batches), schedule.warm_up)
            yield Progress(step, len(batches), self._step(batch, optimizer))
            if checkpoint and step % schedule.save_every == 0:
                _save(self.model, optimizer, step, checkpoint, schedule)
        if checkpoint:
            checkpoint.unlink(missing_ok=True)

    def _step(self, batch: Sequence[Item], optimizer: torch.optim.Optimizer) -> float:
        optimizer.zero_grad()
        loss = self.loss(batch)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.schedule.clip)
        optimizer.step()
        return float(loss.detach())

    def _epoch(self, epoch: int) -> list[list[Item]]:
        """The examples in batches of about the same length, in an order of this epoch's own."""
        rng = Random(f"{self.schedule.seed} epoch {epoch}")
        order = sorted(rng.sample(self.items, len(self.items)), key=lambda item: len(item.ids))
        groups: list[list[Item]] = [[]]
        for item in order:
            if groups[-1] and (len(groups[-1]) + 1) * len(item.ids) > self.schedule.tokens:
                groups.append([])
            groups[-1].append(item)
        rng.shuffle(groups)
        return groups


def _save(model: nn.Module, optimizer: torch.optim.Optimizer, step: int, file: Path, schedule: Schedule) -> None:
    """Write weights and optimizer state to one file, replaced as a whole."""
    tensors = {"step": torch.tensor(step)}
    for name, parameter in model.named_parameters():
        tensors[name] = parameter.detach()
        tensors |= {f"{name}|{key}": value for key, value in optimizer.state[parameter].items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    save_file(tensors, partial, metadata={"schedule": str(asdict(schedule))})
    partial.replace(file)


def _load(model: nn.Module, optimizer: torch.optim.Optimizer, file: Path, schedule: Schedule) -> int:
    """Take up what `_save` wrote; returns the steps that are done."""
    with safe_open(file, "pt") as checkpoint:
        if checkpoint.metadata()["schedule"] != str(asdict(schedule)):
            raise InputError(f"{file} is the checkpoint of another training: delete it, or name another --out")
        tensors = {name: checkpoint.get_tensor(name) for name in checkpoint.keys()}  # noqa: SIM118  # not a mapping
    for name, parameter in model.named_parameters():
        parameter.data.copy_(tensors[name])
        optimizer.state[parameter] = {key: tensors[f"{name}|{key}"] for key in ("step", "exp_avg", "exp_avg_sq")}
    return int(tensors["step"])
