"""Draws the pool that `metagen choose` chooses from, and runs the strategies that no pool can stand for."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from shlex import join
from statistics import median
from typing import Any

import numpy as np

from metagen.analysis.arms import Unit
from metagen.analysis.compare import Difference
from metagen.analysis.halving import Entrant, better_half, gain, laps
from metagen.analysis.intervals import Array
from metagen.analysis.sheet import Sheet
from metagen.analysis.tables import points
from metagen.analysis.tally import Tally
from metagen.backends import Recorded
from metagen.budget import Account, Budget, Usage
from metagen.card.card import ModelCard
from metagen.cli import orders
from metagen.cli.choose import Amount, Finding, find, report
from metagen.cli.console import err, out
from metagen.cli.jobs import check_pool, drawing, fill, sample_file
from metagen.cli.pools import ASKED, READING, Gathering, as_options, gathered, require_alone
from metagen.cli.sweeps import Late, late
from metagen.disk.files import replace_text
from metagen.disk.pool import read_samples
from metagen.disk.runs import check_root, read_solutions
from metagen.errors import InputError
from metagen.jobs.costs import check_costs, require_judged
from metagen.jobs.job import Job, Order, prepare, read_named
from metagen.leaves import named_models, naming, require_no_model
from metagen.model import Model
from metagen.models import SMALL
from metagen.request import AnyBackend, card_of, generates, opened, price_of
from metagen.settings import CONCURRENCY, counted, literal
from metagen.solve import solve
from metagen.spec.parse import CONSTRUCTORS
from metagen.strategies import Ask, CoT, Mapped

PROBLEMS, SAMPLES = 100, 16
"""Of a pool, if nobody says."""
SHARE = 0.1
"""A choice may cost so much of what running every strategy on the problems would cost."""
PROBES = 5
"""Samples whose pace is measured."""
TREES = ("Rebase", "ParticleFilter")


def explore(given: Mapping[str, Any], amount: Amount | None) -> int:
    """Draw a pool, choose from it, run other strategies, and report, from the options of the command.

    Returns the exit code: that of the drawing, and nothing is chosen where samples are missing.
    """
    sources, models = given["sources"], given["model"] or []
    if len(sources) > 1:
        raise InputError("without --problems there is one file of problems: for pools that are there, give --problems")
    unlimited = dict.fromkeys(("tokens", "seconds", "flops", "money"))
    file, spec = Path(sources[0]), given["of"] or "Model()"
    usual_ones = {"limit": given["limit"] or PROBLEMS, "concurrency": given["concurrency"] or CONCURRENCY}
    order = orders.order(**{**given, **unlimited, **usual_ones, "file": file, "strategy": spec})
    by, also = given["by"] or (), given["also"] or ()
    # A verifier is checked over what draws the pool: some need samples that were drawn with log-probabilities.
    specs = [*(f"BestOf(2, of={spec}, by={each})" for each in by), *also]
    job, *others = [prepare(replace(order, strategy=each)) for each in (spec, *specs)]
    for each in others[: len(by)]:
        require_alone(getattr(each.strategy, "by", None))
    name, _ = drawing(job)
    _check_drawer(job.strategy, spec)
    require_no_model(job.grade, orders.GRADED)
    _check_amount(amount, job)
    if not job.judged and _is_pool(file):
        raise InputError(f"{file}: is a pool of samples: name the problems that it was drawn for with --problems")
    require_judged(job.judged, file, least=2)
    folder = given["out_dir"] or Path("runs") / f"choose-{job.slug()}"
    pool = folder / "pool.jsonl"
    check_pool(job, pool)
    check_root(folder)
    if code := asyncio.run(sample_file(job, given["n"] or SAMPLES, pool)):
        there = ["metagen", "choose", str(pool), "--problems", str(file), *as_options(given, READING)]
        err.print(f"To choose from what is there: {join(there)}", soft_wrap=True)
        return code
    pace, probed = given["pace"], 0
    if amount and amount.unit == "seconds" and pace is None:
        pace, probed = measured_pace(job, folder / "pace.json")
        out.print(f"One sample alone is written at {pace:,.1f} tokens per second.", soft_wrap=True)
    first = next(each for each, backend in job.models.items() if generates(backend))
    judges = tuple(naming(getattr(each.strategy, "by", None), first) for each in others[: len(by)])
    card, asked = card_of(job.models[name]), set(named_models(judges))
    known = {"model": str(SMALL)} | read_named(models, "--model")
    judging = [f"{each}={known[each]}" for each in job.models if each != name or each in asked]
    found = gathered(
        {"": pool},
        [card if isinstance(card, ModelCard) else None],
        [price_of(job.models[name])],
        **{**given, "problem_file": file, "by": list(map(literal, judges)), "model": judging, "pace": pace},
    )
    found = replace(found, spent=found.spent + probed)
    finding = find(found.title, found.arms, lambda _: _command(file, given), amount)
    if not all("tokens" in arm.costs for arm in found.arms):
        report(finding, folder, more=["No other strategy was run: the samples count no tokens to compare costs by."])
        return 0
    of = "" if name == first else literal(Model(name))
    specs = [*usual(by, pool, of), *also]
    raced = asyncio.run(Race(order, name, pool, specs, found).run())
    differences = gains(raced, finding)
    report(finding, folder, sheet(raced, differences) if raced.entrants else None, sentences(raced, differences))
    return 0


def _check_drawer(strategy: object, spec: str) -> None:
    """Refuse what draws several samples, or one in several parts, before a pool is drawn of it."""
    while isinstance(strategy, CoT | Ask | Mapped):
        strategy = strategy.of
    ours = CONSTRUCTORS.get(type(strategy).__name__) is type(strategy)  # one of the user's own may draw in any way
    if ours and not isinstance(strategy, Model):
        raise InputError(
            f"--of {spec}: a choice is estimated from single samples, as Model(...), CoT(...) or Ask(...) draw them: "
            "give one of these, and run other strategies beside it with --also"
        )


def _is_pool(file: Path) -> bool:
    """Whether a file that was given as problems begins with a sample."""
    with suppress(InputError):
        return next(read_samples(file), None) is not None
    return False


def _check_amount(amount: Amount | None, job: Job) -> None:
    """Refuse a budget in what is not known of the model, before a pool is drawn. Raises `InputError`."""
    if amount and amount.unit in {"money", "FLOPs"} and job.order:
        budget = Budget(money=amount.value) if amount.unit == "money" else Budget(flops=amount.value)
        check_costs(job.strategy, budget, job.models)


def measured_pace(job: Job, kept: Path) -> tuple[float, int]:
    """How many tokens of a sample are written per second while nothing else runs, and the tokens that it cost to know.

    What was measured once is `kept`, and measured again for other models or another way to draw a sample.
    """
    about = {"of": literal(job.strategy), "models": {name: each.name for name, each in job.models.items()}}
    with suppress(OSError, ValueError, TypeError, KeyError):
        known = json.loads(kept.read_text())
        if known["about"] == about:
            return float(known["tokens_per_second"]), int(known["cost"])
    pace, cost = asyncio.run(_probed(job))
    if not pace:
        raise InputError("--budget in seconds: no sample was written, so its pace is not known: give it with --pace")
    text = json.dumps({"tokens_per_second": pace, "cost": cost, "about": about}) + "\n"
    replace_text(kept, text)
    return pace, cost


async def _probed(job: Job) -> tuple[float, int]:
    """The median pace of `PROBES` samples after one that warms up, each of another problem; and what they cost."""
    paces, cost = [], 0
    with err.status("Measuring how fast a sample is written ..."):
        async with opened(job.models):
            for problem in islice(job.left(set()), PROBES + 1):
                solution = await solve(problem, job.strategy, job.models, seed=job.seed)
                paces.append(solution.usage.completion_tokens / max(solution.seconds, 1e-9))
                cost += solution.usage.tokens
    return median(paces[1:] or paces), cost


def _command(file: Path, given: Mapping[str, Any]) -> list[str]:
    """What solves the problems in the same way, up to the strategy."""
    return ["metagen", "solve", str(file), *as_options(given, (*ASKED, "system", "template", "card", "price"))]


def usual(by: Sequence[str], pool: Path, of: str) -> list[str]:
    """Strategies that a pool cannot stand for: refinement, trees by process rewards, and limits of thoughts.

    They ask the model `of`, or if that is empty the first one.
    """
    inside, alone = (f", of={of}", f"of={of}") if of else ("", "")
    trees = [f"{name}(8, by={each}{inside})" for each in by if each.startswith("ProcessReward(") for name in TREES]
    thoughts = [sample.thought_tokens for _, _, sample in read_samples(pool) if sample.thought_tokens]
    middle = int(np.median(thoughts)) if thoughts else 0
    return [f"Refine({alone})", *trees, *(f"Think({each}{inside})" for each in (middle // 2, middle) if each)]


@dataclass(frozen=True, slots=True)
class Raced:
    """The strategies that were run, and what the whole choice cost in tokens, the pool included."""

    entrants: Sequence[Entrant]
    spent: float
    whole: float
    """What running every strategy on every problem would have cost."""


class Race:
    """Runs strategies on more and more problems; after each lap the worse half is dropped.

    A lap is run only if all that is spent then stays within a tenth of what running every strategy would cost.
    """

    def __init__(self, order: Order, name: str, pool: Path, specs: Sequence[str], gathered: Gathering) -> None:
        """`name` is that of the model whose samples the pool keeps. Raises `InputError` for what cannot be run."""
        jobs = [prepare(replace(order, strategy=spec)) for spec in specs]
        self._jobs = {literal(job.strategy): job for job in jobs}
        self._name, self._pool = name, pool
        usable = [arm for arm in gathered.arms if not arm.is_bound]
        self._values = np.stack([arm.played.right for arm in usable], 1)
        self._costs = np.stack([arm.costs["tokens"] for arm in usable], 1)
        self._places = {each: place for place, each in enumerate(gathered.ids)}
        self._drawing = gathered.spent

    async def run(self) -> Raced:
        """Run as many laps as may be spent."""
        guess = np.array([self._drawing / len(self._places)])
        found = {spec: Entrant(spec, np.arange(0), np.empty(0), {"tokens": guess}) for spec in self._jobs}
        left, before = list(found.values()), 0
        async with AsyncExitStack() as stack:
            models = self._opened(stack)
            for size in laps(len(self._places)):
                if self._spent(found) + ahead(left, size - before) > SHARE * self._whole(found):
                    break
                left = [await self._lap(each.spec, models, size) for each in left]
                left = [each for each in left if len(each.places)]
                if not left:  # none of these problems is among those of the pool, or has a verdict
                    break
                found |= {each.spec: each for each in left}
                left, before = better_half(left, self._values, self._costs, "tokens"), size
        ran = [each for each in found.values() if len(each.places)]
        return Raced(ran, self._spent(found), self._whole(found))

    def _opened(self, stack: AsyncExitStack) -> dict[str, AnyBackend]:
        """The models, each opened once, when it is first used. What they draw is kept in a pool of its own."""
        given = next(iter(self._jobs.values())).models
        models: dict[str, AnyBackend] = {name: late(backend, stack) for name, backend in given.items()}
        drawing = models[self._name]
        if isinstance(drawing, Late):
            origin = next(iter(self._jobs.values())).origin(self._name)
            models[self._name] = Recorded(self._pool.with_name("others.jsonl"), drawing, origin=origin)
        return models

    async def _lap(self, spec: str, models: Mapping[str, AnyBackend], size: int) -> Entrant:
        # Rows without a reference are none of the pool's problems, and running them would show nothing.
        job = replace(self._jobs[spec], models=models, only=frozenset(islice(self._places, size)))
        folder = self._pool.parent / job.slug(costs=True)
        await fill(job, folder, Tally(), Account(job.budget))
        solved = [each for each in read_solutions(folder) if each.problem in self._places]
        ran = [each for each in solved if each.correct is not None]
        if len(ran) < len(solved):
            err.print(
                f"{spec}: left out for lack of a verdict: {len(solved) - len(ran)} of {counted(len(solved), 'problem')}"
            )
        return Entrant(
            spec,
            np.array([self._places[each.problem] for each in ran], np.intp),
            np.array([each.correct is True for each in ran], np.float64),
            _costs([each.usage for each in ran]),
        )

    def _spent(self, found: Mapping[str, Entrant]) -> float:
        return self._drawing + sum(float(each.costs["tokens"].sum()) for each in found.values() if len(each.places))

    def _whole(self, found: Mapping[str, Entrant]) -> float:
        """What running every strategy on every problem would cost."""
        return float(self._costs.sum()) + ahead(list(found.values()), len(self._places))


def ahead(left: Sequence[Entrant], problems: int) -> float:
    """What so many problems cost under each of some strategies, in tokens."""
    return problems * sum(float(each.costs["tokens"].mean()) for each in left)


def _costs(usages: Sequence[Usage]) -> dict[Unit, Array]:
    """[P] by unit; those that nothing was counted in are left out."""
    counted: dict[Unit, Array] = {
        "tokens": np.array([each.tokens for each in usages], np.float64),
        "FLOPs": np.array([each.all_flops for each in usages], np.float64),
        "money": np.array([each.money for each in usages], np.float64),
    }
    return {unit: each for unit, each in counted.items() if unit == "tokens" or each.any()}


def gains(raced: Raced, found: Finding) -> list[Difference]:
    """How much better each strategy that was run is than the best of the pool that costs no more."""
    unit = found.unit if all(found.unit in each.costs for each in raced.entrants) else "tokens"
    costs = found.costs if unit == found.unit else np.stack([arm.costs["tokens"] for arm in found.arms], 1)
    return [gain(each, found.values, costs, unit, len(raced.entrants)) for each in raced.entrants]


def sheet(raced: Raced, differences: Sequence[Difference]) -> Sheet:
    """The strategies that were run, to be read."""
    rows = tuple(
        (
            each.spec,
            str(len(each.places)),
            f"{100 * each.right.mean():.1f}",
            f"{each.costs['tokens'].mean():,.0f}",
            points(difference),
        )
        for each, difference in zip(raced.entrants, differences, strict=True)
    )
    columns = ("strategy", "problems", "right", "tokens", "points above the pool at equal cost")
    return Sheet("Strategies that were run on the model; the worse half is dropped after each lap", columns, rows)


def sentences(raced: Raced, differences: Sequence[Difference]) -> Iterator[str]:
    """What the race says, and what all of it cost."""
    better = [each.spec for each, other in zip(raced.entrants, differences, strict=True) if other.low > 0]
    if better:
        yield f"Better than the pool at equal cost, beyond chance: {', '.join(better)}."
    elif raced.entrants:
        yield "None of these is better than the pool at equal cost beyond what chance gives the luckiest."
    else:
        yield (
            "No other strategy is compared: either the choice would then cost more than "
            f"{SHARE:.0%} of running every strategy, or their answers had no verdict."
        )
    yield (
        f"This choice cost {raced.spent:,.0f} tokens, {100 * raced.spent / raced.whole:.1f} % of the "
        f"{raced.whole:,.0f} that running every strategy on these problems would cost."
    )
