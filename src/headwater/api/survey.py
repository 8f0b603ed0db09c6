"""How much there is of everything, as Prometheus takes it."""

import asyncio
import time
from collections.abc import Iterator
from datetime import datetime
from importlib.metadata import version

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from headwater.catalog.database import Database
from headwater.catalog.figures import Figures, figures
from headwater.domain.task import TaskState

#: Seconds for which figures are not asked for again: several may scrape.
FRESH = 1.0


class Surveyor:
    """Asks the catalog how much there is of everything, once a second at most."""

    def __init__(self, db: Database) -> None:
        """Ask that catalog."""
        self._db = db
        self._lock = asyncio.Lock()
        self._figures: Figures | None = None
        self._until = 0.0

    async def figures(self) -> Figures:
        """Return what the catalog holds, or held a moment ago."""
        async with self._lock:
            if self._figures is None or time.monotonic() >= self._until:
                self._figures = await self._db.read(figures)
                self._until = time.monotonic() + FRESH
            return self._figures


def families(found: Figures, *, at: datetime) -> Iterator[Metric]:
    """Yield what the catalog holds as metrics."""
    tasks = GaugeMetricFamily("headwater_tasks", "Tasks by state.", labels=["state"])
    for state in TaskState:
        tasks.add_metric([state], found.tasks.get(state, 0))
    yield tasks
    age = 0.0 if found.oldest_notice is None else max((at - found.oldest_notice).total_seconds(), 0.0)
    for name, text, value in (
        ("streams", "Streams.", found.streams),
        ("externals", "Externals.", found.externals),
        ("crawlers", "Crawlers.", found.crawlers),
        ("documents", "Documents that streams show, as they were counted last.", found.docs),
        ("segments", "Segments that streams show or wait to show.", found.segments),
        ("notices_waiting", "Messages that wait to be delivered to external crawlers.", found.notices),
        ("notice_oldest_age_seconds", "Seconds for which the oldest of them has waited; 0 if none waits.", age),
    ):
        yield GaugeMetricFamily(f"headwater_{name}", text, value=value)
    built = GaugeMetricFamily("headwater_build_info", "1; the label says which version runs.", labels=["version"])
    built.add_metric([version("headwater")], 1)
    yield built
