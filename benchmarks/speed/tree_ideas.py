"""What would bring tree search nearer to the speed of samples: by how much each idea moves it, on the bare engine.

    python benchmarks/speed/tree_ideas.py [--rounds 5] [--problems 16]

A beam of 4 with 4 children, for 16 problems at once, written out over vLLM's `AsyncLLM`, so that nothing but the
engine's work differs; each of the 256 sessions below has a place in the engine. The ways take turns; reported are
useful completion tokens per second as a part of those of 16 whole samples for each problem (median of rounds, by
round). The children of a step share its tokens, but vLLM shares whole blocks of 32, so each child reads the half-filled
block again.

- as it is: one request for the 4 children of a step, as `Beam` sends it
- first in place: each child is a session of vLLM (its input is a stream), and one of the 4 children of a step goes on
  in the session that wrote it, where nothing is read again
- two steps: each child writes two steps, and the second one is its first child
- long steps: a step is 64 tokens in place of a line, so there are fewer and longer requests
"""

import asyncio
import gc
import statistics
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, islice
from typing import Any

import typer
from tree import worth
from vllm import SamplingParams
from vllm.engine.protocol import StreamingInput
from vllm.sampling_params import RequestOutputKind

from metagen import ProblemFile, Request, Sampling, VLLMEngine
from metagen.data import EVALUATION
from metagen.models import SMALL

