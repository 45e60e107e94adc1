"""Where the samples of a report come from: a pool as `metagen sample` keeps it, or the folder of a run.

Samples are read one line at a time, and only what a report needs of them is kept, in columns: the answer, its cost, its
score.
"""

import asyncio
import json
import os
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import nan
from pathlib import Path
from typing import Never

import numpy as np

from metagen.analysis.calibration import calibration
from metagen.analysis.columns import AT_ONCE, Columns, Draw, Questions, as_array
from metagen.analysis.curve import Curve, Samples
from metagen.analysis.intervals import Array, Index
from metagen.analysis.parts import OddError, Part, answer_of, part_of, read_parts, request_of
from metagen.analysis.rules import all_rules, first_k, powers_of_two
from metagen.analysis.tables import Source
from metagen.analysis.tally import one_line, silence, without_verdict
from metagen.answers.protocol import at_once, groups_of
from metagen.budget import Account, Price
from metagen.candidate import Candidate, Score
from metagen.card.card import ModelCard
from metagen.disk.lines import ends_torn
from metagen.disk.pool import is_list, join_thoughts, place_of, read_samples
from metagen.disk.problems import ProblemFile
from metagen.disk.runs import read_rows
from metagen.disk.traces import SpanRow, above, read_configuration, read_traces
from metagen.errors import InputError, VerifierError
from metagen.problem import Problem
from metagen.run import Verifier
from metagen.settings import counted, literal
from metagen.solve import Whole
from metagen.tasks import together
from metagen.thinking import USUAL
from metagen.trace import Asked, Written
from metagen.verifiers.grading import by_reference, grades

LIKELIHOOD = "mean token probability"
"""What scores the samples of a pool with log-probabilities: the geometric mean over tokens, from 0 to 1."""
SOLUTIONS = "solutions.jsonl"
VERIFIER = "the run's verifier"
SCORE = "the pool's score"
ANSWER = "answer"
"""The name of the span in which `Model` continues a thought that it drew by itself."""
TOGETHER = 64
"""Problems whose answers are compared symbolically at the same time, in as many processes as there are processors."""


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """The graded samples of a pool or a run, and what is to be known beside them."""

    name: str
    ids: tuple[str, ...]
    samples: Samples
    scored_by: str
    notes: list[str]
    silence: str
    correct: Mapping[str, bool] | None


def read(
    path: Path,
    problems: ProblemFile,
    n: int | None = None,
    card: ModelCard | None = None,
    grade: Verifier | None = None,
    *,
    price: Price | None = None,
    first: bool = False,
) -> Source:
    """Read and grade a pool or a run, with the first `n` samples of each problem; without `n` all need equally many.

    A `grade` decides what is right, else each problem's own oracle. Problems that have none are left out, and samples
    on which the grader has no verdict count as wrong; both are noted. With the `card` of the model that drew them,
    FLOPs are counted, and with its `price` money. `first` adds the accuracy of the first k samples, without resampling.
    Raises `InputError` if `path` is not a pool or a run of these problems, or if its samples cannot be identified.
    """
    found = gather(path, problems, n, card, grade, price=price)
    return Source(
        name=found.name,
        ids=found.ids,
        curves=_curves(found.samples, found.notes),
        labels=found.samples.labels,
        first=first_k(found.samples) if first else {},
        scored_by=found.scored_by,
        notes=tuple(found.notes),
        correct=found.correct,
        silence=found.silence,
        calibration=calibration(found.samples),
    )


