"""Runs as traces of OpenTelemetry, by its semantic conventions for generative AI, over its own SDK.

A problem is a trace: `invoke_workflow` for the whole and for each strategy, `chat` for a request to a model,
`execute_tool` and `retrieval` for tools, and an event `gen_ai.evaluation.result` for each verdict and for the grade.
Ids are made from the run, the problem and the path of a span, so a run that is sent twice is the same traces.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from metagen import distribution
from metagen.disk.facts import FACTS, began_at
from metagen.disk.rows import SolutionRow
from metagen.disk.traces import SpanRow, parent_of, rows_of
from metagen.errors import InputError, MetagenError
from metagen.solution import Solution
from metagen.trace import Asked, Written
from metagen.view.packing import whole
from metagen.view.reading import RunRows

Attributes = dict[str, Any]

CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""The variable of the environment that says whether prompts and replies are sent."""
ENDPOINT = "http://localhost:4318"
"""Where a collector listens on the same machine."""
PATH = "/v1/traces"
"""What comes behind the URL of a collector; only the variable for traces names a whole URL."""
BATCH = 512
"""Spans that are sent at once."""
EVALUATION = "gen_ai.evaluation.result"
RETRIEVALS = {"Search"}
"""The tools that look something up."""
NANO = 1_000_000_000
SAMPLED = TraceFlags(TraceFlags.SAMPLED)


def export_run(run: RunRows, exporter: SpanExporter, *, content: bool = False) -> int:
    """Send all traces of a run; return how many spans there were. Memory does not grow with the run.

    All problems begin when the run began: a run holds times within a problem alone. With `content` the texts of
    prompts, replies and tool calls are sent too. Raises `MetagenError` if they are not taken.
    """
    at = began_at(run.path, run.configuration)
    began = int(at.timestamp() * NANO) if at else 0
    said = run.configuration[FACTS]["at"] if at else None
    strategy = str(run.configuration.get("strategy", ""))
    with Sender(exporter, f"{run.name} {said}", strategy, content=content) as sender:
        for row, spans in run.traces():
            sender.add(row, spans, began)
    return sender.count


def exporter_to(url: str | None) -> SpanExporter:
    """What sends to a collector, by OTLP over HTTP. Without a URL, the variables of OpenTelemetry say where it is.

    Raises `InputError` for what is no URL.
    """
    exact = "" if url else os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
    url = url or exact or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or ENDPOINT
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise InputError(f"--otlp {url}: name a collector by HTTP, such as {ENDPOINT}")
    base = parts.path.rstrip("/").removesuffix(PATH)
    return OTLPSpanExporter(exact or parts._replace(path=f"{base}{PATH}").geturl())


def shows_content() -> bool:
    """Whether texts are sent too, by the variable that OpenTelemetry has for that."""
    return os.environ.get(CONTENT, "").lower() in ("true", "1", "span_only", "span_and_event")


