"""vLLM's engine, in this process's event loop; its computing processes are our children."""

import inspect
import itertools
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

from metagen.answers.protocol import Form
from metagen.backends.chat import NO_SYSTEM
from metagen.backends.thoughts import Marks
from metagen.backends.vllm.engine import Engine
from metagen.backends.vllm.flight import Flight
from metagen.backends.vllm.prompts import Prompts
from metagen.confidence import of_token
from metagen.errors import GenerationError, InputError, MetagenError, UnfitRequest
from metagen.request import NUMBERS, Backend, Completion, Meter, Outcome, Request, Sampling
from metagen.thinking import Family, find_family, split


class VLLMEngine(Engine, Backend):
    """A model in vLLM's `AsyncLLM`; `engine_args` are any fields of vLLM's `AsyncEngineArgs`.

    Beyond the promises of `Backend`: when a cancelled `generate` returns, the engine has stopped the request.
    Opening takes half a minute or more, in a thread; the event loop continues. Nothing is written to standard output
    or error: the engine's own output is in a log file, which every error that concerns it names.
    How the model marks its thoughts is found by its chat template and its name, or said by `thinking`: one of
    `metagen.thinking.FAMILIES`, or "none".
    Not promised: equal completions for equal seeds when other requests run beside (batches round differently).
    """

    def __init__(
        self, model: str | Path, *, name: str | None = None, thinking: str | None = None, **engine_args: Any
    ) -> None:
        super().__init__(model, name, engine_args)
        find_family(thinking, "")
        self._wanted = thinking
        self._numbers = itertools.count()
        self._prompts: Prompts
        self._sampling_defaults: dict[str, Any] = {}
        self._adapters = Adapters()

    async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
        flight = Flight(self._open(), f"{request.problem}-{next(self._numbers)}")
        thought_tokens = 0
        try:
            prompt = await self._prompt(request)
            adapter = self._adapters.of(request.sampling.adapter)
            opened = request.open or (not request.tokens and self._opened(request, prompt))
            output = await self._flown(flight, prompt, request, adapter, opened=opened)
            request.report_wait(flight.waited)
            outcomes = [self._outcome(sample, request.sampling, opened=opened) for sample in output.outputs]
            thought_tokens = sum(each.thought_tokens for each in outcomes if isinstance(each, Completion))
        except MetagenError:
            raise
        except Exception as error:
            if known := self._translated(error):
                raise known from error
            raise
        finally:
            spend(replace(flight.usage, thought_tokens=thought_tokens) if thought_tokens else flight.usage)
        return outcomes

    async def _flown(self, flight: Flight, prompt: list[int], request: Request, adapter: Any, *, opened: bool) -> Any:
        """The output of a request, of which those who listen are told how far it is."""
        params, hearing = self._params(request, len(prompt)), request.hearing
        if hearing is None:
            return await flight.output(prompt, params, adapter)

        def ended(sample: Any) -> None:
            one = self._completion(sample, request.sampling, opened=opened)
            hearing.done(sample.index, one.text, one.end != "length")

        def grew(sample: Any) -> None:
            one = self._completion(sample, request.sampling, opened=opened)
            if hearing.grew:
                hearing.grew(one.thought, one.text)

        return await flight.output(prompt, params, adapter, ended=ended, grew=grew if _grows(request) else None)

    async def count(self, request: Request) -> int:
        self._open()
        return len(await self._prompts.read(request))

    @property
    def missing(self) -> tuple[str, ...]:
        return () if self._llm is None or self._prompts.takes_system else (NO_SYSTEM,)

    @property
    def thinking(self) -> Family | None:
        marks = self._prompts.marks if self._llm else None
        return marks.family if marks else None

    async def encode(self, text: str) -> tuple[int, ...]:
        self._open()
        return tuple(self._prompts.encode(text))

    def _opened(self, request: Request, prompt: list[int]) -> bool:
        """Whether a reply that begins anew is inside a thought from its first token on."""
        marks = self._prompts.marks
        return marks is not None and not request.partial and marks.is_open(prompt)

    def refuses(self, sampling: Sampling) -> str:
        if unknown := set(sampling.extra or {}) - engine_settings():
            return f"has no setting {min(unknown)!r}: extra takes fields of vLLM's SamplingParams"
        if sampling.adapter and not self._given.get("enable_lora"):
            return "was opened without adapters: open it with enable_lora=True (--engine enable_lora=true)"
        if sampling.adapter and not (Path(sampling.adapter) / "adapter_config.json").is_file():
            return f"finds no adapter in the folder {sampling.adapter!r}: it has no adapter_config.json"
        return ""

    def _attached(self) -> None:
        tokenizer = self._llm.get_tokenizer()
        self._prompts = Prompts(tokenizer, context=self.context)
        template = getattr(tokenizer, "chat_template", None)
        if family := find_family(self._wanted, self._model, template if isinstance(template, str) else ""):
            marks = Marks(tokenizer, family)
            self._prompts.marks = marks.known_from(self._prompts.ids(Request("", "?"))) if template else marks
        self._sampling_defaults = self._llm.model_config.get_diff_sampling_param()
        self._sampling_defaults.pop("max_tokens", None)  # here, `None` is what the context leaves

    def _settings(self) -> dict[str, Any]:
        """As any engine's; and where a reply must be JSON it has no blanks, which a small model may write for ever."""
        from vllm.config import StructuredOutputsConfig  # noqa: PLC0415 (optional, slow to import)

        compact = StructuredOutputsConfig(backend="xgrammar", disable_any_whitespace=True)
        return super()._settings() | {"structured_outputs_config": compact}

    async def _prompt(self, request: Request) -> list[int]:
        ids = await self._prompts.read(request)
        if not 0 < len(ids) < self.context:
            raise UnfitRequest(
                f"the prompt has {len(ids)} tokens, and {self._name} takes 1 to {self.context - 1}: "
                f"prompt and answer share a context of {self.context}"
            )
        return ids

    def _params(self, request: Request, prompt_tokens: int) -> Any:
        """Settings for vLLM: the model's own defaults, then what the request sets."""
        from vllm.sampling_params import RequestOutputKind, SamplingParams  # noqa: PLC0415 (optional, slow to import)

        sampling = request.sampling
        _check_top(sampling.top_logprobs, self._llm.model_config)
        chosen = {field: value for field in (*NUMBERS, "logit_bias") if (value := getattr(sampling, field)) is not None}
        shown = {"skip_special_tokens": False} if self._prompts.shows_marks(sampling) else {}
        return SamplingParams(
            **self._sampling_defaults | chosen | dict(sampling.extra or {}) | shown,
            n=request.n,
            seed=request.seed,
            max_tokens=request.limit(self.context - prompt_tokens),
            stop=self._prompts.stops(sampling),
            stop_token_ids=self._prompts.ends(sampling),
            structured_outputs=_form(sampling.form),
            bad_words=list(sampling.bad_words),
            ignore_eos=sampling.ignore_eos,
            # Without the stop string, vLLM leaves out all of a token that ends a sample, and what stands before in it.
            include_stop_str_in_output=bool(sampling.stop) or sampling.thought_only,
            logprobs=sampling.top_logprobs or (0 if sampling.logprobs else None),
            output_kind=RequestOutputKind.CUMULATIVE if _grows(request) else RequestOutputKind.FINAL_ONLY,
            skip_clone=True,  # these are nobody else's
        )

    def _outcome(self, sample: Any, sampling: Sampling, *, opened: bool) -> Outcome:
        if sample.finish_reason not in {"stop", "length"}:
            return GenerationError(f"the engine ended a sample early: {sample.finish_reason}")
        return self._completion(sample, sampling, opened=opened)

    def _completion(self, sample: Any, sampling: Sampling, *, opened: bool) -> Completion:
        end, stop = _ending(sample)
        if sampling.thought_only and end == "stop":  # the mark that ends a thought is no stop string of the user's
            end, stop = "eos", ""
        tokens = tuple(sample.token_ids)
        text = sample.text if sampling.keep_stop else sample.text.removesuffix(stop)
        marks = self._prompts.marks
        reply, thought_tokens = marks.split(tokens, text, opened=opened) if marks else (split(text), 0)
        steps = sample.logprobs or ()
        logprobs = tuple(step[token].logprob for step, token in zip(steps, tokens, strict=False))
        tops = [_top(step, sampling.top_logprobs) for step in steps] if sampling.top_logprobs else []
        if stop and not (sampling.keep_stop and self._prompts.spells(tokens, sample.text)):
            tokens = ()
        return Completion(
            text=reply.text,
            tokens=tokens,
            end=end,
            stop=stop,
            logprobs=logprobs,
            confidences=tuple(of_token([logprob for _, logprob in top]) for top in tops),
            first=tops[0] if tops else (),
            length=len(sample.token_ids),
            thought=reply.thought,
            open=reply.open,
            thought_tokens=thought_tokens,
        )


def _grows(request: Request) -> bool:
    """Whether somebody reads its text while it is written."""
    return request.hearing is not None and request.hearing.grew is not None


def _form(form: Form | None) -> Any:
    """A form as vLLM wants to be told of it."""
    if form is None:
        return None
    from vllm.sampling_params import StructuredOutputsParams  # noqa: PLC0415 (optional, slow to import)

    return StructuredOutputsParams(**form.settings())


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
