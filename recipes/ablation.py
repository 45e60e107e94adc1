"""What the experts buy: the shipped model's kin, trained side by side and measured as vLLM serves them.

    python -m recipes.ablation train NAME      # balanced, unbalanced, dense or dense-longer
    python -m recipes.ablation measure NAME
    python -m recipes.ablation route NAME      # of the mixtures
    python -m recipes.ablation report          # the table, docs/data/experts.json and docs/pictures/experts.*

`docs/experts.md` says what came out.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from transformers import Qwen3MoeForCausalLM

from metagen.analysis.intervals import percentiles, resampled_means
from metagen.analysis.plots import PALETTE, saved
from metagen.data import EVALUATION
from metagen.errors import InputError
from recipes.evaluate import Serving, majority, serve
from recipes.mixture import Shape, held_out, make_trainer, progress_line, save_model
from recipes.problems.arithmetic import answer_of
from recipes.trainer import Plan, load_checkpoint, losses, save_checkpoint
from recipes.validation import as_batch, expert_loads

BUILD, DOCS = Path("build/experts"), Path("docs")
LOOK_EVERY, SAVE_EVERY = 25, 100
"""Steps."""
console = Console(highlight=False, soft_wrap=True)
app = typer.Typer(add_completion=False, help=__doc__)


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the models that are compared. All start from one seed and see the same data in the same order."""

    shape: Shape
    plan: Plan


BALANCED = Variant(Shape(), Plan(steps=2000, threads=1))
DENSE = Variant(Shape(experts=0), replace(BALANCED.plan, balance=0.0))
VARIANTS = {
    "balanced": BALANCED,
    "unbalanced": replace(BALANCED, plan=replace(BALANCED.plan, balance=0.0)),
    "dense": DENSE,
    "dense-longer": replace(DENSE, plan=replace(DENSE.plan, steps=2470)),
}
"""A step of the dense model takes 0.81 of the time of a step of the mixture: `dense-longer` has the mixture's time."""


@dataclass(frozen=True, slots=True)
class Load:
    """How evenly one layer's token-slots are spread over its experts."""

    busiest: float
    """The busiest expert's load over the mean load: 1 at perfect balance, N / k if k experts do all."""
    effective: float
    """The exponential of the entropy: N at perfect balance."""
    idle: int
    """Experts with less than a hundredth of the mean load."""


def load(fractions: Sequence[float]) -> Load:
    """Of one layer's f, which sums to 1."""
    f = np.asarray(fractions)
    entropy = -(f[f > 0] * np.log(f[f > 0])).sum()
    return Load(float(f.max() * len(f)), float(np.exp(entropy)), int((f * len(f) < 0.01).sum()))


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over problems with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def mean(values: NDArray[np.float64], draws: int = 10_000) -> Mean:
    """The mean of one value a problem; the interval is the percentile bootstrap over problems."""
    low, high = percentiles(resampled_means(values[:, None], draws))
    return Mean(float(values.mean()), float(low[0]), float(high[0]))


def by_problem(right: Sequence[int], answers: Sequence[Sequence[int | None]]) -> dict[str, NDArray[np.float64]]:
    """One value a problem for each figure: pass@1, majority and coverage over all its samples."""
    correct = np.array([[answer == want for answer in given] for want, given in zip(right, answers, strict=True)])
    voted = [majority(given) == want for want, given in zip(right, answers, strict=True)]
    return {"pass@1": correct.mean(1), "majority": np.array(voted, float), "coverage": correct.any(1).astype(float)}


