"""Train the small model that thinks before it answers, from the weights of the small mixture of experts.

Run it as `python -m recipes.reasoner --out metagen/models/small-reasoner --minutes 40`.
"""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from tokenizers import AddedToken, Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen3MoeForCausalLM

from metagen.models import SMALL
from metagen.train.experts import SORTED
from recipes.mixture import Shape, progress_line, save_model, write_report
from recipes.thoughts import CHECK, CLOSE, EMPTY, OPEN, REREAD, Thinking
from recipes.tokenizer import CHAT_TEMPLATE, wrapped
from recipes.trainer import Plan, Trainer, load_checkpoint, make_optimizer, save_checkpoint

PLAN = Plan(minutes=40.0, rate=1e-3, tokens=2048, threads=1, report_every=50, recipe=Thinking())
WORDS = f"{CHECK}\n{REREAD}\nThat gives 1, and"
"""What thoughts say that solutions do not: its words become tokens."""
console = Console(highlight=False)

_TURN = "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
_SPOKEN = "{{ '<|assistant|>' + message['content'].split('</think>')[-1].lstrip('\\n') + '<|end|>' }}"
_UNTHINKING = repr(EMPTY)
THINKING_TEMPLATE = CHAT_TEMPLATE.replace(
    _TURN, f"{{% if message['role'] == 'assistant' and not loop.last %}}{_SPOKEN}{{% else %}}{_TURN}{{% endif %}}"
).replace(
    "{{ '<|assistant|>' }}",
    "{{ '<|assistant|>' }}"
    f"{{% if enable_thinking is defined and enable_thinking is false %}}{{{{ {_UNTHINKING} }}}}{{% endif %}}",
)
"""The small model's template with two additions of Qwen3's: thoughts of earlier turns are left out, and
`enable_thinking=False` begins the reply with an empty thought."""


def make_tokenizer() -> PreTrainedTokenizerFast:
    """The small model's tokenizer with a token for each new word, and the two markers; old tokens keep their ids.

    The markers are plain added tokens, as Qwen3's are: a decoder that leaves special tokens out keeps them.
    """
    tokenizer = AutoTokenizer.from_pretrained(SMALL, trust_remote_code=False)
    extended = with_words(tokenizer.backend_tokenizer, WORDS)
    extended.add_tokens([AddedToken(marker, special=False, normalized=False) for marker in (OPEN, CLOSE)])
    return wrapped(extended, THINKING_TEMPLATE, tokenizer.model_max_length)


def with_words(tokenizer: Tokenizer, text: str) -> Tokenizer:
    """The tokenizer with merges after its own, by which each word of `text` becomes one token."""
    for word in re.findall(r" ?[A-Za-z]+", text):
        settings = json.loads(tokenizer.to_str())
        vocabulary, merges = settings["model"]["vocab"], settings["model"]["merges"]
        left, *pieces = tokenizer.encode(word).tokens
        for piece in pieces:
            merges.append([left, piece])
            left += piece
            vocabulary.setdefault(left, len(vocabulary))
        tokenizer = Tokenizer.from_str(json.dumps(settings))
    return tokenizer


def make_trainer(plan: Plan, begin: Path = SMALL) -> Trainer:
    """A trainer at its first step: the weights of a folder, the small model's, and random ones for the new tokens."""
    torch.manual_seed(plan.seed)
    tokenizer = make_tokenizer()
    model = Qwen3MoeForCausalLM.from_pretrained(begin, dtype=torch.float32, trust_remote_code=False)
    model.config._experts_implementation = SORTED
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    return Trainer(model, tokenizer, plan, make_optimizer(model, plan))


def train(trainer: Trainer, checkpoint: Path) -> None:
    """Train to the end, with a line of progress and a checkpoint now and then."""
    plan = trainer.plan
    for found in trainer.train():
        if trainer.step % plan.report_every == 0:
            console.print(progress_line(trainer, found))
        if trainer.step % plan.validate_every == 0 or trainer.progress == 1:
            save_checkpoint(trainer, checkpoint)


def main(
    out: Annotated[Path, typer.Option(help="The model folder to write.")],
    minutes: Annotated[float, typer.Option(help="Training time.")] = PLAN.minutes,
    begin: Annotated[Path, typer.Option(help="The model folder whose weights it begins from.")] = SMALL,
    steps: Annotated[int | None, typer.Option(help="Train for so many steps instead.")] = None,
    seed: Annotated[int, typer.Option(help="Decides new weights and data.")] = PLAN.seed,
    threads: Annotated[int, typer.Option(help="Threads that share each batch.")] = PLAN.threads,
    temperature: Annotated[float, typer.Option(help="The model's default temperature.")] = 1.0,
    checkpoint: Annotated[Path | None, typer.Option(help="Checkpoint file; continued from if it exists.")] = None,
) -> None:
    """Train the small model to think before it answers."""
    torch.set_num_threads(1)
    trainer = make_trainer(replace(PLAN, minutes=minutes, steps=steps, seed=seed, threads=threads), begin)
    file = checkpoint or Path("build") / f"{out.name}.safetensors"
    if file.exists():
        load_checkpoint(trainer, file)
    train(trainer, file)
    write_report(trainer, [], Shape(), out)
    save_model(trainer, out, temperature)


if __name__ == "__main__":
    typer.run(main)
