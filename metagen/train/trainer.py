"""The training loop: the loss, the schedule, the optimizer and checkpoints."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, Qwen3MoeForCausalLM

from metagen.train.batches import Batch, batches
from metagen.train.formats import Recipe
from metagen.train.routing import balance_loss, watched_routers

LONGEST = 1024
"""Tokens of the longest training sequence."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How the model is trained."""

    minutes: float = 40.0
    """Training time. The learning rate follows the clock, so a run ends on time on any machine."""
    steps: int | None = None
    """If given, train for so many steps instead: this repeats a run exactly."""
    seed: int = 0
    balance: float = 0.01
    """The coefficient of the load-balancing loss; 0 switches it off."""
    rate: float = 3e-3
    """The peak learning rate."""
    warm_up: float = 0.02
    """The share of the training over which the rate rises."""
    tokens: int = 4096
    """Tokens in a batch, padding included."""
    decay: float = 0.1
    clip: float = 1.0
    report_every: int = 100
    validate_every: int = 500
    recipe: Recipe = field(default_factory=Recipe)


@dataclass(frozen=True, slots=True)
class Losses:
    """The two parts of the loss, scalars; `total` is what training lowers."""

    text: Tensor
    """Mean cross-entropy of the assistant's tokens, in nats."""
    balance: Tensor
    """Mean over the layers of `N Σ f P`; 1 at perfect balance."""

    def total(self, coefficient: float) -> Tensor:
        """The loss with the load-balancing loss weighted by `coefficient`."""
        return self.text + coefficient * self.balance if coefficient else self.text


def losses(model: Qwen3MoeForCausalLM, batch: Batch, routers: list[Tensor]) -> Losses:
    """Run a batch under `watched_routers`; logits are computed only where there is something to learn."""
    routers.clear()
    hidden = model.model(input_ids=batch.ids, use_cache=False).last_hidden_state
    targets = batch.ids.roll(-1, 1)[batch.learned]
    text = F.cross_entropy(model.lm_head(hidden[batch.learned]), targets)
    real, k = batch.real.flatten(), model.config.num_experts_per_tok
    return Losses(text, torch.stack([balance_loss(logits[real], k) for logits in routers]).mean())


@dataclass(slots=True)
class Trainer:
    """A model in training: everything that a checkpoint holds."""

    model: Qwen3MoeForCausalLM
    tokenizer: PreTrainedTokenizerFast
    plan: Plan
    optimizer: torch.optim.AdamW
    step: int = 0
    seconds: float = 0.0
    tokens: int = 0

    @property
    def progress(self) -> float:
        """The share of the training that is done, 0 to 1."""
        if self.plan.steps is not None:
            return min(1.0, self.step / self.plan.steps)
        return min(1.0, self.seconds / (60 * self.plan.minutes))

    def train(self) -> Iterator[Losses]:
        """Train to the end of the plan; after every step, yield the losses that it lowered."""
        plan = self.plan
        stream = batches(self.tokenizer, plan.recipe, plan.seed, plan.tokens, LONGEST, skip=self.step)
        with watched_routers(self.model) as routers:
            while self.progress < 1:
                began = time.monotonic()
                batch = next(stream)
                found = losses(self.model, batch, routers)
                self._update(found.total(plan.balance))
                self.seconds += time.monotonic() - began
                self.tokens += int(batch.real.sum())
                self.step += 1
                yield found

    def _update(self, loss: Tensor) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.rate * rate_factor(self.progress, self.plan.warm_up)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.plan.clip)
        self.optimizer.step()


def rate_factor(progress: float, warm_up: float) -> float:
    """The learning rate relative to its peak: a linear rise from 1 %, then half a cosine down to 1 %."""
    if progress < warm_up:
        return 0.01 + 0.99 * progress / warm_up
    return 0.01 + 0.99 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up))) / 2


def make_optimizer(model: nn.Module, plan: Plan) -> torch.optim.AdamW:
    """AdamW; only matrices decay."""
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() == 1]
    groups = [{"params": matrices, "weight_decay": plan.decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.95), fused=True)


def save_checkpoint(trainer: Trainer, file: Path) -> None:
    """Write weights, optimizer state and counters to one safetensors file, replaced as a whole."""
    tensors = {"counters": torch.tensor([trainer.step, trainer.seconds, trainer.tokens], dtype=torch.float64)}
    for name, parameter in trainer.model.named_parameters():
        tensors[name] = parameter.detach()
        tensors |= {f"{name}|{key}": value for key, value in trainer.optimizer.state[parameter].items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    save_file(tensors, partial)
    partial.replace(file)


def load_checkpoint(trainer: Trainer, file: Path) -> None:
    """Continue where `save_checkpoint` was last called."""
    tensors = load_file(file)
    step, trainer.seconds, tokens = tensors["counters"].tolist()
    trainer.step, trainer.tokens = int(step), int(tokens)
    with torch.no_grad():
        for name, parameter in trainer.model.named_parameters():
            parameter.copy_(tensors[name])
            state = {key: tensors[f"{name}|{key}"] for key in ("step", "exp_avg", "exp_avg_sq")}
            trainer.optimizer.state[parameter] = state
