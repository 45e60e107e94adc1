"""What a Prometheus server reads at `/metrics`."""

from collections.abc import Iterator
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from metagen.serve.limits import Books, Gate
from metagen.solution import Solution

SECONDS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)


class Metrics:
    """Counts of one server. Tokens are those of the books, so they add up with the usage of all replies."""

    def __init__(self, books: Books, gate: Gate) -> None:
        self._registry = CollectorRegistry()
        count = partial(Counter, namespace="metagen", registry=self._registry)
        labels = ("path", "model", "status")
        self._requests = count("requests", "Requests that were answered.", labels)
        self._samples = count("samples", "Samples that answers were chosen from.")
        self._lost = count("samples_lost", "Samples that were lost to errors or a budget.")
        self._verdicts = count("verdicts", "Verdicts that were asked of verifiers.")
        self._refused = count("budget_refusals", "Requests that a budget turned away.")
        self._left = count("clients_left", "Clients that left before their reply was done.")
        name, said = "metagen_request_seconds", "Seconds to the end of a reply."
        self._seconds = Histogram(name, said, ("path",), registry=self._registry, buckets=SECONDS)
        self._registry.register(_State(books, gate))

    def answered(self, path: str, model: str, status: int, seconds: float) -> None:
        self._requests.labels(path, model, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def solved(self, solution: Solution) -> None:
        self._samples.inc(max(1, solution.compared))
        self._lost.inc(solution.lost)
        self._verdicts.inc(solution.scored)

    def refused(self) -> None:
        self._refused.inc()

    def left(self) -> None:
        self._left.inc()

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _State(Collector):
    """What the books and the gate say at this moment."""

    def __init__(self, books: Books, gate: Gate) -> None:
        self._books = books
        self._gate = gate

    def collect(self) -> Iterator[Metric]:
        spent, held = self._books.server.spent, self._books.server.held
        tokens = CounterMetricFamily("metagen_tokens", "Tokens that models read or wrote.", labels=("kind",))
        tokens.add_metric(("prompt",), spent.prompt_tokens)
        tokens.add_metric(("completion",), spent.completion_tokens)
        tokens.add_metric(("verifier",), spent.verifier_tokens)
        yield tokens
        yield CounterMetricFamily(
            "metagen_thought_tokens", "Completion tokens that were thought.", spent.thought_tokens
        )
        yield CounterMetricFamily("metagen_cached_tokens", "Prompt tokens that a cache held.", spent.cached_tokens)
        yield CounterMetricFamily("metagen_calls", "Requests to models.", spent.calls + spent.verifier_calls)
        yield GaugeMetricFamily("metagen_held_tokens", "Tokens set aside for requests at work.", held.tokens)
        yield GaugeMetricFamily("metagen_samples_in_flight", "Samples at the models.", self._books.server.in_flight)
        yield GaugeMetricFamily("metagen_requests_at_work", "Requests that are being answered.", self._gate.at_work)
        waiting = self._gate.admitted - self._gate.at_work
        yield GaugeMetricFamily("metagen_requests_waiting", "Requests that wait for their turn.", waiting)
