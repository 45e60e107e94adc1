"""How much of the engine's speed is left under metagen: Vote(16) on 256 problems beside bare vLLM.

    python benchmarks/speed/vote.py [--rounds 5] [--problems 256]

Three ways to draw 16 samples for each of 256 problems take turns in one process, over the same model with the same
prompts and the same sampling (the model's defaults, unseeded):

- metagen: `solve_all` with `Vote(16)`; traces written to disk, answers extracted, votes counted, answers graded
- AsyncLLM: one bare `generate(n=16)` a problem, all at once, on the very engine that metagen uses
- LLM: one bare `LLM.generate` for all, on an engine of its own with the same arguments

Reported are completion tokens per second: the median over rounds, and the median of the ratios round by round.
"""

import asyncio
import gc
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from itertools import islice
from pathlib import Path
from typing import Any

import typer

from metagen import ProblemFile, VLLMEngine, Vote, solve_all
from metagen.backends.folder import config_of
from metagen.backends.vllm import arguments as _engine_args
from metagen.data import EVALUATION
from metagen.disk.runs import RunDirectory
from metagen.models import SMALL

N = 16
Way = Callable[[], Awaitable[int]]


def main(rounds: int = 5, problems: int = 256) -> None:
    asyncio.run(compare(rounds, problems))


async def compare(rounds: int, problems: int) -> None:
    every = list(islice(ProblemFile(EVALUATION), problems))
    async with VLLMEngine(SMALL) as engine:
        llm = await asyncio.to_thread(offline)
        tokenizer = llm.get_tokenizer()
        turns = [[{"role": "user", "content": problem.prompt}] for problem in every]

        def prompts() -> list[Any]:
            texts = [tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True) for turn in turns]
            return [{"prompt_token_ids": tokenizer.encode(text, add_special_tokens=False)} for text in texts]

        ways: dict[str, Way] = {
            "metagen": lambda: with_metagen(engine, every),
            "AsyncLLM": lambda: with_async_llm(engine, prompts),
            "LLM": lambda: with_llm(llm, prompts),
        }
        speeds: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(rounds + 1):
            for name, way in ways.items():
                speed = await timed(way)
                if turn:  # the first round warms up
                    speeds[name].append(speed)
                    print(f"round {turn}  {name:9} {speed:8,.0f} tokens/s", flush=True)
    report(speeds)


async def timed(way: Way) -> float:
    gc.collect()
    begun = time.perf_counter()
    tokens = await way()
    return tokens / (time.perf_counter() - begun)


async def with_metagen(engine: VLLMEngine, problems: list[Any]) -> int:
    tokens = 0
    with tempfile.TemporaryDirectory() as folder, RunDirectory(Path(folder), {}) as run:
        async for solution in solve_all(problems, Vote(N), engine):
            run.add(solution)
            tokens += solution.usage.completion_tokens
    return tokens


async def with_async_llm(engine: VLLMEngine, prompts: Callable[[], list[Any]]) -> int:
    bare = engine._open()  # the same engine, without metagen

    async def one(number: int, prompt: Any) -> int:
        tokens = 0
        async for output in bare.generate(prompt, params(bare.model_config), f"bare-{time.monotonic_ns()}-{number}"):
            tokens = sum(len(sample.token_ids) for sample in output.outputs)
        return tokens

    return sum(await asyncio.gather(*(one(number, prompt) for number, prompt in enumerate(prompts()))))


async def with_llm(llm: Any, prompts: Callable[[], list[Any]]) -> int:
    outputs = await asyncio.to_thread(llm.generate, prompts(), params(llm.model_config), use_tqdm=False)
    return sum(len(sample.token_ids) for output in outputs for sample in output.outputs)


def params(config: Any) -> Any:
    from vllm.sampling_params import RequestOutputKind, SamplingParams  # noqa: PLC0415

    defaults = config.get_diff_sampling_param()
    return SamplingParams(**defaults, n=N, max_tokens=1500, output_kind=RequestOutputKind.FINAL_ONLY)


def offline() -> Any:
    from vllm import LLM  # noqa: PLC0415

    return LLM(str(SMALL), **_engine_args.defaults(config_of(str(SMALL)), cpu=True))


def report(speeds: dict[str, list[float]]) -> None:
    print(f"\n{'':9} {'median tokens/s':>16} {'metagen to it, median of rounds':>34}")
    for name, values in speeds.items():
        ratios = [ours / theirs for ours, theirs in zip(speeds["metagen"], values, strict=True)]
        print(f"{name:9} {statistics.median(values):16,.0f} {statistics.median(ratios):34.3f}")


if __name__ == "__main__":
    typer.run(main)
