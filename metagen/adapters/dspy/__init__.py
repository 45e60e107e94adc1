"""A strategy as the language model of DSPy's programs.

    dspy.configure(lm=metagen.adapters.dspy.LM(strategy="Vote(16)"))

It is an engine, as DSPy 3.4 and later take it: DSPy keeps its cache, its history and its retries.
"""

import asyncio
import atexit
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from hashlib import blake2b
from typing import Any

from metagen.adapters.caller import read_caller
from metagen.adapters.dspy.sections import Sections
from metagen.budget import Usage
from metagen.candidate import Candidate
from metagen.distribution import how_to_install
from metagen.errors import MetagenError
from metagen.problem import Problem
from metagen.request import opened
from metagen.solution import Solution
from metagen.solve import solve

try:
    import dspy
    from dspy import lm15
except ImportError as error:
    raise ImportError(f"{error.name} is missing, or older than 3.4: {how_to_install('dspy')}") from None

SETTINGS = ("max_tokens", "temperature", "top_p", "top_k", "stop", "frequency_penalty", "presence_penalty")
"""What DSPy and `Model` call alike."""
REFUSED = ("logprobs", "probabilities", "reasoning", "extensions")
"""Settings that would change answers, and that no strategy passes on."""


def LM(**settings: Any) -> Any:  # noqa: N802 (DSPy's own is called so)
    """A `dspy.LM` that answers by a strategy. It takes what `read_caller` takes, `model` and `strategy` above all.

    Samples vote over the fields of a program's signature, its reasoning aside; `answers` names another kind.
    """
    engine = Engine(**settings)
    return dspy.LM(f"metagen/{engine.name}", engine=engine, async_engine=AsyncEngine(engine))


class Engine:
    """Answers requests in an event loop of its own, whose models are opened with the first one."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._caller = read_caller(settings)
        self._answers = self._caller.answers if settings.get("answers") else Sections()
        self._asked = Counter[str]()
        self._opening = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stack = AsyncExitStack()
        self._room = asyncio.Semaphore(self._caller.concurrency)

    @property
    def name(self) -> str:
        """The name of the model that an omitted generator means."""
        return self._caller.backend.name

    def complete(self, request: lm15.Request) -> lm15.Response:
        """The answer to a request. Raises `lm15.ProviderError` if there is none."""
        return asyncio.run_coroutine_threadsafe(self.answer(request), self.loop()).result()

    async def answer(self, request: lm15.Request) -> lm15.Response:
        """The same, in the loop of the models."""
        caller = self._caller
        try:
            default = caller.default(_settings(request))
            problem, strategy = self._problem(request), caller.drawing(default)
            seed = caller.seed if request.config.seed is None else request.config.seed
            async with self._room:
                solution = await solve(problem, strategy, caller.models, seed=seed, default=default)
        except MetagenError as error:
            raise lm15.InvalidRequestError(str(error), provider="metagen") from error
        if solution.failed:
            raise lm15.ProviderError(solution.error, provider="metagen")
        return _response(solution, self.name)

    def stream(self, request: lm15.Request) -> Iterator[Any]:
        """The answer as one piece: a vote has no beginning before its end."""
        return iter(lm15.response_to_events(self.complete(request)))

    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop of the models, which are open. Raises `lm15.InvalidRequestError` if they cannot be opened."""
        with self._opening:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                threading.Thread(target=_run, args=(loop,), name="metagen.dspy", daemon=True).start()
                try:
                    asyncio.run_coroutine_threadsafe(self._open(), loop).result()
                except BaseException as error:
                    loop.call_soon_threadsafe(loop.stop)
                    if isinstance(error, MetagenError):
                        raise lm15.InvalidRequestError(str(error), provider="metagen") from error
                    raise
                self._loop = loop
                atexit.register(self.close)
            return self._loop

    def close(self) -> None:
        """Close the models."""
        with self._opening:
            loop, self._loop = self._loop, None
        if loop:
            asyncio.run_coroutine_threadsafe(self._stack.aclose(), loop).result()
            loop.call_soon_threadsafe(loop.stop)

    def dump_state(self) -> dict[str, Any]:
        """Its settings: what a saved program needs to make it again."""
        return dict(self._settings)

    @classmethod
    def load_state(cls, state: Mapping[str, Any]) -> "Engine":
        """The engine with these settings."""
        return cls(**state)

    async def _open(self) -> None:
        """Open all models, or none. A semaphore belongs to the loop that it is used in."""
        self._room = asyncio.Semaphore(self._caller.concurrency)
        await self._stack.enter_async_context(opened(self._caller.models))

    def _problem(self, request: lm15.Request) -> Problem:
        """The problem that a request asks; asked again, it is another one, so that a seed draws other samples.

        Its name comes from the question alone, so that a seed draws the same samples in whatever order requests come.
        """
        turns = list(_turns(request))
        question = blake2b(repr(turns).encode(errors="surrogatepass"), digest_size=8).hexdigest()
        self._asked[question] += 1
        return Problem(f"{question}.{self._asked[question]}", messages=turns, answers=self._answers)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """Run a loop until it is stopped, and close it."""
    loop.run_forever()
    loop.close()


