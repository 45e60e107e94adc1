"""Reward models on vLLM's engine, in this process's event loop."""

import itertools
from array import array
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

from metagen.backends.folder import config_of
from metagen.backends.rewards.families import Family, family
from metagen.backends.rewards.readings import Readings, share
from metagen.backends.vllm.engine import Engine
from metagen.budget import Usage
from metagen.errors import InputError, MetagenError
from metagen.request import Meter, Reading, RewardBackend
from metagen.tasks import together


class VLLMReward(Engine, RewardBackend):
    """A reward model in vLLM's `AsyncLLM`; `engine_args` are any fields of vLLM's `AsyncEngineArgs`.

    What it is asked, and where its scores are read, is its family's (`metagen.backends.rewards.families`): found by the
    model's name or its architecture, or given. The engine forms batches over all problems. A step is read once: what
    comes before it stands in the prefix cache, and the scores of earlier steps are remembered. So a search that scores
    each step as it comes reads little more than the steps. Causal models are asked for one token after each step.
    """

    def __init__(
        self, model: str | Path, *, name: str | None = None, like: str | None = None, **engine_args: Any
    ) -> None:
        super().__init__(model, name, engine_args)
        self._family: Family = family(self._model, config_of(self._model), like)
        if not self._family.served:
            raise InputError(f"vLLM has no architecture for {self._family.name} models: use TorchReward")
        self._numbers = itertools.count()
        self._readings: Readings
        self.remembered = Remembered()
        """Scores of steps that it has read."""

    @property
    def process(self) -> bool:
        return self._family.process

    def _settings(self) -> dict[str, Any]:
        if self._family.reads == "next":
            return super()._settings()
        pooled: dict[str, Any] = {"runner": "pooling", "max_num_seqs": 64}
        if self._family.reads == "marks":  # vLLM's own step pooling would have to read all tokens of each request
            pooled["pooler_config"] = {"tok_pooling_type": "ALL"}
        return super()._settings() | pooled

    def _attached(self) -> None:
        self._readings = Readings(self._family, self._llm.get_tokenizer(), self.name, self.context)

    async def forget(self) -> None:
        """Drop what is kept of earlier readings: the prefix cache and the scores of steps."""
        await super().forget()
        self.remembered = Remembered()

    async def rate(self, reading: Reading, spend: Meter) -> tuple[float, ...]:
        self._open()
        reading.check_time()
        try:
            if self._family.reads == "next":
                return tuple(await together(self._asked(ids, spend) for ids in self._readings.prefixes(reading)))
            if self._family.reads == "marks":
                return await self._marked(*self._readings.placed(reading), spend)
            return await self._whole(self._readings.whole(reading), spend)
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

    async def _whole(self, ids: list[int], spend: Meter) -> tuple[float, ...]:
        """The one number at the last token."""
        usage = Usage(calls=1)
        try:
            by_itself = "classify" in await self._llm.get_supported_tasks()  # it pools its last token
            task = "classify" if by_itself else "token_classify"
            usage = _whole_usage(ids)
            data, cached = await self._pooled(ids, task=task, use_activation=False, skip_reading_prefix_cache=False)
            usage = Usage(calls=1, prompt_tokens=len(ids), cached_tokens=cached)
        finally:
            spend(usage)
        return (float(data.flatten()[-1]),)

    async def _marked(self, ids: list[int], places: list[int], spend: Meter) -> tuple[float, ...]:
        """A probability a mark."""
        keys = _prefixes(ids, places)
        scores = self.remembered.find(keys)  # held here: while the engine computes, others may push them out
        usage = Usage()
        try:
            if len(scores) < len(keys):
                usage = _whole_usage(ids)
                data, cached = await self._pooled(ids, task="token_classify", skip_reading_prefix_cache=False)
                usage = Usage(calls=1, prompt_tokens=len(ids), cached_tokens=cached)
                scores |= self.remembered.find(keys) | _rows(data, keys, places, len(ids))
            if len(scores) < len(keys):  # in the engine's cache, but forgotten here, or not yet told
                usage = _whole_usage(ids)
                data, _ = await self._pooled(ids[:cached], task="token_classify", skip_reading_prefix_cache=True)
                usage = Usage(calls=1, prompt_tokens=len(ids))
                scores |= _rows(data, keys, places, cached)
        finally:
            spend(usage)
        self.remembered.add(scores)
        return tuple(scores[key] for key in keys)

    async def _pooled(self, ids: list[int], **params: Any) -> tuple[Any, int]:
        """What is pooled of a prompt, one row per token that was computed, and how many tokens were in the cache."""
        from vllm import PoolingParams  # noqa: PLC0415 (optional, slow to import)

        outputs = self._llm.encode({"prompt_token_ids": ids}, PoolingParams(**params), f"reading-{next(self._numbers)}")
        (output,) = [output async for output in outputs]
        return output.outputs.data, getattr(output, "num_cached_tokens", 0) or 0

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


class Remembered:
    """Scores of steps by all that the model read up to them; the oldest are forgotten."""

    def __init__(self, limit: int = 1 << 17) -> None:
        self._scores: dict[bytes, float] = {}
        self._limit = limit

    def find(self, keys: Sequence[bytes]) -> dict[bytes, float]:
        """Those that are known."""
        return {key: self._scores[key] for key in keys if key in self._scores}

    def add(self, scores: Mapping[bytes, float]) -> None:
        self._scores |= scores
        for key in list(islice(self._scores, max(0, len(self._scores) - self._limit))):
            del self._scores[key]


def _prefixes(ids: Sequence[int], places: Sequence[int]) -> list[bytes]:
    """A key for the ids up to each place, that one included."""
    digest, begin, keys = blake2b(digest_size=16), 0, []
    for place in places:
        digest.update(array("q", ids[begin : place + 1]))
        keys.append(digest.digest())
        begin = place + 1
    return keys


def _rows(data: Any, keys: Sequence[bytes], places: Sequence[int], length: int) -> dict[bytes, float]:
    """The probabilities at the places among the last tokens before `length`, those that `data` has a row of."""
    first = length - len(data)
    found = [(key, place - first) for key, place in zip(keys, places, strict=True) if first <= place < length]
    return {key: float(data[row][-1]) for key, row in found}


def _whole_usage(ids: Sequence[int]) -> Usage:
    """Of a request stopped in the middle: it may have been read whole, and nobody is told, so it is counted so."""
    return Usage(calls=1, prompt_tokens=len(ids), estimated_tokens=len(ids))
