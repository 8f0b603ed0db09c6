"""What a process counts of itself, for Prometheus; workers count in files, so that each of them can tell of all."""

import os
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

#: Names the folder in which the processes of one server count; prometheus_client looks there when it is imported.
SHARED = "PROMETHEUS_MULTIPROC_DIR"
#: Seconds; an export may take minutes, a small upload a millisecond.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Meters:
    """Counters of one process, which only ever grow."""

    def __init__(self) -> None:
        """Begin at 0."""
        self._own = CollectorRegistry()
        self._requests = Histogram(
            "headwater_http_request_duration_seconds",
            "Seconds from a request to the end of its answer, by the route's template.",
            ("method", "route", "status"),
            buckets=BUCKETS,
            registry=self._own,
        )
        uploads = Counter(
            "headwater_uploads",
            "Uploads: accepted, replayed (answered as the first time, by Idempotency-Key), refused.",
            ("outcome",),
            registry=self._own,
        )
        self._docs = Counter("headwater_upload_documents", "Documents of accepted uploads.", registry=self._own)
        self._bytes = Counter(
            "headwater_upload_bytes", "Bytes of the documents of accepted uploads, decompressed.", registry=self._own
        )
        self._rejected = Counter(
            "headwater_rejected_documents", "Documents of accepted uploads that were kept aside.", registry=self._own
        )
        self._memory = Gauge(
            "headwater_engine_memory_bytes",
            "Memory that DuckDB holds for reading, of all processes.",
            registry=self._own,
            multiprocess_mode="livesum",
        )
        # There from the start, so that a first one is seen as a growth.
        self._accepted, self._replayed, self._refused = (
            uploads.labels(outcome) for outcome in ("accepted", "replayed", "refused")
        )

    def answered(self, method: str, route: str, status: int, *, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(method, route, str(status)).observe(seconds)

    def accepted(self, *, docs: int, size: int, rejected: int = 0) -> None:
        """Count an upload whose documents are kept."""
        self._accepted.inc()
        self._docs.inc(docs)
        self._bytes.inc(size)
        if rejected:
            self._rejected.inc(rejected)

    def replayed(self) -> None:
        """Count an upload that was answered as the first time."""
        self._replayed.inc()

    def refused(self) -> None:
        """Count an upload of which nothing is kept."""
        self._refused.inc()

    def holds(self, memory: int) -> None:
        """Tell how much memory DuckDB holds in this process."""
        self._memory.set(memory)

    def exposition(self, more: Iterable[Metric]) -> bytes:
        """Return everything in the text format of Prometheus, what all processes of the server have counted, and more.

        A worker that was killed has counted, too: what it had counted stays in its file.
        """
        told = CollectorRegistry()
        folder = os.environ.get(SHARED)
        if folder:
            MultiProcessCollector(told, folder)
        else:
            told.register(_Of(self._own.collect()))
        told.register(_Of(more))
        return generate_latest(told)


class _Of(Collector):
    """Metrics that are there already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        return self._metrics
