"""How fast a run is sent as traces of OpenTelemetry, and how much memory that takes.

    python benchmarks/speed/traces.py [SPANS]

A run with so many spans is made (default: 100,000), then sent over HTTP to a receiver on this machine, which decodes
and counts the spans. Memory is flat if it grows about as much with ten times as many spans.
"""

import json
import resource
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from metagen.adapters.otlp import export_run, exporter_to
from metagen.disk.traces import VERSION
from metagen.view.reading import RunRows

PER_PROBLEM = 20
"""Spans of a problem: the root, a vote, and requests."""


class Receiver(BaseHTTPRequestHandler):
    """Counts the spans that it gets."""

    count = 0

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            raise ValueError("not asked for")
        sent = ExportTraceServiceRequest.FromString(data)
        Receiver.count += sum(len(scope.spans) for each in sent.resource_spans for scope in each.scope_spans)
        body = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def make_run(folder: Path, spans: int) -> None:
    about = {"version": VERSION, "strategy": "Vote(18)", "begun": {"at": "2026-01-01T00:00:00+00:00"}}
    (folder / "run.json").write_text(json.dumps(about))
    request = {"prompt": "What is 3 + 4?" * 10, "n": 1, "model": "small"}
    with (folder / "trace.jsonl").open("w") as trace, (folder / "solutions.jsonl").open("w") as solutions:
        for number in range(spans // PER_PROBLEM):
            name = f"p{number}"
            rows = [
                {"problem": name, "path": "", "name": "solve", "status": "ok", "seconds": 1.0},
                {"problem": name, "path": "0", "name": "Vote", "status": "ok", "seconds": 1.0},
            ]
            rows += [
                {
                    "problem": name,
                    "path": f"0.{each}",
                    "name": "Model",
                    "status": "ok",
                    "seconds": 1.0,
                    "usage": {"calls": 1, "prompt_tokens": 140, "completion_tokens": 200},
                    "request": request,
                    "completions": [{"text": "The answer is 7.", "tokens": 200}],
                }
                for each in range(PER_PROBLEM - 2)
            ]
            trace.writelines(json.dumps(row) + "\n" for row in rows)
            solutions.write(json.dumps({"problem": name, "answer": "7", "correct": True}) + "\n")


def main(spans: int) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with TemporaryDirectory() as folder:
        make_run(Path(folder), spans)
        run = RunRows.read(Path(folder))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun, worked = time.perf_counter(), time.process_time()
        count = export_run(run, exporter_to(f"http://127.0.0.1:{server.server_address[1]}"))
        seconds, busy = time.perf_counter() - begun, time.process_time() - worked
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert Receiver.count == count
    print(f"{count:,} spans in {seconds:.1f} s ({busy:.1f} s of the processor), memory grew by {grown / 1024:.1f} MiB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
