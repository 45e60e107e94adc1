"""Fine-tuning, whatever is learned: epochs over examples, with checkpoints that a killed run continues."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from metagen.errors import InputError
from metagen.settings import require_number, require_whole
from metagen.train.checkpoints import load, save
from metagen.train.optimizer import optimizer_of, rate_factor


class Sequenced(Protocol):
    """An example as tokens."""

    @property
    def ids(self) -> list[int]: ...


Item = TypeVar("Item", bound=Sequenced)
SAMPLED = 1 << 16
"""Numbers of the first weights by which a base is told from others."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to learn. Raises `InputError` for a rate that is no number above 0."""

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

    def __post_init__(self) -> None:
        require_whole(self, epochs=self.epochs, tokens=self.tokens, save_every=self.save_every)
        require_number(self, rate=self.rate)
        if self.rate <= 0:
            raise InputError(f"Schedule: rate must be above 0, not {self.rate}")


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
        """Train to the end, from the checkpoint if there is one; the caller deletes it once the model is kept."""
        schedule = self.schedule
        batches = [batch for epoch in range(schedule.epochs) for batch in self.epoch_batches(epoch)]
        optimizer = optimizer_of(self.model, schedule.rate, schedule.decay)
        plan, begun = self.identity() if checkpoint else "", 0
        if checkpoint and checkpoint.exists():
            begun = load(self.model, optimizer, checkpoint, plan)
        self.model.train()
        for step, batch in enumerate(batches[begun:], begun + 1):
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate * rate_factor(step / len(batches), schedule.warm_up)
            yield Progress(step, len(batches), self._step(batch, optimizer))
            if checkpoint and step % schedule.save_every == 0:
                save(self.model, optimizer, step, checkpoint, plan)

    def identity(self) -> str:
        """What tells this training from others: its schedule, the model it begins with, and what it learns from."""
        digest = blake2b(digest_size=16)
        for name, parameter in self.model.named_parameters():
            digest.update(f"{name} {tuple(parameter.shape)}\n".encode())
        first = next(self.model.parameters(), None)
        if first is not None:
            digest.update(first.detach().flatten()[:SAMPLED].float().cpu().numpy().tobytes())
        for item in self.items:
            digest.update(f"{item}\n".encode())
        return f"{asdict(self.schedule)} {digest.hexdigest()}"

    def _step(self, batch: Sequence[Item], optimizer: torch.optim.Optimizer) -> float:
        optimizer.zero_grad()
        loss = self.loss(batch)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.schedule.clip)
        optimizer.step()
        return float(loss.detach())

    def epoch_batches(self, epoch: int) -> list[list[Item]]:
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
