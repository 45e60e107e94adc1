"""The folder of a model: what must be in it, what it is called, and its `config.json`."""

import json
from pathlib import Path
from typing import Any

from metagen.errors import InputError


def check_model(model: str) -> None:
    """Raise `InputError` if `model` is a folder without a model, or looks like a path and is none."""
    path = Path(model)
    if path.is_dir():
        if not (path / "config.json").exists():
            raise InputError(f"{model} holds no model: it has no config.json")
    elif model.startswith((".", "/", "~")) and not path.exists():
        raise InputError(f"there is no model at {model}: give the folder of a model, or its name on the hub")


def name_of(model: str) -> str:
    """What a model is called: a folder by its own name."""
    path = Path(model)
    return path.resolve().name if path.exists() else model


def config_of(model: str) -> dict[str, Any]:
    """The `config.json` of a model that is a folder; nothing of one that is a name on the hub."""
    path = Path(model) / "config.json"
    if not path.exists():
        return {}
    try:
        config = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path}: is not JSON: {error}") from None
    return config if isinstance(config, dict) else {}


def one_line(error: BaseException) -> str:
    """Why vLLM refused, without the frame that its validators draw around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and "validation error" in lines[0]:
        lines = lines[1:]
        if len(lines) > 1 and not lines[0].startswith("Value error"):
            lines = [f"{lines[0]}: {lines[1]}"]
    reason = lines[0] if lines else type(error).__name__
    return reason.removeprefix("Value error, ").split(" [type=")[0].rstrip(".")
