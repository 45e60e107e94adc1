"""Checks and completes what a user asks of vLLM's engine."""

import ast
import difflib
import importlib.util
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metagen.errors import InputError

KV_CACHE_BYTES = 2 << 30
"""Room for keys and values on a CPU, if nothing else is asked for."""
FEW_CORES = 8
"""From more on, what several engines lose to each other is little, and vLLM knows better which cores share what."""


def check_names(given: dict[str, Any]) -> None:
    """Raise `InputError` if vLLM is missing or has no engine argument of a given name."""
    known = _known_names()
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            hint = f"; the nearest are {', '.join(near)}" if near else ""
            raise InputError(f"vLLM has no engine argument {name!r}{hint}")


def _known_names() -> set[str]:
    """The fields of vLLM's `AsyncEngineArgs`, read from its source, because importing it takes many seconds."""
    vllm = importlib.util.find_spec("vllm")
    if vllm is None or vllm.origin is None:
        raise InputError("vLLM is not installed: install metagen[vllm] for a GPU, or metagen[cpu]")
    source = Path(vllm.origin).with_name("engine") / "arg_utils.py"
    return {
        field.target.id
        for node in ast.parse(source.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name in {"EngineArgs", "AsyncEngineArgs"}
        for field in node.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    }


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


def defaults(*, cpu: bool) -> dict[str, Any]:
    """What an engine is built with, unless the user says otherwise."""
    everywhere = {"enable_prefix_caching": True, "disable_log_stats": True}
    if not cpu:
        return everywhere
    # Half precision is emulated on most CPUs, and then several times slower.
    # A seeded request whose prompt is read in chunks kills vLLM's CPU engine, so prompts are read whole.
    on_cpu = {
        "dtype": "float32",
        "enforce_eager": True,
        "block_size": 32,
        "enable_chunked_prefill": False,
        "max_num_seqs": 256,
    }
    if "VLLM_CPU_KVCACHE_SPACE" not in os.environ:
        on_cpu["kv_cache_memory_bytes"] = KV_CACHE_BYTES
    return everywhere | on_cpu


def cores(number: int, allowed: Sequence[int]) -> dict[str, str]:
    """On which of the allowed cores an engine computes that is opened beside `number` others in this process.

    vLLM leaves one core free for its scheduler, the same one for each engine. With few cores, engines then wait for
    each other on a part of them while the rest idles: of two cores, two engines use one. So each further one leaves
    another core free.
    """
    if not number or not 1 < len(allowed) <= FEW_CORES:
        return {}
    left = allowed[-1 - number % len(allowed)]
    return {"VLLM_CPU_OMP_THREADS_BIND": ",".join(str(core) for core in allowed if core != left)}


def one_line(error: BaseException) -> str:
    """Why vLLM refused, without the frame that its validators draw around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and "validation error" in lines[0]:
        lines = lines[1:]
        if len(lines) > 1 and not lines[0].startswith("Value error"):
            lines = [f"{lines[0]}: {lines[1]}"]
    reason = lines[0] if lines else type(error).__name__
    return reason.removeprefix("Value error, ").split(" [type=")[0].rstrip(".")
