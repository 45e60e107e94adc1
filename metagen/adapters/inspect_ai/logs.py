"""A run as a log of Inspect: a sample per problem, with its spans as events and search trees as branches."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from inspect_ai.event import (
    AnchorEvent,
    BranchEvent,
    Event,
    InfoEvent,
    ModelEvent,
    ScoreEvent,
    SpanBeginEvent,
    SpanEndEvent,
    ToolEvent,
)
from inspect_ai.log import (
    EvalConfig,
    EvalDataset,
    EvalError,
    EvalLog,
    EvalMetric,
    EvalPlan,
    EvalPlanStep,
    EvalResults,
    EvalSample,
    EvalScore,
    EvalSpec,
    EvalStats,
    write_eval_log,
)
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageUser,
    GenerateConfig,
    ModelOutput,
)
from inspect_ai.scorer import CORRECT, INCORRECT, Score
from inspect_ai.tool import ToolCallError

from metagen import distribution
from metagen.adapters.inspect_ai.active import message_of_turn
from metagen.adapters.inspect_ai.messages import message_of, usage_by_model, usage_of
from metagen.adapters.rows import conversation_of
from metagen.analysis.share import Share
from metagen.budget import Usage
from metagen.disk.facts import EPOCH, began_at
from metagen.disk.files import replace_file
from metagen.disk.rows import SolutionRow
from metagen.disk.traces import SpanRow, parent_of
from metagen.messages import read_messages
from metagen.trace import Asked, Written
from metagen.view.packing import whole
from metagen.view.problems import judged_candidates
from metagen.view.reading import RunRows

SCORER = "right"
"""What the score of a sample is called: whether its answer is right."""


def write_log(run: RunRows, path: Path) -> int:
    """Write the log, which is in memory as a whole; return how many samples it has."""
    begun = began_at(run.path, run.configuration) or EPOCH
    samples = [_sample(row, spans, begun) for row, spans in run.traces()]
    replace_file(path, lambda new: write_eval_log(_log(run, samples, begun), str(new)))
    return len(samples)


def _log(run: RunRows, samples: list[EvalSample], begun: datetime) -> EvalLog:
    about = run.configuration
    usage = usage_by_model((name, each) for sample in samples for name, each in sample.metadata.pop("usage").items())
    strategy, models = whole(str(about.get("strategy", ""))), whole(about.get("models", {}))
    return EvalLog(
        status="success",
        eval=EvalSpec(
            created=begun.isoformat(),
            task=whole(run.name),
            task_id=whole(run.name),
            eval_id=whole(run.name),
            run_id=whole(run.name),
            dataset=EvalDataset(name=whole(str(about.get("problems", ""))), samples=len(samples)),
            model="metagen/" + ",".join(map(str, models.values() if isinstance(models, dict) else ())),
            solver=strategy,
            config=EvalConfig(epochs=1),
            packages={"metagen": distribution.version()},
        ),
        plan=EvalPlan(steps=[EvalPlanStep(solver=strategy)]),
        results=_results(run.rows.values()),
        stats=EvalStats(
            started_at=begun.isoformat(),
            completed_at=begun.isoformat(),
            model_usage={name: usage_of(spent) for name, spent in usage.items()},
        ),
        samples=samples,
    )


def _results(rows: Iterable[SolutionRow]) -> EvalResults:
    every = list(rows)
    judged = [row.verdict for row in every if row.verdict is not None]
    share = Share(judged.count(True), len(judged))
    error = (share.value * (1 - share.value) / max(1, share.total - 1)) ** 0.5 if judged else 0.0
    metrics = {"accuracy": share.value, "stderr": error} if judged else {}
    return EvalResults(
        total_samples=len(every),
        completed_samples=sum(row.final for row in every),
        scores=[
            EvalScore(
                name=SCORER,
                scorer=SCORER,
                scored_samples=len(judged),
                unscored_samples=len(every) - len(judged),
                metrics={name: EvalMetric(name=name, value=value) for name, value in metrics.items()},
            )
        ],
    )


def _sample(row: SolutionRow, spans: Sequence[SpanRow], begun: datetime) -> EvalSample:
    asks = [message_of_turn(replace(turn, content=whole(turn.content))) for turn in conversation_of(row, spans)]
    candidates = judged_candidates(row, spans)
    thought = next((each.thought for each in candidates if each.chosen), "")
    reply = message_of(whole(row.text), whole(thought))
    usage = usage_by_model((span.request.model, Usage(**_counts(span))) for span in spans if span.request)
    score = _score(row)
    events = list(Transcript(begun, spans).events())
    if score:
        ended = {"timestamp": begun + timedelta(seconds=row.seconds), "working_start": row.seconds}
        events.append(ScoreEvent(score=score, target=whole(row.reference or ""), scorer=SCORER, **ended))
    return EvalSample(
        id=whole(row.problem),
        epoch=1,
        input=asks[0].text if len(asks) == 1 else asks,
        target=whole(row.reference or ""),
        messages=[*asks, reply],
        output=ModelOutput(
            model="metagen",
            choices=[ChatCompletionChoice(message=reply, stop_reason="stop")],
            usage=usage_of(row.usage.usage()),
            time=row.seconds,
        ),
        scores={SCORER: score} if score else None,
        metadata={**_about(row), "scores": [each.score for each in candidates], "usage": usage},
        events=events,
        model_usage={name: usage_of(spent) for name, spent in usage.items()},
        started_at=begun.isoformat(),
        completed_at=(begun + timedelta(seconds=row.seconds)).isoformat(),
        total_time=row.seconds,
        working_time=row.seconds,
        error=EvalError(message=whole(row.error), traceback="", traceback_ansi="") if row.failed else None,
    )


def _about(row: SolutionRow) -> dict[str, Any]:
    """What the run says of a problem beside its answer."""
    about = {"answers": row.answers, "verdicts": row.verdicts, "notes": row.notes, "lost": row.lost}
    return dict(whole({**row.tags, **about}))


def _score(row: SolutionRow) -> Score | None:
    if row.verdict is None:
        return None
    return Score(value=CORRECT if row.verdict else INCORRECT, answer=whole(row.answer), explanation=whole(row.text))


def _counts(span: SpanRow) -> dict[str, Any]:
    """Counts of tokens and calls are whole numbers, whatever a line says."""
    return {name: value if name.endswith("seconds") else int(value) for name, value in span.usage.items()}


@dataclass(frozen=True, slots=True)
class Transcript:
    """The events of a problem, from its spans."""

    begun: datetime
    spans: Sequence[SpanRow]
    below: dict[str, list[SpanRow]] = field(default_factory=dict, init=False)
    """The spans right below each path; an expanded node of a search is below the one that it is a child of."""

    def __post_init__(self) -> None:
        expanded, paths = {span.path for span in self.spans if span.expansion}, {span.path for span in self.spans}
        for span in self.spans:
            if span.path:
                self.below.setdefault(_above(span, expanded, paths), []).append(span)

    def events(self) -> Iterator[Event]:
        """All events, each span's between its beginning and its end."""
        for span in self.spans[:1]:
            yield from self._span(span, None)

    def _span(self, span: SpanRow, above: SpanRow | None) -> Iterator[Event]:
        branches = bool(above and above.expansion and span.expansion)
        about = self._about(span)
        yield SpanBeginEvent(
            id=_id(span),
            parent_id=_id(above) if above else None,
            name=_name(span),
            type="branch" if branches else None,
            **about | {"span_id": _id(above) if above else None},
        )
        if branches:
            yield BranchEvent(from_anchor=_anchor(span), **about)
        yield from self._own(span, about)
        for child in self.below.get(span.path, ()):
            if span.expansion and child.expansion:
                yield AnchorEvent(anchor_id=_anchor(child), source="expansion", **about)
            yield from self._span(child, span)
        yield SpanEndEvent(id=_id(span), **about | {"timestamp": self._at(span.started + span.seconds)})

    def _own(self, span: SpanRow, about: dict[str, Any]) -> Iterator[Event]:
        """What was done at this very span."""
        if span.request:
            yield _model_event(span, span.request, about, self._at(span.started + span.seconds))
        if span.call:
            why = whole(span.call.refusal or span.error)
            yield ToolEvent(
                id=_id(span),
                function=whole(span.name),
                arguments={"input": whole(span.call.input)},
                result=whole(span.call.output or ""),
                error=ToolCallError("unknown", why) if span.call.output is None else None,
                completed=self._at(span.started + span.seconds),
                **about,
            )
        said = {
            "verdicts": list(span.verdicts) if span.verdicts is not None else None,
            "steps": [list(each) for each in span.steps] or None,
            "feedback": whole(span.feedback.text) if span.feedback else None,
            "children": [_child(each) for each in span.expansion.children] if span.expansion else None,
            "notes": [whole(note) for note in span.notes] or None,
            "error": whole(span.error) or None,
        }
        if data := {name: value for name, value in said.items() if value is not None}:
            yield InfoEvent(source=whole(span.name), data=data, **about)

    def _about(self, span: SpanRow) -> dict[str, Any]:
        return {"span_id": _id(span), "timestamp": self._at(span.started), "working_start": span.started}

    def _at(self, seconds: float) -> datetime:
        return (self.begun + timedelta(seconds=seconds)).astimezone(UTC)


