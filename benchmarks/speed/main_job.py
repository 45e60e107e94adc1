"""The main job beside bare vLLM, each as a user starts it, in a process of its own.

    python benchmarks/speed/main_job.py [--rounds 5] [--problems 256]

- metagen: `metagen solve evaluation.jsonl --strategy "Vote(16)"`, with the threads and the samples at once that it
  chooses
- one thread: the same with `OMP_NUM_THREADS=1`, which it then leaves alone
- compiled: the same as the first, with `--engine enforce_eager=false`
- LLM: the same prompts and sampling by a bare `LLM.generate`, with our arguments but vLLM's own 256 samples at once
- LLM as it comes: the same by `LLM(model)`, which compiles, computes in the model's float16, and chooses its threads

The ways take turns. Reported are completion tokens per second without the start, the seconds of the start, and the
ratio to `LLM` (medians of rounds). The choice of threads needs a machine that does nothing else, so before each way is
told how much more two threads do than one just then.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from typing import Annotated, Any

import typer
from vote import params

from metagen import ProblemFile
from metagen.backends.vllm import arguments
from metagen.data import EVALUATION
from metagen.models import SMALL
from metagen.system import speedup

PLAIN = "LLM as it comes"
Figures = tuple[float, float]
"""Tokens per second, and the seconds of the start."""


def main(rounds: int = 5, problems: int = 256, bare: Annotated[str, typer.Option(hidden=True)] = "") -> None:
    if bare:
        generate(problems, {} if bare == PLAIN else arguments.defaults({}, cpu=True))
        return
    ways: dict[str, Callable[[], Figures]] = {
        "metagen": lambda: solve(problems),
        "one thread": lambda: solve(problems, OMP_NUM_THREADS="1"),
        "compiled": lambda: solve(problems, "--engine", "enforce_eager=false"),
        "LLM": lambda: told([sys.executable, __file__, "--bare", "LLM", "--problems", str(problems)]),
        PLAIN: lambda: told([sys.executable, __file__, "--bare", PLAIN, "--problems", str(problems)]),
    }
    found: dict[str, list[Figures]] = {name: [] for name in ways}
    for turn in range(rounds):
        for name, way in ways.items():
            before = speedup()
            found[name].append(way())
            said = f"round {turn}  {name:10} {found[name][-1][0]:8,.0f} tokens/s"
            print(f"{said}, two threads {before:.2f} and then {speedup():.2f} of one", flush=True)
    print("\n| way | tokens per second | of bare `LLM` | start, s |\n|---|---|---|---|")
    for name, figures in found.items():
        speeds, starts = zip(*figures, strict=True)
        ratio = statistics.median(ours / theirs for ours, (theirs, _) in zip(speeds, found["LLM"], strict=True))
        print(f"| {name} | {statistics.median(speeds):,.0f} | {ratio:.2f} | {statistics.median(starts):.1f} |")


def solve(problems: int, *options: str, **environment: str) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        job = [sys.executable, "-m", "metagen", "solve", str(EVALUATION), "--limit", str(problems)]
        return told([*job, "--strategy", "Vote(16)", "--out", f"{folder}/run", *options], **environment)


def told(command: list[str], **environment: str) -> Figures:
    begun = time.perf_counter()
    settings = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    settings |= {"VLLM_CPU_KVCACHE_SPACE": "2"} if PLAIN in command else {}  # GiB, as ours
    done = subprocess.run(command, capture_output=True, text=True, env=settings | environment, check=False)
    whole = time.perf_counter() - begun
    said = re.search(r"wall time\W+([\d,.]+) s, ([\d,]+) completion tokens/s", done.stdout)
    if done.returncode or not said:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr[-3000:]}")
    seconds, speed = (float(each.replace(",", "")) for each in said.groups())
    return speed, whole - seconds


def generate(problems: int, settings: dict[str, Any]) -> None:
    from vllm import LLM  # noqa: PLC0415 (slow to import)

    llm = LLM(str(SMALL), **settings)
    tokenizer = llm.get_tokenizer()
    turns = [[{"role": "user", "content": each.prompt}] for each in islice(ProblemFile(EVALUATION), problems)]
    texts = [tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True) for turn in turns]
    prompts = [{"prompt_token_ids": tokenizer.encode(text, add_special_tokens=False)} for text in texts]
    begun = time.perf_counter()
    outputs = llm.generate(prompts, params(llm.model_config), use_tqdm=False)
    seconds = time.perf_counter() - begun
    tokens = sum(len(sample.token_ids) for output in outputs for sample in output.outputs)
    print(f"wall time {seconds:,.1f} s, {tokens / seconds:,.0f} completion tokens/s")


if __name__ == "__main__":
    typer.run(main)
