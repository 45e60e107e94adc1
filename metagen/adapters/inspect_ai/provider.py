"""`metagen/…` as a model of Inspect: each of its requests is answered by a strategy over models of ours."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from inspect_ai.log._samples import sample_active  # nothing public tells the sample and its epoch
from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelCall, ModelOutput, ServedModelUsage
from inspect_ai.tool import ToolChoice, ToolInfo

from metagen.adapters.caller import read_caller
from metagen.adapters.inspect_ai.messages import output_of, problem_of, usage_of
from metagen.answers.protocol import Answers
from metagen.budget import Usage
from metagen.errors import InputError
from metagen.serve.tools import Calls
from metagen.settings import literal
from metagen.solution import Solution
from metagen.solve import solve
from metagen.tasks import together

SAME = ("max_tokens", "temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "logit_bias")
SETTINGS = {"stop_seqs": "stop", "reasoning_tokens": "thinking", **dict(zip(SAME, SAME, strict=True))}
"""What Inspect calls the settings of `Model`."""
REFUSED = ("best_of", "logprobs", "top_logprobs", "prompt_logprobs", "effort", "reasoning_effort", "extra_body")
"""Settings that would change answers, and that no strategy passes on."""
SHIPPED = {"small": "small-moe", "reasoner": "small-reasoner"}
"""Short names of the models that ship."""


class StrategyAPI(ModelAPI):  # type: ignore[misc]  # inspect_ai is not checked
    """Answers by a strategy. The name after `metagen/` is the model, and `-M` gives what else `read_caller` takes.

    Several models are given as `models`; then the name is nothing but a name.
    A seed of the task's seeds the strategy. What a strategy did, and what each of its models used, is in the metadata
    of the output. A request without an answer raises `GenerationError`, which is the sample's error; of several choices
    those that have an answer are returned.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 (as the base class has it)
        models: Any = None,
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        self._caller = read_caller({"model": models or SHIPPED.get(model_name, model_name), **model_args})
        self._opening = asyncio.Lock()
        self._stack: AsyncExitStack | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def generate(
        self,
        input: list[ChatMessage],  # noqa: A002 (as the base class has it)
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> tuple[ModelOutput, ModelCall]:
        """The answer to a conversation, and what was asked for it."""
        if tool_choice == "any" or not isinstance(tool_choice, str):
            raise InputError("tool_choice: no model is forced to call a tool; leave it at auto")
        answers = _calls(tools) if tools and tool_choice != "none" else self._caller.answers
        await self._open()
        solutions = await together(
            self._answer(input, answers, config, number) for number in range(config.num_choices or 1)
        )
        output = output_of(f"metagen/{self.model_name}", solutions, answers)
        request = {"strategy": literal(self._caller.strategy), "messages": [each.model_dump() for each in input]}
        return output, ModelCall.create(request, output.metadata or {})

    async def _answer(
        self, messages: list[ChatMessage], answers: Answers, config: GenerateConfig, number: int
    ) -> Solution:
        caller, active = self._caller, sample_active()
        name = str(active.sample.id) if active else "1"
        problem = problem_of(messages, name, active.epoch if active else 1, answers)
        if number:
            problem = replace(problem, id=f"{problem.id}.{number + 1}")
        default = caller.default(_settings(config, answers))
        seed = caller.seed if config.seed is None else config.seed
        return await solve(problem, caller.drawing(default), caller.models, seed=seed, default=default)

    def served_model_usage(self, output: ModelOutput) -> list[ServedModelUsage] | None:
        """What each model of the strategy used."""
        used = (output.metadata or {}).get("usage", {})
        return [ServedModelUsage(name, usage_of(Usage(**row))) for name, row in used.items()] or None

    def max_connections(self) -> int:
        """As many requests as `metagen solve` has problems at once: the engine batches them."""
        return self._caller.concurrency

    async def aclose(self) -> None:
        """Close the models."""
        stack, self._stack = self._stack, None
        if stack and self._loop is asyncio.get_running_loop():
            await stack.aclose()

    async def _open(self) -> None:
        """Open the models in the loop that asks them, once: all of them, or none."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._opening, self._loop, self._stack = asyncio.Lock(), loop, None
        async with self._opening:
            if self._stack:
                return
            async with AsyncExitStack() as stack:
                for backend in self._caller.models.values():
                    await stack.enter_async_context(backend)
                self._stack = stack.pop_all()


def _calls(tools: list[ToolInfo]) -> Calls:
    """Tools as chat templates have them; their calls are what samples vote on."""
    described = [each.model_dump(exclude_none=True, exclude={"options"}) for each in tools]
    return Calls(tuple({"type": "function", "function": each} for each in described))


def _settings(config: GenerateConfig, answers: Answers) -> dict[str, Any]:
    """How a task wants models to draw, as `Model` calls it. Raises `InputError` for what none can follow."""
    if strange := next((name for name in REFUSED if getattr(config, name)), ""):
        raise InputError(f"{strange}: strategies do not pass it on: leave it out, or set it in the strategy")
    settings = {ours: getattr(config, theirs) for theirs, ours in SETTINGS.items()}
    settings["stop"] = tuple(settings["stop"] or ())
    if config.response_schema:
        settings["form"] = {"json": config.response_schema.json_schema.model_dump(exclude_none=True)}
    if isinstance(answers, Calls):
        settings["chat_template_kwargs"] = answers.options
    return settings
