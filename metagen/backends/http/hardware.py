"""What vLLM's server says about the machine it runs on, and the one thing that ends it on a CPU. Pure."""

import re

from metagen.errors import TransientError

REMEDY = "start it with --no-enable-chunked-prefill"
"""vLLM reads long prompts in chunks, and rewinds the random numbers of a seeded request, which a CPU cannot do."""
CPU_CACHE = re.compile(r'^vllm:cache_config_info\{[^}]*\bkv_cache_memory_bytes="\d+"', re.MULTILINE)
"""On a CPU the cache's size is fixed, by `VLLM_CPU_KVCACHE_SPACE`; on a GPU it follows from what memory is free."""
CRASH = re.compile(r"EngineCore encountered|EngineDead|Generator does not use offset")


def seems_cpu(version: object, metrics: str) -> bool:
    """Whether `/version` and `/metrics` look like those of vLLM on a CPU. vLLM does not say so in all its builds."""
    return "cpu" in str(version).lower() or CPU_CACHE.search(metrics) is not None


def is_crash(error: TransientError) -> bool:
    """Whether the engine behind the server has ended."""
    return CRASH.search(str(error)) is not None


def add_remedy(error: TransientError) -> TransientError:
    """The same error, which says what to do if a seeded request ended the engine."""
    said = f"{error}; if it is vLLM on a CPU, a request with a seed ends it: {REMEDY}"
    return TransientError(said, retry_after=error.retry_after, sent=error.sent, unreachable=error.unreachable)