def gather(
    path: Path,
    problems: ProblemFile,
    n: int | None = None,
    card: ModelCard | None = None,
    grade: Verifier | None = None,
    *,
    price: Price | None = None,
    scores_only: bool = False,
) -> Gathered:
    """Read and grade the samples of a pool or a run, as `read` does; for `scores_only` the grade need not work."""
    questions = Questions(problems, grade)
    is_run = path.is_dir()
    columns = _of_run(path, problems, questions, grade) if is_run else _of_pool(path, questions)
    chosen, notes = _chosen(path, questions, columns)
    rows = _even(path, questions, columns, chosen, n)
    samples, unjudged = asyncio.run(_graded(questions, columns, chosen, rows, grade))
    if grade and unjudged == rows.size and not columns.why and not scores_only:
        why = ": of a run it reads the texts alone" if is_run else ""
        raise InputError(f"{path}: {literal(grade)} has no verdict on any sample, so nothing is known to be right{why}")
    samples = replace(samples, price=price)
    if card:
        samples = _with_flops(samples, columns, rows, card)
    known = np.any(samples.tokens, 1)
    if known.any() and not known.all():
        notes.append(
            f"the samples of {counted(int((~known).sum()), 'problem')} count no tokens, so costs are not compared"
        )
    if (card or price) and not known.any():
        notes.append("the samples count no tokens, so their costs are not known")
    elif (card or price) and not np.all(samples.prompts):
        notes.append("the lengths of prompts are not known, so the cost of reading them is not counted")
    if unjudged and not scores_only:
        why = f" ({one_line(columns.why)})" if columns.why else ""
        notes.append(f"counted as wrong for lack of a grader's verdict: {counted(unjudged, 'sample')}{why}")
    notes += _without_verdict(path, samples)
    if is_run and samples.scores is not None and "Pairwise(" in str(read_configuration(path).get("strategy")):
        notes.append(f"its verdicts compare all {samples.n} samples, so what chooses by them is only exact at that k")
    if is_run and os.path.exists(path / SOLUTIONS) and ends_torn(path / SOLUTIONS):
        notes.append(
            f"the last line of {SOLUTIONS} was cut short and is left out: the command that made the run continues it"
        )
    return Gathered(
        name=str(path),
        ids=tuple(questions.ids[place] for place in chosen.tolist()),
        samples=samples,
        scored_by="" if samples.scores is None else VERIFIER if is_run else _scored_by(columns, rows),
        notes=notes,
        silence=_silence(columns, rows),
        correct=_handed_over(path, questions) if is_run else None,
    )


def _chosen(path: Path, questions: Questions, columns: Columns) -> tuple[Index, list[str]]:
    """The places of the problems that can be reported on, and notes on those that cannot."""
    drawn = np.unique(as_array(columns.places))
    if not len(drawn):
        raise InputError(f"{path}: holds no samples")
    answered = [questions.has_grade(place) for place in drawn.tolist()]
    chosen = drawn[np.array(answered)]
    if not len(chosen):
        raise InputError(f"{path}: none of its problems has a reference answer in {questions.path}")
    notes = []
    if missing := len(questions.ids) - len(drawn):
        notes.append(f"left out for lack of samples: {missing:,} of {len(questions.ids):,} problems")
    if silent := len(drawn) - len(chosen):
        notes.append(f"left out for lack of a reference answer: {counted(silent, 'problem')}")
    return chosen, notes


def _curves(samples: Samples, notes: list[str]) -> dict[str, Curve]:
    """The curves of all rules, the weighted vote only where scores can weigh."""
    found = all_rules(samples, powers_of_two(samples.n))
    if samples.scores is not None and "weighted vote" not in found:
        notes.append("scores are negative or infinite, so they weigh no votes")
    return found


def _even(path: Path, questions: Questions, columns: Columns, chosen: Index, n: int | None) -> Index:
    """[P, n]: the first n samples of each problem, once it is sure that each has so many."""
    counts = np.bincount(as_array(columns.places)).astype(np.int32)
    having = counts[chosen]
    wanted = n or int(having.max())
    if (have := int(having.min())) < wanted:
        name = questions.ids[chosen[having.argmin()]]
        raise InputError(
            f"{path}: problem {name!r} has {counted(have, 'sample')}, and {wanted} are needed: draw the rest, or "
            f"report on the first {have} of each with --n {have}"
        )
    starts = np.cumsum(counts) - counts
    return np.asarray(columns.order()[starts[chosen][:, None] + np.arange(wanted)])


