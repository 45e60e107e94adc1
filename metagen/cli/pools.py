"""From the sources of `metagen choose` to the strategies that they can stand for."""

import asyncio
import os
import re
from collections import defaultdict
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np

from metagen.analysis.arms import Arm, Pool, Unit, Verdicts, arms, cascades, pool_of
from metagen.analysis.choice import require_two
from metagen.analysis.intervals import Array, Index
from metagen.analysis.reading import LIKELIHOOD, Gathered, gather
from metagen.analysis.tally import Tally
from metagen.budget import PARTS, Account, Budget, Price, Usage
from metagen.card.card import ModelCard
from metagen.cli.console import err
from metagen.cli.jobs import fill
from metagen.cli.orders import read_graded, read_models
from metagen.cli.reports import cards, prices
from metagen.disk.lines import encode_line
from metagen.disk.pool import Sample, read_samples
from metagen.disk.problems import ProblemFile
from metagen.disk.runs import read_solutions
from metagen.errors import InputError
from metagen.jobs.job import Order, prepare, read_named
from metagen.model import Model
from metagen.run import Verifier
from metagen.settings import literal
from metagen.spec.parse import parse, parse_grade
from metagen.verifiers import MeanLogprob, RecordedScore, Sigmoid

Command = Callable[[str], Sequence[str]]
"""From the spec of a strategy to the words of a command that solves with it, up to the strategy."""
NAMED = re.compile(r"[^\W\d]\w*=")


@dataclass(frozen=True, slots=True, eq=False)
class Gathering:
    """Strategies, and what they were estimated from."""

    title: str
    ids: tuple[str, ...]
    """Of the problems."""
    arms: Sequence[Arm]
    spent: float
    """The tokens that the samples and the verdicts on them cost."""
    by: Sequence[str]
    """The verifiers that were asked."""
    command: Command = lambda _: ()
    """What solves with one of them, by its spec, up to the strategy."""


def from_pools(
    *, sources: Sequence[str], card: Sequence[str] | None, price: Sequence[str] | None, **given: Any
) -> Gathering:
    """All strategies that pools and runs can stand for, from the options of the command. Raises `InputError`."""
    if ignored := sorted(name for name in DRAWING if given.pop(name, None) not in (None, [])):
        raise InputError(f"--{ignored[0]} is for drawing a pool, and --problems says that the pools are there")
    if not given["by"] and (useless := [name for name in MODELS if given[name]]):
        raise InputError(f"--{useless[0]} is for the models that a verifier asks: name it with --by, or leave it out")
    named = {name: Path(path) for name, path in _named(sources).items()}
    if twice := read_named(given["model"] or (), "--model").keys() & named.keys():
        raise InputError(f"--model {twice.pop()}=...: is the name of a source: give one of them another name")
    found = gathered(named, cards(card or (), len(named)), prices(price or (), len(named)), **given)
    return replace(found, command=partial(spell_command, given, named, found.by))


READING = ("prompt_field", "answer_field", "id_field", "answers", "split", "grade", "load")
"""Options that say how problems are read and graded."""
MODELS = ("model", "engine", "server")
"""Options that name models, and say how they are opened."""
ASKED = (*MODELS, *READING)
DRAWING = ("also", "limit", "seed", "concurrency", "system", "template")
"""Options that say how a pool is drawn."""


