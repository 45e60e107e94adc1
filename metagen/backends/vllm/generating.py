"""vLLM's engine, in this process's event loop; its computing processes are our children."""

import inspect
import itertools
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from metagen.backends.chat import NO_SYSTEM
from metagen.backends.vllm.engine import Engine
from metagen.backends.vllm.flight import Flight
from metagen.backends.vllm.prompts import Prompts
from metagen.confidence import of_token
from metagen.errors import GenerationError, InputError, MetagenError
from metagen.request import Backend, Completion, Meter, Outcome, Request, Sampling

SHARED = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "min_tokens",
    "logit_bias",
)
"""Settings that vLLM calls as we do; `None` leaves them to the model's own defaults."""


class VLLMEngine(Engine, Backend):
    """A model in vLLM's `AsyncLLM`; `engine_args` are any fields of vLLM's `AsyncEngineArgs`.

    Beyond the promises of `Backend`: when a cancelled `generate` returns, the engine has stopped the request.
    Opening takes half a minute or more, in a thread; the event loop goes on. Nothing is written to standard output
    or error: the engine's own output is in a log file, which every error that concerns it names.
    Not promised: equal completions for equal seeds when other requests run beside (batches round differently).
    """

    def __init__(self, model: str | Path, *, name: str | None = None, **engine_args: Any) -> None:
        super().__init__(model, name, engine_args)
        self._numbers = itertools.count()
        self._prompts: Prompts
        self._sampling_defaults: dict[str, Any] = {}
        self._adapters = Adapters()

    async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
        flight = Flight(self._open(), f"{request.problem}-{next(self._numbers)}")
        try:
            prompt = self._prompt(request)
            adapter = self._adapters.of(request.sampling.adapter)
            output = await flight.output(prompt, self._params(request, len(prompt)), adapter)
            return [self._outcome(sample, request.sampling) for sample in output.outputs]
        except MetagenError:
            raise
        except Exception as error:
            if known := self._translated(error):
                raise known from error
            raise
        finally:
            spend(flight.usage)

    async def count(self, request: Request) -> int:
        self._open()
        return len(self._prompts.ids(request))

    @property
    def missing(self) -> tuple[str, ...]:
        return () if self._llm is None or self._prompts.takes_system else (NO_SYSTEM,)

    def refuses(self, sampling: Sampling) -> str:
        if unknown := set(sampling.extra or {}) - engine_settings():
            return f"has no setting {min(unknown)!r}: extra takes fields of vLLM's SamplingParams"
        if sampling.adapter and not self._given.get("enable_lora"):
            return "was opened without adapters: open it with enable_lora=True (--engine enable_lora=true)"
        if sampling.adapter and not (Path(sampling.adapter) / "adapter_config.json").is_file():
            return f"finds no adapter in the folder {sampling.adapter!r}: it has no adapter_config.json"
        return ""

    def _attached(self) -> None:
        self._prompts = Prompts(self._llm.get_tokenizer())
        self._sampling_defaults = self._llm.model_config.get_diff_sampling_param()
        self._sampling_defaults.pop("max_tokens", None)  # here, `None` is what the context leaves

    def _prompt(self, request: Request) -> list[int]:
        ids = self._prompts.ids(request)
        if not 0 < len(ids) < self.context:
            raise GenerationError(
                f"the prompt has {len(ids)} tokens, and {self._name} takes 1 to {self.context - 1}: "
                f"prompt and answer share a context of {self.context}"
            )
        return ids

    def _params(self, request: Request, prompt_tokens: int) -> Any:
        """Settings for vLLM: the model's own defaults, then what the request sets."""
        from vllm.sampling_params import RequestOutputKind, SamplingParams  # noqa: PLC0415 (optional, slow to import)

        sampling = request.sampling
        _check_top(sampling.top_logprobs, self._llm.model_config)
        chosen = {field: value for field in SHARED if (value := getattr(sampling, field)) is not None}
        return SamplingParams(
            **self._sampling_defaults | chosen | dict(sampling.extra or {}),
            n=request.n,
            seed=request.seed,
            max_tokens=request.limit(self.context - prompt_tokens),
            stop=list(sampling.stop),
            stop_token_ids=[*sampling.stop_token_ids, *(self._prompts.enders(sampling.stop) if sampling.stop else ())],
            bad_words=list(sampling.bad_words),
            ignore_eos=sampling.ignore_eos,
            # Without the stop string, vLLM leaves out all of a token that ends a sample, and what stands before in it.
            include_stop_str_in_output=bool(sampling.stop),
            logprobs=sampling.top_logprobs or (0 if sampling.logprobs else None),
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _outcome(self, sample: Any, sampling: Sampling) -> Outcome:
        if sample.finish_reason not in {"stop", "length"}:
            return GenerationError(f"the engine ended a sample early: {sample.finish_reason}")
        return self._completion(sample, sampling)

    def _completion(self, sample: Any, sampling: Sampling) -> Completion:
        end, stop = _ending(sample)
        tokens = tuple(sample.token_ids)
        steps = sample.logprobs or ()
        logprobs = tuple(step[token].logprob for step, token in zip(steps, tokens, strict=False))
        tops = [_top(step, sampling.top_logprobs) for step in steps] if sampling.top_logprobs else []
        if stop and not (sampling.keep_stop and self._prompts.spells(tokens, sample.text)):
            tokens = ()
        return Completion(
            text=sample.text if sampling.keep_stop else sample.text.removesuffix(stop),
            tokens=tokens,
            end=end,
            stop=stop,
            logprobs=logprobs,
            confidences=tuple(of_token([logprob for _, logprob in top]) for top in tops),
            first=tops[0] if tops else (),
            length=len(sample.token_ids),
        )


class Adapters:
    """LoRA adapters by their folders, as vLLM wants to be told of them: each with a number of its own."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}

    def of(self, folder: str | None) -> Any:
        """VLLM's request for this adapter; `None` for none."""
        if folder is None:
            return None
        if folder not in self._known:
            from vllm.lora.request import LoRARequest  # noqa: PLC0415 (optional, slow to import)

            self._known[folder] = LoRARequest(folder, len(self._known) + 1, folder)
        return self._known[folder]


def engine_settings() -> set[str]:
    """The fields of vLLM's `SamplingParams` that have no name of ours."""
    from vllm.sampling_params import SamplingParams  # noqa: PLC0415 (optional, slow to import)

    ours = {each.name for each in fields(Sampling)} | {"n", "seed", "output_kind", "include_stop_str_in_output"}
    return set(inspect.signature(SamplingParams).parameters) - ours


def _ending(sample: Any) -> tuple[Literal["eos", "stop", "length"], str]:
    """How a sample ended, and the stop string if one ended it."""
    match sample.finish_reason, sample.stop_reason:
        case "stop", str(stop):
            return "stop", stop
        case "stop", _:
            return "eos", ""
    return "length", ""


def _check_top(wanted: int | None, model_config: Any) -> None:
    most = model_config.max_logprobs
    most = model_config.get_vocab_size() if most == -1 else most
    if wanted is not None and wanted > most:
        raise InputError(f"top_logprobs={wanted}: this engine gives {most} at most: open it with max_logprobs={wanted}")


def _top(step: Any, k: int) -> tuple[tuple[str, float], ...]:
    """The k most probable tokens of a position, most probable first; vLLM adds the one that was drawn."""
    ranked = sorted(step.values(), key=lambda each: each.rank)[:k]
    return tuple((each.decoded_token or "", each.logprob) for each in ranked)
