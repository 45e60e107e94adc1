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
from typing import Any, cast

import msgspec
import numpy as np

from metagen.analysis.arms import Arm, Pool, Unit, Verdicts, arms, cascades, pool_of
from metagen.analysis.choice import require_two
from metagen.analysis.intervals import Array, Index
from metagen.analysis.reading import LIKELIHOOD, SOLUTIONS, VERIFIER, Gathered, gather
from metagen.analysis.tables import shared
from metagen.analysis.tally import Tally
from metagen.budget import PARTS, Account, Budget, Price, Usage
from metagen.card.card import ModelCard
from metagen.cli.console import err
from metagen.cli.jobs import fill
from metagen.cli.orders import read_graded, read_models
from metagen.cli.reports import cards_and_prices
from metagen.disk.lines import encode_line
from metagen.disk.pool import Sample, is_thought, join_thoughts, read_samples
from metagen.disk.problems import ProblemFile
from metagen.disk.runs import read_rows, read_solutions
from metagen.disk.samples import read_claim, read_given
from metagen.disk.traces import read_configuration
from metagen.errors import InputError
from metagen.jobs.job import ModelOrder, Order, digests_of, make_models, prepare, read_named
from metagen.jobs.loading import load_all
from metagen.jobs.opening import is_loaded
from metagen.leaves import asks_first, find_drawing, named_models, naming, parts, settings_of
from metagen.model import FORMS, SETTINGS, USUAL, Model
from metagen.problem import Problem
from metagen.request import Request, generates
from metagen.run import Verifier
from metagen.settings import counted, literal
from metagen.spec.parse import parse, parse_grade
from metagen.strategies import CoT
from metagen.verifiers import MatchesReference, MeanLogprob, Pairwise, RecordedScore, Sigmoid

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
    found = gathered(named, *cards_and_prices(len(named), card, price), **given)
    for path in named.values():
        _say_loaded(path, given["load"] or ())
    return replace(found, command=partial(spell_command, given, named, found.by))


READING = ("prompt_field", "answer_field", "id_field", "answers", "split", "grade", "load")
"""Options that say how problems are read and graded."""
MODELS = ("model", "engine", "server")
"""Options that name models, and say how they are opened."""
ASKED = (*MODELS, *READING)
DRAWING = ("also", "limit", "seed", "concurrency")
"""Options that say how a pool is drawn."""
TURNS = ("system", "template")
"""Options that say what is sent with the problems; of a pool that is there, only the command needs them."""


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
    judge = Judge(problems, graded, model or [], {"load": load, "engine": engine, "server": server})
    verifiers = [parse_grade(each, names, "by") for each in by or ()]
    for verifier in verifiers:
        require_alone(verifier)
    wanted = [literal(judge.named(verifier, names)) for verifier in verifiers]
    found = [gather(path, problems, n, card, graded) for path, card in zip(named.values(), cards, strict=True)]
    for each in found:
        for line in (*each.notes, *([f"no answer: {each.silence}"] if each.silence else [])):
            _note(each.name, line)
    kept = shared(*(each.ids for each in found))
    if not len(kept[0]):
        raise InputError("the sources have no problem in common, and only samples of the same ones can be compared")
    require_two(len(kept[0]))
    pools = []
    for name, each, price, rows in zip(named, found, prices, kept, strict=True):
        drawn_by = of or _drawn_by(Path(each.name), name, names, problems, asked=any(reading[turn] for turn in TURNS))
        verdicts = [*_recorded(each, names), *(judge.verdicts(each, name, by) for by in wanted)]
        samples, judged = each.samples.of(rows), [_of(verdict, rows) for verdict in verdicts]
        pools.append(pool_of(samples, judged, drawn_by, price, pace))
    every = [*(arm for pool in pools for arm in arms(pool)), *cascades(pools)]
    drawn = ", ".join(f"{counted(each.samples.n, 'sample')} each of {each.name}" for each in found)
    ids = tuple(found[0].ids[row] for row in kept[0].tolist())
    spent = sum(map(_spent, pools))
    return Gathering(f"{counted(len(ids), 'problem')}, {drawn}", ids, every, spent, wanted)


def _spent(pool: Pool) -> float:
    """The tokens of samples that were drawn in one request per problem, and of the verdicts on them."""
    samples, nothing = pool.samples, np.zeros(1)
    verdicts = sum(float(each.costs.get("tokens", nothing).sum()) for each in pool.verifiers)
    known = (samples.tokens, samples.prompts, samples.again)
    written, read, again = (nothing if each is None else each for each in known)
    return float(written.sum() + read.sum()) + samples.n * (float(again.sum()) + verdicts)