def run(variant: Variant, folder: Path) -> None:
    """Train a variant, or continue its checkpoint: `history.jsonl` and the model end up in the folder.

    The checkpoint lies beside the folder, because vLLM loads every file of weights inside.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trainer = make_trainer(variant.shape, variant.plan)
    checkpoint, history = folder.with_suffix(".safetensors"), folder / "history.jsonl"
    if checkpoint.exists():
        load_checkpoint(trainer, checkpoint)
    rows = [row for row in read_rows(history) if row["step"] <= trainer.step]
    batch = as_batch(trainer.tokenizer, held_out("validation", trainer.plan.recipe, 128)[1])
    for found in trainer.train():
        last = trainer.progress == 1
        if trainer.step % LOOK_EVERY == 0 or last:
            with torch.no_grad():
                seen = losses(trainer.model, batch)
            loads = expert_loads(trainer.model, [batch]) if isinstance(trainer.model, Qwen3MoeForCausalLM) else []
            row = {"step": trainer.step, "seconds": round(trainer.seconds, 1), "tokens": trainer.tokens}
            rows.append(row | {"text": seen.text.item(), "balance": seen.balance.item(), "loads": loads})
        if trainer.step % SAVE_EVERY == 0 or last:
            console.print(progress_line(trainer, found))
            save_checkpoint(trainer, checkpoint)
            history.write_text("".join(json.dumps(row) + "\n" for row in rows))
    save_model(trainer, folder, temperature=1.0)


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def parameters(shape: Shape) -> dict[str, int]:
    """How many parameters a variant has, and how many of them work on one token."""
    model = make_trainer(shape, Plan(steps=1)).model
    total = sum(parameter.numel() for parameter in model.parameters())
    experts = sum(value.numel() for name, value in model.named_parameters() if ".experts." in name)
    idle = experts * (shape.experts - shape.active) // shape.experts if shape.experts else 0
    return {"total": total, "active": total - idle}


def measured(folder: Path, serving: Serving) -> dict[str, Any]:
    """Answers to the evaluation set, or where the routers send its tokens, as vLLM serves the model."""
    problems = read_rows(EVALUATION)
    replies = serve(folder, [problem["prompt"] for problem in problems], serving)
    if serving.routed:
        return {"loads": replies.loads}
    return {
        "right": [int(problem["answer"]) for problem in problems],
        "answers": [[answer_of(text) for text in texts] for texts in replies.texts],
        "tokens_per_second": round(replies.tokens_per_second),
    }


def gathered(build: Path) -> dict[str, Any]:
    """All that the table and the picture show, for each variant that was measured."""
    found = {}
    for name, variant in VARIANTS.items():
        path = build / name / "measured.json"
        if not path.exists():
            raise InputError(f"{path}: there is no such file: train and measure {name} first")
        served = json.loads(path.read_text())
        routed = build / name / "routed.json"
        served |= json.loads(routed.read_text()) if variant.shape.experts else {"loads": []}
        history = read_rows(build / name / "history.jsonl")
        found[name] = {
            "steps": variant.plan.steps,
            "balance": variant.plan.balance,
            "parameters": parameters(variant.shape),
            "samples": len(served["answers"][0]),
            "seconds": history[-1]["seconds"],
            "trained tokens": history[-1]["tokens"],
            "tokens_per_second": served["tokens_per_second"],
            "by problem": {
                figure: [round(float(value), 5) for value in values]
                for figure, values in by_problem(served["right"], served["answers"]).items()
            },
            "loads": {"trained": history[-1]["loads"], "served": served["loads"]},
            "history": [
                {
                    "step": row["step"],
                    "seconds": row["seconds"],
                    "text": round(row["text"], 4),
                    "balance": round(row["balance"], 4),
                    "busiest": [round(load(layer).busiest, 3) for layer in row["loads"]],
                }
                for row in history
            ],
        }
    return found


def table(found: Mapping[str, Any]) -> str:
    """The figures as Markdown: each variant's own, then its difference to the balanced mixture, paired by problem."""
    figures = list(found["balanced"]["by problem"])
    lines = ["| model | parameters, active | validation loss | " + " | ".join(figures) + " |", "|---" * 6 + "|"]
    values = {name: {key: np.array(one["by problem"][key]) for key in figures} for name, one in found.items()}
    for name, one in found.items():
        sizes = f"{one['parameters']['total'] / 1e6:.2f} M, {one['parameters']['active'] / 1e6:.2f} M"
        means = " | ".join(str(mean(values[name][key])) for key in figures)
        lines.append(f"| {name} | {sizes} | {one['history'][-1]['text']:.4f} | {means} |")
    for name in list(found)[1:]:
        means = " | ".join(str(mean(values["balanced"][key] - values[name][key])) for key in figures)
        lines.append(f"| balanced − {name} | | | {means} |")
    lines += ["", "| model | layer | busiest over mean | effective experts | idle |", "|---" * 5 + "|"]
    for name, one in found.items():
        for number, (trained, served) in enumerate(zip(*one["loads"].values(), strict=True)):
            before, after = load(trained), load(served)
            lines.append(
                f"| {name} | {number} | {before.busiest:.2f}, {after.busiest:.2f} "
                f"| {before.effective:.2f}, {after.effective:.2f} | {before.idle}, {after.idle} |"
            )
    return "\n".join(lines)


