"""Serve a model folder with vLLM and measure it: pass@1, majority@k, coverage@k, by steps and by trap.

Run it as `python -m recipes.evaluate metagen/models/small-moe --samples 32`.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from torch import Tensor, nn

from metagen.analysis.rules import pass_at_k
from metagen.data import EVALUATION
from recipes.problems.arithmetic import answer_of

LONGEST_REPLY = 256
"""Tokens; the longest right solution has about 130."""
console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Sampled:
    """A problem and the answers of its samples, in their order; None where a sample has no answer."""

    right: int
    steps: int
    trap: str | None
    answers: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """Shares of a group of problems, 0 to 1."""

    problems: int
    pass_1: float
    majority: dict[int, float]
    """By k; the mean over the n // k disjoint runs of k samples."""
    coverage: dict[int, float]
    """By k; the unbiased pass@k."""


def majority(answers: Sequence[int | None]) -> int | None:
    """The most frequent answer; ties go to the first seen, and missing answers do not vote."""
    votes = Counter(answer for answer in answers if answer is not None)
    return votes.most_common(1)[0][0] if votes else None


def figures(sampled: Sequence[Sampled], ks: Sequence[int]) -> Figures:
    """The figures of a group of problems with equally many samples each."""
    return Figures(
        problems=len(sampled),
        pass_1=round(fmean(_pass(item, 1) for item in sampled), 4),
        majority={k: round(fmean(_majority(item, k) for item in sampled), 4) for k in ks},
        coverage={k: round(fmean(_pass(item, k) for item in sampled), 4) for k in ks},
    )


def _pass(item: Sampled, k: int) -> float:
    return pass_at_k(item.answers.count(item.right), len(item.answers), k)


def _majority(item: Sampled, k: int) -> float:
    starts = range(0, len(item.answers) - k + 1, k)
    return fmean(majority(item.answers[at : at + k]) == item.right for at in starts)


def grouped(sampled: Sequence[Sampled], key: Callable[[Sampled], str], ks: Sequence[int]) -> dict[str, Figures]:
    """The figures of each group."""
    names = sorted({key(item) for item in sampled})
    return {name: figures([item for item in sampled if key(item) == name], ks) for name in names}


@dataclass(frozen=True, slots=True)
class Serving:
    """How a model folder is served and sampled."""

    dtype: str = "auto"
    temperature: float | None = None
    """None for the model's own default."""
    samples: int = 32
    seed: int = 0
    concurrent: int = 256
    routed: bool = False
    """Whether to count where the routers send each token; the model must have experts."""


@dataclass(frozen=True, slots=True)
class Replies:
    """What the engine returned."""

    texts: list[list[str]]
    temperature: float
    tokens_per_second: float
    """Output tokens, all requests together."""
    loads: list[list[float]]
    """For each layer, the fraction of token-slots that each expert got; empty if not asked for."""


def serve(model: Path, prompts: Sequence[str], serving: Serving) -> Replies:
    """Sample replies to plain prompts in one offline engine."""
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    if serving.routed:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # the routers are watched in this process
    from vllm import LLM  # noqa: PLC0415  # the variables above are read when vllm is imported

    engine = LLM(
        str(model),
        dtype=serving.dtype,
        enforce_eager=True,
        block_size=32,
        max_model_len=1024,
        max_num_seqs=serving.concurrent,
        seed=serving.seed,
    )
    routes: list[list[Tensor]] = engine.apply_model(watch_routers)[0] if serving.routed else []
    settings = engine.get_default_sampling_params()
    settings.n, settings.max_tokens = serving.samples, LONGEST_REPLY
    if serving.temperature is not None:
        settings.temperature = serving.temperature
    began = time.monotonic()
    outputs = engine.chat([[{"role": "user", "content": prompt}] for prompt in prompts], settings, use_tqdm=False)
    seconds = time.monotonic() - began
    tokens = sum(len(sample.token_ids) for output in outputs for sample in output.outputs)
    texts = [[sample.text for sample in output.outputs] for output in outputs]
    loads = [[round(share, 4) for share in (sum(counts) / sum(counts).sum()).tolist()] for counts in routes]
    return Replies(texts, settings.temperature, tokens / seconds, loads)


def watch_routers(model: nn.Module) -> list[list[Tensor]]:
    """From now on, count the token-slots of each expert: a list a layer, which a vector [experts] a step is added to.

    vLLM can return the experts of each token by itself (`enable_return_routed_experts`), but not on a CPU: that needs
    its second model runner, which needs Triton. The routers' logits, watched here, are what it selects from.
    """
    routes: list[list[Tensor]] = []
    for name, router in model.named_modules():
        if name.endswith("mlp.gate"):
            counts: list[Tensor] = []
            router.register_forward_hook(_counter(counts, model.config.num_experts_per_tok))
            routes.append(counts)
    return routes


def _counter(counts: list[Tensor], k: int) -> Callable[[nn.Module, object, tuple[Tensor, ...]], None]:
    def count(_router: nn.Module, _inputs: object, output: tuple[Tensor, ...]) -> None:
        logits = output[0]
        counts.append(torch.bincount(logits.topk(k).indices.flatten(), minlength=logits.shape[-1]))

    return count


def report(sampled: Sequence[Sampled], first: int = 100) -> dict[str, Any]:
    """All figures: of the whole, of the first hundred, by number of steps and by trap."""
    most = len(sampled[0].answers)
    ks = [k for k in (1, 2, 4, 8, 16, 32, 64) if k <= most]
    return {
        "all": asdict(figures(sampled, ks)),
        f"first {first}": asdict(figures(sampled[:first], ks)),
        "by steps": {name: asdict(group) for name, group in grouped(sampled, _steps, ks).items()},
        "by trap": {name: asdict(group) for name, group in grouped(sampled, _trap, ks).items()},
    }


def _steps(item: Sampled) -> str:
    return str(item.steps)


def _trap(item: Sampled) -> str:
    return item.trap or "none"


def main(
    model: Annotated[Path, typer.Argument(help="A model folder.")],
    problems: Annotated[Path, typer.Option(help="JSON Lines with prompt, answer, steps and trap.")] = EVALUATION,
    samples: Annotated[int, typer.Option(help="Samples for each problem.")] = 32,
    temperature: Annotated[float | None, typer.Option(help="Instead of the model's default; 0 is greedy.")] = None,
    dtype: Annotated[str, typer.Option(help="As vLLM's --dtype.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of the engine.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Also write the figures to this JSON file.")] = None,
) -> None:
    """Measure a model on a problem file."""
    records = [json.loads(line) for line in problems.read_text().splitlines()]
    replies = serve(model, [record["prompt"] for record in records], Serving(dtype, temperature, samples, seed))
    sampled = [
        Sampled(int(record["answer"]), record["steps"], record["trap"], tuple(answer_of(text) for text in texts))
        for record, texts in zip(records, replies.texts, strict=True)
    ]
    found = {
        "problems": problems.name,
        "samples": samples,
        "temperature": replies.temperature,
        "dtype": dtype,
        "tokens_per_second": round(replies.tokens_per_second),
        **report(sampled),
    }
    console.print_json(data=found)
    if out:
        out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
