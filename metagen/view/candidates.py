"""The candidates of a problem, put together again from the written rows. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from math import inf
from types import MappingProxyType
from typing import TypeVar

from metagen.disk.rows import SolutionRow
from metagen.disk.traces import SpanRow, above, parent_of
from metagen.thinking import split
from metagen.trace import Written

Value = TypeVar("Value")
Verdict = tuple[float | None, tuple[float, ...]]
"""The score of a candidate and those of its steps."""
NONE: Verdict = (None, ())


@dataclass(frozen=True, slots=True)
class Shown:
    """A candidate that the answer was chosen among."""

    text: str
    thought: str = ""
    tokens: int = 0
    cut: bool = False
    answer: str | None = None
    right: bool | None = None
    group: int = -1
    """The number of its answer; -1 for no answer."""
    score: float | None = None
    steps: tuple[float, ...] = ()
    """The values of its steps, where a verifier scored them."""
    chosen: bool = False
    model: str = ""
    """The model that wrote it, where several wrote and it is known which."""


@dataclass(frozen=True, slots=True)
class Reply(Written):
    """A reply as far as it was written, and by which model."""

    model: str = ""


def candidates_of(
    row: SolutionRow, spans: Sequence[SpanRow], leaves: Mapping[str, float | None] = MappingProxyType({})
) -> list[Shown]:
    """The candidates of a problem in the order in which they were issued, the chosen one marked.

    A strategy that compared none has one: its answer. Texts that the rows do not tell are left out. `leaves` are the
    verdicts of searches on whole replies, which count where the candidates themselves have no verdicts.
    """
    if row.failed:
        return []
    if (where := _comparing(row, spans)) is None:
        return [_single(row, spans, leaves)]
    whole, several = compared(where, spans)[: len(row.answers)], _are_several(spans)
    texts = [each.text for each in whole]
    scores = _direct(spans, where.path, len(row.answers)) or _inner(where, spans, texts, leaves)
    chosen = _chosen(texts, [score for score, _ in scores], row.text)
    return [
        Shown(
            each.text,
            each.thought,
            each.tokens,
            each.cut,
            answer,
            _at(row.verdicts, place, None),
            _at(row.groups, place, -1),
            *scores[place],
            chosen=place == chosen,
            model=each.model if several else "",
        )
        for place, (each, answer) in enumerate(zip(whole, row.answers, strict=False))
    ]


def _are_several(spans: Sequence[SpanRow]) -> bool:
    """Whether several models wrote."""
    return len({reply.model for reply, _ in below(spans, "")}) > 1


def below(spans: Sequence[SpanRow], path: str) -> Iterator[tuple[Reply, Written]]:
    """The replies at and below a span, each as far as it was written there, with the completion that it ends with.

    Those of verifiers and of lost samples are left out.
    """
    for span in _kept(spans, path):
        partial, model = (span.request.partial, span.request.model) if span.request else ("", "")
        begun = split(partial)
        for each in span.completions:
            thought, tokens = begun.thought + each.thought, 0 if partial else each.tokens
            yield Reply(begun.text + each.text, tokens, each.cut, thought, model=model), each


def _kept(spans: Sequence[SpanRow], path: str) -> Iterator[SpanRow]:
    """The spans at and below a path, without verifiers and what was lost or cancelled, and all below these."""
    left_out: set[str] = set()
    for span in spans:
        if not is_below(span.path, path) or any(each in left_out for each in above(span.path)):
            continue
        if span.verifying or span.status in ("cancelled", "lost"):
            left_out.add(span.path)
        else:
            yield span


def is_below(path: str, top: str) -> bool:
    """Whether a path is that of a span or of one below it."""
    return not top or path == top or path.startswith(f"{top}.")


def _chosen(texts: Sequence[str], scores: Sequence[float | None], answer: str) -> int:
    """The place of the answer: of equal texts that with the highest score, else the first; -1 if it is not there."""
    equal = [place for place, text in enumerate(texts) if text == answer]
    return max(equal, key=lambda place: -inf if (score := scores[place]) is None else score, default=-1)


def _single(row: SolutionRow, spans: Sequence[SpanRow], leaves: Mapping[str, float | None]) -> Shown:
    written = list(below(spans, ""))
    ending = next((last for _, last in reversed(written) if last.text and row.text.endswith(last.text)), None)
    (reply,) = _said([row.text], [whole for whole, _ in written])
    said: Written = reply if reply.thought or ending is None else ending
    return Shown(
        row.text,
        said.thought,
        said.tokens,
        said.cut,
        row.answer,
        row.correct,
        -1 if row.answer is None else 0,
        leaves.get(row.text),
        chosen=True,
        model=reply.model if _are_several(spans) else "",
    )


def _comparing(row: SolutionRow, spans: Sequence[SpanRow]) -> SpanRow | None:
    """The span that compared the candidates, if any were compared."""
    wanted = len(row.answers) if row.at else 0
    return next((span for span in spans if span.path == row.at and span.compared == wanted > 0), None)


def compared(where: SpanRow, spans: Sequence[SpanRow]) -> list[Reply]:
    """The replies that were compared at a span, with their thoughts as far as it is known whose they are."""
    written = [whole for whole, _ in below(spans, where.path)]
    if not where.replies:
        return written
    paths = {span.path for span in spans}
    samples = [span.path for span in _kept(spans, where.path) if parent_of(span.path, paths) == where.path]
    if len(samples) == len(where.replies):
        parts = [[whole for whole, _ in below(spans, path)] for path in samples]
        return [each for text, part in zip(where.replies, parts, strict=True) for each in _said([text], part)]
    return _said(where.replies, written)


def _said(texts: Sequence[str], written: Sequence[Reply]) -> list[Reply]:
    """The replies with these texts, each with its thought where it is known which of those that were written it is.

    Equal texts are in their order where each of them is one of these. Else one whose thought continues those of all
    others is the one that was returned, after trials.
    """
    alike: defaultdict[str, list[Reply]] = defaultdict(list)
    for each in written:
        alike[each.text].append(each)
    in_order = {text: iter(alike[text]) for text, wanted in Counter(texts).items() if wanted == len(alike[text])}
    return [next(in_order[text]) if text in in_order else _last(text, alike[text]) for text in texts]


def _last(text: str, alike: Sequence[Reply]) -> Reply:
    if alike and all(alike[-1].thought.startswith(each.thought) for each in alike):
        return alike[-1]
    return Reply(text)


def _direct(spans: Sequence[SpanRow], path: str, count: int) -> list[Verdict]:
    """The verdicts of the verifier that judged the candidates themselves; nothing unless each has just one."""
    paths = {span.path for span in spans}
    return _matched([span for span in _verifiers(spans) if parent_of(span.path, paths) == path], count)


def _inner(
    where: SpanRow, spans: Sequence[SpanRow], texts: Sequence[str], leaves: Mapping[str, float | None]
) -> list[Verdict]:
    """The verdicts that were given on the way to the candidates, as far as it is known on which."""
    verifying = {span.path for span in spans if span.verifying}
    deeper = [s for s in _verifiers(spans) if is_below(s.path, where.path) and verifying.isdisjoint(above(s.path))]
    found = [] if where.replies else _matched(deeper, len(texts))
    return [
        (leaves.get(text, score), steps) for text, (score, steps) in zip(texts, found or repeat(NONE), strict=False)
    ]


def _verifiers(spans: Sequence[SpanRow]) -> list[SpanRow]:
    return [span for span in spans if span.verifying and span.verdicts is not None and span.status != "cancelled"]


def _matched(verifiers: Sequence[SpanRow], count: int) -> list[Verdict]:
    """The verdicts with those on steps, if there are so many."""
    verdicts = [value for span in verifiers for value in span.verdicts or ()]
    steps = [each for span in verifiers for each in (span.steps or [()] * len(span.verdicts or ()))]
    return list(zip(verdicts, steps, strict=True)) if len(verdicts) == len(steps) == count else []


def _at(values: Sequence[Value], place: int, default: Value) -> Value:
    return values[place] if place < len(values) else default
