"""How much thinking buys: the small reasoner on its evaluation set, with a limit on its thoughts and without.

    python benchmarks/studies/reasoning.py [--problems 500] [--out runs/reasoning] [--guided]

Each strategy answers every problem once. Reported are the share of right answers with its interval, replies without an
answer, and the tokens per problem that were written, those of probes and of samples that were given up among them.
With `--guided`, answers are forced into forms, and it is counted how many fit.
"""

import asyncio
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")

import typer

from metagen import Problem, ProblemFile, VLLMEngine, parse, solve_all
from metagen.analysis.share import Share
from metagen.data import EVALUATION
from metagen.models import SMALL_REASONER
from metagen.solution import Solution

LONGEST = 512
"""Tokens of a reply that nothing else limits; a thought that turns in circles ends there."""
FREE = f"Model(max_tokens={LONGEST})"
CAPS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384)
CURVES: dict[str, list[str]] = {
    "cut at a cap": [f"Model(max_tokens={cap})" for cap in CAPS],
    "ended at a cap, answer forced": [f"Think({cap})" for cap in CAPS],
    "early exit": [f"EarlyExit(32, agree={agree}, tokens={LONGEST})" for agree in (2, 3)],
    "early exit by probability": [
        *(f"EarlyExit({every}, by=MeanLogprob(), tokens={LONGEST}, of=Model(logprobs=True))" for every in (16, 32)),
        *(
            f"EarlyExit(16, by=MeanLogprob(), sure={sure}, tokens={LONGEST}, of=Model(logprobs=True))"
            for sure in (-0.01, -0.002)
        ),
    ],
    "without a thought": ["Model(thinking=False)", *(f"Vote({n}, of=Model(thinking=False))" for n in (2, 4, 8, 16))],
    "vote": [FREE, *(f"Vote({n}, of={FREE})" for n in (2, 4))],
    "vote of thoughts ended at 128": [f"Vote({n}, of=Think(128))" for n in (2, 4)],
    "shortest k of m": [
        f"Shortest({k}, n={n}, every=64, of=Model(max_tokens={LONGEST}))" for k, n in ((1, 2), (1, 4), (2, 4))
    ],
    "waits 0, 1, 2, 4": [f"Think({LONGEST}, waits={waits})" for waits in (0, 1, 2, 4)],
}
FORMS = {
    "regex": r"""Model(form={"regex": "The answer is [0-9]{1,6}\\."})""",
    "json": """Model(form={"json": {"type": "object", "properties": {"answer": {"type": "integer", "minimum": 0, """
    """"maximum": 9999}}, "required": ("answer",), "additionalProperties": False}})""",
    "the task's own": "Model(form=True)",
}


@dataclass(frozen=True)
class Row:
    """What came of one strategy."""

    spec: str
    right: Share
    silent: int
    tokens: float
    """Written, a problem."""
    thought: float
    """Of thoughts, a problem."""

    def plain(self) -> dict[str, Any]:
        low, high = self.right.interval()
        return {
            "spec": self.spec,
            "accuracy": self.right.value,
            "low": low,
            "high": high,
            "silent": self.silent,
            "tokens": self.tokens,
            "thought": self.thought,
        }