class Sender:
    """Sends problems as traces through an exporter, in batches, and shuts it down at the end.

    Spans are made as the exporters of the SDK read them, without its tracer: nothing is measured, and ids are known.
    """

    def __init__(self, exporter: SpanExporter, run: str, strategy: str, *, content: bool = False) -> None:
        self._exporter, self._run, self._strategy, self._content = exporter, run, strategy, content
        version = distribution.version()
        self._resource = Resource({"service.name": "metagen", "service.version": version, "metagen.run": whole(run)})
        self._scope = InstrumentationScope("metagen", version)
        self._waiting: list[ReadableSpan] = []
        self.count = 0
        """How many spans have been sent, or wait to be."""

    def add(self, solution: Solution | SolutionRow, spans: Sequence[SpanRow], began: int) -> None:
        """Send the trace of a problem that began at `began`, in nanoseconds since 1970.

        Raises `MetagenError` if it is not taken.
        """
        trace_id = _digest(16, self._run, solution.problem)
        paths = {span.path for span in spans}
        for span in spans:
            told = Told(span, self._strategy, solution, content=self._content)
            above = parent_of(span.path, paths)
            parent = None if above is None else self._context(trace_id, span.problem, above)
            self._waiting.append(self._made(told, self._context(trace_id, span.problem, span.path), parent, began))
            self.count += 1
            if len(self._waiting) >= BATCH:
                self._flush()

    def _context(self, trace_id: int, problem: str, path: str) -> SpanContext:
        return SpanContext(trace_id, _digest(8, self._run, problem, path), is_remote=False, trace_flags=SAMPLED)

    def _made(self, told: "Told", context: SpanContext, parent: SpanContext | None, began: int) -> ReadableSpan:
        span = told.span
        begin = began + int(span.started * NANO)
        end = begin + int(span.seconds * NANO)
        return ReadableSpan(
            whole(told.name),
            context,
            parent,
            self._resource,
            whole(told.attributes()),
            [Event(EVALUATION, whole(event), end) for event in told.events()],
            kind=told.kind,
            status=Status(StatusCode.ERROR, whole(span.error)) if span.error else Status(),
            start_time=begin,
            end_time=end,
            instrumentation_scope=self._scope,
        )

    def _flush(self) -> None:
        batch, self._waiting = self._waiting, []
        if batch and self._exporter.export(batch) is not SpanExportResult.SUCCESS:
            raise MetagenError("the collector does not take the traces: is it there, and does it speak OTLP over HTTP?")

    def __enter__(self) -> "Sender":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            self._exporter.shutdown()


class LiveSender:
    """Sends solutions as they come, in a thread of its own. A collector that fails costs traces, and never the run."""

    def __init__(self, exporter: SpanExporter, run: str, strategy: str, *, content: bool = False) -> None:
        self._sender = Sender(exporter, run, strategy, content=content)
        self._thread = ThreadPoolExecutor(1, "metagen.otlp")
        self.error = ""
        """Why no more is sent; empty while all is well."""

    def add(self, solution: Solution) -> None:
        """Send a solution that has just come."""
        began = time.time_ns() - int(solution.seconds * NANO)
        if not self.error:
            self._submit(self._add, solution, began)

    def close(self) -> None:
        """Wait until all is sent."""
        self._submit(self._end)
        self._thread.shutdown()

    def _submit(self, work: Callable[..., None], *given: object) -> None:
        self._thread.submit(work, *given).add_done_callback(self._note)

    def _note(self, done: Future[None]) -> None:
        """Keep why nothing more is sent, whatever the exporter raised: nobody waits for this call."""
        if error := done.exception():
            self.error = str(error) if isinstance(error, MetagenError) else f"{type(error).__name__}: {error}"

    def _add(self, solution: Solution, began: int) -> None:
        if not self.error:
            self._sender.add(solution, rows_of(solution.trace, solution.problem), began)

    def _end(self) -> None:
        self._sender.__exit__(MetagenError if self.error else None)


