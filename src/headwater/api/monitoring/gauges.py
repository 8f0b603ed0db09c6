"""Prometheus gauges of the catalog: how many objects, documents and bytes there are."""

import asyncio
import time
from collections.abc import Iterator
from datetime import datetime

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from headwater.catalog.core.database import Database
from headwater.catalog.scheduled_backups import ScheduledBackups
from headwater.catalog.scrub_progress import ScrubProgress
from headwater.catalog.stats import CatalogStats, collect
from headwater.domain.software_version import software_version
from headwater.domain.task import TaskState

#: Seconds for which statistics are cached, as there may be several scrapers.
FRESH = 1.0


class CatalogGauges:
    """Reads the catalog's statistics, at most once a second."""

    def __init__(self, db: Database) -> None:
        """Read from ``db``."""
        self._db = db
        self._lock = asyncio.Lock()
        self._figures: CatalogStats | None = None
        self._until = 0.0

    async def collect(self) -> CatalogStats:
        """Return the statistics of the catalog, at most ``FRESH`` seconds old."""
        async with self._lock:
            if self._figures is None or time.monotonic() >= self._until:
                self._figures = await self._db.read(collect)
                self._until = time.monotonic() + FRESH
            return self._figures


def metric_families(found: CatalogStats, *, at: datetime) -> Iterator[Metric]:
    """Yield the statistics as Prometheus metrics."""
    tasks = GaugeMetricFamily("headwater_tasks", "Tasks by state.", labels=["state"])
    for state in TaskState:
        tasks.add_metric([state], found.tasks.get(state, 0))
    yield tasks
    behind = found.unordered_events
    for name, text, value in (
        ("streams", "Streams.", found.streams),
        ("externals", "Externals.", found.externals),
        ("crawlers", "Crawlers.", found.crawlers),
        ("documents", "Documents that streams show, as they were counted last.", found.docs),
        ("segments", "Segments that streams show or wait to show.", found.segments),
        ("damaged_segments", "Segments that were found damaged and are not repaired.", found.damaged_segments),
        ("notices_waiting", "Messages that wait to be delivered to external crawlers.", found.notices),
        (
            "notice_oldest_age_seconds",
            "Seconds for which the oldest of them has waited; 0 if none waits.",
            _age(found.oldest_notice, at),
        ),
        ("events_unordered", "Events that are not in order yet, so that nobody sees them.", behind.number),
        (
            "event_unordered_age_seconds",
            "Seconds since the oldest of them was recorded; 0 if there is none.",
            _age(behind.oldest_at, at),
        ),
    ):
        yield GaugeMetricFamily(f"headwater_{name}", text, value=value)
    yield from _of_backups(found.backups)
    yield from _of_scrub(found.scrub)
    built = GaugeMetricFamily("headwater_build_info", "1; the label says which version runs.", labels=["version"])
    built.add_metric([software_version()], 1)
    yield built


def _age(since: datetime | None, at: datetime) -> float:
    return 0.0 if since is None else max((at - since).total_seconds(), 0.0)


def _of_backups(found: ScheduledBackups | None) -> Iterator[Metric]:
    made, failed = (0, 0) if found is None else (found.made, found.failed)
    last = None if found is None else found.last_made_at
    # Counted in the catalog, by all servers together.
    tries = CounterMetricFamily("headwater_backups", "Backups by the schedule: made, failed.", labels=["outcome"])
    tries.add_metric(["made"], made)
    tries.add_metric(["failed"], failed)
    yield tries
    yield GaugeMetricFamily(
        "headwater_backup_last_timestamp_seconds",
        "When the last backup by the schedule was made, in seconds since 1970; 0 if none was.",
        value=0 if last is None else last.timestamp(),
    )


def _of_scrub(found: ScrubProgress | None) -> Iterator[Metric]:
    files, findings = (0, 0) if found is None else (found.files, found.findings)
    last = None if found is None else found.last_pass_at
    yield CounterMetricFamily("headwater_scrub_files", "Files that the background scrub has verified.", value=files)
    yield CounterMetricFamily("headwater_scrub_findings", "What it has found to be wrong.", value=findings)
    yield GaugeMetricFamily(
        "headwater_scrub_last_pass_timestamp_seconds",
        "When it had last verified all files, in seconds since 1970; 0 before.",
        value=0 if last is None else last.timestamp(),
    )
