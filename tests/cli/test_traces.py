from pathlib import Path

import pytest

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

from tests import test_cli
from tests.support.collector import collecting
from tests.test_cli import Command

folder, metagen = test_cli.folder, test_cli.metagen

SOLVE = ("solve", "problems.jsonl", "--model", "pool.jsonl", "--strategy", "Vote(2)", "--out", "run")


def test_a_run_is_sent_as_it_is_made_and_afterwards(metagen: Command, folder: Path) -> None:
    with collecting() as collector:
        assert metagen(*SOLVE, "--otlp", collector.url).code == 0
        live = [span.name for span in collector.spans()]
        assert "invoke_workflow Vote(2)" in live
        collector.requests.clear()
        done = metagen("export", "run", "--to", "otlp", "--otlp", collector.url)
        assert (done.code, done.out.startswith(f"Sent {len(live)} spans of 4 problems.")) == (0, True)
        assert sorted(span.name for span in collector.spans()) == sorted(live)


def test_a_collector_that_fails_is_said_and_stops_no_run(metagen: Command, folder: Path) -> None:
    with collecting(status=400) as collector:
        done = metagen(*SOLVE, "--otlp", collector.url)
        assert done.code == 0
        assert "Traces are missing: the collector does not take the traces" in " ".join(done.err.split())
        sent = metagen("export", "run", "--to", "otlp", "--otlp", collector.url)
        assert (sent.code, sent.err.count("\n")) == (1, 1)
    for options, said in {
        ("--to", "otlp", "--out", "x"): "--to otlp writes no file",
        ("--to", "sft", "--otlp", "http://localhost"): "--otlp is for --to otlp",
        ("--to", "otlp", "--otlp", "localhost"): "--otlp localhost: name a collector by HTTP",
    }.items():
        refused = metagen("export", "run", *options)
        assert (refused.code, said in refused.err) == (2, True)
