"""Reward models on vLLM's engine, in this process's event loop."""

import itertools
from pathlib import Path
from typing import Any

from metagen.backends import _engine_args
from metagen.backends._engine import Engine
from metagen.backends._readings import Readings, share
from metagen.budget import Usage
from metagen.errors import InputError, MetagenError
from metagen.families import Family, family
from metagen.request import Meter, Reading
from metagen.tasks import together


class VLLMReward(Engine):
    """A reward model in vLLM's `AsyncLLM`; `engine_args` are any fields of vLLM's `AsyncEngineArgs`.

    What it is asked, and where its scores are read, is its family's (`metagen.families`): found by the model's name or
    its architecture, or given. The engine forms batches over all problems. Step pooling does not use the prefix cache
    (in vLLM 0.32), so each reading is counted whole; last-token pooling does, and so do causal models, which are asked
    for one token after each step, the steps before it in the cache.
    """

    def __init__(
        self, model: str | Path, *, name: str | None = None, like: str | None = None, **engine_args: Any
    ) -> None:
        super().__init__(model, name, engine_args)
        self._family: Family = family(self._model, _engine_args.config_of(self._model), like)
        if not self._family.served:
            raise InputError(f"vLLM has no architecture for {self._family.name} models: use TorchReward")
        self._numbers = itertools.count()
        self._readings: Readings

    @property
    def process(self) -> bool:
        return self._family.process

    def _settings(self) -> dict[str, Any]:
        if self._family.reads == "next":
            return super()._settings()
        pooled = {"runner": "pooling", "max_num_seqs": 64}
        if self._family.reads == "marks":
            pooled["enable_prefix_caching"] = False
        return super()._settings() | pooled

    def _attached(self) -> None:
        self._readings = Readings(self._family, self._llm.get_tokenizer(), self.name, self.context)

    async def rate(self, reading: Reading, spend: Meter) -> tuple[float, ...]:
        self._open()
        reading.check_time()
        try:
            if self._family.reads == "next":
                return tuple(await together(self._asked(ids, spend) for ids in self._readings.prefixes(reading)))
            ids = self._readings.whole(reading)
            return self._scores(await self._pooled(ids, spend), len(reading.steps))
        except MetagenError:
            raise
        except Exception as error:
            if known := self._translated(error):
                raise known from error
            raise

    async def count(self, reading: Reading) -> int:
        self._open()
        if self._family.reads == "next":
            return sum(len(ids) + 1 for ids in self._readings.prefixes(reading))
        return len(self._readings.whole(reading))

    async def _pooled(self, ids: list[int], spend: Meter) -> Any:
        """The pooled output for a prompt: a row a mark, or one of the last token."""
        from vllm import PoolingParams  # noqa: PLC0415 (optional, slow to import)

        marks = self._family.reads == "marks"
        by_itself = "classify" in await self._llm.get_supported_tasks()  # it pools its last token
        params = PoolingParams(
            task="classify" if by_itself and not marks else "token_classify",
            step_tag_id=self._readings.mark if marks else None,
            use_activation=marks,
        )
        usage = Usage(calls=1)
        try:
            outputs = self._llm.encode({"prompt_token_ids": ids}, params, f"reading-{next(self._numbers)}")
            # Stopped in the middle, it may have been read whole: nobody is told, so it is counted so.
            usage = Usage(calls=1, prompt_tokens=len(ids), estimated_tokens=len(ids))
            (output,) = [output async for output in outputs]
            cached = getattr(output, "num_cached_tokens", 0) or 0
            usage = Usage(calls=1, prompt_tokens=len(ids), cached_tokens=cached)
            return output.outputs.data
        finally:
            spend(usage)

    def _scores(self, data: Any, steps: int) -> tuple[float, ...]:
        """A probability a mark, for the last `steps` marks (a question may hold some); or the last number of all."""
        if self._family.reads == "marks":
            return tuple(float(row[-1]) for row in data[len(data) - steps :])
        return (float(data.flatten()[-1]),)

    async def _asked(self, ids: list[int], spend: Meter) -> float:
        """The share of `good` against `bad` in the token after a prompt (Wang et al. 2024, section 3.3)."""
        from vllm.sampling_params import RequestOutputKind, SamplingParams  # noqa: PLC0415 (optional, slow to import)

        labels = [self._readings.good, self._readings.bad]
        params = SamplingParams(
            max_tokens=1, temperature=0.0, logprob_token_ids=labels, output_kind=RequestOutputKind.FINAL_ONLY
        )
        usage = Usage(calls=1)
        try:
            outputs = self._llm.generate({"prompt_token_ids": ids}, params, f"reading-{next(self._numbers)}")
            usage = Usage(calls=1, prompt_tokens=len(ids), completion_tokens=1, estimated_tokens=len(ids) + 1)
            (output,) = [output async for output in outputs]
            cached = output.num_cached_tokens or 0
            usage = Usage(calls=1, prompt_tokens=len(ids), cached_tokens=cached, completion_tokens=1)
        finally:
            spend(usage)
        good, bad = (output.outputs[0].logprobs[0][label].logprob for label in labels)
        return share(good, bad)