async def _graded(
    questions: Questions, columns: Columns, chosen: Index, rows: Index, grade: Verifier | None
) -> tuple[Samples, int]:
    """The samples as arrays, and how many the grader had no verdict on."""
    groups, judged = np.empty(rows.shape, np.int64), np.empty(rows.shape, np.int8)
    waiting: list[int] = []
    for number, (place, row) in enumerate(zip(chosen.tolist(), rows.tolist(), strict=True)):
        answers, kind = [columns.answers[index] for index in row], questions.kind(place)
        groups[number] = groups_of(kind, answers)
        if place in questions.whole:
            judged[number] = await _judged(questions.whole[place], columns, row, grade)
        else:
            found = at_once(kind, answers, questions.references[place] or "")
            judged[number] = _coded(map(found.__getitem__, answers))
            if None in found.values():
                waiting.append(number)
    for start in range(0, len(waiting), TOGETHER):
        numbers = waiting[start : start + TOGETHER]
        judged[numbers] = await together(
            _awaited(questions, columns, int(chosen[number]), rows[number].tolist()) for number in numbers
        )
    known = np.array([place not in questions.whole for place in chosen.tolist()])
    judged[as_array(columns.unread)[rows].astype(bool) & known[:, None]] = -1
    labels = {
        name: [values.get(place, "") for place in chosen.tolist()] for name, values in sorted(questions.tags.items())
    }
    scores = _scores(columns, rows)
    tokens = as_array(columns.tokens)[rows].astype(np.int64)
    prompts = as_array(columns.prompts)[rows[:, 0]].astype(np.int64)
    again = as_array(columns.again)[rows].mean(1)
    right = judged == _coded([True])
    done = as_array(columns.cut)[rows] == 0 if columns.thinks else None
    samples = Samples(groups, right, scores, tokens, prompts=prompts, again=again, done=done, labels=labels)
    return samples, int((judged == _coded([None])).sum())


async def _awaited(questions: Questions, columns: Columns, place: int, row: Sequence[int]) -> list[int]:
    """The codes of a problem's verdicts, of which some take waiting."""
    problem = Problem(questions.ids[place], "?", questions.references[place], answers=questions.kind(place))
    try:
        right, failures = await by_reference(problem, [columns.answers[index] for index in row])
    except VerifierError as error:
        return _fails(columns, error, row)
    columns.why = columns.why or next(map(str, failures), "")
    return _coded(right)


def _fails(columns: Columns, error: VerifierError, row: Sequence[int]) -> list[int]:
    """The codes of samples on which the grader failed."""
    columns.why = columns.why or str(error)
    return _coded([None] * len(row))


def _coded(verdicts: Iterable[bool | None]) -> list[int]:
    """Verdicts as small numbers: 1 is right, 0 is wrong, −1 is none."""
    return [-1 if verdict is None else int(verdict) for verdict in verdicts]


async def _judged(problem: Problem, columns: Columns, row: Sequence[int], grade: Verifier | None) -> list[int]:
    """The codes of the verdicts on the samples in these rows of the columns, by a grade that reads all of them."""
    candidates = [
        Candidate(
            (columns.texts[index] or "",),
            finished=not columns.cut[index],
            recorded=Score(columns.scores[index]) if columns.of_pool and columns.recorded[index] else None,
        )
        for index in row
    ]
    run, _ = Whole({}, None, Account()).grading(problem)
    try:
        return _coded(await grades(grade, problem, candidates, run))
    except VerifierError as error:
        return _fails(columns, error, row)


