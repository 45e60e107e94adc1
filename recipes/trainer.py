"""The training loop: the loss, the schedule, the optimizer and checkpoints."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM, Qwen3MoeForCausalLM

from metagen.errors import InputError
from metagen.train.optimizer import optimizer_of, rate_factor
from recipes.batches import Batch, batches
from recipes.formats import Recipe
from recipes.routing import balance_loss

Model: TypeAlias = Qwen3ForCausalLM | Qwen3MoeForCausalLM
"""A dense model, or a mixture of experts."""

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
    threads: int = 2
    """A batch is cut in so many parts, which run at the same time with one thread each. On a busy machine this is far
    faster than to share out every operation, where each waits for the slower thread."""
    report_every: int = 100
    validate_every: int = 500
    recipe: Recipe = field(default_factory=Recipe)


@dataclass(frozen=True, slots=True)
class Losses:
    """The two parts of the loss, scalars; `total` is what training lowers."""

    text: Tensor
    """Mean cross-entropy of the assistant's tokens, in nats."""
    balance: Tensor
    """Mean over the layers of `N Σ f P`; 1 at perfect balance, and in a dense model."""

    def total(self, coefficient: float) -> Tensor:
        """The loss with the load-balancing loss weighted by `coefficient`."""
        return self.text + coefficient * self.balance if coefficient else self.text


def losses(model: Model, batch: Batch) -> Losses:
    """Run a batch; logits are computed only where there is something to learn."""
    mixture = isinstance(model, Qwen3MoeForCausalLM)
    output = model.model(input_ids=batch.ids, use_cache=False, **({"output_router_logits": True} if mixture else {}))
    targets = batch.ids.roll(-1, 1)[batch.learned]
    text = functional.cross_entropy(model.lm_head(output.last_hidden_state[batch.learned]), targets)
    if not mixture:
        return Losses(text, torch.ones(()))
    real, k = batch.real.flatten(), model.config.num_experts_per_tok
    return Losses(text, torch.stack([balance_loss(logits[real], k) for logits in output.router_logits]).mean())


@dataclass(slots=True)
class Trainer:
    """A model in training: everything that a checkpoint holds."""

    model: Model
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
        with ThreadPoolExecutor(plan.threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            while self.progress < 1:
                began = time.monotonic()
                batch = next(stream)
                found = self._lower(batch.parts(plan.threads), pool)
                self.seconds += time.monotonic() - began
                self.tokens += int(batch.real.sum())
                self.step += 1
                yield found

    def _lower(self, parts: Sequence[Batch], pool: Executor) -> Losses:
        """Take one step. The parts of the batch run at the same time and weigh by what there is to learn in them."""
        learned = torch.stack([part.learned.sum() for part in parts])
        shares = learned / learned.sum()
        done = list(pool.map(self._gradients, parts, shares))
        for parameter, *gradients in zip(self.model.parameters(), *(gradients for _, gradients in done), strict=True):
            parameter.grad = torch.stack(gradients).sum(0)
        self._update()
        text, balance = (torch.stack(values) for values in zip(*((it.text, it.balance) for it, _ in done), strict=True))
        return Losses((text.detach() * shares).sum(), (balance.detach() * shares).sum())

    def _gradients(self, part: Batch, share: Tensor) -> tuple[Losses, tuple[Tensor, ...]]:
        found = losses(self.model, part)
        loss = share * found.total(self.plan.balance)
        return found, torch.autograd.grad(loss, list(self.model.parameters()))

    def _update(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.rate * rate_factor(self.progress, self.plan.warm_up)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.plan.clip)
        self.optimizer.step()


def make_optimizer(model: nn.Module, plan: Plan) -> torch.optim.AdamW:
    """The optimizer of a plan."""
    return optimizer_of(model, plan.rate, plan.decay)


def save_checkpoint(trainer: Trainer, file: Path) -> None:
    """Write weights, optimizer state and counters to one safetensors file, replaced as a whole."""
    tensors = {"counters": torch.tensor([trainer.step, trainer.seconds, trainer.tokens], dtype=torch.float64)}
    for name, parameter in trainer.model.named_parameters():
        tensors[name] = parameter.detach()
        tensors |= {f"{name}|{key}": value for key, value in trainer.optimizer.state[parameter].items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    save_file(tensors, partial, metadata={"plan": _identity(trainer.plan)})
    partial.replace(file)


def load_checkpoint(trainer: Trainer, file: Path) -> None:
    """Continue where `save_checkpoint` was last called; only the length of the training and its threads may differ."""
    with safe_open(file, "pt") as checkpoint:
        plan = checkpoint.metadata()["plan"]
        if plan != _identity(trainer.plan):
            raise InputError(f"{file} is the checkpoint of another plan, {plan}: delete it or name another file")
        tensors = {name: checkpoint.get_tensor(name) for name in checkpoint.keys()}  # noqa: SIM118  # not a mapping
    step, trainer.seconds, tokens = tensors["counters"].tolist()
    trainer.step, trainer.tokens = int(step), int(tokens)
    with torch.no_grad():
        for name, parameter in trainer.model.named_parameters():
            parameter.copy_(tensors[name])
            state = {key: tensors[f"{name}|{key}"] for key in ("step", "exp_avg", "exp_avg_sq")}
            trainer.optimizer.state[parameter] = state


def _identity(plan: Plan) -> str:
    return repr(replace(plan, minutes=0.0, steps=None, threads=1))
