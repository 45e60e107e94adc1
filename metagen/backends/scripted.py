"""Models that are functions: for tests, examples and dry runs."""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from metagen.budget import Usage
from metagen.errors import GenerationError, InputError, SampleError, UnfitRequest
from metagen.request import (
    Backend,
    Card,
    Completion,
    Hearing,
    Meter,
    Outcome,
    Reading,
    Request,
    RewardBackend,
    Sampling,
)
from metagen.tasks import together
from metagen.thinking import USUAL, Family, find_family, split

GROWS = 16
"""Characters by which a reply grows for those who listen."""
Reply = str | Completion
Script = Callable[[Request], Reply | Awaitable[Reply]]
RewardScript = Callable[[Reading], Sequence[float] | Awaitable[Sequence[float]]]


class Scripted(Backend):
    """Serves what `script(request)` returns: the reply, or its rest after `request.partial`.

    The script is called once per sample, with `n=1` and that sample's own seed and draw. It may be async, and so take
    time. A token is a character and its id the code point, so counts are exact and ids continue a text. Stop strings
    and length limits are honoured. Each token has the log-probability 0, and a confidence of 1 where that is asked for;
    a script that knows better returns a `Completion`, whose `logprobs`, `confidences` and `first` are used. A
    `SampleError` that the script raises loses that sample; whatever else it raises is raised. A cancelled request has
    spent its prompt and the samples that were done.

    What a reply has between `<think>` and `</think>` is its thought. With `thinking`, such as "think", it is a model
    that is known to think, by the marks of that family, and whose thoughts can be limited and ended.
    """

    card: Card | None = None
    name = "scripted"
    context = 8192

    def __init__(
        self,
        script: Script | str,
        *,
        name: str = "scripted",
        context: int = 8192,
        card: Card | None = None,
        thinking: str | None = None,
    ) -> None:
        if not (isinstance(script, str) or callable(script)):
            raise InputError(f"Scripted: needs a text or a function of the request, not {script!r}")
        self._script = script
        self._family = find_family(thinking, "", "scripted")
        self.card = card
        self.name = name
        self.context = context

    async def generate(self, request: Request, spend: Meter) -> list[Outcome]:
        prompt = await self.count(request)
        if prompt >= self.context:
            raise UnfitRequest(f"the prompt has {prompt} tokens, and {self.name} has a context of {self.context}")
        done: list[Completion] = []

        async def complete(index: int) -> Outcome:
            try:
                reply = await self._reply(request.part(index, 1))
            except SampleError as lost:
                return lost
            done.append(completion := cut(reply, request.sampling, limit, self._family, is_open=request.open))
            if request.hearing:
                _tell(request.hearing, index, completion)
            return completion

        limit = request.limit(self.context - prompt)
        try:
            outcomes = await together(map(complete, range(request.n)))
        finally:
            written = sum(len(completion.tokens) for completion in done)
            thought = sum(completion.thought_tokens for completion in done)
            spend(Usage(calls=1, prompt_tokens=prompt, completion_tokens=written, thought_tokens=thought))
        if not done:
            raise next(outcome for outcome in outcomes if isinstance(outcome, SampleError))
        return outcomes

    async def count(self, request: Request) -> int:
        return len(request.prompt) + (len(request.tokens) if request.thought or request.open else len(request.partial))

    @property
    def thinking(self) -> Family | None:
        return self._family

    async def encode(self, text: str) -> tuple[int, ...]:
        return tuple(map(ord, text))

    async def _reply(self, request: Request) -> Reply:
        if isinstance(self._script, str):
            return self._script
        reply = self._script(request)
        reply = await reply if inspect.isawaitable(reply) else reply
        if not isinstance(reply, str | Completion):
            raise InputError(f"the script of {self.name} returned {reply!r}: return a text, or a Completion")
        return reply


class ScriptedReward(RewardBackend):
    """A reward model: scores as `script(reading)` says, a number per step, or with `process=False` one for the whole.

    The script may be async, and so take time. A token is a character. A cancelled reading has spent its tokens.
    """

    card: Card | None = None
    name = "scripted-reward"
    context = 8192
    process = True

    def __init__(
        self,
        script: RewardScript,
        *,
        process: bool = True,
        name: str = "scripted-reward",
        context: int = 8192,
        card: Card | None = None,
    ) -> None:
        self._script = script
        self.process = process
        self.card = card
        self.name = name
        self.context = context

    async def rate(self, reading: Reading, spend: Meter) -> tuple[float, ...]:
        tokens = await self.count(reading)
        if tokens >= self.context:
            raise GenerationError(f"question and answer have {tokens} tokens, and {self.name} reads {self.context - 1}")
        try:
            scores = self._script(reading)
            return tuple(await scores if inspect.isawaitable(scores) else scores)
        finally:
            spend(Usage(calls=1, prompt_tokens=tokens))

    async def count(self, reading: Reading) -> int:
        return len(reading.prompt) + sum(map(len, reading.steps))


def cut(
    reply: Reply, sampling: Sampling, limit: int, family: Family | None = None, *, is_open: bool = False
) -> Completion:
    """The completion that stops where the sampling settings say, within `limit` characters."""
    whole = reply if isinstance(reply, Completion) else _sure(reply)
    stops = (family.close,) if family and sampling.thought_only else sampling.stop
    text = whole.text
    at, stop = min(((at, stop) for stop in stops if (at := text.find(stop)) >= 0), default=(len(text), ""))
    ended = _End(whole, sampling, family, is_open=is_open)
    if at + len(stop) > limit:
        return ended.at(limit, "length", "")
    if sampling.thought_only:
        return ended.at(at + len(stop), "eos", "")
    return ended.at(at + len(stop) * sampling.keep_stop, "stop" if stop else "eos", stop)


def _tell(hearing: Hearing, index: int, whole: Completion) -> None:
    """Say of a sample that it is there, and before how it grew."""
    if hearing.grew:
        for length in range(GROWS, len(whole.thought) + GROWS, GROWS):
            hearing.grew(whole.thought[:length], "")
        for length in range(GROWS, len(whole.text) + GROWS, GROWS):
            hearing.grew(whole.thought, whole.text[:length])
    hearing.done(index, whole.text, whole.end != "length")


def _sure(text: str) -> Completion:
    return Completion(text, logprobs=(0.0,) * len(text), confidences=(1.0,) * len(text), first=((text[:1], 0.0),))


@dataclass(frozen=True, slots=True)
class _End:
    """A reply that may be cut anywhere."""

    whole: Completion
    sampling: Sampling
    family: Family | None
    is_open: bool = False

    def at(self, length: int, end: Literal["eos", "stop", "length"], stop: str) -> Completion:
        text, asked = self.whole.text[:length], bool(self.sampling.top_logprobs)
        said = split(text, self.family, opened=self.is_open)
        before, closed, _ = text.partition((self.family or USUAL).close)
        thinks = said.open or bool(closed and said.text != text) or self.is_open
        return Completion(
            text=said.text,
            tokens=tuple(map(ord, text)),
            end=end,
            stop=stop,
            logprobs=self.whole.logprobs[:length] if self.sampling.logprobs or asked else (),
            confidences=self.whole.confidences[:length] if asked else (),
            first=self.whole.first[: self.sampling.top_logprobs] if asked else (),
            length=len(text),
            thought=said.thought,
            open=said.open,
            thought_tokens=len(before) if thinks else 0,
        )
