"""Cheap looks at a model in training: its loss, its sampled answers, the load of its experts. All in torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerFast, Qwen3MoeForCausalLM

from recipes.batches import Batch, collate, encode
from recipes.formats import Exchange
from recipes.problems.arithmetic import answer_of
from recipes.problems.words import WordProblem
from recipes.routing import expert_fractions
from recipes.tokenizer import ASSISTANT, END, USER
from recipes.trainer import Model, losses

LONGEST_REPLY = 192
"""Tokens; the longest right solution has about 130."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at the model found."""

    text_loss: float
    """Nats per token of noisy solutions."""
    balance_loss: float
    accuracy: float
    """The share of right answers, one sample a problem at temperature 1."""


def as_batch(tokenizer: PreTrainedTokenizerFast, exchanges: Sequence[Exchange]) -> Batch:
    """All exchanges in one batch."""
    return collate(encode(tokenizer, exchanges), tokenizer.pad_token_id)


def look(
    model: Model,
    tokenizer: PreTrainedTokenizerFast,
    batch: Batch,
    problems: Sequence[WordProblem],
) -> Look:
    """Measure the losses on a batch, and the accuracy of one sample for each problem."""
    with torch.no_grad():
        found = losses(model, batch)
    answers = [answer_of(text) for text in sample(model, tokenizer, [problem.text for problem in problems])]
    right = [answer == problem.right.answer for answer, problem in zip(answers, problems, strict=True)]
    return Look(found.text.item(), found.balance.item(), sum(right) / len(right))


def sample(model: Model, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str]) -> list[str]:
    """One reply to each plain prompt at temperature 1, from torch's global generator."""
    asked = [f"{USER}{prompt}{END}{ASSISTANT}" for prompt in prompts]
    inputs = tokenizer(asked, padding=True, return_tensors="pt")
    made = model.generate(
        input_ids=inputs.input_ids,
        attention_mask=inputs.attention_mask,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        max_new_tokens=LONGEST_REPLY,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    replies: list[str] = tokenizer.batch_decode(made[:, inputs.input_ids.shape[1] :], skip_special_tokens=True)
    return replies


def expert_loads(model: Qwen3MoeForCausalLM, batches: Sequence[Batch]) -> list[list[float]]:
    """For each layer, the fraction of token-slots that each expert gets (rows sum to 1), over real tokens."""
    k, experts = model.config.num_experts_per_tok, model.config.num_experts
    with torch.no_grad():
        seen = [model.model(input_ids=batch.ids, output_router_logits=True).router_logits for batch in batches]
    reals = [batch.real.flatten() for batch in batches]
    loads = []
    for layer in zip(*seen, strict=True):
        chosen = [logits[real].topk(k).indices for logits, real in zip(layer, reals, strict=True)]
        loads.append([round(load, 4) for load in expert_fractions(torch.cat(chosen), experts).tolist()])
    return loads