class AsyncEngine:
    """The same engine for programs that await."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def complete(self, request: lm15.Request) -> lm15.Response:
        """The answer to a request."""
        loop = await asyncio.to_thread(self._engine.loop)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._engine.answer(request), loop))

    async def stream(self, request: lm15.Request) -> Any:
        """The answer as one piece."""
        for event in lm15.response_to_events(await self.complete(request)):
            yield event

    async def aclose(self) -> None:
        """Close the models."""
        await asyncio.to_thread(self._engine.close)

    def dump_state(self) -> dict[str, Any]:
        """Its settings."""
        return self._engine.dump_state()

    @classmethod
    def load_state(cls, state: Mapping[str, Any]) -> "AsyncEngine":
        """The engine with these settings."""
        return cls(Engine.load_state(state))


def _turns(request: lm15.Request) -> Iterator[dict[str, Any]]:
    """The conversation as OpenAI's API has it. Raises `UnsupportedFeatureError` for what is no text."""
    if request.system:
        yield {"role": "system", "content": _text(request.system)}
    for message in request.messages:
        yield {"role": message.role, "content": _text(message.parts)}


def _text(parts: Any) -> str:
    if isinstance(parts, str):
        return parts
    kinds = {part.type for part in parts} - {"text", "thinking"}
    if kinds:
        raise lm15.UnsupportedFeatureError(f"a message holds {min(kinds)}, and strategies read texts alone")
    return "\n".join(part.text for part in parts if part.type == "text")


def _settings(request: lm15.Request) -> dict[str, Any]:
    """How a program wants models to draw, as `Model` calls it."""
    config = request.config
    if strange := next((name for name in REFUSED if getattr(config, name)), "tools" if request.tools else ""):
        raise lm15.UnsupportedFeatureError(f"{strange}: strategies do not pass it on: leave it out", feature=strange)
    form = config.response_format
    schema = (form.get("json_schema") or {}).get("schema") or {"type": "object"} if form else None
    return {name: getattr(config, name) for name in SETTINGS} | {"form": {"json": schema} if schema else None}


def _response(solution: Solution, model: str) -> lm15.Response:
    candidate = solution.candidate or Candidate((solution.text,))
    thought = [lm15.ThinkingPart(candidate.thought)] if candidate.thought else []
    return lm15.Response(
        id=None,
        model=model,
        message=lm15.Message.assistant([*thought, lm15.TextPart(solution.text)]),
        finish_reason="length" if candidate.cut else "stop",
        usage=_usage(solution.usage),
    )


def _usage(usage: Usage) -> lm15.Usage:
    return lm15.Usage(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        total_tokens=usage.tokens,
        reasoning_tokens=usage.thought_tokens or None,
    )