def draw(found: Mapping[str, Any], out: Path) -> None:
    """The loss, the busiest experts in training, and the loads as served."""
    from matplotlib.figure import Figure  # noqa: PLC0415 (optional)

    colours = dict(zip(found, PALETTE, strict=False))
    figure = Figure(figsize=(9, 6.2), layout="constrained")
    (loss, busy), (left, right) = figure.subplots(2, 2)
    for name, one in found.items():
        rows = one["history"]
        steps = [row["step"] for row in rows]
        loss.plot(steps, [row["text"] for row in rows], label=name, color=colours[name])
        if rows[0]["busiest"]:
            low, high = zip(*((min(row["busiest"]), max(row["busiest"])) for row in rows), strict=True)
            busy.fill_between(steps, low, high, color=colours[name], alpha=0.25, label=f"{name}, all layers")
    loss.set(yscale="log", xlabel="step", ylabel="validation loss, nats a token")
    loss.legend(frameon=False, loc="upper right")
    busy.set(yscale="log", xlabel="step", ylabel="busiest expert's load over the mean")
    busy.legend(frameon=False, loc="upper right")
    for axis, name in ((left, "balanced"), (right, "unbalanced")):
        served = np.array(found[name]["loads"]["served"])
        image = axis.imshow(served * served.shape[1], cmap="cividis", vmin=0, vmax=4, aspect="auto")
        for (layer, expert), share in np.ndenumerate(served * served.shape[1]):
            axis.text(expert, layer, f"{share:.2f}", ha="center", va="center", color="black" if share > 2 else "white")
        axis.set(title=f"{name}, as served", xlabel="expert", ylabel="layer", yticks=range(len(served)))
        figure.colorbar(image, ax=axis, label="load over the mean")
    out.mkdir(parents=True, exist_ok=True)
    saved(figure, out, "experts")


Name = Annotated[str, typer.Argument(help=f"One of {', '.join(VARIANTS)}.")]


@app.command()
def train(name: Name) -> None:
    """Train one variant into build/experts/NAME, or continue its checkpoint."""
    torch.set_num_threads(VARIANTS[name].plan.threads)
    run(VARIANTS[name], BUILD / name)


@app.command()
def measure(name: Name, samples: int = 32) -> None:
    """Serve one variant with vLLM and keep its answers."""
    found = measured(BUILD / name, Serving(samples=samples))
    (BUILD / name / "measured.json").write_text(json.dumps(found))


@app.command()
def route(name: Name, samples: int = 2) -> None:
    """Serve one mixture with vLLM, in this process, and keep the load of its experts."""
    found = measured(BUILD / name, Serving(samples=samples, routed=True))
    (BUILD / name / "routed.json").write_text(json.dumps(found))


@app.command()
def clock(rounds: int = 12) -> None:
    """Time a step of the mixture and of the dense model, taking turns on one thread: medians in seconds."""
    torch.set_num_threads(1)
    steps = {name: make_trainer(VARIANTS[name].shape, VARIANTS[name].plan).train() for name in ("balanced", "dense")}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 4):  # the first four warm up
        for name, step in steps.items():
            begun = time.perf_counter()
            next(step)
            seconds[name] += [time.perf_counter() - begun] * (turn >= 4)
    console.print({name: round(median(each), 3) for name, each in seconds.items()})


@app.command()
def report() -> None:
    """Print the table, and write the data and the picture to docs/."""
    found = gathered(BUILD)
    console.print(table(found), markup=False)
    (DOCS / "data").mkdir(parents=True, exist_ok=True)
    (DOCS / "data" / "experts.json").write_text(json.dumps(found) + "\n")
    draw(found, DOCS / "pictures")


if __name__ == "__main__":
    app()