def gathered(
    named: Mapping[str, Path],
    cards: Sequence[ModelCard | None],
    prices: Sequence[Price | None],
    *,
    problem_file: Path,
    of: str | None,
    by: list[str] | None,
    n: int | None,
    pace: float | None,
    grade: str | None,
    load: list[Path] | None,
    model: list[str] | None,
    engine: list[str] | None,
    server: list[str] | None,
    **reading: Any,
) -> Gathering:
    """All strategies that some samples can stand for; `model` holds those that verifiers ask. Raises `InputError`."""
    names, problems, graded = read_graded(problem_file, grade, load, **reading)
    if of and len(named) > 1:
        raise InputError("--of says what drew the samples of one source: leave it out, and name the models")
    of = literal(parse(of, names)) if of else ""
    wanted = [literal(parse_grade(each, names)) for each in by or ()]
    found = [gather(path, problems, n, card, graded) for path, card in zip(named.values(), cards, strict=True)]
    for each in found:
        for line in (*each.notes, *([each.silence] if each.silence else [])):
            err.print(f"{each.name}: {line}", soft_wrap=True)
    kept = shared([each.ids for each in found])
    require_two(len(kept[0]))
    judge = Judge(problems, graded, model or [], {"load": load, "engine": engine, "server": server})
    pools = []
    for name, each, price, rows in zip(named, found, prices, kept, strict=True):
        verifiers = [*_recorded(each), *(judge.verdicts(each, name, verifier) for verifier in wanted)]
        samples, judged = each.samples.of(rows), [_of(verdict, rows) for verdict in verifiers]
        pools.append(pool_of(samples, judged, of or _drawn_from(Path(each.name), name), price, pace))
    every = [*(arm for pool in pools for arm in arms(pool)), *cascades(pools)]
    drawn = ", ".join(f"{each.samples.n} samples each of {each.name}" for each in found)
    ids = tuple(found[0].ids[row] for row in kept[0].tolist())
    spent = sum(map(_spent, pools))
    return Gathering(f"{len(ids)} problems, {drawn}", ids, every, spent, wanted)


def _spent(pool: Pool) -> float:
    """The tokens of samples that were drawn in one request per problem, and of the verdicts on them."""
    samples, nothing = pool.samples, np.zeros(1)
    verdicts = sum(float(each.costs.get("tokens", nothing).sum()) for each in pool.verifiers)
    written, read = (nothing if each is None else each for each in (samples.tokens, samples.prompts))
    return float(written.sum() + read.sum()) + samples.n * verdicts


def _named(sources: Sequence[str]) -> dict[str, str]:
    """The sources by the names of their models; the only one needs none."""
    if len(sources) == 1 and not NAMED.match(sources[0]):
        return {"": sources[0]}
    if nameless := next((each for each in sources if not NAMED.match(each)), None):
        raise InputError(f"{nameless}: of several sources each needs a name, such as small={nameless}")
    return read_named(sources, "a source")


def shared(ids: Sequence[Sequence[str]]) -> list[Index]:
    """Where in each list the ids stand that all have, in the order of the first."""
    every = set(ids[0]).intersection(*ids[1:])
    if not every:
        raise InputError("the sources have no problem in common, and only samples of the same ones can be compared")
    places = [{name: place for place, name in enumerate(each)} for each in ids]
    names = [name for name in ids[0] if name in every]
    return [np.array([place[name] for name in names], np.intp) for place in places]


def _recorded(found: Gathered) -> Iterator[Verdicts]:
    """The verdicts that a source holds, as a verifier that weighs votes by them."""
    scores = found.samples.scores
    if scores is None:
        return
    if found.scored_by == LIKELIHOOD:
        yield Verdicts(literal(Sigmoid(MeanLogprob())), scores / (1 + scores))
    elif np.nanmin(scores, initial=0.0) < 0:
        yield Verdicts(literal(Sigmoid(RecordedScore())), 1 / (1 + np.exp(-scores)))
    else:
        yield Verdicts(literal(RecordedScore()), scores)


def _of(verdicts: Verdicts, rows: Index) -> Verdicts:
    costs: Mapping[Unit, Array] = {unit: cost[rows] for unit, cost in verdicts.costs.items()}
    return replace(verdicts, scores=verdicts.scores[rows], costs=costs)


