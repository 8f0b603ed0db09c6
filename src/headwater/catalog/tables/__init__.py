"""The tables of the catalog. What a column means is said at the field of the domain value that it holds."""

from headwater.catalog.tables.access import audit, credentials, keys
from headwater.catalog.tables.base import metadata
from headwater.catalog.tables.documents import (
    UNSETTLED,
    erasures,
    garbage,
    inlined,
    receipts,
    rejects,
    replayed,
    segments,
    stream_log,
)
from headwater.catalog.tables.messages import PENDING, deliveries, delivery_attempts, events, notices, webhook_place
from headwater.catalog.tables.objects import (
    OPEN,
    attempts,
    crawlers,
    external_versions,
    externals,
    links,
    streams,
    tasks,
    webhooks,
)

__all__ = [
    "OPEN",
    "PENDING",
    "UNSETTLED",
    "attempts",
    "audit",
    "crawlers",
    "credentials",
    "deliveries",
    "delivery_attempts",
    "erasures",
    "events",
    "external_versions",
    "externals",
    "garbage",
    "inlined",
    "keys",
    "links",
    "metadata",
    "notices",
    "receipts",
    "rejects",
    "replayed",
    "segments",
    "stream_log",
    "streams",
    "tasks",
    "webhook_place",
    "webhooks",
]
