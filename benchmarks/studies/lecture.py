"""The claims of the field's lecture on the models that ship with metagen: a figure, its data and a sentence for each.

    python benchmarks/studies/lecture.py [--problems 60] [--out runs/lecture] [--docs docs]

(Welleck et al. 2024.) Draws 32 samples of each of the first problems of the evaluation set, scored by the process
reward model, and runs tree searches, refinement, a chain with a calculator, and thinking on the same problems. What is
drawn is kept in OUT, and the same call goes on where it stopped. Then DOCS/data/lecture.json, a picture for each claim
and the page DOCS/lecture.md are written: the page is made of the data alone.
"""

import asyncio
import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")

import numpy as np
import typer

from metagen import (
    Calculator,
    Candidate,
    ModelCard,
    Problem,
    ProblemFile,
    Run,
    ToolRefusal,
    VLLMEngine,
    VLLMReward,
    parse,
    solve_all,
)
from metagen.analysis.arms import Pool, Verdicts, arms, pool_of
from metagen.analysis.compare import difference
from metagen.analysis.curve import Curve, Samples
from metagen.analysis.halving import Entrant, gain
from metagen.analysis.plots import COLOURS, PALETTE, SHAPES, saved
from metagen.analysis.reading import gather
from metagen.analysis.rules import all_rules, best_of, powers_of_two
from metagen.data import EVALUATION
from metagen.disk.runs import RunDirectory, read_solutions
from metagen.disk.traces import read_traces
from metagen.models import SHIPPED, SMALL, SMALL_CORRECTOR, SMALL_PRM, SMALL_REASONER
from metagen.request import AnyBackend

if TYPE_CHECKING:
    from matplotlib.axes import Axes

N, SEED, CONCURRENCY = 32, 0, 64
POOL = f'BestOf({N}, by=ProcessReward("prm"))'
BY = 'by=ProcessReward("prm", aggregate="last"), answer="weighted"'
RUNS = {
    "Rebase": f"Rebase(8, {BY})",
    "MCTS": f"MCTS(8, 4, {BY})",
    "intrinsic": "Refine()",
    "extrinsic": "Refine(Arithmetic())",
    "trained": 'Correct(Model("corrector"), rounds=3)',
    "calculator": "Calculated()",
}
"""What is run beside the pool, over the model that writes."""
THOUGHTS = {
    "short": "Vote(4, of=Think(128))",
    "long": "Think(512)",
    "none": "Model(thinking=False)",
    "none, voted": "Vote(8, of=Model(thinking=False))",
}
"""What is run over the model that thinks."""
Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Calculated:
    """A chain of a model and a calculator: behind each sum that the model writes stands what it comes to.

    (A tool at the places where it helps, as in Cobbe et al. 2021, section 4.2.) The model writes up to an equals sign,
    the tool's result is put behind it, and the model continues.
    """

    sums: int = 32
    """The most sums of a reply."""

    async def __call__(self, problem: Problem, run: Run) -> Candidate:
        reply = await run.ask(None, problem.stepping("="))
        for _ in range(self.sums):
            if reply.finished or reply.cut:
                break
            if found := SUM.search(reply.text):
                try:
                    reply = replace(reply, forced=f" {await run.call(Calculator(), found[1])}")
                except ToolRefusal:
                    run.note("a sum that the calculator cannot do")
            reply = await run.ask(None, problem.continuing(reply).stepping("="))
        return reply


SUM = re.compile(r"([\d(][\d\s.,()*/+-]*)=\s*$")


def main(problems: int = 60, out: Path = Path("runs/lecture"), docs: Path = Path("docs")) -> None:
    begun, chosen = time.monotonic(), list(islice(ProblemFile(EVALUATION), problems))
    asyncio.run(run_all(out, chosen))
    data = measured(out, chosen)
    (docs / "data/lecture.json").write_text(json.dumps(data, indent=1) + "\n")
    drawn(data, docs / "pictures")
    (docs / "lecture.md").write_text(page(data))
    print(f"{docs / 'lecture.md'}: {problems} problems, {time.monotonic() - begun:,.0f} s")


