"""Train the small mixture of experts that ships with metagen, from scratch, on generated word problems.

Run it as `python -m recipes.mixture --out metagen/models/small-moe --minutes 40 --seed 0`.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from metagen.train.experts import SORTED
from recipes.batches import Batch
from recipes.formats import Exchange, Recipe
from recipes.problems.words import Noise, Split, WordProblem, attempt, draw_any
from recipes.tokenizer import train_tokenizer
from recipes.trainer import Losses, Plan, Trainer, load_checkpoint, make_optimizer, save_checkpoint
from recipes.validation import Look, as_batch, expert_loads, look

CONTEXT = 2048
"""Positions that the model accepts; training saw the first 1,024 of them."""
console = Console(highlight=False)
_DEFAULT = Plan()
_NOISE = _DEFAULT.recipe.noise


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of the model."""

    vocabulary: int = 1024
    """At most so many tokens; the generator's language needs fewer."""
    width: int = 128
    layers: int = 4
    heads: int = 4
    experts: int = 8
    """0 for a dense model whose feed-forward layers are as wide as the active experts together."""
    active: int = 2
    expert_width: int = 128


def make_config(shape: Shape, tokenizer: PreTrainedTokenizerFast) -> Qwen3Config | Qwen3MoeConfig:
    """The configuration of a model of this shape.

    With `norm_topk_prob` the router is `Softmax(TopK(Wx))`: a softmax, the k largest, renormalised to sum to 1.
    """
    common: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": shape.width,
        "intermediate_size": shape.active * shape.expert_width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "head_dim": shape.width // shape.heads,
        "tie_word_embeddings": True,
        "max_position_embeddings": CONTEXT,
        "initializer_range": 0.05,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if not shape.experts:
        return Qwen3Config(**common)
    config = Qwen3MoeConfig(
        **common,
        moe_intermediate_size=shape.expert_width,
        num_experts=shape.experts,
        num_experts_per_tok=shape.active,
        norm_topk_prob=True,
    )
    config._experts_implementation = SORTED
    return config


@cache
def make_tokenizer(vocabulary: int, recipe: Recipe) -> PreTrainedTokenizerFast:
    """A tokenizer learned from the generator's own text: always the same one."""
    rng = Random("tokenizer")
    drawn = [recipe.exchange(rng) for _ in range(8000)]
    return train_tokenizer((text for item in drawn for text in (item.prompt, item.reply)), vocabulary, CONTEXT)


def make_trainer(shape: Shape, plan: Plan) -> Trainer:
    """A trainer at its first step."""
    torch.manual_seed(plan.seed)
    tokenizer = make_tokenizer(shape.vocabulary, plan.recipe)
    config = make_config(shape, tokenizer)
    model = Qwen3MoeForCausalLM(config) if isinstance(config, Qwen3MoeConfig) else Qwen3ForCausalLM(config)
    return Trainer(model, tokenizer, plan, make_optimizer(model, plan))


def held_out(split: Split, recipe: Recipe, count: int) -> tuple[list[WordProblem], list[Exchange]]:
    """Random problems of a split that is not trained on, and plain exchanges with noisy solutions to them."""
    rng = Random(f"look at {split}")
    problems = [draw_any(rng, split, recipe.trap_share) for _ in range(count)]
    return problems, [Exchange(problem.text, attempt(problem, rng, recipe.noise).text) for problem in problems]


def train(trainer: Trainer, checkpoint: Path) -> list[Look]:
    """Train to the end, with a line of progress, a checkpoint and a look at the validation set now and then."""
    plan = trainer.plan
    problems, exchanges = held_out("validation", plan.recipe, 128)
    batch = as_batch(trainer.tokenizer, exchanges)
    looks = []
    for found in trainer.train():
        if trainer.step % plan.report_every == 0:
            console.print(progress_line(trainer, found))
        if trainer.step % plan.validate_every == 0 or trainer.progress == 1:
            save_checkpoint(trainer, checkpoint)
            looks.append(look(trainer.model, trainer.tokenizer, batch, problems))
            console.print(f"  validation: {looks[-1]}")
    return looks