def main(
    problems: int = 500,
    out: Annotated[Path, typer.Option(help="Where rows and the figure go; rows that are there are kept.")] = Path(
        "runs/reasoning"
    ),
    *,
    guided: bool = False,
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    asyncio.run(force(problems) if guided else study(problems, out))


async def study(problems: int, out: Path) -> None:
    """Run every strategy that is not in the table yet, and draw the figure."""
    table = out / f"rows-{problems}.jsonl"
    known = [json.loads(line) for line in table.read_text().splitlines()] if table.exists() else []
    wanted = dict.fromkeys(spec for specs in CURVES.values() for spec in specs)
    async with VLLMEngine(SMALL_REASONER) as model:
        for spec in wanted:
            if any(row["spec"] == spec for row in known):
                continue
            await model.forget()
            row = row_of(spec, await solved(spec, problems, model)).plain()
            known.append(row)
            with table.open("a") as file:
                file.write(json.dumps(row) + "\n")
            say(row)
    print()
    for name, specs in CURVES.items():
        print(f"\n{name}")
        for row in known:
            if row["spec"] in specs:
                say(row)
    draw(known, out)


async def force(problems: int) -> None:
    """Count how many answers have the form they were forced into, and how many are right."""
    async with VLLMEngine(SMALL_REASONER) as model:
        free = row_of("Model()", await solved(f"Model(thinking={LONGEST})", problems, model)).plain()
        say(free)
        for name, spec in FORMS.items():
            limited = spec.replace("Model(", f"Model(thinking={LONGEST}, ", 1)
            answers = await solved(limited, problems, model, name)
            fitting = sum(fits(name, each.text) for each in answers)
            print(f"{name}: {fitting} of {len(answers)} answers fit")
            say(row_of(name, answers).plain())


def fits(form: str, text: str) -> bool:
    if form != "json":
        return re.fullmatch(r"The answer is -?[0-9]+(\.[0-9]+)?\.", text) is not None
    try:
        return isinstance(json.loads(text)["answer"], int)
    except (ValueError, KeyError, TypeError):
        return False


async def solved(spec: str, problems: int, model: VLLMEngine, form: str = "") -> list[Solution]:
    kinds = {"json": 'Json("answer")', "the task's own": "Number()"}
    every: Iterable[Problem] = islice(ProblemFile(EVALUATION, answers=kinds.get(form, "")), problems)
    if form == "json":
        every = [_as_json(problem) for problem in every]
    return [each async for each in solve_all(every, parse(spec), model, seed=0, concurrency=128)]


def _as_json(problem: Problem) -> Problem:
    """The same problem, whose reference is the object that the form asks for."""
    return replace(problem, answer=json.dumps({"answer": int(problem.answer or 0)}))


def row_of(spec: str, solutions: list[Solution]) -> Row:
    right = Share(sum(each.correct is True for each in solutions), len(solutions))
    written = sum(each.usage.completion_tokens for each in solutions) / len(solutions)
    thought = sum(each.usage.thought_tokens for each in solutions) / len(solutions)
    return Row(spec, right, sum(each.answer is None for each in solutions), written, thought)


def say(row: dict[str, Any]) -> None:
    interval = f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
    print(
        f"| `{row['spec']}` | {100 * row['accuracy']:.1f} {interval} | {row['silent']} | {row['tokens']:.0f} "
        f"| {row['thought']:.0f} |",
        flush=True,
    )


def draw(rows: list[dict[str, Any]], out: Path) -> None:
    """Accuracy against tokens per problem, one line for each family of strategies."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 (optional)

    figure, axes = plt.subplots(figsize=(9, 5.5), constrained_layout=True)
    by_spec = {row["spec"]: row for row in rows}
    for (name, specs), marker in zip(CURVES.items(), "osD^v<>Pp*X", strict=False):
        points = sorted((by_spec[spec] for spec in specs if spec in by_spec), key=lambda row: row["tokens"])
        axes.errorbar(
            [row["tokens"] for row in points],
            [100 * row["accuracy"] for row in points],
            yerr=[
                [max(0.0, 100 * (row["accuracy"] - row["low"])) for row in points],
                [max(0.0, 100 * (row["high"] - row["accuracy"])) for row in points],
            ],
            marker=marker,
            markersize=5,
            linewidth=1.2,
            elinewidth=0.5,
            label=name,
        )
    axes.set_xscale("log", base=2)
    axes.set_xlabel("tokens written per problem, trial answers and cancelled samples included")
    axes.set_ylabel("right answers, %")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=8)
    for form in ("png", "svg"):
        figure.savefig(out / f"reasoning.{form}", dpi=150)


if __name__ == "__main__":
    typer.run(main)
