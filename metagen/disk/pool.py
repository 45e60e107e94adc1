"""Samples on disk: one line of a pool, and the key by which a sample is found again."""

import json
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from sys import intern
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from metagen.answers.extract import without_end
from metagen.candidate import Score
from metagen.disk.lines import Reader
from metagen.errors import InputError
from metagen.request import Completion, Request, Sampling
from metagen.thinking import USUAL, Reply, may_think, split

Key = bytes
"""A digest of 16 bytes: of pools with long prompts, the keys would need more memory than all else."""
Count = Annotated[int, Meta(ge=0, lt=2**31)]


class Sample(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True, gc=False):
    """One line of a pool: a sample, and what it was drawn from."""

    problem: str | int
    """The problem's id, in the end a text."""
    text: str
    draw: Count | None = None
    """The number of this sample among those of equal requests, from 0; in the end known, for what has none."""
    prompt: str | None = None
    """What it was drawn for; `None`, in pools from elsewhere, stands for any prompt of the problem."""
    partial: str = ""
    messages: list[dict[str, Any]] | None = None
    """The whole conversation as it was sent, where there are other turns than the prompt."""
    model: str = ""
    """The name of the model that wrote it; empty in pools from elsewhere."""
    sampling: dict[str, Any] | None = None
    """The sampling settings; `None`, in pools from elsewhere, stands for any."""
    extra: dict[str, Any] | None = None
    """The fields that its server was given with every request (`extra=`); `None` where it is not known."""
    end: Literal["eos", "stop", "length"] = "eos"
    stop: str = ""
    tokens: Count = 0
    """The length of the text in the tokens of the model that wrote it."""
    prompt_tokens: Count = 0
    logprobs: tuple[float, ...] = ()
    confidences: tuple[float, ...] = ()
    first: tuple[tuple[str, float], ...] = ()
    thought: str = ""
    """What was thought before; in pools from elsewhere it may stand in the text, between its marks."""
    open: bool = False
    """Whether the thought has not ended."""
    thought_tokens: Count = 0
    before: str = ""
    """The partial reply with what was thought before it, in the usual marks."""
    score: float | None = None
    """A verdict on it, which `RecordedScore()` plays."""
    steps: tuple[float, ...] = ()
    """The scores of its steps."""

    @property
    def id(self) -> str:
        return str(self.problem)

    @property
    def number(self) -> int:
        """The number that it has, once it is read."""
        return self.draw or 0

    @property
    def recorded(self) -> Score | None:
        """The verdict that it holds: its score, else the lowest of its steps."""
        if self.score is None and not self.steps:
            return None
        return Score(min(self.steps) if self.score is None else self.score, self.steps)


def reply_of(sample: Sample) -> Reply:
    """The thought and the text of a sample."""
    if sample.thought or sample.open:
        return Reply(sample.thought, sample.text, sample.open)
    return split(without_end(sample.text))


def text_of(sample: Sample) -> str:
    """The text of a sample, without a thought before it."""
    return reply_of(sample).text if may_think(sample.text) else without_end(sample.text)


FORM = (
    'a line of a pool is {"problem": ID, "text": REPLY}; it may also hold draw (0, 1, ...), prompt, tokens, score (a '
    "number), steps (the scores of its steps), end (eos, stop or length), model, sampling and logprobs"
)
_READER = Reader(Sample)
_LIST: msgspec.json.Decoder[list[dict[str, Any]]] = msgspec.json.Decoder(list[dict[str, Any]])
_FAULTS = (OSError, msgspec.MsgspecError, ValueError, RecursionError)


def read_samples(path: Path, *, torn: bool = False) -> Iterator[tuple[int, int, Sample]]:
    """The samples of a pool, with their lines from 1, and where they begin: a byte, or a number in a JSON list.

    Those without a number get one, in their order among those of equal requests. Raises `InputError`, naming the line,
    for what is no pool.
    """
    seen = Counter[Key]()
    try:
        for line, start, sample in _listed(path) if is_list(path) else _READER.read(path, torn=torn):
            if sample.draw is None:
                request = sample_key(sample)
                sample = msgspec.structs.replace(sample, draw=seen[request])  # noqa: PLW2901 (the same, numbered)
                seen[request] += 1
            yield line, start, sample
    except InputError as error:
        raise InputError(f"{error}; {FORM}") from None


class Joined(NamedTuple):
    """A sample as a report has it: where its first line is, and what its second request read again."""

    line: int
    sample: Sample
    again: int = 0
    """The tokens of the prompt and the thought, where the answer had a request of its own."""


def join_thoughts(path: Path) -> Iterator[Joined]:
    """The samples of a pool, each thought that was drawn by itself as one sample with its answer.

    A thought whose answer is not there, though others that ended like it have one, is no sample yet and is left out.
    What continues anything else is left as it is. Raises `InputError` as `read_samples` does.
    """
    waiting, early = defaultdict[Key, deque[Joined]](deque), defaultdict[Key, deque[Joined]](deque)
    ended = False
    """Whether thoughts that reached their limit were ended there, and answered."""
    for line, _, sample in read_samples(path):
        one, is_begun = Joined(line, sample), is_thought(sample)
        key = _after(sample, USUAL.written(sample.thought, "", is_open=False) if is_begun else sample.before)
        if found := (early if is_begun else waiting).get(key):
            other = found.popleft()
            thought, answer = (one, other) if is_begun else (other, one)
            ended |= _is_full(thought.sample)
            yield Joined(thought.line, _answered(thought.sample, answer.sample), answer.sample.prompt_tokens)
        elif is_begun:
            waiting[key].append(one)
        elif sample.before:  # the lines may have been sorted
            early[key].append(one)
        else:
            yield one
    for each in chain.from_iterable(waiting.values()):
        awaits_answer = ended if _is_full(each.sample) else not each.sample.open
        if not awaits_answer:
            yield each
    yield from chain.from_iterable(early.values())


