"""Refinement against resampling at equal FLOPs: the shipped models on their evaluation set.

    python benchmarks/studies/refinement.py [--problems 500] [--seeds 3] [--corrector FOLDER] [--out FILE]

Each strategy answers every problem once a seed, with cold caches. Reported are: how many drafts are right, how many
final answers are, which drafts were mended and which were spoilt, and the FLOPs of all models, verifiers included.
Beside each stands resampling at its cost: the vote of the fewest samples of the generator that cost no less, so that
rounding favours resampling. Intervals are of paired differences over problems.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")

import numpy as np
import typer

from metagen import (
    Arithmetic,
    Candidate,
    Problem,
    ProblemFile,
    Run,
    Score,
    Solution,
    VLLMEngine,
    VLLMReward,
    canonical,
    extract,
    parse,
    solve_all,
)
from metagen.analysis.compare import Difference, difference
from metagen.data import EVALUATION
from metagen.models import SMALL, SMALL_CORRECTOR, SMALL_PRM
from metagen.strategies.choosing import majority
from metagen.trace import Span

CONTEXT = 1024
POOL = 16
"""Samples of each problem, a seed, for the votes to set beside."""
CONCURRENCY = 64


async def sums(problem: Problem, candidates: Sequence[Candidate], run: Run) -> list[Score | None]:
    """1 for a candidate in which the arithmetic checker finds no wrong line, else 0."""
    said = [await run.criticise(Arithmetic(), problem, candidate) for candidate in candidates]
    return [Score(float(feedback is None)) for feedback in said]


STRATEGIES = {
    "single sample": "Model()",
    "check each step, 1 round": "Refine(rounds=1)",
    "corrector, 1 round": 'Correct(Model("corrector"))',
    "arithmetic checker, 3 rounds": "Refine(Arithmetic())",
    "lowest step, 3 rounds": 'Refine(LowestStep(by=ProcessReward("prm")))',
    "corrector, 3 rounds": 'Correct(Model("corrector"), rounds=3)',
    "check each step, 3 rounds": "Refine()",
    "no revision: fresh samples until the sums are right": "Until(sums, limit=4)",
    "no revision: fresh samples until no step is low": 'Until(ProcessReward("prm"), limit=4, threshold=0.5)',
    "corrector where the sums are wrong, 3 rounds": 'Correct(Model("corrector"), feedback=Arithmetic(), rounds=3)',
    "criticise itself, 3 rounds": "Refine(Intrinsic())",
    "vote of 8": "Vote(8)",
    "vote of 8, then corrected": 'Correct(Model("corrector"), of=Vote(8))',
    "vote of 8 that were corrected": 'Vote(8, of=Correct(Model("corrector")))',
}
NAMES = {"sums": sums}


class Outcome(NamedTuple):
    """One problem under one strategy and seed."""

    draft: bool
    """Whether the first sample that was drawn is right."""
    final: bool
    flops: int


class Pool(NamedTuple):
    """Votes of k samples, k from 1: [k, problems] how often they are right, and [k] what they cost a problem."""

    right: np.ndarray[Any, np.dtype[np.float64]]
    flops: np.ndarray[Any, np.dtype[np.float64]]


def main(
    problems: int = 500,
    seeds: int = 3,
    corrector: Path = SMALL_CORRECTOR,
    prm: Path = SMALL_PRM,
    out: Path = Path("build/refinement.json"),
) -> None:
    asked = list(islice(ProblemFile(EVALUATION), problems))
    kept = asyncio.run(measured(asked, range(seeds), corrector, prm))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"problems": len(asked), "seeds": seeds, "outcomes": kept}) + "\n")


async def measured(asked: list[Problem], seeds: Sequence[int], corrector: Path, prm: Path) -> dict[str, Any]:
    """The outcomes of each strategy, [seeds][problems], reported as they come."""
    kept: dict[str, Any] = {}
    async with opened(corrector, prm) as models:
        votes = [await voted(asked, models, seed) for seed in seeds]
        pool = Pool(*(np.mean(each, axis=0) for each in zip(*votes, strict=True)))
        print_head(pool, len(asked))
        for name, spec in STRATEGIES.items():
            kept[name] = [await answered(asked, spec, models, seed) for seed in seeds]
            print_row(name, kept[name], pool)
    return kept


@asynccontextmanager
async def opened(corrector: Path, prm: Path) -> AsyncIterator[dict[str, Any]]:
    folders = {"small": SMALL, "corrector": corrector}
    async with AsyncExitStack() as stack:
        models: dict[str, Any] = {
            name: await stack.enter_async_context(VLLMEngine(folder, max_model_len=CONTEXT))
            for name, folder in folders.items()
        }
        models["prm"] = await stack.enter_async_context(VLLMReward(prm, max_model_len=CONTEXT))
        yield models


async def answered(asked: list[Problem], spec: str, models: dict[str, Any], seed: int) -> list[Outcome]:
    answers = {problem.id: problem.answer for problem in asked}
    found = {}
    for model in models.values():
        await model.forget()
    async for solution in solve_all(asked, parse(spec, NAMES), models, seed=seed, concurrency=CONCURRENCY):
        draft = next(iter(drawn(solution)), "")
        right = is_right(draft, answers[solution.problem])
        found[solution.problem] = Outcome(right, bool(solution.correct), solution.usage.all_flops)
    return [found[problem.id] for problem in asked]


async def voted(asked: list[Problem], models: dict[str, Any], seed: int) -> Pool:
    """For each k, votes of k: all that the pool of a problem gives without sharing a sample."""
    card = models["small"].card
    right, flops = np.zeros((POOL, len(asked))), np.zeros((POOL, len(asked)))
    numbers = {problem.id: number for number, problem in enumerate(asked)}
    strategy = parse(f"Vote({POOL})")
    async for solution in solve_all(asked, strategy, models, seed=seed, concurrency=CONCURRENCY):
        number = numbers[solution.problem]
        texts, usage = drawn(solution), solution.usage
        keys = [None if (answer := extract(text)) is None else canonical(answer) for text in texts]
        known = canonical(asked[number].answer or "")
        for k in range(1, POOL + 1):
            groups = [keys[at : at + k] for at in range(0, POOL - k + 1, k)]
            right[k - 1, number] = np.mean([winner(group) == known for group in groups])
            written = round(usage.completion_tokens * k / POOL)
            flops[k - 1, number] = card.flops(usage.prompt_tokens, written, samples=k)
    return Pool(right, flops.mean(1))


def drawn(solution: Solution) -> list[str]:
    """The completions of the first request."""
    span: Span
    for span in solution.trace.walk():
        if span.completions:
            return [each.text for each in span.completions]
    return []


def winner(keys: Sequence[str | None]) -> str | None:
    chosen = majority(keys)
    return None if chosen is None else keys[chosen]


def is_right(text: str, reference: str | None) -> bool:
    answer = extract(text)
    return answer is not None and canonical(answer) == canonical(reference or "")


def print_head(pool: Pool, problems: int) -> None:
    print(f"{problems} problems. Accuracy in %, differences in points with 95 % intervals.\n")
    print("Votes of k: " + ", ".join(f"{k}: {100 * pool.right[k - 1].mean():.1f}" for k in range(1, POOL + 1)) + "\n")
    columns = "strategy|draft|final|final minus draft|mended|spoilt|MFLOPs|vote at its cost|minus that vote"
    print(f"| {columns.replace('|', ' | ')} |")
    print("|---|---|---|---|---|---|---|---|---|")


def print_row(name: str, rows: list[list[Outcome]], pool: Pool) -> None:
    draft, final, flops = np.moveaxis(np.array(rows, dtype=np.float64), 2, 0)
    gain = difference(draft.mean(0), final.mean(0))
    mended, spoilt = np.mean(final * (1 - draft)), np.mean(draft * (1 - final))
    at = min(int(np.searchsorted(pool.flops, flops.mean() * (1 - 1e-6))), POOL - 1)
    beside = difference(pool.right[at], final.mean(0))
    print(
        f"| {name} | {100 * draft.mean():.1f} | {100 * final.mean():.1f} | {shown(gain)} | {100 * mended:.1f} "
        f"| {100 * spoilt:.1f} | {flops.mean() / 1e6:.1f} "
        f"| {100 * pool.right[at].mean():.1f} (k = {at + 1}, {pool.flops[at] / 1e6:.1f}) | {shown(beside)} |",
        flush=True,
    )


def shown(found: Difference) -> str:
    return f"{100 * found.value:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


if __name__ == "__main__":
    typer.run(main)