def _named(sources: Sequence[str]) -> dict[str, str]:
    """The sources by the names of their models; the only one needs none."""
    if len(sources) == 1 and not NAMED.match(sources[0]):
        return {"": sources[0]}
    if nameless := next((each for each in sources if not NAMED.match(each)), None):
        raise InputError(f"{nameless}: of several sources each needs a name, such as small={nameless}")
    return read_named(sources, "a source")


def compares(verifier: object) -> bool:
    """Whether its verdict on a sample depends on those that it is judged with."""
    return any(isinstance(part, Pairwise) for part in parts(verifier))


def require_alone(verifier: object) -> None:
    """Refuse a verifier whose verdicts on all samples say nothing of a part of them. Raises `InputError`."""
    if compares(verifier):
        raise InputError(
            f"--by {literal(verifier)}: compares samples with each other, so its verdicts on all of them are not those "
            "on fewer: name a verifier that judges each sample alone, or compare strategies with `metagen sweep`"
        )


def _recorded(found: Gathered, names: Mapping[str, Any]) -> Iterator[Verdicts]:
    """The verdicts that a source holds, as a verifier that weighs votes by them."""
    scores = found.samples.scores
    if scores is None:
        return
    if found.scored_by == LIKELIHOOD:
        yield Verdicts(literal(Sigmoid(MeanLogprob())), scores / (1 + scores))
        return
    by, costs = _judged(found, names) if found.scored_by == VERIFIER else (RecordedScore(), {})
    if by is None or isinstance(by, MatchesReference) or compares(by):
        why = "its strategy does not say which verifier gave them"
        if by:
            why = f"{literal(by)} " + ("compares samples with each other" if compares(by) else "knows the answers")
        _note(found.name, f"its verdicts are left out: {why}")
        return
    if isinstance(by, RecordedScore):
        _note(found.name, FREE)
    if np.nanmin(scores, initial=0.0) < 0:
        yield Verdicts(literal(Sigmoid(by)), np.exp(-np.logaddexp(0, -scores)), costs)
    else:
        yield Verdicts(literal(by), scores, costs)


FREE = (
    "the verdicts that it holds are counted as free. A live model has none: write the verifier that gave them in place "
    "of RecordedScore()"
)


def _judged(found: Gathered, names: Mapping[str, Any]) -> tuple[Verifier | None, Mapping[Unit, Array]]:
    """The verifier of a run, and what its verdicts cost."""
    strategy = _strategy(Path(found.name), names)
    settings = settings_of(type(strategy)) or ()  # type: ignore[arg-type]  # a class has a hash
    by = [each for name, _, judges in settings if judges and (each := getattr(strategy, name)) is not None]
    if len(by) != 1 or isinstance(by[0], tuple):
        return None, {}
    rows = {row.problem: row for row in read_rows(Path(found.name) / SOLUTIONS, torn=True)}
    solved = [rows[each] for each in found.ids]
    return by[0], _costs([each.usage.usage() for each in solved], np.array([max(1, each.scored) for each in solved]))


def _strategy(run: Path, names: Mapping[str, Any]) -> Any:
    """The strategy of a run; `None` where it cannot be read, as one of the user's own that is not loaded."""
    try:
        return parse(str(read_configuration(run).get("strategy")), names)
    except InputError:
        return None


def _note(name: str, line: str) -> None:
    err.print(f"{name}: {line}", soft_wrap=True)


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

    def named(self, verifier: Verifier, names: Mapping[str, Any]) -> Verifier:
        """The verifier, asking the first model that is given where it names none. Raises `InputError` without one."""
        if not asks_first(verifier):
            return verifier
        order = ModelOrder(**read_models(self.models, **self.options, card=None, price=None))
        _, backends = make_models(order, names)
        if (first := next((name for name in order.models if generates(backends[name])), None)) is None:
            raise InputError(
                f"--by {literal(verifier)}: names no model, and samples that are there cannot judge: say with --model "
                "which model it asks"
            )
        return cast(Verifier, naming(verifier, first))

    def verdicts(self, found: Gathered, name: str, verifier: str) -> Verdicts:
        """What a verifier says of all samples of a source: a run plays them, and it chooses the best."""
        if os.path.isdir(found.name):
            raise InputError(f"--by asks about the samples of a pool, and {found.name} is the folder of a run")
        taken = read_named(self.models, "--model")
        drawn = name or _free(taken)
        with TemporaryDirectory(prefix="metagen-") as folder:
            run, pool = Path(folder) / "run", Path(folder) / "pool.jsonl"
            _copy(Path(found.name), pool, self.problems)
            order = Order(
                problems=self.problems,
                strategy=f"BestOf({found.samples.n}, by={verifier})",
                grade=literal(self.grade) if self.grade else "",
                **read_models([f"{drawn}={pool}", *self.models], **self.options, card=None, price=None),
            )
            job = prepare(order, frozenset(found.ids))
            asyncio.run(fill(job, run, tally := Tally(), Account(Budget())))
            if tally.failed:
                fails = f"fails on {tally.failed} of {counted(len(found.ids), 'problem')}"
                raise InputError(f"--by {verifier}: {fails} of {found.name}: {tally.reason()[0]}")
            scored = gather(run, self.problems, found.samples.n, None, self.grade, scores_only=True)
            usage = {each.problem: each.usage for each in read_solutions(run)}
        if scored.samples.scores is None or np.isnan(scored.samples.scores).all():
            why = f": {tally.whys.most_common(1)[0][0]}" if tally.whys else ""
            raise InputError(f"--by {verifier}: judges no sample of {found.name}, so it cannot be estimated{why}")
        for line in [each for each in scored.notes if each not in found.notes]:
            _note(f"{found.name}, {verifier}", line)
        return Verdicts(verifier, scored.samples.scores, _costs([usage[each] for each in found.ids], found.samples.n))


