"""Services that handlers use, as a FastAPI dependency; ``app.py`` builds them."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Request

from headwater.api.key_usage import KeyUsage
from headwater.api.monitoring.gauges import CatalogGauges
from headwater.api.monitoring.metrics import Metrics
from headwater.api.monitoring.readiness import ReadinessCheck
from headwater.api.rate_limit import LoginLimiter, RateLimiter
from headwater.api.task_cache import TaskCache
from headwater.catalog.core.database import Database
from headwater.catalog.vault import Vault
from headwater.domain.schedule import Rng
from headwater.ingest.replay import Replays
from headwater.ingest.task_log import TaskLogWriter
from headwater.ingest.upload import Uploads
from headwater.lake.engine import Engine
from headwater.lake.store import Store
from headwater.lake.store_credentials import StoreReader
from headwater.lifecycle.ec.client import EcClient
from headwater.lifecycle.notifications.client import NotificationClient
from headwater.lifecycle.notifications.dispatcher import NotificationDispatcher
from headwater.lifecycle.webhooks.dispatcher import WebhookDispatcher
from headwater.sandbox.pool import Sandbox
from headwater.streams.bisect import Bisection
from headwater.streams.change_feed import ChangeFeed
from headwater.streams.diffs import TaskDiffs
from headwater.streams.documents import DocumentReader
from headwater.streams.erasure import DocumentErasure
from headwater.streams.event_feed import EventFeed
from headwater.streams.history import DocumentHistory
from headwater.streams.iceberg import IcebergTables
from headwater.streams.plan import StreamPlans
from headwater.streams.prepared_exports import PreparedExports
from headwater.streams.task_log import TaskLogReader

#: They share one interpreter, so more would not be faster.
MOST_CHECKS = 2


@dataclass(frozen=True, kw_only=True)
class Services:
    """The services of a running Headwater, for its handlers."""

    db: Database
    store: Store
    engine: Engine
    uploads: Uploads
    replays: Replays
    task_log_writer: TaskLogWriter
    task_log_reader: TaskLogReader
    reader: DocumentReader
    document_history: DocumentHistory
    bisection: Bisection
    prepared_exports: PreparedExports
    iceberg_tables: IcebergTables
    stream_plans: StreamPlans
    #: Issues credentials of the object store for engines, if the settings name a role for it.
    store_reader: StoreReader | None
    change_feed: ChangeFeed
    event_feed: EventFeed
    task_diffs: TaskDiffs
    document_erasure: DocumentErasure
    ec_client: EcClient
    webhook_dispatcher: WebhookDispatcher
    notification_client: NotificationClient
    notification_dispatcher: NotificationDispatcher
    vault: Vault
    clock: Callable[[], datetime]
    #: The base URL that ECs use.
    public_url: str
    #: Backoff in seconds before automatic retries of a task.
    retry_backoff: Sequence[float]
    rng: Rng
    rate_limiter: RateLimiter
    login_limiter: LoginLimiter
    key_usage: KeyUsage
    metrics: Metrics
    #: Runs schemas and documents that may be too costly for this process.
    sandbox: Sandbox
    catalog_gauges: CatalogGauges
    readiness: ReadinessCheck
    #: Whether webhooks may have private addresses.
    is_private_allowed: bool
    task_cache: TaskCache = field(default_factory=TaskCache)
    #: Limits concurrent checks of all documents, so that threads are left for readers.
    checks: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_CHECKS))

    def release_waiters(self) -> None:
        """Release all long polls and event streams: at shutdown, they would keep waiting."""
        self.change_feed.close()
        self.event_feed.close()
        self.task_log_reader.close()


async def _services(request: Request) -> Services:  # async, since FastAPI runs sync dependencies in threads
    return request.app.state.services


ServicesOf = Annotated[Services, Depends(_services)]