async def run_all(out: Path, problems: list[Problem]) -> None:
    """Run what is not there yet."""
    async with AsyncExitStack() as stack:
        if left := lacking(out, {"pool": POOL, **RUNS}, problems):
            models: dict[str, AnyBackend] = {
                "model": await stack.enter_async_context(VLLMEngine(SMALL)),
                "prm": await stack.enter_async_context(VLLMReward(SMALL_PRM)),
                "corrector": await stack.enter_async_context(VLLMEngine(SMALL_CORRECTOR)),
            }
            await run_each(out, left, problems, models)
    async with AsyncExitStack() as stack:
        if left := lacking(out, THOUGHTS, problems):
            thinker = await stack.enter_async_context(VLLMEngine(SMALL_REASONER))
            await run_each(out, left, problems, {"model": thinker})


def lacking(out: Path, specs: Mapping[str, str], problems: list[Problem]) -> dict[str, str]:
    """The runs that have not solved all problems."""
    return {name: spec for name, spec in specs.items() if len(solved(out / name)) < len(problems)}


def solved(folder: Path) -> set[str]:
    if not (folder / "solutions.jsonl").exists():
        return set()
    return {each.problem for each in read_solutions(folder) if not each.failed}


async def run_each(out: Path, specs: Mapping[str, str], problems: list[Problem], models: dict[str, AnyBackend]) -> None:
    contents = ProblemFile(EVALUATION).check()
    for name, spec in specs.items():
        begun = time.perf_counter()
        for backend in models.values():
            await backend.forget()
        about = {"strategy": spec, "problems": f"evaluation.jsonl ({contents.digest})", "seed": SEED}
        with RunDirectory(out / name, about) as kept:
            left = [problem for problem in problems if problem.id not in kept.solved]
            async for solution in solve_all(
                left, parse(spec, {"Calculated": Calculated}), models, seed=SEED, concurrency=CONCURRENCY
            ):
                kept.add(solution)
        print(f"{name}: {spec}, {time.perf_counter() - begun:,.0f} s", flush=True)


def measured(out: Path, problems: list[Problem]) -> Data:
    """All figures, rounded: what the page is made of."""
    found = gather(out / "pool", ProblemFile(EVALUATION), card=ModelCard.read(SMALL))
    samples, ks = found.samples, powers_of_two(N)
    last = Samples(samples.groups, samples.right, last_steps(out / "pool", found.ids), samples.tokens)
    spent = {each.problem: each.usage for each in read_solutions(out / "pool")}
    verdict = np.array([spent[name].verifier_flops / N for name in found.ids], np.float64)
    scores = np.asarray(samples.scores)
    pool = pool_of(samples, [Verdicts('ProcessReward("prm")', scores, {"FLOPs": verdict})])
    curves = {**all_rules(samples, ks), "best-of by the last step": best_of(last, ks)}
    small, cards = ModelCard.read(SMALL), [ModelCard.read(path) for path in SHIPPED.values()]
    return {
        "problems": len(problems),
        "samples": N,
        "curves": {name: summary(curve) for name, curve in curves.items()},
        "limit": limit(samples),
        "differences": differences(curves),
        "runs": {name: entered(out / name, spec, pool, found.ids) for name, spec in RUNS.items()},
        "thoughts": {name: thought(out / name, spec) for name, spec in THOUGHTS.items()},
        "more thought": paired(out / "long", out / "short"),
        "model": {"total": small.total, "active": small.active, "models": len(cards)},
        "experts": experts(Path("docs/data/experts.json")),
        "retrieval": json.loads(Path("docs/data/retrieval.json").read_text()),
    }


def summary(curve: Curve) -> list[list[float]]:
    """By k: k, the mean with its interval, in per cent."""
    low, high = curve.interval()
    return [[k, *(tenth(100 * each) for each in row)] for k, *row in zip(curve.ks, curve.means, low, high, strict=True)]


def tenth(value: float) -> float:
    return round(float(value), 1)


def points(found: Any) -> list[float]:
    return [tenth(100 * each) for each in (found.value, found.low, found.high)]


def differences(curves: Mapping[str, Curve]) -> Data:
    """Between rules and numbers of samples, in points, in pairs."""

    def between(one: str, k: int, other: str, m: int) -> list[float]:
        return points(difference(curves[one].at(k), curves[other].at(m)))

    peak = curves["best-of"].ks[int(curves["best-of"].means.argmax())]
    return {
        "coverage": between("coverage", 1, "coverage", N),
        "majority": between("majority", 1, "majority", N),
        "best-of peak": peak,
        "best-of": between("best-of", peak, "best-of", N),
        "weighted vote": between("best-of", N, "weighted vote", N),
        "process": between("best-of by the last step", N, "best-of", N),
        "process at peak": between("best-of by the last step", peak, "best-of", peak),
    }