def _scores(columns: Columns, rows: Index) -> Array | None:
    """[P, n]: the recorded scores, else those by log-probabilities, and never both; nan where a sample has none."""
    recorded, scored = as_array(columns.recorded)[rows] == 1, as_array(columns.scored)[rows] == 1
    having = recorded if recorded.any() else scored
    return np.where(having, as_array(columns.scores)[rows], nan) if having.any() else None


def _scored_by(columns: Columns, rows: Index) -> str:
    """What scored the samples of a pool."""
    return SCORE if as_array(columns.recorded)[rows].any() else LIKELIHOOD


def _with_flops(samples: Samples, columns: Columns, rows: Index, card: ModelCard) -> Samples:
    """The samples with their FLOPs. The prompt is read once, and each sample is written after it."""
    tokens, prompts = as_array(columns.tokens), as_array(columns.prompts)
    written = [
        [card.flops_generated(max(1, prompt), length) for prompt, length in zip(*row, strict=True)]
        for row in zip(prompts[rows].tolist(), tokens[rows].tolist(), strict=True)
    ]
    first = prompts[rows[:, 0]].tolist()
    read = [card.flops_prompt(prompt) if prompt else 0 for prompt in first]
    flops, prompt_flops = np.array(written, np.float64), np.array(read, np.float64)
    return replace(samples, flops=flops, prompt_flops=prompt_flops)


def _silence(columns: Columns, rows: Index) -> str:
    """How many of the samples that are reported on gave no answer."""
    silent = rows[columns.answers.missing()[rows] & (as_array(columns.unread)[rows] == 0)]
    return silence(len(silent), rows.size, int(as_array(columns.cut)[silent].sum()))


def _without_verdict(path: Path, samples: Samples) -> Iterator[str]:
    """How many samples have no verdict, with the reason that most problems of a run share."""
    if samples.scores is not None and (unscored := int(np.isnan(samples.scores).sum())):
        rows = read_rows(path / SOLUTIONS, torn=True) if path.is_dir() else ()
        whys = Counter(one_line(row.why_unscored) for row in rows if row.why_unscored)
        yield f"no verdict: {without_verdict(unscored, samples.scores.size, whys)}"


def _of_pool(path: Path, questions: Questions) -> Columns:
    try:
        columns = _in_columns(path, questions, _parts_of(path, questions))
    except OddError:
        if path.is_fifo():
            raise InputError(
                f"{path}: holds samples of several requests or a fault, and a pipe cannot be read again to say which: "
                "save it as a file first"
            ) from None
        try:  # slower, and rarely needed
            columns = _in_columns(path, questions, _joined_parts(path, questions))
        except OddError:
            _refuse(path, questions)
        if not columns.places:
            raise InputError(
                f"{path}: holds thoughts without their answers: draw these with the same command"
            ) from None
    columns.number()
    _refuse_twins(path, columns)
    return columns


def _in_columns(path: Path, questions: Questions, parts: Iterable[Part]) -> Columns:
    columns, requests = Columns(of_pool=True), array("q", bytes(8 * len(questions.ids)))
    for part in parts:
        places = [questions.place(name, path) for name in part.names]
        _check_requests(requests, places, part)
        columns.join(part, places)
    return columns


def _check_requests(requests: "array[int]", places: Sequence[int], part: Part) -> None:
    """Raise `OddError` if samples of a problem were drawn from another request than those before."""
    for place, request in zip(places, part.requests, strict=True):
        if requests[place] not in (0, request):
            raise OddError
        requests[place] = request


def _parts_of(path: Path, questions: Questions) -> Iterator[Part]:
    kinds, whole = questions.kinds, {problem.id for problem in questions.whole.values()}
    if not is_list(path) and path.is_file():
        yield from read_parts(path, kinds, whole)
        return
    samples = (sample for *_, sample in read_samples(path))
    while batch := list(islice(samples, AT_ONCE)):
        yield part_of(batch, kinds, whole)


