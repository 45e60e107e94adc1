import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from metagen import InputError, MetagenError, Problem, Scripted, Vote, solve
from metagen.adapters import otlp
from metagen.adapters.otlp import CONTENT, LiveSender, export_run, exporter_to, shows_content
from metagen.disk.runs import RunDirectory
from metagen.disk.traces import rows_of
from metagen.view.reading import RunRows
from tests.support.collector import collecting
from tests.support.viewed import make_run


async def spans_of(folder: Path, name: str, *, content: bool = False) -> list[Any]:
    exporter = InMemorySpanExporter()
    run = RunRows.read(await make_run(folder, name))
    assert export_run(run, exporter, content=content) == len(exporter.get_finished_spans())
    return list(exporter.get_finished_spans())


async def test_a_problem_is_a_trace_of_workflows_and_chats(tmp_path: Path) -> None:
    spans = await spans_of(tmp_path, "vote")
    first = [span for span in spans if span.context.trace_id == spans[0].context.trace_id]
    assert [span.name for span in first] == ["invoke_workflow vote", "invoke_workflow Vote", "chat scripted"]
    assert [span.parent and span.parent.span_id for span in first] == [
        None,
        *(span.context.span_id for span in first[:2]),
    ]
    assert len({span.context.trace_id for span in spans}) == 3
    assert first[0].attributes["metagen.tag.level"] == "1"
    assert first[0].events[0].attributes == {
        "gen_ai.evaluation.name": "right",
        "gen_ai.evaluation.score.value": 1.0,
        "gen_ai.evaluation.score.label": "correct",
    }
    chat = dict(first[2].attributes)
    assert chat.pop("gen_ai.usage.reasoning.output_tokens") > 0
    assert chat == {
        "metagen.path": "0.0",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "metagen",
        "gen_ai.request.model": "scripted",
        "gen_ai.request.choice.count": 4,
        "gen_ai.response.finish_reasons": ["stop"] * 4,
        "gen_ai.usage.input_tokens": 14,
        "gen_ai.usage.output_tokens": chat["gen_ai.usage.output_tokens"],
    }
    assert first[2].start_time <= first[2].end_time <= first[0].end_time
    assert "What is" not in "".join(span.to_json() for span in spans)


async def test_texts_are_sent_where_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    *_, chat = await spans_of(tmp_path, "vote", content=True)
    assert json.loads(chat.attributes["gen_ai.input.messages"])[0]["parts"][0]["content"] == "What is 5 + 4?"
    thought, said = json.loads(chat.attributes["gen_ai.output.messages"])[0]["parts"]
    assert thought == {"type": "reasoning", "content": "Hm."}
    assert said["content"].endswith("The answer is 7.")
    assert not shows_content()
    monkeypatch.setenv(CONTENT, "SPAN_ONLY")
    assert shows_content()


async def test_verdicts_are_evaluations_and_a_run_sent_twice_is_the_same_traces(tmp_path: Path) -> None:
    spans = await spans_of(tmp_path, "best")
    verifier = next(span for span in spans if span.name == "lengths")
    assert [event.attributes["gen_ai.evaluation.score.value"] for event in verifier.events] == [0.25, 0.26, 0.27, 0.28]
    assert [event.name for event in verifier.events] == ["gen_ai.evaluation.result"] * 4
    again = InMemorySpanExporter()
    export_run(RunRows.read(tmp_path / "best"), again)
    assert [span.context for span in again.get_finished_spans()] == [span.context for span in spans]


async def test_tools_and_failures_are_told(tmp_path: Path) -> None:
    async def Search(text: str) -> str:  # noqa: N802 (called as the tool is)
        return "Paris"

    async def weather(text: str) -> str:
        raise OSError("no network")

    async def ask(problem: Problem, run: Any) -> Any:
        await run.call(Search, "capital of France")
        try:
            await run.call(weather, "Paris")
        except MetagenError:
            return await run.ask(None, problem)

    solution = await solve("?", ask, Scripted("Paris"))
    with RunDirectory(tmp_path / "run", {}) as run:
        run.add(solution)
    exporter = InMemorySpanExporter()
    export_run(RunRows.read(tmp_path / "run"), exporter, content=True)
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert spans["retrieval Search"].attributes["gen_ai.retrieval.query.text"] == "capital of France"
    failed = spans["execute_tool weather"]
    assert failed.attributes["gen_ai.tool.call.arguments"] == "Paris"
    assert (failed.status.status_code.name, failed.attributes["error.type"]) == ("ERROR", "ToolError")


async def test_a_collector_gets_all_spans_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "BATCH", 4)
    run = RunRows.read(await make_run(tmp_path, "vote"))
    with collecting() as collector:
        assert export_run(run, exporter_to(collector.url)) == 9
        assert [span.name for span in collector.spans()[:3]] == [
            "invoke_workflow vote",
            "invoke_workflow Vote",
            "chat scripted",
        ]
        assert len(collector.requests) == 3
        about = {
            each.key: each.value.string_value for each in collector.requests[0].resource_spans[0].resource.attributes
        }
        assert about["service.name"] == "metagen"


