"""How many threads the engine of a run computes with: the run knows what else will want the cores."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from metagen.backends.vllm.arguments import FEW_CORES
from metagen.backends.wrapper import innermost
from metagen.jobs.job import Job
from metagen.leaves import parts
from metagen.run import Generator
from metagen.settings import takes
from metagen.system import processors, speedup

THREADS = "OMP_NUM_THREADS"
FREE = 1.7
"""What two threads do of the work of one, at least, where nothing else wants the cores."""


@contextmanager
def threads_for(job: Job) -> Iterator[str]:
    """Let the engine have both cores of a machine with two, where nothing else of the run computes.

    The number stands in the environment, where vLLM reads it, until the context ends. Yields the sentence that says so,
    which is empty where nothing was chosen. Two threads spin while they wait for each other, so with a second engine,
    with verifiers and tools that run programs, or with other work on the machine, one thread is faster. A number
    in the environment, or a setting that spreads the engine, is the user's choice.
    """
    free = processors() == FEW_CORES and not os.environ.get(THREADS)
    if not free or _is_spread(job.engine) or not _is_alone(job) or speedup() < FREE:
        yield ""
        return
    os.environ[THREADS] = str(FEW_CORES)
    try:
        yield f"The engine uses {FEW_CORES} threads, as nothing else of this run computes; {THREADS}=1 leaves a core."
    finally:
        del os.environ[THREADS]


def _is_spread(engine: Mapping[str, Any]) -> bool:
    return any("parallel" in name or name == "distributed_executor_backend" for name in engine)


def _is_alone(job: Job) -> bool:
    """Whether one engine is all that computes: no other model, no verifier, no tool, no tests of code."""
    models = [innermost(backend) for backend in job.models.values()]
    return len(models) == 1 and _is_engine(models[0]) and job.grade is None and _only_draws(job.strategy)


def _is_engine(model: object) -> bool:
    """Whether it is vLLM in this process. The module of vLLM engines is not imported to find that out."""
    module = sys.modules.get("metagen.backends.vllm.generating")
    return module is not None and isinstance(model, module.VLLMEngine)


def _only_draws(strategy: Generator) -> bool:
    """Whether all parts of a strategy are generators that run no programs. Others are called with other arguments."""
    from metagen.strategies.parallel.behaviour import Programs  # noqa: PLC0415 (only a run with an engine comes here)

    found = [part for part in parts(strategy) if callable(part)]
    return bool(found) and all(takes(part, 2) and not isinstance(part, Programs) for part in found)
