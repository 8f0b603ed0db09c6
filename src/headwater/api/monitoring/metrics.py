"""Prometheus metrics of a process; workers keep theirs in shared files, so that each can report the whole server's."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from headwater.lake.segment_cache import CacheCounts

#: Names the directory of the workers' files; prometheus_client reads it at import.
SHARED = "PROMETHEUS_MULTIPROC_DIR"
#: Histogram buckets in seconds: an export may take minutes, a small upload a millisecond.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
#: Of uploads: the names of the crawler and its stream.
OF_CRAWLER = ("crawler", "stream")
#: What stands for all crawlers that have no labels of their own.
OTHER = ("other", "other")


@dataclass(frozen=True, kw_only=True)
class _Uploads:
    """The counters of uploads of one crawler, or of all others."""

    accepted: Counter
    replayed: Counter
    refused: Counter
    docs: Counter
    bytes: Counter
    rejected: Counter


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        """Create all metrics at 0."""
        self._own = CollectorRegistry()
        self._requests = Histogram(
            "headwater_http_request_duration_seconds",
            "Seconds from a request to the end of its answer, by the route's template.",
            ("method", "route", "status"),
            buckets=BUCKETS,
            registry=self._own,
        )
        self._uploads = Counter(
            "headwater_uploads",
            "Uploads: accepted, replayed (answered as the first time, by Idempotency-Key), refused.",
            ("outcome", *OF_CRAWLER),
            registry=self._own,
        )
        self._docs = Counter(
            "headwater_upload_documents", "Documents of accepted uploads.", OF_CRAWLER, registry=self._own
        )
        self._bytes = Counter(
            "headwater_upload_bytes",
            "Bytes of the documents of accepted uploads, decompressed.",
            OF_CRAWLER,
            registry=self._own,
        )
        self._rejected = Counter(
            "headwater_rejected_documents",
            "Documents of accepted uploads that were kept aside.",
            OF_CRAWLER,
            registry=self._own,
        )
        self._memory = Gauge(
            "headwater_engine_memory_bytes",
            "Memory that DuckDB holds for reading, of all processes.",
            registry=self._own,
            multiprocess_mode="livesum",
        )
        reads = Counter(
            "headwater_lake_cache_reads",
            "Files of an object store that were read: hit (copied before), miss (fetched).",
            ("outcome",),
            registry=self._own,
        )
        self._fetched = Counter(
            "headwater_lake_cache_fetched_bytes", "Bytes that were fetched from an object store.", registry=self._own
        )
        self._hits, self._misses = (reads.labels(outcome) for outcome in ("hit", "miss"))
        #: What of the cache's counts is in the counters.
        self._cached = CacheCounts()
        self._others = self._uploads_of(OTHER)
        #: By the fids of crawlers.
        self._of_crawlers: dict[str, _Uploads] = {}

    def answered(self, method: str, route: str, status: int, *, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(method, route, str(status)).observe(seconds)

    def label(self, crawlers: Mapping[str, tuple[str, str]]) -> None:
        """Count the uploads of these crawlers with labels of their own, by the names of each and of its stream."""
        self._of_crawlers = {fid: self._uploads_of(names) for fid, names in crawlers.items()}

    def _uploads_of(self, names: tuple[str, str]) -> _Uploads:
        # Created eagerly, so that rate() sees the first increment.
        accepted, replayed, refused = (
            self._uploads.labels(outcome, *names) for outcome in ("accepted", "replayed", "refused")
        )
        return _Uploads(
            accepted=accepted,
            replayed=replayed,
            refused=refused,
            docs=self._docs.labels(*names),
            bytes=self._bytes.labels(*names),
            rejected=self._rejected.labels(*names),
        )

    def accepted(self, crawler: str, *, docs: int, size: int, rejected: int = 0) -> None:
        """Count an accepted upload of a crawler."""
        uploads = self._of_crawlers.get(crawler, self._others)
        uploads.accepted.inc()
        uploads.docs.inc(docs)
        uploads.bytes.inc(size)
        if rejected:
            uploads.rejected.inc(rejected)

    def replayed(self, crawler: str) -> None:
        """Count a repeated upload that got the stored response."""
        self._of_crawlers.get(crawler, self._others).replayed.inc()

    def refused(self, crawler: str) -> None:
        """Count a rejected upload."""
        self._of_crawlers.get(crawler, self._others).refused.inc()

    def holds(self, memory: int) -> None:
        """Set the memory that DuckDB holds in this process."""
        self._memory.set(memory)

    def cached(self, counts: CacheCounts) -> None:
        """Add what the cache has counted since the last time."""
        now = replace(counts)  # it goes on counting
        self._hits.inc(now.hits - self._cached.hits)
        self._misses.inc(now.misses - self._cached.misses)
        self._fetched.inc(now.fetched - self._cached.fetched)
        self._cached = now

    def exposition(self, more: Iterable[Metric]) -> bytes:
        """Return the metrics of all processes of the server, and ``more``, in the text format of Prometheus.

        Killed workers are included: their counters stay in their files.
        """
        registry = CollectorRegistry()
        folder = os.environ.get(SHARED)
        if folder:
            MultiProcessCollector(registry, folder)
        else:
            registry.register(_Of(self._own.collect()))
        registry.register(_Of(more))
        return generate_latest(registry)


class _Of(Collector):
    """Exposes metrics that were already collected."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        return self._metrics
