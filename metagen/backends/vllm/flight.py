"""One request inside vLLM's engine, from its submission to its last output, however it ends."""

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from metagen.budget import Usage
from metagen.tasks import uninterrupted

LOOK_SECONDS = 0.25
"""Between two looks at which of several samples are done."""
SETTLING_SECONDS = 30.0
"""How long a cancelled request waits for the engine to say that it has stopped."""


class Flight:
    """Submits a request and waits for its samples; `usage` tells at any time afterwards what it took.

    Counted is what the engine has returned: the prompt once its first token came back, and each token of each
    sample. On cancellation the engine is first told to stop, then asked for a sign that it has; by then all that it
    made has arrived, and is counted. Not counted, because nobody is ever told: what the engine was computing in the
    very step in which it was stopped (at most one token per sample, or the reading of a prompt).
    """

    def __init__(self, llm: Any, name: str) -> None:
        self._llm = llm
        self._name = name
        self._queue: Any = None
        self._samples: list[Any] = []
        self._output: Any = None

    @property
    def usage(self) -> Usage:
        written = sum(len(sample.token_ids) for sample in self._output.outputs) if self._output else 0
        if not written:
            return Usage(calls=1)
        # Later samples of one request find the prompt in the cache because the first has just put it there.
        cached = min((sample.num_cached_tokens for sample in self._samples if not sample.is_prefilling), default=0)
        return Usage(
            calls=1,
            prompt_tokens=len(self._output.prompt_token_ids),
            cached_tokens=cached,
            completion_tokens=written,
        )

    @property
    def waited(self) -> float:
        """Seconds in the engine's queue, where it counts them; of several samples those of the last to end."""
        times = self._output.metrics
        return max(0.0, times.scheduled_ts - times.queued_ts) if times else 0.0

    async def output(
        self,
        prompt: list[int],
        params: Any,
        adapter: Any = None,
        *,
        ended: Callable[[Any], object] | None = None,
        grew: Callable[[Any], object] | None = None,
    ) -> Any:
        """The final `RequestOutput`, with all samples, drawn by an `adapter` if one is given. Raises vLLM's errors.

        `ended` is called with each of several samples that is done, and `grew` with the only one as it grows, where the
        `params` ask for cumulative outputs.
        """
        try:
            await self._submit(prompt, params, adapter)
            if grew:
                await self._grown(grew)
            elif ended and params.n > 1:
                await self._watched(ended)
            else:
                self._output = await self._queue.get()
        except asyncio.CancelledError:
            await uninterrupted(self._stop())
            raise
        finally:
            self._collect()
        return self._output

    async def _grown(self, grew: Callable[[Any], object]) -> None:
        while self._output is None or not self._output.finished:
            self._output = await self._queue.get()
            grew(self._output.outputs[0])

    async def _watched(self, ended: Callable[[Any], object]) -> None:
        """Wait for all samples and poll which ones are done, since vLLM returns all samples of a request together."""
        told: set[int] = set()
        while self._queue.output is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._queue.ready.wait()
            for sample in self._ended():
                if sample.index not in told:
                    told.add(sample.index)
                    ended(sample)
        self._output = await self._queue.get()

    def _ended(self) -> list[Any]:
        """The samples of several that are done, as vLLM keeps them until the last is."""
        parent = next((sample.parent_req for sample in self._samples if sample.parent_req), None)
        return [sample for sample in parent.output_aggregator if sample is not None] if parent else []

    async def _submit(self, prompt: list[int], params: Any, adapter: Any) -> None:
        tokens = {"type": "token", "prompt_token_ids": prompt}
        self._queue = await self._llm.add_request(self._name, tokens, params, lora_request=adapter)
        processor = self._llm.output_processor
        self._samples = [processor.request_states[name] for name in self._running()]

    def _running(self) -> list[str]:
        """The engine's names for the samples that have not ended."""
        return list(self._llm.output_processor.external_req_ids.get(self._name, ()))

    async def _stop(self) -> None:
        """Return once the engine runs nothing of this any more, and what it had made has arrived.

        Or after a time limit: then the engine stops the request as soon as it listens again.
        """
        running = self._running()
        with suppress(Exception):  # an engine that cannot be asked any more runs nothing
            async with asyncio.timeout(SETTLING_SECONDS):
                await self._llm.engine_core.abort_requests_async(running)
                await self._sign()
                await self._arrival()

    async def _sign(self) -> None:
        """Ask the engine anything: it answers in turn, so after the abort and after all earlier outputs."""
        answer = asyncio.ensure_future(self._llm.is_paused())
        try:
            while not answer.done() and not self._llm.errored:  # the dead leave questions open
                await asyncio.wait([answer], timeout=1.0)
        finally:
            answer.cancel()

    async def _arrival(self) -> None:
        """Let vLLM's output handler work off what was received: it takes a turn of the loop for each chunk."""
        import vllm.envs  # noqa: PLC0415 (optional, and slow to import)

        chunks = math.ceil(self._llm.scheduler_config.max_num_seqs / vllm.envs.VLLM_V1_OUTPUT_PROC_CHUNK_SIZE)
        waiting = self._llm.engine_core.outputs_queue
        turns = chunks
        while turns:
            await asyncio.sleep(0)
            turns = turns - 1 if waiting.empty() else chunks

    def _collect(self) -> None:
        """End the request on this side, if it has not ended, and take the output that sums it up."""
        processor = self._llm.output_processor
        if self._queue is None:
            processor.abort_requests([self._name], internal=False)
        elif self._output is None or not self._output.finished:
            processor.abort_requests([self._queue.request_id], internal=True)
            with suppress(Exception):  # the queue may hold an error, which by now is known in other ways
                self._output = self._queue.get_nowait() or self._output