def limit(samples: Samples) -> float:
    """Per cent of problems whose most probable answer under V·g is right: the largest mean score times frequency."""
    scores = np.nan_to_num(np.asarray(samples.scores))
    same = samples.groups[:, :, None] == samples.groups[:, None, :]
    sums = np.where(samples.groups >= 0, (same * scores[:, None, :]).sum(2), -1.0)
    chosen = sums.argmax(1)[:, None]
    return tenth(100 * np.take_along_axis(samples.right, chosen, 1).mean())


def last_steps(run: Path, ids: Sequence[str]) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """[P, n]: the score of the last step of each sample; nan without one."""
    found = {}
    for name, rows in read_traces(run, ids):
        steps = [each for row in rows if row.verifying for each in row.steps]
        found[name] = [each[-1] if each else np.nan for each in steps[:N]]
    return np.array([found[name] for name in ids], np.float64)


def entered(run: Path, spec: str, pool: Pool, ids: Sequence[str]) -> Data:
    """A strategy that was run beside the best parallel one that costs no more FLOPs."""
    usable = [arm for arm in arms(pool) if not arm.is_bound]
    values = np.stack([arm.played.right for arm in usable], 1)
    costs = np.stack([arm.costs["FLOPs"] for arm in usable], 1)
    ran = {each.problem: each for each in read_solutions(run)}
    right = np.array([ran[name].correct is True for name in ids], np.float64)
    flops = np.array([ran[name].usage.all_flops for name in ids], np.float64)
    entrant = Entrant(spec, np.arange(len(ids)), right, {"FLOPs": flops})
    return {
        "spec": spec,
        "right": tenth(100 * right.mean()),
        "flops": float(f"{flops.mean():.3g}"),
        "gain": points(gain(entrant, values, costs, "FLOPs")),
        "over one": points(difference(values[:, 0], right)),
    }


def thought(run: Path, spec: str) -> Data:
    ran = list(read_solutions(run))
    return {
        "spec": spec,
        "right": tenth(100 * fmean(each.correct is True for each in ran)),
        "tokens": round(fmean(each.usage.completion_tokens for each in ran)),
    }


def paired(one: Path, other: Path) -> list[float]:
    """The other run minus the one, in points, over the problems of both."""
    first, second = ({each.problem: each.correct is True for each in read_solutions(run)} for run in (one, other))
    names = sorted(first.keys() & second.keys())
    return points(difference([float(first[name]) for name in names], [float(second[name]) for name in names]))


def experts(recorded: Path) -> Data:
    """From the study of experts, whose models were trained for it: means over problems, in per cent."""
    data = json.loads(recorded.read_text())
    one = {name: np.array(each["by problem"]["pass@1"]) for name, each in data.items()}
    return {
        "balance": points(difference(one["unbalanced"], one["balanced"])),
        "dense": points(difference(one["dense"], one["balanced"])),
    }


def said(found: Sequence[float]) -> str:
    value, low, high = found
    return f"{value:+.1f} points [{low:+.1f}, {high:+.1f}]"


def judged(found: Sequence[float]) -> str:
    """A difference, and what its interval allows to say."""
    _, low, high = found
    verdict = "a gain beyond chance" if low > 0 else "a loss beyond chance" if high < 0 else "within chance"
    return f"{said(found)}, {verdict}"


def at(data: Data, rule: str, k: int) -> str:
    return next(f"{mean:.1f} %" for each, mean, _, _ in data["curves"][rule] if each == k)


@dataclass(frozen=True, slots=True)
class Claim:
    """What the lecture says, what came out, and how it is drawn."""

    title: str
    text: str
    draw: Callable[["Axes"], None]

    @property
    def picture(self) -> str:
        return f"lecture/{re.sub('[^a-z]+', '-', self.title.lower())}"


def claims(data: Data) -> list[Claim]:
    return [*architecture(data), *sampling(data), *scoring(data), *searching(data), thinking(data)]


