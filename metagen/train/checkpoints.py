"""Checkpoints of a training, by which it is taken up again."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from metagen.disk.files import make_folder, refused_by_disk, replace_file
from metagen.errors import InputError, StorageError


def save(model: nn.Module, optimizer: torch.optim.Optimizer, step: int, file: Path, plan: str) -> None:
    """Write weights and optimizer state to one file, replaced as a whole; `plan` says which training it is of."""
    tensors = {"step": torch.tensor(step)}
    for name, parameter in model.named_parameters():
        tensors[name] = parameter.detach()
        tensors |= {f"{name}|{key}": value for key, value in optimizer.state[parameter].items()}
    make_folder(file.parent)
    with saving(file):
        replace_file(file, lambda new: save_file(tensors, new, metadata={"schedule": plan}))


@contextmanager
def saving(path: Path) -> Iterator[None]:
    """Turn what the system or safetensors says when a write fails into `StorageError`."""
    with refused_by_disk(path):
        try:
            yield
        except SafetensorError as error:
            raise StorageError(f"{path}: the disk takes no more: {error}") from None


def load(model: nn.Module, optimizer: torch.optim.Optimizer, file: Path, plan: str) -> int:
    """Take up what `save` wrote; returns the steps that are done."""
    with safe_open(file, "pt") as checkpoint:
        if checkpoint.metadata()["schedule"] != plan:
            raise InputError(f"{file} is the checkpoint of another training: delete it, or name another --out")
        tensors = {name: checkpoint.get_tensor(name) for name in checkpoint.keys()}  # noqa: SIM118  # not a mapping
    for name, parameter in model.named_parameters():
        parameter.data.copy_(tensors[name])
        optimizer.state[parameter] = {key: tensors[f"{name}|{key}"] for key in ("step", "exp_avg", "exp_avg_sq")}
    return int(tensors["step"])
