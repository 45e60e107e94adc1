"""Samples on disk: one line of a pool, and the key by which a sample is found again."""

import json
from dataclasses import asdict
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from metagen.request import Completion, Request, Sampling

Key = tuple[str, str, str, str]


class Sample(BaseModel):
    """One line of a pool: a sample, and what it was drawn from."""

    model_config = ConfigDict(extra="forbid")

    problem: str
    prompt: str
    partial: str = ""
    model: str = ""
    """The name of the model that wrote it; empty in pools from elsewhere."""
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
    confidences: tuple[float, ...] = ()
    first: tuple[tuple[str, float], ...] = ()


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
    """What bends the distribution: all settings that were given."""
    return {name: value for name, value in asdict(sampling).items() if _is_given(value)}


def _is_given(value: object) -> bool:
    """Whether a setting was given; a temperature of 0 is, though it equals `False`."""
    return not (value is None or value is False or value == ())


def sampled(request: Request, draw: int, completion: Completion, prompt_tokens: int, model: str) -> Sample:
    return Sample(
        model=model,
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
        confidences=completion.confidences,
        first=completion.first,
    )


def _spelled(sampling: dict[str, Any]) -> str:
    return json.dumps(sampling, sort_keys=True)
