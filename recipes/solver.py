"""A small dense model that solves the word problems without mistakes: what the process reward model begins from.

Run it as `python -m recipes.solver --out build/solver --minutes 25`.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from metagen.models import SMALL
from recipes.formats import Mix, Recipe
from recipes.problems.words import Noise
from recipes.trainer import Plan, Trainer, make_optimizer

CLEAN = Recipe(noise=Noise(0.0, 0.0), mix=Mix(1.0, 0.0, 0.0, 0.0))
"""Right solutions to plain questions."""
console = Console(highlight=False)
PLAN = Plan(minutes=25.0, threads=1, recipe=CLEAN)


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of the model."""

    width: int = 128
    layers: int = 7
    heads: int = 4
    inner: int = 384


def make_config(shape: Shape, tokenizer: PreTrainedTokenizerFast) -> Qwen2Config:
    """The configuration of a model of this shape; it has room for a few tokens more than the tokenizer's."""
    return Qwen2Config(
        vocab_size=-(-(len(tokenizer) + 1) // 8) * 8,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        tie_word_embeddings=True,
        max_position_embeddings=2048,
        initializer_range=0.05,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def make_trainer(shape: Shape, plan: Plan) -> Trainer:
    """A trainer at its first step, with the tokenizer of the generator that is to be judged."""
    torch.manual_seed(plan.seed)
    tokenizer = AutoTokenizer.from_pretrained(SMALL, trust_remote_code=False)
    model = Qwen2ForCausalLM(make_config(shape, tokenizer))
    return Trainer(model, tokenizer, plan, make_optimizer(model, plan))


def main(
    out: Annotated[Path, typer.Option(help="The model folder to write.")],
    minutes: Annotated[float, typer.Option(help="Training time.")] = PLAN.minutes,
    steps: Annotated[int | None, typer.Option(help="Train for so many steps instead.")] = None,
    seed: Annotated[int, typer.Option(help="Decides weights and data.")] = 0,
) -> None:
    """Train a dense model on right solutions to training problems."""
    torch.set_num_threads(1)
    trainer = make_trainer(Shape(), replace(PLAN, minutes=minutes, steps=steps, seed=seed))
    for found in trainer.train():
        if trainer.step % trainer.plan.report_every == 0:
            console.print(f"{trainer.progress:6.1%}  step {trainer.step}  loss {found.text.item():.4f}")
    trainer.model.save_pretrained(out)
    trainer.tokenizer.save_pretrained(out)


if __name__ == "__main__":
    typer.run(main)
