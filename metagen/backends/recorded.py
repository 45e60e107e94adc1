"""A pool of samples on disk: played, and recorded where another backend stands behind it."""

import json
import os
from collections import defaultdict
from collections.abc import Container, Iterator
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from metagen.budget import Usage
from metagen.errors import GenerationError, InputError
from metagen.lines import Appender, read_lines
from metagen.request import Backend, Completion, Meter, Request, Sampling

Key = tuple[str, str, str, str]


class Sample(BaseModel):
    """One line of a pool: a sample, and what it was drawn from."""

    model_config = ConfigDict(extra="forbid")

    problem: str
    prompt: str
    partial: str = ""
    sampling: dict[str, Any] | None = None
    """The sampling settings; `None`, in pools from elsewhere, stands for any."""
    draw: int
    """The number of this sample among those of equal requests, from 0."""
    text: str
    end: Literal["eos", "stop", "length"] = "eos"
    stop: str = ""
    tokens: int = 0
    """The length of the text in the tokens of the model that wrote it."""
    prompt_tokens: int = 0
    logprobs: tuple[float, ...] = ()


class Recorded:
    """Plays the samples of a pool; with `of`, asks that backend for those that are missing and records them.

    A sample is found by its problem, prompt, sampling settings (the length limit aside) and draw number. So strategies
    that draw from the same model with the same settings share their samples, and a recorded run repeats itself. Within
    one run each sample is played once: where a pool has too few, that is a `GenerationError`, never a repetition.
    Usage counts what the samples cost when they were drawn. Token ids are not kept.
    """

    def __init__(self, path: str | Path, of: Backend | None = None) -> None:
        self.path = Path(path)
        self.of = of
        self._pool: dict[Key, dict[int, Sample]] = defaultdict(dict)
        self._appender: Appender | None = None
        if of is None:
            if not os.path.isfile(self.path):  # unlike `Path.is_file`, it takes a name of any length
                raise InputError(f"{self.path}: there is no such pool of samples; `metagen sample` makes one")
            self._load()

    @property
    def name(self) -> str:
        return self.of.name if self.of else f"recorded:{self.path.stem}"

    @property
    def context(self) -> int:
        """Of the model behind it, else the longest recorded prompt and completion together."""
        if self.of:
            return self.of.context
        samples = (sample for draws in self._pool.values() for sample in draws.values())
        return max((sample.prompt_tokens + sample.tokens for sample in samples), default=0)

    async def generate(self, request: Request, spend: Meter) -> list[Completion]:
        draws = range(request.draw, request.draw + request.n)
        pool = self._find(request)
        known = [pool[draw] for draw in draws if draw in pool]
        missing = request.n - len(known)
        for gap in _gaps(draws, pool):
            await self._record(request, gap, spend)
        pool = self._find(request)
        completions = [played(pool[draw], request.sampling) for draw in draws]
        spend(
            Usage(
                calls=0 if missing else 1,
                prompt_tokens=0 if missing else known[0].prompt_tokens,
                completion_tokens=sum(sample.tokens for sample in known),
            )
        )
        return completions

    async def count(self, request: Request) -> int:
        if self.of:
            return await self.of.count(request)
        sample = next(iter(self._find(request).values()), None)
        return sample.prompt_tokens if sample else 0

    def _find(self, request: Request) -> dict[int, Sample]:
        return self._pool.get(key(request, any_sampling=True), {}) | self._pool.get(key(request), {})

    async def _record(self, request: Request, draws: range, spend: Meter) -> None:
        """Ask for what is missing, each sample with the seed of its own number."""
        if self.of is None or self._appender is None:
            raise GenerationError(
                f"{self.path} has {len(self._find(request))} samples for problem {request.problem!r} with this prompt "
                f"and these settings, and number {draws[0]} was asked for"
            )
        prompt_tokens = await self.of.count(request)
        completions = await self.of.generate(request.part(draws[0] - request.draw, len(draws)), spend)
        samples = [sampled(request, draw, one, prompt_tokens) for draw, one in zip(draws, completions, strict=True)]
        self._appender.write(sample.model_dump(exclude_defaults=True) for sample in samples)
        self._pool[key(request)].update((sample.draw, sample) for sample in samples)

    async def __aenter__(self) -> Self:
        if self.of is None:
            return self
        self._appender = Appender(self.path)
        try:
            self._load()
            await self.of.__aenter__()
        except BaseException:
            self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._close()
        if self.of:
            await self.of.__aexit__(kind, error, trace)

    def _close(self) -> None:
        if self._appender:
            self._appender.close()
            self._appender = None

    def _load(self) -> None:
        self._pool.clear()
        for number, row in read_lines(self.path):
            try:
                sample = Sample.model_validate(row)
            except ValidationError as error:
                first = error.errors()[0]
                field = ".".join(map(str, first["loc"]))
                raise InputError(f"{self.path}, line {number}: field {field!r}: {first['msg']}") from None
            draws = self._pool[sample_key(sample)]
            if sample.draw in draws:
                raise InputError(f"{self.path}, line {number}: sample {sample.draw} of this request stands here again")
            draws[sample.draw] = sample


def _gaps(draws: range, pool: Container[int]) -> Iterator[range]:
    """The runs of numbers that the pool lacks; mostly one, more where samples were lost or a run was killed."""
    for recorded, numbers in groupby(draws, pool.__contains__):
        if not recorded:
            run = list(numbers)
            yield range(run[0], run[-1] + 1)


def key(request: Request, *, any_sampling: bool = False) -> Key:
    """Under what a request's samples are kept."""
    return (
        request.problem,
        request.prompt,
        request.partial,
        "" if any_sampling else _spelled(settings(request.sampling)),
    )


def sample_key(sample: Sample) -> Key:
    return sample.problem, sample.prompt, sample.partial, "" if sample.sampling is None else _spelled(sample.sampling)


def settings(sampling: Sampling) -> dict[str, Any]:
    """What bends the distribution: all settings that were given, without the length limit."""
    return {name: value for name, value in asdict(sampling).items() if name != "max_tokens" and _is_given(value)}


def _is_given(value: object) -> bool:
    """Whether a setting was given; a temperature of 0 is, though it equals `False`."""
    return not (value is None or value is False or value == ())


def sampled(request: Request, draw: int, completion: Completion, prompt_tokens: int) -> Sample:
    return Sample(
        problem=request.problem,
        prompt=request.prompt,
        partial=request.partial,
        sampling=settings(request.sampling),
        draw=draw,
        text=completion.text,
        end=completion.end,
        stop=completion.stop,
        tokens=completion.length,
        prompt_tokens=prompt_tokens,
        logprobs=completion.logprobs,
    )


def played(sample: Sample, sampling: Sampling) -> Completion:
    """The recorded completion. One longer than the limit cannot be cut, since its token ids are not kept."""
    if sampling.max_tokens is not None and sample.tokens > sampling.max_tokens:
        raise GenerationError(
            f"sample {sample.draw} of problem {sample.problem!r} has {sample.tokens} tokens, "
            f"over the limit of {sampling.max_tokens}"
        )
    return Completion(sample.text, (), sample.end, sample.stop, sample.logprobs, sample.tokens)


def _spelled(sampling: dict[str, Any]) -> str:
    return json.dumps(sampling, sort_keys=True)