def architecture(data: Data) -> list[Claim]:
    model, found = data["model"], data["experts"]
    return [
        Claim(
            "Top-k routing and the balance loss",
            "The load-balancing loss changes how often one sample of a small mixture of experts is right by "
            f"{judged(found['balance'])}. Against a dense model with the same active parameters the difference is "
            f"{judged(found['dense'])}.",
            differing({"balance loss": found["balance"], "experts, not dense": found["dense"]}),
        ),
        Claim(
            "Total and active parameters",
            f"The shipped model has {model['total']:,} parameters, and a token uses {model['active']:,} of them, "
            f"{100 * model['active'] / model['total']:.0f} %: FLOPs count the active ones.",
            bars({"total": model["total"], "active": model["active"]}, "parameters"),
        ),
    ]


def sampling(data: Data) -> list[Claim]:
    n, between = data["samples"], data["differences"]
    return [
        Claim(
            "An oracle raises accuracy with samples",
            f"One of {n} samples is right for {at(data, 'coverage', n)} of the problems, and a single one for "
            f"{at(data, 'coverage', 1)}: {said(between['coverage'])}.",
            curves(data, "coverage"),
        ),
        Claim(
            "The majority needs no reward",
            f"The majority of {n} is right for {at(data, 'majority', n)}: {said(between['majority'])} over one sample.",
            curves(data, "majority"),
        ),
    ]


def scoring(data: Data) -> list[Claim]:
    n, between = data["samples"], data["differences"]
    peak = between["best-of peak"]
    return [
        Claim(
            "Best-of-n and its over-optimisation",
            f"On these problems best-of-n by the reward model is best at {peak} samples, with "
            f"{at(data, 'best-of', peak)}; at {n} it is right for {at(data, 'best-of', n)}, "
            f"{judged(between['best-of'])}.",
            curves(data, "best-of"),
        ),
        Claim(
            "Weighted vote against best-of",
            f"The vote weighted by the same scores is right for {at(data, 'weighted vote', n)} at {n} samples, "
            f"{judged(between['weighted vote'])}, against best-of.",
            curves(data, "weighted vote", "best-of"),
        ),
        Claim(
            "The limit of the weighted vote",
            "With ever more samples the weighted vote returns the answer that is most probable under V·g. The best "
            f"estimate from {n} samples is the weighted vote of all {n}, which is right for {data['limit']:.1f} %. So "
            "this section draws the limit, and does not test it.",
            curves(data, "weighted vote", limit=data["limit"]),
        ),
        Claim(
            "Process against outcome reward",
            "One process reward model scores the samples. Its score of the last step takes the place of an outcome "
            f"reward. Best-of-{peak} by the lowest step differs from best-of-{peak} by the last step by "
            f"{judged(between['process at peak'])}; at {n} samples by {judged(between['process'])}.",
            curves(data, "best-of", "best-of by the last step"),
        ),
    ]


def searching(data: Data) -> list[Claim]:
    titles = {
        "Tree search against parallel sampling": "Rebase",
        "Back-tracking": "MCTS",
        "Chains with a tool": "calculator",
        "Refinement without feedback": "intrinsic",
        "Refinement with feedback": "extrinsic",
        "Refinement that was trained": "trained",
    }
    ran = [Claim(title, compared(data["runs"][name]), against(data["runs"][name])) for title, name in titles.items()]
    found = data["retrieval"]
    ran.insert(
        3,
        Claim(
            "Chains with search",
            f"{found['questions']} questions need two passages each. The first five passages of one search hold "
            f"{found['one']:.1f} % of them. With a second search, which is given the best of what the first found, it "
            f"is {found['second']:.1f} %: {judged(found['more'])}.",
            bars({"one search": found["one"], "a second search": found["second"]}, "passages found, per cent"),
        ),
    )
    return ran


def thinking(data: Data) -> Claim:
    thoughts = data["thoughts"]
    return Claim(
        "Thinking longer against sampling more",
        f"`{thoughts['long']['spec']}` is right for {thoughts['long']['right']:.1f} % with "
        f"{thoughts['long']['tokens']:,} tokens, `{thoughts['short']['spec']}` for "
        f"{thoughts['short']['right']:.1f} % with {thoughts['short']['tokens']:,}: "
        f"{judged(data['more thought'])}, for the vote. Without a thought, one sample is right for "
        f"{thoughts['none']['right']:.1f} % and a vote of 8 for {thoughts['none, voted']['right']:.1f} %.",
        points_of({each["spec"]: (each["tokens"], each["right"]) for each in thoughts.values()}),
    )


def compared(run: Data) -> str:
    return (
        f"`{run['spec']}` is right for {run['right']:.1f} % at {run['flops']:.2e} FLOPs, {said(run['over one'])} over "
        f"one sample. Compared with the best parallel strategy that costs no more: {judged(run['gain'])}."
    )