async def test_solutions_are_sent_as_they_come_and_a_collector_that_fails_costs_traces_alone() -> None:
    solution = await solve(Problem("a", "3 + 4?", answer="7"), Vote(2), Scripted("The answer is 7."))
    with collecting() as collector:
        sender = LiveSender(exporter_to(collector.url), "run", "Vote(2)")
        sender.add(solution)
        sender.close()
        assert [span.name for span in collector.spans()] == [
            "invoke_workflow Vote(2)",
            "invoke_workflow Vote",
            "chat scripted",
        ]
        assert sender.error == ""
    with collecting(status=400) as collector:
        sender = LiveSender(exporter_to(collector.url), "run", "Vote(2)")
        sender.add(solution)
        sender.close()
        assert "the collector does not take the traces" in sender.error
        refused = pytest.raises(MetagenError, match="the collector does not take")
        with refused, otlp.Sender(exporter_to(collector.url), "run", "") as run:
            run.add(solution, rows_of(solution.trace, solution.problem), 0)


ODD = "half \ud83d of a pair"


async def test_halves_of_surrogate_pairs_are_sent_as_escapes(tmp_path: Path) -> None:
    async def weather(text: str) -> str:
        raise OSError(ODD)

    async def ask(problem: Problem, run: Any) -> Any:
        run.note(ODD)
        try:
            await run.call(weather, ODD)
        except MetagenError:
            return await run.ask(None, problem)

    solution = await solve(Problem("a", ODD, answer="7", tags={ODD: ODD}), ask, Scripted(f"{ODD}. The answer is 7."))
    with collecting() as collector:
        sender = LiveSender(exporter_to(collector.url), ODD, "ask", content=True)
        sender.add(solution)
        sender.close()
        assert sender.error == ""
        assert "half \\ud83d of a pair" in str(collector.requests[0]).replace("\\\\", "\\")
        with RunDirectory(tmp_path / "run", {}) as run:
            run.add(solution)
        assert export_run(RunRows.read(tmp_path / "run"), exporter_to(collector.url), content=True) == 4


async def test_whatever_an_exporter_raises_is_said() -> None:
    class Broken(InMemorySpanExporter):  # type: ignore[misc]  # its package has no types
        def export(self, spans: Any) -> Any:
            raise RuntimeError("no ink")

    sender = LiveSender(Broken(), "run", "Vote(2)")
    sender.add(await solve("3 + 4?", Vote(2), Scripted("The answer is 7.")))
    sender.close()
    assert sender.error == "RuntimeError: no ink"


def test_what_is_no_collector_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="--otlp localhost:4318: name a collector by HTTP"):
        exporter_to("localhost:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://x")
    with pytest.raises(InputError, match="--otlp ftp://x"):
        exporter_to(None)


@pytest.mark.parametrize(
    ("url", "base", "traces", "sent"),
    [
        (None, "", "", "http://localhost:4318/v1/traces"),
        (None, "https://grafana.net/otlp", "", "https://grafana.net/otlp/v1/traces"),
        (None, "https://one", "http://collector:4318/mine", "http://collector:4318/mine"),
        ("http://here:4318", "https://one", "http://two/mine", "http://here:4318/v1/traces"),
        ("http://here/otlp/?key=1", "", "", "http://here/otlp/v1/traces?key=1"),
        ("http://here/v1/traces", "", "", "http://here/v1/traces"),
    ],
)
def test_variables_and_urls_say_where_traces_go_as_opentelemetry_has_it(
    monkeypatch: pytest.MonkeyPatch, url: str | None, base: str, traces: str, sent: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", base)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", traces)
    assert vars(exporter_to(url))["_endpoint"] == sent


async def test_every_span_but_the_first_is_below_one_that_was_sent(tmp_path: Path) -> None:
    spans = await spans_of(tmp_path, "refine")
    known = {span.context.span_id for span in spans}
    assert {span.parent.span_id for span in spans if span.parent} <= known


@pytest.mark.parametrize("begun", [None, 7, {"at": "yesterday"}, {"at": 5}, {"at": "1200-01-01T00:00:00+00:00"}])
async def test_a_time_that_is_none_is_named(tmp_path: Path, begun: object) -> None:
    folder = await make_run(tmp_path)
    record = folder / "run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"begun": begun}))
    with pytest.raises(InputError, match=r"run.json: field 'begun.at': must be a time"):
        export_run(RunRows.read(folder), InMemorySpanExporter())


async def test_a_run_that_does_not_tell_when_it_was_begun_is_sent(tmp_path: Path) -> None:
    folder = await make_run(tmp_path)
    record = folder / "run.json"
    for begun in (dict[str, Any](), {"begun": dict[str, Any]()}):
        about = json.loads(record.read_text())
        about.pop("begun", None)
        record.write_text(json.dumps(about | begun))
        assert export_run(RunRows.read(folder), InMemorySpanExporter()) == 9
