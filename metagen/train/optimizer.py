"""The optimizer of all trainings, and how its rate changes."""

import math

import torch
from torch import nn


def rate_factor(progress: float, warm_up: float) -> float:
    """The learning rate relative to its peak: a linear rise from 1 %, then half a cosine down to 1 %."""
    if progress < warm_up:
        return 0.01 + 0.99 * progress / warm_up
    return 0.01 + 0.99 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up))) / 2


def optimizer_of(model: nn.Module, rate: float, decay: float) -> torch.optim.AdamW:
    """AdamW; only matrices decay."""
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() == 1]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95), fused=True)
