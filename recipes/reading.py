"""From a model that solves to one that reads: the base of the small process reward model.

    python -m recipes.reading build/solver --out build/reader

Labels of steps alone teach a small model what needs no reading: that later steps are worse, and that some questions go
wrong. So before it sees such a label, it learns to compare what is written with what is right, token by token, on
training problems with mistakes put in (`Noise`), whose right solution is known. Three losses, each at its depth:

- the first layers, the solver's, go on to predict the right next token;
- a layer that begins by looking at the token before says whether a token is the right one;
- a last layer gathers that, and the head says whether all is right so far: at each token, and at each step's mark.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Annotated, Any, Self

import torch
import typer
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, PreTrainedTokenizerBase, Qwen2Model

from metagen.train.optimizer import optimizer_of
from metagen.train.rewards import MARK, ProcessRewardModel, make_room, tokenizer_of
from recipes.problems.words import Noise, attempt, draw_any

KEPT = 6
"""Layers of the solver: after these it knows nearly all next tokens."""
SLIPS = (0.05, 0.15, 0.3)
"""Chances of a slip, one for each solution."""
MISREADING, TRAP_SHARE = 0.6, 0.45
POOL = 800
"""Readings that are drawn, sorted by length and cut into batches at a time."""
console = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Reading:
    """A question, a solution with a mark after each step, and the right one."""

    question: list[int]
    reply: list[int]
    right: list[int]

    @property
    def good(self) -> int:
        """The number of first tokens of the reply that are right."""
        pairs = zip(self.reply, self.right, strict=False)
        agreeing = next((at for at, (one, other) in enumerate(pairs) if one != other), len(self.right))
        return min(agreeing, len(self.reply) - (len(self.reply) < len(self.right)))

    def __len__(self) -> int:
        return len(self.question) + len(self.reply)


def reading(tokenizer: PreTrainedTokenizerBase, rng: Random) -> Reading:
    """A training problem with an attempt at it."""
    problem = draw_any(rng, "training", TRAP_SHARE)
    tried = attempt(problem, rng, Noise(rng.choice(SLIPS), MISREADING))
    turns = [{"role": "user", "content": problem.text}]
    question = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    texts = (question, *(f"{text}\n".replace("\n", MARK) for text in (tried.text, problem.right.text)))
    return Reading(*(tokenizer(text, add_special_tokens=False).input_ids for text in texts))


@dataclass(frozen=True, slots=True)
class Batch:
    """B readings padded on the right to T tokens; all fields are [B, T]."""

    ids: Tensor
    targets: Tensor
    """The right next token, −100 where there is none: after the first mistake."""
    right: Tensor
    """float32: 1 where all is right so far, else 0."""
    weights: Tensor
    """float32: of `right` in the loss; 0 where it is not asked."""
    near: Tensor
    """bool: tokens of the reply up to the first wrong one."""

    @classmethod
    def of(cls, items: Sequence[Reading], mark: int) -> Self:
        shape = len(items), max(map(len, items))
        ids, targets = torch.zeros(shape, dtype=torch.long), torch.full(shape, -100)
        right, weights, near = torch.zeros(shape), torch.zeros(shape), torch.zeros(shape, dtype=torch.bool)
        for row, item in enumerate(items):
            begin, good = len(item.question), item.good
            ids[row, : len(item)] = torch.tensor(item.question + item.reply)
            right[row, begin : begin + good] = 1
            known = min(good + 1, len(item.right))
            targets[row, begin - 1 : begin - 1 + known] = torch.tensor(item.right[:known])
            near[row, begin : min(begin + good + 1, len(item))] = True
        weights[near] = 4 - 3 * right[near]
        replies = torch.arange(shape[1]) >= torch.tensor([len(item.question) for item in items])[:, None]
        weights[(ids == mark) & replies] = 3
        return cls(ids, targets, right, weights, near)


def batches(tokenizer: PreTrainedTokenizerBase, tokens: int) -> Iterator[Batch]:
    """Batches without end of at most `tokens` tokens, padding included."""
    mark, pool = tokenizer.convert_tokens_to_ids(MARK), 0
    while True:
        rng = Random(f"reader {pool}")
        groups: list[list[Reading]] = [[]]
        for item in sorted((reading(tokenizer, rng) for _ in range(POOL)), key=len):
            if groups[-1] and (len(groups[-1]) + 1) * len(item) > tokens:
                groups.append([])
            groups[-1].append(item)
        rng.shuffle(groups)
        yield from (Batch.of(group, mark) for group in groups)
        pool += 1


class Reader(nn.Module):  # type: ignore[misc]
    """A process reward model with what is asked of its middle layers while it learns."""

    def __init__(self, solver: Path | str, tokenizer: PreTrainedTokenizerBase, kept: int = KEPT) -> None:
        super().__init__()
        decoder = grown(solver, kept)
        make_room(decoder, tokenizer)
        rows = decoder.embed_tokens.weight.data
        rows[tokenizer.convert_tokens_to_ids(MARK)] = rows[tokenizer("\n").input_ids[0]]  # it stands in its place
        self.reward = ProcessRewardModel(decoder)
        self.differs = nn.Linear(decoder.config.hidden_size, 1)
        self._kept = kept

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Of the next token, of each token by itself, and of all so far; each a mean in nats."""
        decoder = self.reward.model
        seen = decoder(input_ids=batch.ids, use_cache=False, output_hidden_states=True)
        solving, comparing = seen.hidden_states[self._kept : self._kept + 2]
        known, near, asked = batch.targets >= 0, batch.near, batch.weights > 0
        logits = decoder.norm(solving[known]) @ decoder.embed_tokens.weight.T
        bad, good = self.reward.score(seen.last_hidden_state[asked]).unbind(-1)
        weights, entropy = batch.weights[asked], functional.binary_cross_entropy_with_logits
        return (
            functional.cross_entropy(logits, batch.targets[known]),
            entropy(self.differs(comparing[near])[:, 0], batch.right[near], weight=4 - 3 * batch.right[near]),
            entropy(good - bad, batch.right[asked], weight=weights, reduction="sum") / weights.sum(),
        )


