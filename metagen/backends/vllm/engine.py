"""An engine of vLLM in this process's event loop: how it is opened, watched and shut down, whatever it computes."""

import asyncio
import gc
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from metagen.backends.folder import config_of, find_model, name_of, one_line, where_models_are
from metagen.backends.vllm import arguments
from metagen.backends.vllm.enclosure import Enclosure
from metagen.card.card import ModelCard
from metagen.errors import BackendGone, GenerationError, InputError, MetagenError, UnfitRequest
from metagen.request import Served
from metagen.system import processors
from metagen.tasks import uninterrupted

GRACE_SECONDS = 2.0
"""How long the engine's processes may take to end by themselves; they hold nothing that is worth waiting for."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the engine itself says it has to do, and has done."""

    running: int = 0
    """Samples that are being computed, after the engine's last step."""
    waiting: int = 0
    """Samples that wait for room."""
    unfinished: int = 0
    """Samples that this process still expects something of."""
    written: int = 0
    """Tokens that the engine has returned since it was opened, by vLLM's own count."""


class Engine(Served):
    """A model in vLLM's `AsyncLLM`. Subclasses say what it is built with, and what is done with it."""

    def __init__(self, model: str | Path, name: str | None, engine_args: dict[str, Any]) -> None:
        arguments.check_names(engine_args)
        self._model = find_model(model)
        self._given = engine_args
        self._name = name or name_of(self._model)
        self._gauge = _Gauge()
        self._llm: Any = None
        self._enclosure: Enclosure | None = None
        self._log: Path | None = None
        self._card: ModelCard | None = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def context(self) -> int:
        return int(self._open().model_config.max_model_len)

    @property
    def card(self) -> ModelCard | None:
        """What the model costs to run, once the engine is open; `None` for a layout that is not known."""
        return self._card

    def load(self) -> Load:
        """How busy the engine is; by its last step, so a change shows up a step later."""
        unfinished = self._llm.output_processor.get_num_unfinished_requests() if self._llm else 0
        return self._gauge.read(unfinished)

    async def forget(self) -> None:
        """Drop what is kept of earlier requests, the prefix cache: so that what is measured next owes them nothing."""
        await self._open().reset_prefix_cache()

    def processes(self) -> list[int]:
        """The ids of the engine's own processes; none while it is closed."""
        return self._enclosure.processes() if self._enclosure else []

    def _settings(self) -> dict[str, Any]:
        """What the engine is built with, unless the user says otherwise."""
        from vllm.platforms import current_platform  # noqa: PLC0415 (optional, slow to import)

        if not current_platform.is_cpu():
            return arguments.defaults({}, cpu=False)
        cores = processors()
        return arguments.defaults(config_of(self._model), self._given, cpu=True) | arguments.one_process(
            self._given, cores
        )

    def _attached(self) -> None:
        """The engine has been built, and serves this loop."""

    def _open(self) -> Any:
        if self._llm is None:
            raise RuntimeError(f"the engine of {self._name} is not open: use `async with {type(self).__name__}(...)`")
        return self._llm

    async def probe(self) -> None:
        """Raise `BackendGone` where the engine has ended: it does not come back."""
        if self._llm is None or self._llm.errored:
            raise self._ended()

    def _ended(self) -> BackendGone:
        return BackendGone(f"the engine of {self._name} has ended; its log is {self._log}")

    def _translated(self, error: Exception) -> MetagenError | None:
        """What an error of vLLM's means here; `None` if it is none of vLLM's."""
        from vllm.exceptions import VLLMClientError, VLLMError  # noqa: PLC0415 (optional, slow to import)
        from vllm.v1.engine.exceptions import EngineDeadError  # noqa: PLC0415

        if isinstance(error, EngineDeadError) or self._llm is None or self._llm.errored:
            return self._ended()
        if isinstance(error, VLLMClientError | ValueError):
            return UnfitRequest(f"vLLM refused a request: {one_line(error)}")
        if isinstance(error, VLLMError):
            return GenerationError(f"vLLM failed a request: {one_line(error)}")
        return None

    async def __aenter__(self) -> Self:
        if self._enclosure is not None:
            raise RuntimeError(f"the engine of {self._name} is open already")
        self._enclosure = Enclosure()
        self._log = self._enclosure.log
        try:
            await self._build(self._enclosure)
        except BaseException as error:
            await uninterrupted(self._close(keep_log=isinstance(error, MetagenError)))
            raise
        return self

    async def _build(self, enclosure: Enclosure) -> None:
        building = asyncio.ensure_future(asyncio.to_thread(self._construct, enclosure))
        try:
            self._llm = await asyncio.shield(building)
        except asyncio.CancelledError:
            await uninterrupted(self._unbuild(building, enclosure))
            raise
        except Exception as error:
            raise self._unopened(error, enclosure) from error
        await self._llm.get_supported_tasks()  # attaches vLLM's own tasks to this loop
        with suppress(InputError):
            self._card = ModelCard.of(self._llm.model_config.hf_config.to_dict(), self._name)
        self._attached()

    async def _unbuild(self, building: "asyncio.Future[Any]", enclosure: Enclosure) -> None:
        """Take back an engine that is being built: without its processes, the builder fails or shuts down."""
        await asyncio.to_thread(enclosure.close)
        await asyncio.wait([building])
        if building.exception() is None:
            self._llm = building.result()

    def _construct(self, enclosure: Enclosure) -> Any:
        with enclosure.building():
            from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: PLC0415 (optional, slow to import)
            from vllm.envs import disable_envs_cache, enable_envs_cache  # noqa: PLC0415
            from vllm.utils.gc_utils import freeze_gc_heap  # noqa: PLC0415
            from vllm.v1.engine.async_llm import AsyncLLM  # noqa: PLC0415

            settings = self._settings()
            if "distributed_executor_backend" in settings.keys() - self._given.keys():
                os.environ.setdefault("OMP_NUM_THREADS", arguments.THREADS)
            args = AsyncEngineArgs(model=self._model, **settings | self._given)
            disable_envs_cache()  # of an engine that was built before: this one may have been given others
            llm = AsyncLLM.from_engine_args(args, stat_loggers=_loggers(self._gauge, alone=args.disable_log_stats))
            enable_envs_cache()  # else vLLM reads one anew for each token
            freeze_gc_heap()  # of vLLM there are half a million objects, which the collector would look at in vain
            return llm

    def _unopened(self, error: Exception, enclosure: Enclosure) -> InputError | BackendGone:
        """Why the engine could not be opened, told by whoever knows: this process, or the engine's log."""
        in_engine = "Engine core initialization failed" in str(error)
        reason = enclosure.failure() if in_engine else one_line(error)
        if reason:
            return InputError(f"cannot open {self._model}: {reason}{where_models_are(self._model)} (log: {self._log})")
        return BackendGone(f"the engine of {self._name} was killed while it was being opened (log: {self._log})")

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Shut down and wait until the engine's processes are gone; may be called again.

        The log is kept if the engine had died. Requests still running raise `BackendGone`.
        """
        await uninterrupted(self._close())

    async def _close(self, *, keep_log: bool = False) -> None:
        llm, self._llm = self._llm, None
        enclosure, self._enclosure = self._enclosure, None
        if llm is not None:
            keep_log = keep_log or llm.errored
            await _shut_down(llm)
            gc.unfreeze()
        if enclosure is not None:
            await asyncio.to_thread(enclosure.close, keep_log=keep_log)


async def _shut_down(llm: Any) -> None:
    """Stop vLLM on this side, with the tasks that it started in this loop."""
    from vllm.v1.engine.exceptions import EngineDeadError  # noqa: PLC0415 (optional, slow to import)

    tasks = [task for task in (llm.output_handler, llm.engine_core.resources.output_queue_task) if task]
    llm.output_processor.propagate_error(EngineDeadError())
    await asyncio.to_thread(llm.shutdown, timeout=GRACE_SECONDS)
    llm.shutdown = lambda: None  # its __del__ calls it again, perhaps when the interpreter has half gone
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    llm.engine_core.resources.ctx.destroy(linger=0)


def _loggers(gauge: "_Gauge", *, alone: bool) -> list[Any]:
    """What vLLM tells its counts. Where the gauge is to be `alone`, it takes the place of vLLM's own metrics."""
    if not alone:
        return [gauge.attach]
    from vllm.v1.metrics.loggers import PrometheusStatLogger  # noqa: PLC0415 (optional, slow to import)

    class Alone(PrometheusStatLogger):  # type: ignore[misc]  # vLLM adds its own where it finds none
        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        def record(self, *given: Any, **named: Any) -> None:
            gauge.record(*given, **named)

        def ignore(self, *_: Any) -> None:
            pass

        log = log_engine_initialized = record_sleep_state = record_admission_rejection = ignore

    return [Alone]


class _Gauge:
    """A stat logger for vLLM that keeps the latest counts of each engine core."""

    def __init__(self) -> None:
        self._latest: dict[int, Any] = {}
        self._written = 0

    def attach(self, *_: Any) -> Self:
        return self

    def record(
        self, scheduler_stats: Any = None, iteration_stats: Any = None, *_: Any, engine_idx: int = 0, **__: Any
    ) -> None:
        if scheduler_stats is not None:
            self._latest[engine_idx] = scheduler_stats
        if iteration_stats is not None:
            self._written += iteration_stats.num_generation_tokens

    def _ignore(self, *_: Any) -> None:
        """What else vLLM tells its stat loggers."""

    log = log_engine_initialized = record_sleep_state = _ignore

    def read(self, unfinished: int) -> Load:
        stats = self._latest.values()
        return Load(
            running=sum(each.num_running_reqs for each in stats),
            waiting=sum(each.num_waiting_reqs + each.num_skipped_waiting_reqs for each in stats),
            unfinished=unfinished,
            written=self._written,
        )
