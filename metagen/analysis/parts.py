"""A pool read in parts, by this process and, where it is large, by helpers. A part is plain data.

A fault is only noticed here. The caller then reads the pool line by line, to say what is wrong and where.
"""

import io
import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from math import exp, nan
from pathlib import Path
from subprocess import DEVNULL, PIPE

import msgspec

from metagen.answers.kinds import MATHS
from metagen.answers.protocol import Answers, read_answer
from metagen.answers.spec import CONSTRUCTORS
from metagen.disk.pool import Sample, is_thought, plainly, read_sample, reply_of, text_of
from metagen.errors import InputError, VerifierError
from metagen.settings import literal
from metagen.system import processors
from metagen.thinking import may_think

SIZE = 1 << 21
"""Bytes of a part; it ends with a line."""
SHARE = 1 << 25
"""Bytes of a pool for each helper: with fewer, it has hardly started when the others are done."""
MOST = 8
"""Processes, with this one."""
MOST_LOGPROB = 1e-3
"""Of a mean over tokens: rounding may lift the logarithm of a probability a little above 0, and no more."""
PROGRAM = (sys.executable, "-P", "-W", "ignore", "-m", "metagen.analysis.part_program")
"""A helper: it takes a `Task` and spans, and returns the parts."""

HEAD = 8
"""Bytes before a part that a helper returns: how many it takes."""

Kinds = Mapping[str, Answers]
"""The kinds of answers by problem, where they are not mathematics."""
Span = tuple[int, int]
"""Where a part begins and ends, in bytes."""


class OddError(Exception):
    """Samples that no report can use, or that cannot be read."""


class Part(msgspec.Struct, array_like=True):
    """What a report needs of some samples. The lists after `requests` have a value for each of them."""

    names: list[str]
    """The problems, in the order of their first samples."""
    requests: list[int]
    """What each problem's samples were drawn from, see `request_of`."""
    places: list[int]
    """Where the sample's problem is in `names`."""
    numbers: list[int | None]
    answers: list[str | None]
    tokens: list[int]
    scores: list[float | None]
    """nan is no verdict; `None` where nothing scored it."""
    prompts: list[int]
    """The tokens of the prompt; 0 where nobody counted them."""
    cut: list[bool]
    """Whether a length limit cut it off."""
    texts: list[str | None]
    """All of it, for a grade that reads more than the answer."""
    recorded: list[bool]
    """Whether its score was recorded with it, and not made of its log-probabilities."""
    faults: list[str]
    """Why its kind of answers could not read it; empty for nearly all."""
    thinks: bool = False
    """Whether any of them holds a thought."""
    again: list[int] = []
    """The tokens that its second request read again; the list is empty where no sample had a second one."""


_PART = msgspec.msgpack.Decoder(Part)


class Task(msgspec.Struct):
    """What a helper reads first; the spans of parts follow."""

    path: str
    kinds: dict[str, str]
    """As specs."""
    whole: list[str]
    code: str = __file__
    """Where this module is: another version of it might mean something else."""


def part_of(samples: Sequence[Sample], kinds: Kinds, whole: Collection[str], again: Sequence[int] = ()) -> Part:
    """The samples as columns, with the texts of the problems in `whole`, and what each read again.

    Raises `OddError` for a part of a reply, and for a problem whose samples were drawn from more than one request.
    """
    ids = [sample.id for sample in samples]
    names = {name: place for place, name in enumerate(dict.fromkeys(ids))}
    drawn_from = set(zip(ids, map(_drawn_from, samples), strict=True))
    if len(drawn_from) > len(names) or any(sample.partial or sample.before for sample in samples):
        raise OddError
    if not again and any(map(is_thought, samples)):
        raise OddError
    requests = {name: _number(request) for name, request in drawn_from}
    texts = [text_of(sample) for sample in samples]
    cut = [sample.end == "length" for sample in samples]
    read = [
        answer_of(kinds.get(name, MATHS), text, was_cut) for name, text, was_cut in zip(ids, texts, cut, strict=True)
    ]
    return Part(
        names=list(names),
        requests=[requests[name] for name in names],
        places=[names[name] for name in ids],
        numbers=[sample.draw for sample in samples],
        answers=[answer for answer, _ in read],
        tokens=[sample.tokens for sample in samples],
        scores=[_score_of(sample) for sample in samples],
        prompts=[sample.prompt_tokens for sample in samples],
        cut=cut,
        texts=[text if name in whole else None for name, text in zip(ids, texts, strict=True)],
        recorded=[sample.recorded is not None for sample in samples],
        faults=[fault for _, fault in read],
        thinks=any(each.thought or (may_think(each.text) and reply_of(each).thought) for each in samples),
        again=list(again),
    )