def _joined_parts(path: Path, questions: Questions) -> Iterator[Part]:
    """The parts of a pool in which answers have requests of their own, after their thoughts."""
    kinds, whole = questions.kinds, {problem.id for problem in questions.whole.values()}
    joined = join_thoughts(path)
    while batch := list(islice(joined, AT_ONCE)):
        _, samples, again = zip(*batch, strict=True)
        yield part_of(samples, kinds, whole, again)


def _refuse(path: Path, questions: Questions) -> Never:
    """Say in which line something is wrong."""
    requests: dict[int, int] = {}
    for line, sample, _ in join_thoughts(path):
        if sample.partial or sample.before:
            raise InputError(
                f"{place_of(path, line)}: continues a partial reply, and a report needs whole samples: compare "
                "strategies that write a reply in parts with `metagen sweep`"
            )
        request = request_of(sample)
        if requests.setdefault(questions.place(sample.id, path), request) != request:
            raise InputError(
                f"{place_of(path, line)}: problem {sample.problem!r} has samples of two prompts, models or settings: "
                "give each a pool of its own"
            )
    raise InputError(f"{path}: was changed while it was read")


def _refuse_twins(path: Path, columns: Columns) -> None:
    if (again := columns.repeated(columns.order())) is not None:
        line, sample, _ = next(islice(join_thoughts(path), again, None))
        raise InputError(
            f"{place_of(path, line)}: sample {sample.number} of problem {sample.problem!r} is here for the second time"
        )


def _of_run(path: Path, problems: ProblemFile, questions: Questions, grade: Verifier | None) -> Columns:
    _check_problems(path, problems, literal(grade) if grade else "")
    columns, solved = Columns(), _Solved(path, questions)
    for name, rows in read_traces(path, solved):
        place = questions.place(name, path)
        where = f"{path}, problem {name!r}"
        try:
            for number, draw in enumerate(_of_trace(rows, questions, place, where)):
                columns.add(place, number, draw)
            columns.settle()
        except (OverflowError, ValueError):
            raise InputError(f"{where}: a span has a number of tokens that is none") from None
    if (again := columns.repeated(columns.order())) is not None:
        name = questions.ids[columns.places[again]]
        raise InputError(f"{path}: problem {name!r} is in trace.jsonl twice")
    return columns


class _Solved:
    """The ids of the problems that a run solved, one byte each."""

    def __init__(self, path: Path, questions: Questions) -> None:
        self._questions = questions
        self._solved = bytearray(len(questions.ids))
        for row in read_rows(path / SOLUTIONS, torn=True):
            self._solved[questions.place(row.problem, path)] = row.final

    def __contains__(self, name: object) -> bool:
        place = self._questions.find(name) if isinstance(name, str) else None
        return place is not None and bool(self._solved[place])


def _check_problems(path: Path, problems: ProblemFile, grade: str) -> None:
    """A run says in `run.json` over which problems it went."""
    configuration, digest = read_configuration(path), problems.check().digest
    went_over = str(configuration.get("problems", ""))
    if f"({digest})" not in went_over:
        raise InputError(f"{path}: went over {went_over}, and {problems.path} is another file ({digest})")
    if (read_as := str(configuration.get("answers", ""))) != problems.kind:
        wanted = f"give --answers {read_as!r}" if read_as else "leave --answers out"
        raise InputError(f"{path}: its answers were read as {read_as or 'the file says'}: {wanted}")
    if (graded := str(configuration.get("grade", ""))) != grade:
        wanted = f"give --grade {graded!r}" if graded else "leave --grade out"
        raise InputError(f"{path}: was graded by {graded or 'what the problems bring'}: {wanted}")


