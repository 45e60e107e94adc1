"""Samples on disk: one line of a pool, and the key by which a sample is found again."""

import json
from dataclasses import asdict
from hashlib import blake2b
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from metagen.request import Completion, Request, Sampling
from metagen.thinking import Reply, split

Key = bytes
"""A digest of 16 bytes: of pools with long prompts, the keys would need more memory than all else."""
Count = Annotated[int, Meta(ge=0, lt=2**31)]
Setting = Any


class Sample(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True, gc=False):
    """One line of a pool: a sample, and what it was drawn from."""

    problem: str
    prompt: str
    draw: Count
    """The number of this sample among those of equal requests, from 0."""
    text: str
    partial: str = ""
    messages: list[dict[str, Any]] | None = None
    """The whole conversation as it was sent, where there are other turns than the prompt."""
    model: str = ""
    """The name of the model that wrote it; empty in pools from elsewhere."""
    sampling: dict[str, Setting] | None = None
    """The sampling settings; `None`, in pools from elsewhere, stands for any."""
    end: Literal["eos", "stop", "length"] = "eos"
    stop: str = ""
    tokens: Count = 0
    """The length of the text in the tokens of the model that wrote it."""
    prompt_tokens: Count = 0
    logprobs: tuple[float, ...] = ()
    confidences: tuple[float, ...] = ()
    first: tuple[tuple[str, float], ...] = ()
    thought: str = ""
    """What was thought before; in pools from elsewhere it may stand in the text, between its marks."""
    open: bool = False
    """Whether the thought has not ended."""
    thought_tokens: Count = 0
    before: str = ""
    """The partial reply with what was thought before it, in the usual marks."""


def reply_of(sample: Sample) -> Reply:
    """The thought and the text of a sample."""
    if sample.thought or sample.open:
        return Reply(sample.thought, sample.text, sample.open)
    return split(sample.text)


def key(request: Request, *, any_sampling: bool = False) -> Key:
    """Under what a request's samples are kept."""
    sampling = None if any_sampling else settings(request.sampling)
    return _digest(request.problem, request.prompt, request.reply, sampling, conversation(request))


def sample_key(sample: Sample) -> Key:
    reply = sample.before or sample.partial
    return _digest(sample.problem, sample.prompt, reply, sample.sampling, sample.messages)


def conversation(request: Request) -> list[dict[str, Any]] | None:
    """The turns of a request, as they are written down; `None` where the prompt stands alone."""
    return [turn.fields() for turn in request.turns] if request.before or request.after else None


def settings(sampling: Sampling) -> dict[str, Any]:
    """What bends the distribution: all settings that were given."""
    given = {name: value for name, value in asdict(sampling).items() if _is_given(value)}
    if bias := given.get("logit_bias"):  # JSON has texts for keys
        given["logit_bias"] = {str(token): value for token, value in bias.items()}
    return given


def _is_given(value: object) -> bool:
    """Whether a setting was given; a temperature of 0 is, though it equals `False`."""
    return not (value is None or value is False or value in ((), {}))


def sampled(request: Request, draw: int, completion: Completion, prompt_tokens: int, model: str) -> Sample:
    return Sample(
        model=model,
        problem=request.problem,
        prompt=request.prompt,
        partial=request.partial,
        messages=conversation(request),
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
        thought=completion.thought,
        open=completion.open,
        thought_tokens=completion.thought_tokens,
        before="" if request.reply == request.partial else request.reply,
    )


def _digest(
    problem: str, prompt: str, partial: str, sampling: dict[str, Any] | None, messages: list[dict[str, Any]] | None
) -> Key:
    spelled = "" if sampling is None else json.dumps(sampling, sort_keys=True)
    said = [json.dumps(messages, sort_keys=True)] if messages else []
    parts = "".join(f"{len(part)}:{part}" for part in (problem, prompt, partial, spelled, *said))
    return blake2b(parts.encode(errors="surrogatepass"), digest_size=16).digest()