def page(data: Data) -> str:
    """The page, from the data alone."""
    parts = "\n\n".join(
        f"## {each.title}\n\n{each.text}\n\n![{each.title}](pictures/{each.picture}.svg)" for each in claims(data)
    )
    return f"""# The lecture, reproduced

`make lecture` repeats the claims of the field's lecture and tutorial (Welleck et al. 2024) on the models that ship with
metagen, and writes this page: {data["problems"]} problems of the evaluation set, {data["samples"]} samples of each.
Intervals are 95 % bootstraps over problems, in pairs where two things are compared. They are wide: so few problems show
large effects only, and the studies on the other pages use more. The data are in [lecture.json](data/lecture.json).

{parts}

## What it does not repeat

The experts are not trained again: these data come from [the study of experts](experts.md). The searches are those of
[the study of retrieval](retrieval.md), on HotpotQA and without a model: the shipped models cannot write a query. They
were never shown a tool either, but they write sums, which a calculator can do: `Calculated()` is a strategy of 20 lines
in `benchmarks/studies/lecture.py`. [`ReAct`](strategies/react.md) is for models that call tools.

No outcome reward model was trained: the last step's score of the process reward model takes its place. The limit of the
weighted vote is an estimate from the same samples, not a test.
"""


def drawn(data: Data, folder: Path) -> None:
    """Draw a picture for each claim."""
    from matplotlib.figure import Figure  # noqa: PLC0415 (optional)

    for claim in claims(data):
        figure = Figure(figsize=(5, 2.8), layout="constrained")
        axes = figure.subplots()
        claim.draw(axes)
        axes.grid(alpha=0.3)
        saved(figure, folder, claim.picture, ("svg",))


def curves(data: Data, *rules: str, limit: float | None = None) -> Callable[["Axes"], None]:
    """Accuracy against samples."""

    def draw(axes: "Axes") -> None:
        for number, rule in enumerate(rules):
            ks, means, lows, highs = zip(*data["curves"][rule], strict=True)
            colour = COLOURS.get(rule, PALETTE[number])
            axes.plot(ks, means, marker=SHAPES[number], markersize=4, label=rule, color=colour)
            axes.fill_between(ks, lows, highs, alpha=0.15, linewidth=0, color=colour)
        if limit is not None:
            axes.axhline(limit, color="#000000", linestyle="--", linewidth=1, label="limit")
        axes.set_xscale("log", base=2)
        axes.set(xlabel="samples per problem", ylabel="right, per cent")
        axes.legend(frameon=False, fontsize="small")

    return draw


def differing(found: Mapping[str, Sequence[float]]) -> Callable[["Axes"], None]:
    """Differences in points, with their intervals."""

    def draw(axes: "Axes") -> None:
        rows, places = np.array(list(found.values())), np.arange(len(found))[::-1]
        axes.errorbar(
            rows[:, 0], places, xerr=np.abs(rows[:, 1:] - rows[:, :1]).T, fmt="o", capsize=3, color=PALETTE[0]
        )
        axes.axvline(0, color="#999999", linewidth=1)
        axes.set_yticks(places, list(found))
        axes.set_ylim(-0.5, len(found) - 0.5)
        axes.set(xlabel="difference in points")

    return draw


def against(run: Data) -> Callable[["Axes"], None]:
    return differing(
        {"over one sample": run["over one"], "over the best\nparallel strategy\nat equal cost": run["gain"]}
    )


def bars(found: Mapping[str, float], unit: str) -> Callable[["Axes"], None]:
    def draw(axes: "Axes") -> None:
        axes.barh(list(found), list(found.values()), height=0.5, color=PALETTE[: len(found)])
        axes.invert_yaxis()
        axes.set(xlabel=unit)

    return draw


def points_of(found: Mapping[str, tuple[float, float]]) -> Callable[["Axes"], None]:
    """Accuracy against tokens."""

    def draw(axes: "Axes") -> None:
        for number, (name, (tokens, right)) in enumerate(found.items()):
            axes.plot(tokens, right, SHAPES[number], color=PALETTE[number], label=name)
        axes.set(xlabel="tokens written per problem", ylabel="right, per cent")
        axes.legend(frameon=False, fontsize="small")

    return draw


if __name__ == "__main__":
    typer.run(main)