def _of_trace(rows: Sequence[SpanRow], questions: Questions, place: int, where: str) -> list[Draw]:
    """The samples that were drawn at the bottom, with the verdicts given on them if each has just one."""
    draws: list[Draw | None] = []
    scores: list[float | None] = []
    prompts, models, verifiers = set(), set[str](), set[str]()
    asked = {row.path: row.request for row in rows if row.request and row.status != "cancelled"}
    thoughts = _Thoughts()
    for row in rows:
        if row.verifying:
            if verifiers.isdisjoint(above(row.path)) and row.status != "cancelled":
                scores += row.verdicts or ()
            verifiers.add(row.path)
        elif row.status == "cancelled":
            continue
        elif row.request and (number := thoughts.find(row)) is not None:
            draws[number] = _answered(draws[number], row, questions, place)
        elif row.completions:
            if not (path := row.path if row.request else _around(row.path, asked)):
                continue
            request = asked[path]
            prompts.add((request.prompt, request.partial, json.dumps(request.messages, default=dict)))
            models.add(request.model)
            thoughts.add(path, len(draws), row.completions)
            draws += _completions(row, questions, place)
    if len(prompts) > 1 or len(models) > 1 or any(partial for _, partial, _ in prompts):
        what = "asks more than one model" if len(models) > 1 else "sends more than one prompt"
        remedy = "draw a pool of what it draws with `metagen sample --of`"
        if any(partial for _, partial, _ in prompts):
            remedy = "compare strategies that write a reply in parts with `metagen sweep`"
        raise InputError(f"{where}: its strategy {what}, so what one sample is cannot be told: {remedy}")
    kept = [draw for draw in draws if draw]
    if len(scores) != len(kept):
        return kept
    return [draw._replace(score=nan if score is None else score) for draw, score in zip(kept, scores, strict=True)]


class _Thoughts:
    """The thoughts of a problem that were drawn by themselves, by the span of their request."""

    def __init__(self) -> None:
        self._begun = defaultdict[str, list[tuple[int, str]]](list)

    def add(self, path: str, first: int, completions: Sequence[Written]) -> None:
        """Know the completions of a request whose span is at `path`; their samples are numbered from `first` on."""
        self._begun[path] += [
            (first + number, USUAL.written(each.thought, "", is_open=False)) for number, each in enumerate(completions)
        ]

    def find(self, row: SpanRow) -> int | None:
        """The number of the sample that the request of this span continues, if it is one of these thoughts."""
        path, _, number = row.path.rpartition(".")
        begun = self._begun.get(path.rpartition(".")[0], ()) if number.isdecimal() else ()
        if row.name != ANSWER or int(number or 0) >= len(begun):
            return None
        sample, written = begun[int(number)]
        return sample if row.request and row.request.partial == written else None


def _answered(thought: Draw | None, row: SpanRow, questions: Questions, place: int) -> Draw | None:
    """A thought with its answer as one sample, cut where there was no room for it; `None` where the answer was lost."""
    answer = next(_completions(row, questions, place), None)
    if thought is None or answer is None:
        return thought._replace(answer=None, cut=True) if thought and row.status == "ok" else None
    tokens = thought.tokens + answer.tokens
    return answer._replace(tokens=tokens, prompt=thought.prompt, again=answer.prompt, thinks=True)


def _around(path: str, asked: Mapping[str, Asked]) -> str | None:
    """The span with the request of a sample that was drawn alone because of a budget: it is above."""
    return next((each for each in above(path) if each in asked), None)


def _completions(row: SpanRow, questions: Questions, place: int) -> Iterator[Draw]:
    prompt = int(row.usage.get("prompt_tokens", 0))
    for each in row.completions:
        answer, fault = answer_of(questions.kind(place), each.text, each.cut)
        text = each.text if place in questions.whole else None
        yield Draw(answer, each.tokens, None, prompt, each.cut, text, fault, thinks=bool(each.thought))


def _handed_over(path: Path, questions: Questions) -> dict[str, bool]:
    """Which problems a run solved; those without a verdict are left out."""
    rows = read_rows(path / SOLUTIONS, torn=True)
    return {questions.ids[questions.place(row.problem, path)]: row.verdict for row in rows if row.verdict is not None}
