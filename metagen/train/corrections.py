"""A corrector from a pool of samples: it learns to write a better candidate where it is shown a worse one.

Self-corrective learning (Welleck et al. 2023, section 2): pairs of candidates of one problem of which the second has
the higher value, here right where the first is wrong. Each wrong candidate is paired with the right one that begins
most like it, so that what differs is the mistake (their proximity term). Right candidates are paired with themselves,
in a share of their own, so that the corrector learns to leave alone what is right.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from metagen.prompts import revise


@dataclass(frozen=True, slots=True)
class Pair:
    """A draft and what to write in its place."""

    question: str
    worse: str
    better: str


@dataclass(frozen=True, slots=True)
class Encoded:
    """The tokens of a prompt and its reply, and where the reply begins."""

    ids: list[int]
    reply: int


def pairs(graded: Mapping[str, Sequence[tuple[str, bool]]], keep: float, seed: int = 0) -> Iterator[Pair]:
    """The pairs of all problems, from each question to its distinct candidates and whether they are right.

    `keep` is the chance that a right candidate is paired with itself.
    """
    rng = Random(f"pairs {seed}")
    for question, candidates in graded.items():
        right = [text for text, is_right in candidates if is_right]
        for text, is_right in candidates if right else ():
            if not is_right:
                yield Pair(question, text, nearest(text, right))
            elif rng.random() < keep:
                yield Pair(question, text, text)


def nearest(text: str, others: Sequence[str]) -> str:
    """The one that has the longest beginning in common with `text`; of equals the first."""
    return max(others, key=lambda other: _shared(text, other))


def _shared(one: str, other: str) -> int:
    """How many characters both begin with."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def encode(tokenizer: PreTrainedTokenizerBase, pair: Pair) -> Encoded:
    """A turn that asks for a revision, in the chat template, and the better candidate with the token that ends it."""
    asked = [{"role": "user", "content": revise(pair.question, pair.worse)}]
    turn = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    prompt = tokenizer(turn, add_special_tokens=False).input_ids
    reply = tokenizer(pair.better, add_special_tokens=False).input_ids
    return Encoded([*prompt, *reply, tokenizer.eos_token_id], len(prompt))


def loss(model: PreTrainedModel, items: Sequence[Encoded]) -> Tensor:
    """Mean cross-entropy of the replies' tokens, in nats. Padding stands on the right, where nothing attends to it."""
    longest = max(len(item.ids) for item in items)
    ids = torch.tensor([item.ids + [0] * (longest - len(item.ids)) for item in items])
    place = torch.arange(longest)
    begins = torch.tensor([item.reply for item in items])[:, None]
    ends = torch.tensor([len(item.ids) for item in items])[:, None]
    learned = (place >= begins - 1) & (place < ends - 1)
    hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    logits = model.get_output_embeddings()(hidden[learned])
    return functional.cross_entropy(logits, ids.roll(-1, 1)[learned])
