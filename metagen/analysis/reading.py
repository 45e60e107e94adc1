"""Where the samples of a report come from: a pool as `metagen sample` keeps it, or the folder of a run.

Samples are read one line at a time, and only what a report needs of them is kept: the answer, its cost, its score.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, nan
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from pydantic import ValidationError

from metagen.analysis.curve import Curve, Samples
from metagen.analysis.rules import all_rules, best_of, coverage, majority_vote, powers_of_two
from metagen.analysis.tables import Source
from metagen.analysis.tally import silence
from metagen.answers.kinds import MATHS
from metagen.answers.protocol import Answers, verdicts
from metagen.card.card import ModelCard
from metagen.disk.lines import read_lines
from metagen.disk.pool import Sample
from metagen.disk.problems import ProblemFile
from metagen.disk.runs import read_solutions
from metagen.disk.traces import SpanRow, read_configuration, read_traces
from metagen.errors import InputError, WeightError
from metagen.problem import Problem

LIKELIHOOD = "mean token probability"
"""What scores the samples of a pool with log-probabilities: the geometric mean over tokens, from 0 to 1."""
VERIFIER = "the run's verifier"


@dataclass(frozen=True, slots=True)
class Draw:
    """What a report needs of one sample."""

    answer: str | None
    key: str | None
    """Under which the answer votes."""
    tokens: int
    score: float | None = None
    """nan is no verdict; `None` where nothing scored it."""
    prompt: int = 0
    """The tokens of the prompt; 0 where nobody counted them."""
    cut: bool = False
    """A length limit cut it off."""


def read(path: Path, problems: ProblemFile, n: int | None = None, card: ModelCard | None = None) -> Source:
    """Read and grade a pool or a run, with the first `n` samples of each problem; without `n` all need equally many.

    Problems without a reference are left out, and samples on which the grader has no verdict count as wrong; both are
    noted. With the `card` of the model that drew them, FLOPs are counted. Raises `InputError` for what is no pool or
    run of these problems, or where samples cannot be told apart.
    """
    by_id = {problem.id: problem for problem in problems}
    drawn, scored_by = _of_run(path, problems, by_id) if path.is_dir() else _of_pool(path, by_id)
    chosen, notes = _chosen(path, problems, by_id, drawn)
    rows = _even(path, {problem.id: drawn[problem.id] for problem in chosen}, n)
    samples, unjudged = asyncio.run(_graded(chosen, rows))
    if card:
        samples = _priced(samples, rows, card)
        if not all(row[0].prompt for row in rows):
            notes.append("the lengths of prompts are not known, so reading them is not among the FLOPs")
    if unjudged:
        notes.append(f"{unjudged} samples have no verdict of the grader and count as wrong")
    return Source(
        name=str(path),
        ids=tuple(problem.id for problem in chosen),
        curves=_curves(samples, notes),
        labels=samples.labels,
        scored_by="" if samples.scores is None else scored_by,
        notes=tuple(notes),
        correct=_handed_over(path) if path.is_dir() else None,
        silence=_silence(rows),
    )


def _chosen(
    path: Path, problems: ProblemFile, by_id: Mapping[str, Problem], drawn: Mapping[str, list[Draw]]
) -> tuple[list[Problem], list[str]]:
    """The problems that can be reported on, in the order of their file, and notes on those that cannot."""
    if not drawn:
        raise InputError(f"{path}: holds no samples")
    if unknown := next((name for name in drawn if name not in by_id), None):
        raise InputError(f"{path}: problem {unknown!r} is not in {problems.path}: give the file it was drawn for")
    chosen = [problem for name, problem in by_id.items() if name in drawn and problem.answer is not None]
    if not chosen:
        raise InputError(f"{path}: none of its problems has a reference answer in {problems.path}")
    notes = []
    if missing := len(by_id) - len(drawn):
        notes.append(f"{missing} of {len(by_id)} problems have no samples and are left out")
    if silent := len(drawn) - len(chosen):
        notes.append(f"{silent} problems have no reference answer and are left out")
    return chosen, notes


def _curves(samples: Samples, notes: list[str]) -> dict[str, Curve]:
    """The curves of all rules, the weighted vote only where scores can weigh."""
    try:
        return all_rules(samples, powers_of_two(samples.n))
    except WeightError:
        notes.append("scores are negative or infinite, so they weigh no votes")
        ks = powers_of_two(samples.n)
        curves = coverage(samples, ks), majority_vote(samples, ks), best_of(samples, ks)
        return {curve.rule: curve for curve in curves}


def _even(path: Path, drawn: Mapping[str, list[Draw]], n: int | None) -> list[list[Draw]]:
    """The first n samples of each problem, once it is sure that each has so many."""
    fewest = min(drawn, key=lambda name: len(drawn[name]))
    most = max(len(draws) for draws in drawn.values())
    if (have := len(drawn[fewest])) < (n or most):
        raise InputError(
            f"{path}: problem {fewest!r} has {have} samples, and {n or most} are needed: draw the rest, or report on "
            f"the first {have} of each with --n {have}"
        )
    return [draws[:n] for draws in drawn.values()]


async def _graded(problems: Sequence[Problem], rows: Sequence[Sequence[Draw]]) -> tuple[Samples, int]:
    """The samples as arrays, and how many the grader had no verdict on."""
    judged = [await _verdicts(problem, row) for problem, row in zip(problems, rows, strict=True)]
    tags = sorted({name for problem in problems for name in problem.tags})
    samples = Samples(
        groups=np.array([_groups(draw.key for draw in row) for row in rows]),
        right=np.array([[verdict is True for verdict in row] for row in judged]),
        scores=_scores(rows),
        tokens=np.array([[draw.tokens for draw in row] for row in rows]),
        labels={name: [problem.tags.get(name, "") for problem in problems] for name in tags},
    )
    return samples, sum(row.count(None) for row in judged)


def _priced(samples: Samples, rows: Sequence[Sequence[Draw]], card: ModelCard) -> Samples:
    """The samples with their FLOPs: the prompt is read once, and each sample written after it."""
    written = [[card.flops_generated(max(1, draw.prompt), draw.tokens) for draw in row] for row in rows]
    read = [card.flops_prompt(row[0].prompt) if row[0].prompt else 0 for row in rows]
    return replace(samples, flops=np.array(written, np.float64), prompt_flops=np.array(read, np.float64))


async def _verdicts(problem: Problem, row: Sequence[Draw]) -> list[bool | None]:
    verdict = await verdicts(problem.answers, (draw.answer for draw in row), problem.answer or "")
    return [verdict[draw.answer] for draw in row]


def _silence(rows: Sequence[Sequence[Draw]]) -> str:
    silent = [draw for row in rows for draw in row if draw.answer is None]
    return silence(len(silent), sum(map(len, rows)), sum(draw.cut for draw in silent))


def _groups(keys: Iterable[str | None]) -> list[int]:
    """Equal numbers for equal keys; −1 for no answer."""
    numbers: dict[str, int] = {}
    return [-1 if key is None else numbers.setdefault(key, len(numbers)) for key in keys]


def _kind(problems: Mapping[str, Problem], name: str) -> Answers:
    """The kind of answers to a problem; of one that is not in the file, which is refused later, the usual one."""
    return problems[name].answers if name in problems else MATHS


def _scores(rows: Sequence[Sequence[Draw]]) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """The scores as an array, if everything was scored."""
    scores = [[draw.score for draw in row] for row in rows]
    return None if any(None in row for row in scores) else np.array(scores, dtype=np.float64)


def _of_pool(path: Path, by_id: Mapping[str, Problem]) -> tuple[dict[str, list[Draw]], str]:
    drawn: dict[str, dict[int, Draw]] = defaultdict(dict)
    requests: dict[str, tuple[str, ...]] = {}
    for number, row in read_lines(path):
        where = f"{path}, line {number}"
        sample = _sample(row, where)
        request = (sample.prompt, sample.partial, sample.model, json.dumps(sample.sampling, sort_keys=True))
        if sample.partial:
            raise InputError(f"{where}: continues a partial reply, and a report needs whole samples")
        if requests.setdefault(sample.problem, request) != request:
            raise InputError(
                f"{where}: problem {sample.problem!r} has samples of two prompts, models or settings: give each a pool "
                "of its own"
            )
        if sample.draw in drawn[sample.problem]:
            raise InputError(f"{where}: sample {sample.draw} of problem {sample.problem!r} stands here again")
        drawn[sample.problem][sample.draw] = _drawn(sample, _kind(by_id, sample.problem))
    return {name: [draws[draw] for draw in sorted(draws)] for name, draws in drawn.items()}, LIKELIHOOD


def _sample(row: Mapping[str, Any], where: str) -> Sample:
    try:
        return Sample.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{where}: field {'.'.join(map(str, first['loc']))!r}: {first['msg']}") from None


def _drawn(sample: Sample, kind: Answers) -> Draw:
    score = exp(fmean(sample.logprobs)) if sample.logprobs else None
    draw = _read(kind, sample.text, sample.tokens, cut=sample.end == "length")
    return replace(draw, score=score, prompt=sample.prompt_tokens)


def _read(kind: Answers, text: str, tokens: int, *, cut: bool) -> Draw:
    answer = kind.extract(text, finished=not cut)
    return Draw(answer, None if answer is None else kind.key(answer), tokens, cut=cut)


def _of_run(path: Path, problems: ProblemFile, by_id: Mapping[str, Problem]) -> tuple[dict[str, list[Draw]], str]:
    _check_problems(path, problems)
    solved = {solution.problem for solution in read_solutions(path) if not solution.failed}
    drawn: dict[str, list[Draw]] = {}
    for name, rows in read_traces(path, solved):
        if draws := _of_trace(rows, _kind(by_id, name), f"{path}, problem {name!r}"):
            drawn[name] = draws
    return drawn, VERIFIER


def _check_problems(path: Path, problems: ProblemFile) -> None:
    """A run says in `run.json` over which problems it went."""
    configuration, digest = read_configuration(path), problems.check()[1]
    went_over = str(configuration.get("problems", ""))
    if f"({digest})" not in went_over:
        raise InputError(f"{path}: went over {went_over}, and {problems.path} is another file ({digest})")
    read_as = str(configuration.get("answers", ""))
    if read_as != problems.kind:
        wanted = f"give --answers {read_as!r}" if read_as else "leave --answers out"
        raise InputError(f"{path}: its answers were read as {read_as or 'the file says'}: {wanted}")


def _of_trace(rows: Iterable[SpanRow], kind: Answers, where: str) -> list[Draw]:
    """The samples that were drawn at the bottom, with the verdicts given on them if each has just one."""
    draws: list[Draw] = []
    scores: list[float | None] = []
    prompts, verifiers = set(), set()
    for row in rows:
        if row.verifying:
            verifiers.add(row.path)
            if row.parent not in verifiers and row.status != "cancelled":
                scores += row.verdicts or ()
        elif row.request and row.completions and row.status != "cancelled":
            prompts.add((row.request.prompt, row.request.partial))
            draws += _completions(row, kind)
    if len(prompts) > 1 or any(partial for _, partial in prompts):
        raise InputError(
            f"{where}: its strategy sends more than one prompt, so what one sample is cannot be told: draw a pool of "
            "what it draws with `metagen sample --of`"
        )
    if len(scores) != len(draws):
        return draws
    return [replace(draw, score=nan if score is None else score) for draw, score in zip(draws, scores, strict=True)]


def _completions(row: SpanRow, kind: Answers) -> Iterator[Draw]:
    prompt = int(row.usage.get("prompt_tokens", 0))
    for each in row.completions:
        yield replace(_read(kind, each.text, each.tokens, cut=each.cut), prompt=prompt)


def _handed_over(path: Path) -> dict[str, bool]:
    """Which problems a run solved; without a verdict, and failed, they are in neither."""
    return {each.problem: each.correct for each in read_solutions(path) if each.correct is not None}
