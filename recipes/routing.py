"""What the routers of a mixture of experts do: the load-balancing loss, and the load of each expert."""

import torch
from torch import Tensor


def expert_fractions(chosen: Tensor, experts: int) -> Tensor:
    """f: the fraction of token-slots that each expert gets; f sums to 1 over the experts.

    `chosen`: [tokens, k] int64, the experts of each token. A token has k slots.
    """
    return torch.bincount(chosen.flatten(), minlength=experts) / chosen.numel()


def balance_loss(logits: Tensor, k: int) -> Tensor:
    """`L_LB = N Σᵢ fᵢ Pᵢ` of one layer, with N experts, over tokens that are not padding.

    `logits`: [tokens, N] of the router. P is the mean of the softmax over all N experts; f is counted over the k
    largest, and sums to 1. So the loss is 1 at perfect balance, for any k, and at most N. Switch Transformer (Fedus et
    al. 2021, equations 4 to 6) has this scale at k = 1; where f sums to k instead, as in Hugging Face's
    `load_balancing_loss_func`, the same state reads k.
    """
    experts = logits.shape[-1]
    probabilities = logits.float().softmax(-1)
    fractions = expert_fractions(logits.topk(k).indices, experts)
    return experts * (fractions * probabilities.mean(0)).sum()