@dataclass(frozen=True, slots=True)
class Judge:
    """Asks verifiers for their verdicts on samples that are there."""

    problems: ProblemFile
    grade: Verifier | None
    models: list[str]
    """Those that verifiers ask."""
    options: dict[str, Any]

    def verdicts(self, found: Gathered, name: str, verifier: str) -> Verdicts:
        """What a verifier says of all samples of a source: a run plays them, and it chooses the best."""
        if os.path.isdir(found.name):
            raise InputError(f"--by asks about the samples of a pool, and {found.name} is the folder of a run")
        taken = read_named(self.models, "--model")
        drawn = name or _free(taken)
        with TemporaryDirectory(prefix="metagen-") as folder:
            run, pool = Path(folder) / "run", Path(folder) / "pool.jsonl"
            _copy(Path(found.name), pool)
            order = Order(
                problems=self.problems,
                strategy=f"BestOf({found.samples.n}, by={verifier})",
                grade=literal(self.grade) if self.grade else "",
                **read_models([f"{drawn}={pool}", *self.models], **self.options, card=None, price=None),
            )
            job = prepare(order, frozenset(found.ids))
            asyncio.run(fill(job, run, Tally(), Account(Budget())))
            scored = gather(run, self.problems, found.samples.n, None, self.grade)
            usage = {each.problem: each.usage for each in read_solutions(run)}
        if scored.samples.scores is None or scored.ids != found.ids:
            raise InputError(f"--by {verifier}: judges no sample of {found.name}, so it cannot be estimated")
        return Verdicts(verifier, scored.samples.scores, _costs([usage[each] for each in found.ids], found.samples.n))


def _copy(pool: Path, copy: Path) -> None:
    """Copy the samples of a pool so that they serve any request: how they were drawn does not matter to a verifier.

    Each problem's samples are numbered from 0, without gaps.
    """
    numbers = defaultdict[str, list[int]](list)
    for *_, sample in read_samples(pool):
        numbers[sample.id].append(sample.number)
    places = {name: {number: place for place, number in enumerate(sorted(each))} for name, each in numbers.items()}
    with copy.open("wb") as file:
        for *_, sample in read_samples(pool):
            draw = places[sample.id][sample.number]
            served = msgspec.structs.replace(sample, draw=draw, prompt=None, messages=None, sampling=None)
            file.write(encode_line(msgspec.to_builtins(served)))


def _costs(usages: Sequence[Usage], n: int) -> dict[Unit, Array]:
    """[P] by unit: what a verdict cost."""
    counted: dict[Unit, list[float]] = {
        "tokens": [each.verifier_tokens for each in usages],
        "FLOPs": [each.verifier_flops for each in usages],
        "money": [each.verifier_cost / PARTS for each in usages],
    }
    known = {unit for unit, each in counted.items() if any(each) or not any(counted["tokens"])}
    return {unit: np.array(each) / n for unit, each in counted.items() if unit in known}


def spell_command(given: Mapping[str, Any], named: Mapping[str, Path], by: Sequence[str], spec: str) -> list[str]:
    """What solves the problems with the models that a strategy asks; one that is not known is `MODEL`."""
    drawing = {name: path for name, path in named.items() if len(named) == 1 or f'Model("{name}"' in spec}
    judging = MODELS if any(each in spec for each in by) else ()
    free = f"{_free(taken)}=" if judging and (taken := read_named(given["model"] or (), "--model")) else ""
    models = [f"{name}={_writer(path)}" if name else f"{free}{_writer(path)}" for name, path in drawing.items()]
    asked = [part for model in models for part in ("--model", model)]
    return ["metagen", "solve", str(given["problem_file"]), *asked, *as_options(given, (*judging, *READING))]


def _free(taken: Container[str]) -> str:
    """A name for the model of the only source that no model of a verifier has."""
    return next(each for each in ("model", "pool", "samples") if each not in taken)


def as_options(given: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Options as the command line takes them, those that were given."""
    parts = [(name, each) for name in names for each in _listed(given[name])]
    return [text for name, each in parts for text in (f"--{name.replace('_', '-')}", str(each))]


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _writer(path: Path) -> str:
    """The model that wrote the samples of a pool, if it says so."""
    sample = _first(path)
    return (sample and sample.model) or "MODEL"


def _drawn_from(path: Path, name: str) -> str:
    """The spec of the model that drew the samples of a pool, with its settings; empty for the usual one."""
    sample = _first(path)
    given: dict[str, Any] = {
        setting: tuple(value) if isinstance(value, list) else value
        for setting, value in ((sample and sample.sampling) or {}).items()
    }
    return literal(Model(name, **given)) if name or given else ""


def _first(path: Path) -> Sample | None:
    return None if os.path.isdir(path) else next((sample for _, _, sample in read_samples(path)), None)