def _copy(pool: Path, copy: Path, problems: ProblemFile) -> None:
    """Copy the samples of a pool so that the problems themselves ask for them, however they were drawn.

    A verifier that asks the model for something else gets none of them. Each problem's samples are numbered from 0,
    without gaps.
    """
    asked = {each.id: request_of(each) for each in problems}
    numbers = defaultdict[str, list[int]](list)
    for _, sample, _ in join_thoughts(pool):
        numbers[sample.id].append(sample.number)
    places = {name: {number: place for place, number in enumerate(sorted(each))} for name, each in numbers.items()}
    with copy.open("wb") as file:
        for _, sample, _ in join_thoughts(pool):
            draw = places[sample.id][sample.number]
            prompt, messages = asked[sample.id].prompt, asked[sample.id].conversation or None
            served = msgspec.structs.replace(sample, draw=draw, prompt=prompt, messages=messages, sampling=None)
            file.write(encode_line(msgspec.to_builtins(served)))


def request_of(problem: Problem) -> Request:
    """How a problem is asked by a model that adds nothing to it."""
    return Request(problem.id, problem.text, before=problem.before, after=problem.after)


def _costs(usages: Sequence[Usage], n: int | Array) -> dict[Unit, Array]:
    """[P] by unit: what a verdict cost, of `n` for each problem."""
    counted: dict[Unit, list[float]] = {
        "tokens": [each.verifier_tokens for each in usages],
        "FLOPs": [each.verifier_flops for each in usages],
        "money": [each.verifier_cost / PARTS for each in usages],
    }
    known = {unit for unit, each in counted.items() if any(each) or not any(counted["tokens"])}
    return {unit: np.array(each) / n for unit, each in counted.items() if unit in known}


def spell_command(given: Mapping[str, Any], named: Mapping[str, Path], by: Sequence[str], spec: str) -> list[str]:
    """What solves the problems with the models that a strategy asks; one that is not known is `MODEL`."""
    load = given["load"] or []
    strategy = parse(spec, load_all(load))
    judging = MODELS if any(each in spec for each in by) else ()
    taken = read_named(given["model"] or (), "--model") if judging else {}
    drawing = {name: path for name, path in named.items() if len(named) == 1 or f'Model("{name}"' in spec}
    asked = {leaf.name for leaf in find_drawing(strategy)} - {*taken}
    if "" in drawing and len(asked) == 1 and not asks_first(strategy):
        drawing = {asked.pop(): drawing[""]}
    unknown = sorted({*named_models(strategy)} - {"", *drawing, *taken})
    free = f"{_free({*taken, *unknown})}=" if taken or unknown else ""
    models = [
        f"{name}={_writer(path, load)}" if name else f"{free}{_writer(path, load)}" for name, path in drawing.items()
    ]
    models += [f"{name}=MODEL" for name in unknown]
    opened = [part for model in models for part in ("--model", model)]
    loaded = [*load, *dict.fromkeys(file for path in drawing.values() for file in _code(path, load) or ())]
    options = as_options({**given, "load": loaded}, (*judging, *READING, *TURNS))
    return ["metagen", "solve", str(given["problem_file"]), *opened, *options]


def _free(taken: Container[str]) -> str:
    """A name for the model of the only source that no model of a verifier has."""
    return next(each for each in ("model", "pool", "samples") if each not in taken)


