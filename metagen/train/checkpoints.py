"""Checkpoints of a training, by which it is taken up again."""

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from metagen.errors import InputError


def save(model: nn.Module, optimizer: torch.optim.Optimizer, step: int, file: Path, schedule: str) -> None:
    """Write weights and optimizer state to one file, replaced as a whole. `schedule` says which training this is."""
    tensors = {"step": torch.tensor(step)}
    for name, parameter in model.named_parameters():
        tensors[name] = parameter.detach()
        tensors |= {f"{name}|{key}": value for key, value in optimizer.state[parameter].items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    save_file(tensors, partial, metadata={"schedule": schedule})
    partial.replace(file)


def load(model: nn.Module, optimizer: torch.optim.Optimizer, file: Path, schedule: str) -> int:
    """Take up what `save` wrote; returns the steps that are done."""
    with safe_open(file, "pt") as checkpoint:
        if checkpoint.metadata()["schedule"] != schedule:
            raise InputError(f"{file} is the checkpoint of another training: delete it, or name another --out")
        tensors = {name: checkpoint.get_tensor(name) for name in checkpoint.keys()}  # noqa: SIM118  # not a mapping
    for name, parameter in model.named_parameters():
        parameter.data.copy_(tensors[name])
        optimizer.state[parameter] = {key: tensors[f"{name}|{key}"] for key in ("step", "exp_avg", "exp_avg_sq")}
    return int(tensors["step"])