def is_thought(sample: Sample) -> bool:
    """Whether it is a thought that was drawn by itself, from its beginning."""
    return not sample.before and bool((sample.sampling or {}).get("thought_only"))


def _is_full(thought: Sample) -> bool:
    """Whether it reached its limit."""
    limit = (thought.sampling or {}).get("max_tokens")
    return limit is not None and thought.tokens >= limit


def _after(sample: Sample, begun: str) -> Key:
    """What a sample and a request that continues it have in common."""
    return _digest(sample.id, sample.prompt, begun, None, sample.messages)


def _answered(thought: Sample, answer: Sample) -> Sample:
    """A thought with its answer, as one request would have drawn them."""
    return msgspec.structs.replace(
        thought,
        text=answer.text,
        end=answer.end,
        stop=answer.stop,
        tokens=thought.tokens + answer.tokens,
        logprobs=thought.logprobs + answer.logprobs,
        confidences=thought.confidences + answer.confidences,
        first=answer.first,
        thought=thought.thought + answer.thought,
        open=answer.open,
        thought_tokens=thought.thought_tokens + answer.thought_tokens,
    )


def place_of(path: Path, line: int) -> str:
    """Where a sample of a pool stands, for messages."""
    return f"{path}, {'item' if is_list(path) else 'line'} {line}"


def is_list(path: Path) -> bool:
    """Whether a file is a JSON list, by its name."""
    return path.suffix == ".json"


def read_sample(line: bytes, path: Path) -> Sample:
    return _READER.row(line, path, 0)


def _listed(path: Path) -> Iterator[tuple[int, int, Sample]]:
    try:
        rows = _list_of(path.read_bytes())
    except _FAULTS as error:
        raise InputError(f"{path}: is not a JSON list of samples: {error}") from None
    for number, row in enumerate(rows):
        try:
            yield number + 1, number, msgspec.convert(row, Sample, strict=False)
        except msgspec.ValidationError as error:
            raise InputError(f"{place_of(path, number + 1)}: {error}") from None


def _list_of(data: bytes) -> list[dict[str, Any]]:
    """The rows of a list. The standard library takes more than msgspec: a byte order mark, and `NaN`."""
    try:
        return _LIST.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.convert(json.loads(data.decode("utf-8-sig")), list[dict[str, Any]])


def key(request: Request, *, any_sampling: bool = False, any_prompt: bool = False) -> Key:
    """Under what a request's samples are kept."""
    sampling = None if any_sampling else settings(request.sampling)
    prompt, said = (None, None) if any_prompt else (request.prompt, request.conversation)
    return _digest(request.problem, prompt, request.reply, sampling, said)


def sample_key(sample: Sample) -> Key:
    reply = sample.before or sample.partial
    return _digest(sample.id, sample.prompt, reply, sample.sampling, sample.messages)


def settings(sampling: Sampling) -> dict[str, Any]:
    """What bends the distribution: all settings that were given."""
    given = {name: value for name, value in asdict(sampling).items() if _is_given(value)}
    if bias := given.get("logit_bias"):  # JSON has texts for keys
        given["logit_bias"] = {str(token): value for token, value in bias.items()}
    return {name: plainly(value) for name, value in given.items()}


def plainly(value: Any) -> Any:
    """The same settings, with numbers that are equal written alike: 1.0 as 1."""
    if isinstance(value, Mapping):
        return {str(name): plainly(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plainly(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_given(value: object) -> bool:
    """Whether a setting was given; a temperature of 0 is, though it equals `False`."""
    return not (value is None or value is False or value in ((), {}))


def sampled(
    request: Request,
    draw: int,
    completion: Completion,
    prompt_tokens: int,
    model: str,
    extra: Mapping[str, Any] | None = None,
) -> Sample:
    return Sample(
        model=model,
        extra=None if extra is None else plainly(extra),
        problem=request.problem,
        prompt=request.prompt,
        partial=request.partial,
        messages=request.conversation or None,
        sampling=settings(request.sampling),
        draw=draw,
        text=completion.text,
        end=intern(completion.end),  # type: ignore[arg-type]  # msgspec leaves out the default if it is the very same text
        stop=completion.stop,
        tokens=completion.length,
        prompt_tokens=prompt_tokens,
        logprobs=completion.logprobs,
        confidences=completion.confidences,
        first=completion.first,
        thought=completion.thought,
        open=completion.open,
        thought_tokens=completion.thought_tokens,
        before="" if request.reply == request.partial else request.reply,
    )


def _digest(
    problem: str,
    prompt: str | None,
    partial: str,
    sampling: dict[str, Any] | None,
    messages: list[dict[str, Any]] | None,
) -> Key:
    spelled = "" if sampling is None else json.dumps(plainly(sampling), sort_keys=True)
    said = [json.dumps(messages, sort_keys=True)] if messages else []
    parts = "".join(f"{len(part)}:{part}" for part in (problem, prompt or "", partial, spelled, *said))
    parts += "any" if prompt is None else ""
    return blake2b(parts.encode(errors="surrogatepass"), digest_size=16).digest()
