"""The candidates of a problem, put together again from the written rows. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import TypeVar

from metagen.disk.rows import SolutionRow
from metagen.disk.traces import SpanRow, above, parent_of
from metagen.trace import Written

Value = TypeVar("Value")


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


def candidates_of(row: SolutionRow, spans: Sequence[SpanRow]) -> list[Shown]:
    """The candidates of a problem in the order in which they were issued, the chosen one marked.

    A strategy that compared none has one: its answer. Texts that the rows do not tell are left out.
    """
    count = len(row.answers)
    where = _comparing(spans, count)
    if row.failed or where is None:
        return [] if row.failed else [_single(row, spans)]
    written = list(below(spans, where.path))
    texts = where.replies or [begun + each.text for begun, each in written]
    whole = [each for _, each in written] if not where.replies else [Written(text) for text in texts]
    scores = _scores(spans, where.path, count, nested=not where.replies)
    chosen = _chosen(texts, [score for score, _ in scores], row.text)
    return [
        Shown(
            text,
            each.thought,
            each.tokens,
            each.cut,
            answer,
            _at(row.verdicts, place, None),
            _at(row.groups, place, -1),
            *scores[place],
            chosen=place == chosen,
        )
        for place, (text, each, answer) in enumerate(zip(texts, whole, row.answers, strict=False))
    ]


def below(spans: Sequence[SpanRow], path: str) -> Iterator[tuple[str, Written]]:
    """The completions at and below a span, each with what it continues; without those of verifiers and lost samples."""
    left_out: set[str] = set()
    for span in spans:
        if not is_below(span.path, path):
            continue
        if any(each in left_out for each in above(span.path)):
            continue
        if span.verifying or span.status in ("cancelled", "lost"):
            left_out.add(span.path)
        else:
            begun = span.request.partial if span.request else ""
            yield from ((begun, each) for each in span.completions)


def is_below(path: str, top: str) -> bool:
    """Whether a path is that of a span or of one below it."""
    return not top or path == top or path.startswith(f"{top}.")


def _chosen(texts: Sequence[str], scores: Sequence[float | None], answer: str) -> int:
    """The place of the answer: of equal texts that with the highest score, else the first; -1 if it is not there."""
    equal = [place for place, text in enumerate(texts) if text == answer]
    return max(equal, key=lambda place: -inf if (score := scores[place]) is None else score, default=-1)


def _single(row: SolutionRow, spans: Sequence[SpanRow]) -> Shown:
    said = next((each for _, each in reversed(list(below(spans, ""))) if row.text.endswith(each.text)), Written(""))
    group = -1 if row.answer is None else 0
    return Shown(row.text, said.thought, said.tokens, said.cut, row.answer, row.correct, group, chosen=True)


def _comparing(spans: Sequence[SpanRow], count: int) -> SpanRow | None:
    """The outermost span that compared so many candidates."""
    found = [span for span in spans if span.compared == count > 0 and not span.verifying]
    return min(found, key=lambda span: span.path.count("."), default=None)


def _scores(
    spans: Sequence[SpanRow], path: str, count: int, *, nested: bool
) -> list[tuple[float | None, tuple[float, ...]]]:
    """The verdict on each candidate with those on its steps, where each has just one."""
    beside = [span for span in spans if span.verifying and span.verdicts is not None and span.status != "cancelled"]
    paths, verifiers = {span.path for span in spans}, {span.path for span in spans if span.verifying}
    direct = [span for span in beside if parent_of(span.path, paths) == path]
    deeper = [span for span in beside if is_below(span.path, path) and verifiers.isdisjoint(above(span.path))]
    for found in (direct, deeper if nested else []):
        verdicts = [value for span in found for value in span.verdicts or ()]
        if len(verdicts) == count:
            steps = [each for span in found for each in (span.steps or [()] * len(span.verdicts or ()))]
            return list(zip(verdicts, steps, strict=True))
    return [(None, ())] * count


def _at(values: Sequence[Value], place: int, default: Value) -> Value:
    return values[place] if place < len(values) else default