WIDTH, BRANCH, DEPTH, LONG = 4, 4, 64, 64
numbers = count()


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A reply so far, in tokens."""

    reply: tuple[int, ...] = ()
    finished: bool = False
    session: "Session | None" = None
    """Where it goes on in place."""
    ahead: "Step | None" = None
    """Its first child, where that is written already."""


class Bench:
    """A beam over the bare engine."""

    def __init__(self, engine: VLLMEngine) -> None:
        self.llm, self._prompts = engine._open(), engine._prompts
        self._defaults = self.llm.model_config.get_diff_sampling_param()
        self._defaults.pop("max_tokens", None)
        self.ends = self._prompts.ends(Sampling(stop=("\n",), keep_stop=True))
        self.useful = 0

    def prompt(self, text: str) -> tuple[int, ...]:
        return tuple(self._prompts.ids(Request("", text)))

    def params(self, n: int, *, stop: bool = True, most: int | None = None) -> Any:
        kind = RequestOutputKind.FINAL_ONLY if n else RequestOutputKind.DELTA
        ends = self.ends if stop else []
        return SamplingParams(**self._defaults, n=n or 1, stop_token_ids=ends, max_tokens=most, output_kind=kind)

    async def ask(self, prompt: Sequence[int], params: Any) -> list[Any]:
        name, output = str(next(numbers)), None
        async for each in self.llm.generate({"prompt_token_ids": list(prompt)}, params, name):
            output = each
        assert output
        return list(output.outputs)

    async def vote(self, text: str) -> None:
        outputs = await self.ask(self.prompt(text), self.params(16, stop=False))
        self.useful += sum(len(each.token_ids) for each in outputs)

    async def beam(self, expand: Callable[[tuple[int, ...], Step, int], Awaitable[list[Step]]], text: str) -> None:
        prompt, beam = self.prompt(text), [Step()]
        for _ in range(DEPTH):
            going = [each for each in beam if not each.finished]
            if not going:
                break
            each_n = BRANCH * WIDTH // len(beam) if len(beam) == 1 else BRANCH
            grown = await asyncio.gather(*(expand(prompt, each, each_n) for each in going))
            every = [each for each in beam if each.finished] + [each for part in grown for each in part]
            ranked = sorted(every, key=lambda each: -worth(str(each.reply)))
            beam = ranked[:WIDTH]
            for lost in ranked[WIDTH:]:
                if lost.session:
                    await lost.session.close()
        for each in beam:
            if each.session:
                await each.session.close()

    def child(self, parent: Step, tokens: Sequence[int], reason: object) -> Step:
        self.useful += len(tokens)
        return Step((*parent.reply, *tokens), finished=reason not in self.ends)

    async def as_it_is(self, prompt: tuple[int, ...], step: Step, n: int) -> list[Step]:
        outputs = await self.ask((*prompt, *step.reply), self.params(n))
        return [self.child(step, each.token_ids, each.stop_reason) for each in outputs]

    async def long_steps(self, prompt: tuple[int, ...], step: Step, n: int) -> list[Step]:
        outputs = await self.ask((*prompt, *step.reply), self.params(n, stop=False, most=LONG))
        grown = [self.child(step, each.token_ids, None) for each in outputs]
        return [replace(one, finished=out.finish_reason == "stop") for one, out in zip(grown, outputs, strict=True)]

    async def two_steps(self, prompt: tuple[int, ...], step: Step, n: int) -> list[Step]:
        fresh = await self.as_it_is(prompt, step, n - bool(step.ahead))
        ahead = iter(await asyncio.gather(*(self.second(prompt, each) for each in fresh if not each.finished)))
        grown = [each if each.finished else replace(each, ahead=next(ahead)) for each in fresh]
        if step.ahead:  # useful only now that its parent is kept
            self.useful += len(step.ahead.reply) - len(step.reply)
            grown.append(step.ahead)
        return grown

    async def second(self, prompt: tuple[int, ...], step: Step) -> Step:
        (output,) = await self.ask((*prompt, *step.reply), self.params(1))
        return Step((*step.reply, *output.token_ids), finished=output.stop_reason not in self.ends)

    async def first_in_place(self, prompt: tuple[int, ...], step: Step, n: int) -> list[Step]:
        fresh = n - 1 if step.session else n
        sessions = [Session(self, (*prompt, *step.reply)) for _ in range(fresh)]
        going = [each.next(()) for each in sessions]
        if step.session:
            going.append(step.session.next(step.reply[-1:]))
            sessions.append(step.session)
        grown = []
        for session, (tokens, reason) in zip(sessions, await asyncio.gather(*going), strict=True):
            child = self.child(step, tokens, reason)
            if child.finished:
                await session.close()
            grown.append(replace(child, session=None if child.finished else session))
        return grown


class Session:
    """A request of vLLM whose prompt goes on: what it has read and written stays in place."""

    def __init__(self, bench: Bench, prompt: tuple[int, ...]) -> None:
        self._inputs = asyncio.Queue[Sequence[int] | None]()
        self._first = list(prompt)
        params = bench.params(0)
        self._outputs = bench.llm.generate(self._stream(), params, f"session-{next(numbers)}")

    async def _stream(self) -> AsyncGenerator[StreamingInput, None]:
        while (tokens := await self._inputs.get()) is not None:
            yield StreamingInput({"prompt_token_ids": list(tokens)})

    async def next(self, tokens: Sequence[int]) -> tuple[list[int], object]:
        """The next step, after its last token, which was written but not read yet."""
        self._inputs.put_nowait(tokens or self._first)
        written: list[int] = []
        async for output in self._outputs:
            (part,) = output.outputs
            written += part.token_ids
            if part.finish_reason:
                return written, part.stop_reason
        return written, None

    async def close(self) -> None:
        self._inputs.put_nowait(None)
        await self._outputs.aclose()


def main(rounds: int = 5, problems: int = 16) -> None:
    asyncio.run(compare(rounds, [each.prompt for each in islice(ProblemFile(EVALUATION), problems)]))


async def compare(rounds: int, texts: list[str]) -> None:
    async with VLLMEngine(SMALL) as engine:
        bench = Bench(engine)
        ways: dict[str, Callable[[str], Awaitable[None]]] = {"16 samples": bench.vote}
        for name in ("as_it_is", "first_in_place", "two_steps", "long_steps"):
            ways[name.replace("_", " ")] = partial(bench.beam, getattr(bench, name))
        speeds: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(rounds + 1):
            for name, way in ways.items():
                gc.collect()
                bench.useful, begun = 0, time.perf_counter()
                await asyncio.gather(*map(way, texts))
                speed = bench.useful / (time.perf_counter() - begun)
                if turn:  # the first round warms up
                    speeds[name].append(speed)
                    print(
                        f"round {turn}  {name:16} {bench.useful:8,} useful tokens  {speed:8,.0f} a second", flush=True
                    )
    print("\n| way | useful tokens per second | of 16 samples |\n|---|---|---|")
    for name, found in speeds.items():
        ratios = [one / vote for one, vote in zip(found, speeds["16 samples"], strict=True)]
        print(f"| {name} | {statistics.median(found):,.0f} | {statistics.median(ratios):.2f} |")


if __name__ == "__main__":
    typer.run(main)