def _above(span: SpanRow, expanded: set[str], paths: set[str]) -> str:
    """The path that a span is shown below: in a search, `0./0/1` is a child of the node `0./0`."""
    if span.expansion:
        node, slash, _ = span.path.rpartition("/")
        for above in (node, f"{node}/"):
            if slash and above in expanded and above != span.path:
                return above
    return parent_of(span.path, paths) or ""


def _id(span: SpanRow) -> str:
    return span.path or "root"


def _anchor(span: SpanRow) -> str:
    return f"at {span.path}"


def _name(span: SpanRow) -> str:
    """The name of a span; a node of a search is called by its place, such as `node 0.1`, since a slash would be cut."""
    if not span.expansion:
        return str(whole(span.name))
    place = span.path.rpartition(".")[2].strip("/").replace("/", ".")
    return f"node {place}" if place else "root of the search"


def _child(child: Any) -> dict[str, Any]:
    return {"count": child.count, "value": child.value, "state": child.became or child.state}


def _model_event(span: SpanRow, request: Asked, about: dict[str, Any], ended: datetime) -> ModelEvent:
    usage = usage_of(Usage(**_counts(span)))
    return ModelEvent(
        model=whole(request.model) or "model",
        input=list(_input(request, span.problem)),
        tools=[],
        tool_choice="none",
        config=GenerateConfig(num_choices=request.n if request.n > 1 else None),
        output=ModelOutput(
            model=whole(request.model),
            choices=[_choice(each) for each in span.completions],
            usage=usage,
            time=span.seconds,
        ),
        error=whole(span.error) or None,
        completed=ended,
        working_time=span.seconds,
        **about,
    )


def _input(request: Asked, problem: str) -> Iterator[ChatMessage]:
    if request.messages:
        turns = read_messages(whole(request.messages), f"problem {problem!r}: messages")
        yield from map(message_of_turn, turns)
    else:
        yield ChatMessageUser(content=whole(request.prompt))
    if request.partial:
        yield ChatMessageAssistant(content=whole(request.partial))


def _choice(written: Written) -> ChatCompletionChoice:
    message = message_of(whole(written.text), whole(written.thought))
    return ChatCompletionChoice(message=message, stop_reason="max_tokens" if written.cut else "stop")
