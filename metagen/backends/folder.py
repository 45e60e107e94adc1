"""The folder of a model: what must be in it, what it is called, and its `config.json`."""

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from metagen.calls import hint
from metagen.card.layouts import read_config
from metagen.errors import InputError
from metagen.models import SHIPPED

CLOSE = 0.8
"""How alike a name without an owner is to that of a model that ships, at least, to be taken for a misspelling of it."""


def find_model(model: str | Path) -> str:
    """The folder of a model that ships with metagen, for its name; else what was given. Raises as `check_model`."""
    text = str(model)
    found = text if os.path.exists(text) else str(SHIPPED.get(text, text))
    check_model(found)
    return found


def check_model(model: str) -> None:
    """Raise `InputError` if `model` is a folder without a model, or looks like a path or a name of ours and is none."""
    if os.path.isdir(model):  # unlike `Path.is_dir`, it takes a name of any length
        if not os.path.exists(os.path.join(model, "config.json")):
            raise InputError(f"{model} holds no model: it has no config.json")
    elif os.path.exists(model):
        return
    elif _is_path(model):
        raise InputError(f"there is no model at {model}: give the folder of a model, or its name on the hub")
    elif "/" not in model and (meant := get_close_matches(model.lower(), SHIPPED, n=1, cutoff=CLOSE)):
        raise InputError(f"there is no model {model!r} that ships with metagen: did you mean {meant[0]}?")


def _is_path(model: str) -> bool:
    """Whether it can be no name on the hub, which is a name or OWNER/NAME, nor the address of a store, as of S3."""
    return model.startswith((".", "/", "~")) or (model.count("/") > 1 and "://" not in model)


def where_models_are(model: str) -> str:
    """What to say of a model that is no folder and could not be opened."""
    ships = "" if os.path.exists(model) else hint(model, SHIPPED)
    return f"; give a model's folder, its name on the hub, or one that ships with metagen: {ships}" if ships else ""


def name_of(model: str) -> str:
    """What a model is called: a folder by its own name."""
    return Path(model).resolve().name if os.path.exists(model) else model


def config_of(model: str) -> dict[str, Any]:
    """The `config.json` of a model that is a folder; nothing of one that is a name on the hub."""
    path = Path(model) / "config.json"
    return read_config(path) if os.path.exists(path) else {}


def one_line(error: BaseException) -> str:
    """Why vLLM refused, without the frame that its validators draw around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and "validation error" in lines[0]:
        lines = lines[1:]
        if len(lines) > 1 and not lines[0].startswith("Value error"):
            lines = [f"{lines[0]}: {lines[1]}"]
    reason = lines[0] if lines else type(error).__name__
    return reason.removeprefix("Value error, ").split(" [type=")[0].rstrip(".")
