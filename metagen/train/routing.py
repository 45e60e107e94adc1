"""What the routers of a mixture of experts do: the load-balancing loss, and the load of each expert."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


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


@contextmanager
def watched_routers(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collect every router's logits, [B * T, N] each, first layer first, while the model runs.

    Clear the list after each forward pass.
    """
    seen: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, outputs: tuple[Tensor, Tensor, Tensor]) -> None:
        seen.append(outputs[0])

    routers = [module for name, module in model.named_modules() if name.endswith(".mlp.gate")]
    hooks = [router.register_forward_hook(keep) for router in routers]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