@dataclass(frozen=True, slots=True)
class Told:
    """A span in the words of the conventions."""

    span: SpanRow
    strategy: str
    solution: Solution | SolutionRow
    content: bool = field(kw_only=True)

    @property
    def operation(self) -> str:
        if self.span.request:
            return "chat"
        if self.span.call:
            return "retrieval" if self.span.name in RETRIEVALS else "execute_tool"
        return "" if self.span.verifying else "invoke_workflow"

    @property
    def kind(self) -> SpanKind:
        return SpanKind.CLIENT if self.span.request else SpanKind.INTERNAL

    @property
    def name(self) -> str:
        """The operation, and what it is about."""
        about = self.span.request.model if self.span.request else self._workflow
        return f"{self.operation} {about}".strip()

    @property
    def _workflow(self) -> str:
        """The name of a part; the whole is called by its strategy."""
        return self.strategy if not self.span.path and self.strategy else self.span.name

    def attributes(self) -> Attributes:
        span = self.span
        found: Attributes = {"metagen.path": span.path}
        if span.status != "ok":
            found["metagen.status"] = span.status
        if self.operation:
            found["gen_ai.operation.name"] = self.operation
        if self.operation == "invoke_workflow":
            found["gen_ai.workflow.name"] = self._workflow
        if not span.path:
            found |= self._whole()
        if span.request:
            found |= self._chat(span.request)
        if span.call:
            found |= self._tool()
        if span.error:
            found["error.type"] = span.error.partition(":")[0]
        if span.notes:
            found["metagen.notes"] = list(span.notes)
        return found

    def events(self) -> Iterator[Attributes]:
        """The verdicts of a verifier, and the grade of the whole."""
        for number, verdict in enumerate(self.span.verdicts or ()):
            if verdict is not None:
                yield {
                    "gen_ai.evaluation.name": self.span.name,
                    "gen_ai.evaluation.score.value": float(verdict),
                    "metagen.candidate": number,
                }
        is_open = not (self.solution.failed or self.solution.final)
        if not self.span.path and not is_open and self.solution.correct is not None:
            yield {
                "gen_ai.evaluation.name": "right",
                "gen_ai.evaluation.score.value": float(self.solution.correct),
                "gen_ai.evaluation.score.label": "correct" if self.solution.correct else "incorrect",
            }

    def _whole(self) -> Attributes:
        found: Attributes = {f"metagen.tag.{name}": value for name, value in self.solution.tags.items()}
        found["metagen.problem"] = self.span.problem
        if self.content and self.solution.answer is not None:
            found["metagen.answer"] = self.solution.answer
        return found

    def _chat(self, request: Asked) -> Attributes:
        usage, written = self.span.usage, self.span.completions
        found: Attributes = {
            "gen_ai.provider.name": "metagen",
            "gen_ai.request.model": request.model,
            "gen_ai.response.finish_reasons": ["length" if each.cut else "stop" for each in written],
        }
        found |= {name: int(usage[ours]) for ours, name in COUNTS.items() if usage.get(ours)}
        if request.n > 1:
            found["gen_ai.request.choice.count"] = request.n
        if self.content:
            found["gen_ai.input.messages"] = json.dumps(list(_asked(request)))
            found["gen_ai.output.messages"] = json.dumps([_said(each) for each in written])
        return found

    def _tool(self) -> Attributes:
        call = self.span.call
        assert call is not None
        if self.operation == "retrieval":
            return {"gen_ai.retrieval.query.text": call.input} if self.content else {}
        found: Attributes = {"gen_ai.tool.name": self.span.name, "gen_ai.tool.type": "function"}
        if self.content:
            said = call.refusal if call.output is None else call.output
            found |= {"gen_ai.tool.call.arguments": call.input, "gen_ai.tool.call.result": said or ""}
        return found


COUNTS = {
    "prompt_tokens": "gen_ai.usage.input_tokens",
    "completion_tokens": "gen_ai.usage.output_tokens",
    "cached_tokens": "gen_ai.usage.cache_read.input_tokens",
    "thought_tokens": "gen_ai.usage.reasoning.output_tokens",
    "verifier_tokens": "metagen.usage.verifier_tokens",
    "flops": "metagen.usage.flops",
}
"""Our counts by the names of the conventions. What a verifier's model read and wrote is counted together."""


def _asked(request: Asked) -> Iterator[Mapping[str, Any]]:
    turns = request.messages or [{"role": "user", "content": request.prompt}]
    for turn in turns:
        yield {"role": turn["role"], "parts": [{"type": "text", "content": str(turn.get("content") or "")}]}
    if request.partial:
        yield {"role": "assistant", "parts": [{"type": "text", "content": request.partial}]}


def _said(written: Written) -> Mapping[str, Any]:
    thought = [{"type": "reasoning", "content": written.thought}] if written.thought else []
    parts = [*thought, {"type": "text", "content": written.text}]
    return {"role": "assistant", "parts": parts, "finish_reason": "length" if written.cut else "stop"}


def _digest(size: int, *parts: str) -> int:
    """An id that is never zero, which would be none."""
    data = "\0".join(parts).encode(errors="surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=size).digest()) or 1
