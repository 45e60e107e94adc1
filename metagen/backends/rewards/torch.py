"""Reward models in torch and transformers, in a thread of this process."""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from metagen.backends.folder import config_of, find_model, name_of, one_line, where_models_are
from metagen.backends.rewards.families import Family, family
from metagen.backends.rewards.readings import Readings
from metagen.budget import Usage
from metagen.card.card import ModelCard
from metagen.distribution import how_to_install
from metagen.errors import BackendGone, GenerationError, InputError, MetagenError
from metagen.request import Meter, Reading, RewardBackend
from metagen.settings import require_whole
from metagen.tasks import uninterrupted


@dataclass(slots=True, eq=False)
class _Work:
    """A reading on its way through the model."""

    ids: list[int]
    places: list[int]
    """Where in them its scores are read."""
    scores: "asyncio.Future[tuple[float, ...]]"
    begun: bool = False


class TorchReward(RewardBackend):
    """A reward model in torch: for what vLLM does not serve, and where vLLM is not installed.

    Any family is read in one pass: heads of sequence and token classification, of Qwen2.5-Math's reward models and of
    Skywork's, and the `+` and `-` of causal models. Up to `batch` readings, of any problems, make one batch: those that
    came while the last one was computed. Each is counted whole; padding is not counted. A reading that is cancelled
    before its batch has begun costs nothing; later the batch continues, and it is counted.

    `model` is a folder or a name on the hub, `name` its name in a run (default: from the folder), and `like` its family
    (default: found by its name or its config.json). `device` and `dtype` are torch's, such as "cuda" and "bfloat16"
    (default: "cpu" and "float32").
    """

    name: str = ""
    card: ModelCard | None = None

    def __init__(
        self,
        model: str | Path,
        *,
        name: str | None = None,
        like: str | None = None,
        batch: int = 32,
        device: str = "cpu",
        dtype: str = "float32",
    ) -> None:
        require_whole(self, batch=batch)
        self._model = find_model(model)
        self._family: Family = family(self._model, config_of(self._model), like)
        self._batch, self._device, self._dtype = batch, device, dtype
        self.name = name or name_of(self._model)
        self._context = 0
        self._readings: Readings
        self._scorer: Any = None
        self._worker: asyncio.Task[None] | None = None
        self._waiting: deque[_Work] = deque()
        self._wake = asyncio.Event()

    @property
    def process(self) -> bool:
        return self._family.process

    @property
    def context(self) -> int:
        return self._context

    async def rate(self, reading: Reading, spend: Meter) -> tuple[float, ...]:
        self._open()
        reading.check_time()
        ids, places = self._readings.placed(reading)
        work = _Work(ids, places, asyncio.get_running_loop().create_future())
        self._waiting.append(work)
        self._wake.set()
        try:
            return await work.scores
        finally:
            spend(Usage(calls=1, prompt_tokens=len(ids) if work.begun else 0))

    async def count(self, reading: Reading) -> int:
        self._open()
        return len(self._readings.placed(reading)[0])

    def _open(self) -> None:
        if self._worker is None:
            raise RuntimeError(f"{self.name} is not open: use `async with TorchReward(...)`")

    async def _work(self) -> None:
        """Compute what waits, batch after batch."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while batch := self._taken():
                await self._compute(batch)

    def _taken(self) -> list[_Work]:
        batch: list[_Work] = []
        while self._waiting and len(batch) < self._batch:
            work = self._waiting.popleft()
            if not work.scores.done():  # its reader may have been cancelled
                work.begun = True
                batch.append(work)
        return batch

    async def _compute(self, batch: Sequence[_Work]) -> None:
        asked = [work.ids for work in batch], [work.places for work in batch]
        try:
            done = await asyncio.gather(asyncio.to_thread(self._scorer, *asked), return_exceptions=True)
            for work, row in zip(batch, _told(done[0], len(batch)), strict=True):
                _hand_over(work, row)
        finally:
            for work in batch:
                _hand_over(work, BackendGone(f"{self.name} was closed"))

    async def __aenter__(self) -> Self:
        if self._worker is not None:
            raise RuntimeError(f"{self.name} is open already")
        await asyncio.to_thread(self._load)
        self._worker = asyncio.create_task(self._work())
        return self

    def _load(self) -> None:
        try:
            from metagen.backends.rewards import scorer as _scorer  # noqa: PLC0415 (optional, slow to import)
        except ImportError:
            raise InputError(
                f"a reward model in torch needs torch and transformers: {how_to_install('train')}"
            ) from None
        try:
            tokenizer, config = _scorer.tokenizer_and_config(self._model)
            self._context = int(config.max_position_embeddings)
            self._readings = Readings(self._family, tokenizer, self.name, self._context)
            tokens = (self._readings.bad, self._readings.good)
            self._scorer = _scorer.Scorer(self._model, self._family, tokens, self._device, self._dtype)
        except MetagenError:
            raise
        except Exception as error:  # transformers raises anything for a folder that it cannot read
            raise InputError(f"cannot open {self._model}: {one_line(error)}{where_models_are(self._model)}") from error
        with suppress(InputError):
            self.card = ModelCard.of(config.to_dict(), self.name)

    async def __aexit__(self, *_: object) -> None:
        worker, self._worker = self._worker, None
        if worker:
            worker.cancel()
            await uninterrupted(_ended(worker))
        while self._waiting:
            _hand_over(self._waiting.popleft(), BackendGone(f"{self.name} was closed"))
        self._scorer = None


def _told(rows: Any, readings: int) -> Sequence[Any]:
    """What became of each reading: its scores, or the error of all."""
    if isinstance(rows, RuntimeError):  # torch's own, such as no memory
        rows = GenerationError(f"torch failed: {one_line(rows)}")
    return [rows] * readings if isinstance(rows, BaseException) else rows


def _hand_over(work: _Work, row: Any) -> None:
    if work.scores.done():
        return
    if isinstance(row, BaseException):
        work.scores.set_exception(row)
    else:
        work.scores.set_result(row)


async def _ended(task: "asyncio.Task[None]") -> None:
    with suppress(asyncio.CancelledError):
        await task