def progress_line(trainer: Trainer, found: Losses) -> str:
    """One line about the training so far."""
    return (
        f"{trainer.progress:6.1%}  step {trainer.step}  loss {found.text.item():.3f}"
        f"  balance {found.balance.item():.3f}  {trainer.tokens / trainer.seconds:,.0f} tokens/s"
    )


def save_model(trainer: Trainer, out: Path, temperature: float) -> None:
    """Write the folder that vLLM and transformers load: float16 weights, tokenizer, chat template, defaults."""
    out.mkdir(parents=True, exist_ok=True)
    trainer.model.to(torch.float16).save_pretrained(out)
    trainer.tokenizer.save_pretrained(out)
    GenerationConfig(
        do_sample=True,
        temperature=temperature,
        top_k=0,
        eos_token_id=trainer.tokenizer.eos_token_id,
        pad_token_id=trainer.tokenizer.pad_token_id,
    ).save_pretrained(out)


def write_report(trainer: Trainer, looks: Sequence[Look], shape: Shape, out: Path) -> None:
    """Write `report.json`: what was trained, how, and what the routers do."""
    recipe = trainer.plan.recipe
    evaluation = _plain_batches(trainer, "evaluation", recipe)
    report = {
        "shape": asdict(shape),
        "plan": asdict(trainer.plan),
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "steps": trainer.step,
        "tokens": trainer.tokens,
        "minutes": round(trainer.seconds / 60, 1),
        "tokens_per_second": round(trainer.tokens / trainer.seconds),
        "validation": [asdict(found) for found in looks],
        "expert_loads": {
            "training": expert_loads(trainer.model, _plain_batches(trainer, "training", recipe)),
            "evaluation": expert_loads(trainer.model, evaluation),
        },
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")


def _plain_batches(trainer: Trainer, split: Split, recipe: Recipe) -> list[Batch]:
    _, exchanges = held_out(split, recipe, 512)
    return [as_batch(trainer.tokenizer, exchanges[at : at + 64]) for at in range(0, len(exchanges), 64)]


def main(
    out: Annotated[Path, typer.Option(help="The model folder to write.")],
    minutes: Annotated[float, typer.Option(help="Training time.")] = _DEFAULT.minutes,
    steps: Annotated[int | None, typer.Option(help="Train for so many steps instead.")] = None,
    seed: Annotated[int, typer.Option(help="Decides weights and data.")] = _DEFAULT.seed,
    balance: Annotated[float, typer.Option(help="Weight of the load-balancing loss; 0 is off.")] = _DEFAULT.balance,
    slip: Annotated[float, typer.Option(help="Chance that a training result is off.")] = _NOISE.slip,
    misreading: Annotated[float, typer.Option(help="Chance that a trap is misread.")] = _NOISE.misreading,
    trap_share: Annotated[float, typer.Option(help="Share of problems with a trap.")] = _DEFAULT.recipe.trap_share,
    temperature: Annotated[float, typer.Option(help="The model's default temperature.")] = 1.0,
    checkpoint: Annotated[Path | None, typer.Option(help="Checkpoint file; continued from if it exists.")] = None,
) -> None:
    """Train the small mixture of experts on generated word problems."""
    torch.set_num_threads(1)
    recipe = Recipe(noise=Noise(slip, misreading), trap_share=trap_share)
    shape, plan = Shape(), Plan(minutes, steps, seed, balance, recipe=recipe)
    trainer = make_trainer(shape, plan)
    file = checkpoint or Path("build") / f"{out.name}.safetensors"
    if file.exists():
        load_checkpoint(trainer, file)
    looks = train(trainer, file)
    write_report(trainer, looks, shape, out)
    save_model(trainer, out, temperature)


if __name__ == "__main__":
    typer.run(main)