def answer_of(kind: Answers, text: str, cut: bool) -> tuple[str | None, str]:
    """The answer in a reply, and why its kind could not read it: one of the user's own may fail."""
    if kind is MATHS:  # which never does, and most are
        return kind.extract(text, finished=not cut), ""
    try:
        return read_answer(kind, text, finished=not cut), ""
    except VerifierError as error:
        return None, str(error)


def request_of(sample: Sample) -> int:
    """A positive number that is the same for samples of one prompt, model and settings."""
    return _number(_drawn_from(sample))


def read_parts(path: Path, kinds: Kinds, whole: Collection[str]) -> Iterator[Part]:
    """The parts of a file of JSON Lines, in order. Raises `OddError` for what cannot be read, too."""
    spans = list(_spans(path))
    waiting, found, ready = deque(range(len(spans))), dict[int, Part](), 0
    with ThreadPoolExecutor(MOST) as threads:
        helping = [threads.submit(_help, task, spans, waiting, found) for task in _tasks(path, spans, kinds, whole)]
        try:
            while ready < len(spans):
                if (number := _next(waiting)) is None:
                    for each in helping:
                        each.result()
                else:
                    found[number] = read_part(path, spans[number], kinds, whole)
                while ready in found:
                    yield found.pop(ready)
                    ready += 1
        finally:
            waiting.clear()


def read_part(path: Path, span: Span, kinds: Kinds, whole: Collection[str]) -> Part:
    """One part of a file of JSON Lines. Raises `OddError` for what cannot be read, too."""
    start, end = span
    try:
        with path.open("rb") as file:
            file.seek(start)
            lines = io.BytesIO(file.read(end - start))
        samples = [read_sample(line, path) for line in lines if not line.isspace()]
    except (OSError, InputError):
        raise OddError from None
    return part_of(samples, kinds, whole)


def _spans(path: Path) -> Iterator[Span]:
    try:
        with path.open("rb") as file:
            start, size = 0, file.seek(0, os.SEEK_END)
            while start < size:
                file.seek(start + SIZE)
                file.readline()
                yield start, min(file.tell(), size)
                start = file.tell()
    except OSError:
        raise OddError from None


def _tasks(path: Path, spans: Sequence[Span], kinds: Kinds, whole: Collection[str]) -> list[Task]:
    """A task for each helper; none where the pool is small, or where its program does not know some kind of answers."""
    helpers = min(processors(), MOST, spans[-1][1] // SHARE + 1) - 1 if spans else 0
    if not helpers or any(type(kind) not in CONSTRUCTORS.values() for kind in kinds.values()):
        return []
    return [Task(str(path), {name: literal(kind) for name, kind in kinds.items()}, list(whole))] * helpers


def _help(task: Task, spans: Sequence[Span], waiting: deque[int], found: dict[int, Part]) -> None:
    """Let a helper read parts as long as some are waiting. One that it does not return waits again."""
    number = None
    try:
        with subprocess.Popen(PROGRAM, stdin=PIPE, stdout=PIPE, stderr=DEVNULL) as helper:
            assert helper.stdin is not None
            helper.stdin.write(msgspec.json.encode(task) + b"\n")
            while (number := _next(waiting)) is not None:
                found[number] = _asked(helper, spans[number])
    except (OSError, ValueError, msgspec.MsgspecError):  # it is gone, or the task is no plain text
        waiting.extend(() if number is None else (number,))


def _asked(helper: "subprocess.Popen[bytes]", span: Span) -> Part:
    assert helper.stdin is not None
    assert helper.stdout is not None
    helper.stdin.write(msgspec.json.encode(span) + b"\n")
    helper.stdin.flush()
    size = int.from_bytes(helper.stdout.read(HEAD))
    return _PART.decode(helper.stdout.read(size))


def _next(waiting: deque[int]) -> int | None:
    try:
        return waiting.popleft()
    except IndexError:
        return None


def _drawn_from(sample: Sample) -> bytes:
    drawn_from = (sample.prompt, sample.model, plainly(sample.sampling), sample.messages)
    try:
        return msgspec.json.encode(drawn_from, order="sorted")
    except UnicodeEncodeError:  # half a character, which a JSON string may hold
        return json.dumps(drawn_from, sort_keys=True).encode()


def _number(request: bytes) -> int:
    return int.from_bytes(blake2b(request, digest_size=7).digest()) + 1


def _score_of(sample: Sample) -> float | None:
    """Its verdict, else the geometric mean of the probabilities of its tokens; nan if they are none."""
    if (recorded := sample.recorded) is not None:
        return recorded.value
    if not sample.logprobs:
        return None
    mean = sum(sample.logprobs) / len(sample.logprobs)
    return exp(mean) if mean <= MOST_LOGPROB else nan