def as_options(given: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Options as the command line takes them, those that were given."""
    parts = [(name, each) for name in names for each in _listed(given[name])]
    return [text for name, each in parts for text in (f"--{name.replace('_', '-')}", str(each))]


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _writer(path: Path, load: Sequence[Path]) -> str:
    """The model that wrote the samples of a pool, as `--model` takes it, if the pool says so."""
    origin, asked = read_claim(path)
    if os.path.isabs(origin) and os.path.exists(origin):
        return origin
    model, _ = read_given(path)
    if asked.get("loaded"):  # its name opens nothing without its file
        return "MODEL" if _code(path, load) is None else model
    sample = _first(path)
    return model or (sample and sample.model) or "MODEL"


def _code(path: Path, load: Sequence[Path]) -> list[Path] | None:
    """The files of code that make the model of a pool, beside those that are loaded; `None` if they are not known."""
    model, files = read_given(path)
    loaded = read_claim(path)[1].get("loaded")
    if not loaded or (model and is_loaded(model, load_all(load))):
        return []
    is_there = bool(model) and all(map(os.path.isfile, files)) and digests_of(files) == loaded
    return [Path(os.path.relpath(file)) for file in files] if is_there else None


def _say_loaded(path: Path, load: Sequence[Path]) -> None:
    """Note which file of code holds the model that drew a pool, where the command can name neither."""
    if _code(path, load) is None:
        files = " and ".join(str(each).rpartition(" (")[0] for each in read_claim(path)[1]["loaded"])
        _note(str(path), f"was drawn by a model of {files}: load it, and write its name there in the place of MODEL")


def _drawn_by(path: Path, name: str, names: Mapping[str, Any], problems: ProblemFile, *, asked: bool) -> str:
    """The spec of what drew the samples of a source, as far as it says; empty for the model as it is.

    A note says what a command cannot repeat. `asked` is whether the user says what was sent with the problems.
    """
    if path.is_dir():
        return _of_strategy(path, name, names, asked=asked)
    if (sample := _first(path)) is None:
        return literal(Model(name)) if name else ""
    if not asked and not _is_plain(sample, problems):
        _note(str(path), ASKED_OTHERWISE)
    try:
        model = Model(name, **_settings(sample))
    except InputError as error:
        model = Model(name)
        _note(str(path), f"its sampling settings are left out ({error}): {SAY}")
    return "" if model == USUAL else literal(model)


SAY = "name with --of what drew them, which one source alone can have"
ASKED_OTHERWISE = (
    "its samples were drawn with another prompt than that of the problems, and the command does not repeat it: give "
    f"the same --system or --template, or {SAY}"
)


def _is_plain(sample: Sample, problems: ProblemFile) -> bool:
    """Whether a sample was drawn from its problem as the file has it, as far as it says."""
    problem = next((each for each in problems if each.id == sample.id), None)
    if problem is None or (sample.prompt is None and not sample.messages):
        return True
    turns = sample.messages or [{"role": "user", "content": sample.prompt}]
    return turns == [turn.fields() for turn in request_of(problem).turns]


def _settings(sample: Sample) -> dict[str, Any]:
    """The settings of a sample as `Model` takes them. Raises `InputError` for one that no model has."""
    if is_thought(sample):
        raise InputError("its thoughts were drawn by themselves")
    sampling = sample.sampling or {}
    given: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in sampling.items()}
    if strange := sorted(given.keys() - {*SETTINGS, "form", "keep_stop", "thought_only"}):
        raise InputError(f"Model has no {strange[0]}")
    if bias := given.get("logit_bias"):  # JSON has texts for keys
        given["logit_bias"] = {int(token) if token.isdecimal() else token: each for token, each in bias.items()}
    if form := given.get("form"):
        given["form"] = {name: form[field] for name, (field, _) in FORMS.items() if form.get(field)}
    return {name: each for name, each in given.items() if name in (*SETTINGS, "form")}


def _of_strategy(run: Path, name: str, names: Mapping[str, Any], *, asked: bool) -> str:
    """The spec of what drew the samples of a run."""
    if not asked and any(read_configuration(run).get(turn) for turn in TURNS):
        _note(str(run), ASKED_OTHERWISE)
    strategy = _strategy(run, names)
    of = strategy if isinstance(strategy, DRAWERS) else getattr(strategy, "of", None)
    if of is not None and not isinstance(of, DRAWERS):
        _note(str(run), f"the command draws with the model alone, and its samples come from {literal(of)}: {SAY}")
        of = None
    of = of or Model()
    return literal(naming(of, name)) if name else "" if of == USUAL else literal(of)


DRAWERS = (Model, CoT)
"""What draws one sample."""


def _first(path: Path) -> Sample | None:
    return None if os.path.isdir(path) else next((sample for _, _, sample in read_samples(path)), None)
