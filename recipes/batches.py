"""An endless, seeded stream of training batches with little padding."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Self

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from recipes.formats import Exchange, Recipe
from recipes.tokenizer import ASSISTANT, END, USER

POOL = 2048
"""Exchanges that are drawn, sorted by length and cut into batches at a time."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """The tokens of an exchange, and where what is learned begins."""

    ids: list[int]
    reply: int


@dataclass(frozen=True, slots=True)
class Batch:
    """B sequences padded to the same length T."""

    ids: Tensor
    """[B, T] int64, padded on the right."""
    real: Tensor
    """[B, T] bool: not padding."""
    learned: Tensor
    """[B, T] bool: positions whose *next* token is in the assistant's turn; the loss is over these."""

    def parts(self, count: int) -> list[Self]:
        """The same sequences in at most `count` batches; none is empty."""
        starts = range(min(count, len(self.ids)))
        return [type(self)(self.ids[at::count], self.real[at::count], self.learned[at::count]) for at in starts]


def encode(tokenizer: PreTrainedTokenizerFast, exchanges: Sequence[Exchange]) -> list[Encoded]:
    """Put exchanges in the chat template (the test holds it against the tokenizer's own) and tokenize them."""
    prompts = [f"{USER}{item.prompt}{END}{ASSISTANT}{item.opening}" for item in exchanges]
    replies = [f"{item.reply}{END}" for item in exchanges]
    pairs = zip(tokenizer(prompts).input_ids, tokenizer(replies).input_ids, strict=True)
    return [Encoded([*prompt, *reply], len(prompt)) for prompt, reply in pairs]


def collate(items: Sequence[Encoded], pad: int) -> Batch:
    """Pad encoded exchanges to the longest of them."""
    longest = max(len(item.ids) for item in items)
    ids = torch.tensor([item.ids + [pad] * (longest - len(item.ids)) for item in items])
    position = torch.arange(longest)
    lengths = torch.tensor([len(item.ids) for item in items])[:, None]
    replies = torch.tensor([item.reply for item in items])[:, None]
    learned = (position >= replies - 1) & (position < lengths - 1)
    return Batch(ids, position < lengths, learned)


def batches(
    tokenizer: PreTrainedTokenizerFast, recipe: Recipe, seed: int, tokens: int, longest: int, skip: int = 0
) -> Iterator[Batch]:
    """Batches of at most `tokens` tokens, padding included; sequences over `longest` tokens are left out.

    `skip` leaves out the first batches, to resume where a run stopped.
    """
    pool = 0
    while True:
        rng = Random(f"{seed} pool {pool}")
        drawn = encode(tokenizer, [recipe.exchange(rng) for _ in range(POOL)])
        groups = _grouped(sorted((item for item in drawn if len(item.ids) <= longest), key=_length), tokens)
        rng.shuffle(groups)
        for group in groups[skip:]:
            yield collate(group, tokenizer.convert_tokens_to_ids(tokenizer.pad_token))
        skip = max(0, skip - len(groups))
        pool += 1


def _length(item: Encoded) -> int:
    return len(item.ids)


def _grouped(items: Sequence[Encoded], tokens: int) -> list[list[Encoded]]:
    """Cut items sorted by length into groups that hold at most `tokens` tokens once padded."""
    groups: list[list[Encoded]] = [[]]
    for item in items:
        if groups[-1] and (len(groups[-1]) + 1) * len(item.ids) > tokens:
            groups.append([])
        groups[-1].append(item)
    return groups