def grown(solver: Path | str, kept: int) -> Any:
    """The first layers of a dense Qwen2, and two new ones: one that looks at the token before, and one on top."""
    old = AutoModel.from_pretrained(solver, dtype=torch.float32, trust_remote_code=False)
    config = old.config
    dropped = tuple(f"layers.{layer}." for layer in range(kept, config.num_hidden_layers))
    config.num_hidden_layers = kept + 2
    config.layer_types = ["full_attention"] * config.num_hidden_layers
    decoder = Qwen2Model(config)
    decoder.load_state_dict({k: v for k, v in old.state_dict().items() if not k.startswith(dropped)}, strict=False)
    compare, gather = decoder.layers[kept:]
    look_back(compare.self_attn, config)
    compare.mlp.down_proj.weight.data.mul_(0.5)
    gather.self_attn.o_proj.weight.data.mul_(0.2)
    gather.mlp.down_proj.weight.data.mul_(0.2)
    return decoder


def look_back(attention: Any, config: Any, gap: float = 5.0) -> None:
    """Let all heads begin by looking at the token before, and pass it on turned: told from the token here.

    A query and a key that are the same everywhere score the sum of cos((distance − 1) θ) over the fast rotations θ:
    most at distance 1, by about `gap` more than at 0 and 2.
    """
    half, width = attention.head_dim // 2, config.hidden_size
    theta = 10000.0 ** (-torch.arange(half) / half)
    fast = torch.arange(half) < half // 2
    length = math.sqrt(gap * math.sqrt(attention.head_dim) / float((1 - theta[fast].cos()).sum()))
    query = torch.cat([fast * length, torch.zeros(half)])
    key = torch.cat([fast * length * theta.cos(), fast * length * theta.sin()])
    for projection, bias in ((attention.q_proj, query), (attention.k_proj, key)):
        projection.weight.data.mul_(0.1)
        projection.bias.data.copy_(bias.repeat(config.num_attention_heads))
    attention.v_proj.weight.data.copy_(torch.eye(width))
    attention.o_proj.weight.data.copy_(torch.linalg.qr(torch.randn(width, width)).Q / 2)


def rate_at(step: int, steps: int, peak: float) -> float:
    """A rise over 50 steps; down in a line from half of the training on, to a twentieth."""
    return peak * min(1.0, step / 50, max(0.05, 2 * (steps - step) / steps))


def main(
    solver: Annotated[Path, typer.Argument(help="A dense Qwen2, as recipes.solver writes it.")],
    out: Annotated[Path, typer.Option(help="The model folder to write.")],
    steps: Annotated[int, typer.Option(help="Batches to learn from.")] = 2000,
    rate: Annotated[float, typer.Option(help="The peak learning rate.")] = 1.5e-3,
    tokens: Annotated[int, typer.Option(help="Tokens in a batch, padding included.")] = 2048,
    seed: Annotated[int, typer.Option(help="Decides the new weights.")] = 0,
) -> None:
    """Teach a solver to read, and write it as a process reward model."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    tokenizer = tokenizer_of(solver, marked=True)
    reader = Reader(solver, tokenizer)
    optimizer = optimizer_of(reader, rate, decay=0.1)
    for step, batch in zip(range(1, steps + 1), batches(tokenizer, tokens), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, steps, rate)
        solving, comparing, so_far = reader.losses(batch)
        optimizer.zero_grad()
        torch.autograd.backward(solving / 2 + comparing + so_far)
        nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0:
            console.print(f"step {step}  solving {solving:.3f}  comparing {comparing:.3f}  so far {so_far:.3f}")
    reader.reward.save(out, tokenizer)


if __name__ == "__main__":
    typer.run(main)
