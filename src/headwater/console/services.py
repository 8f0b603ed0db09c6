"""What the console's pages use; ``app.py`` builds it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from headwater.catalog.core.database import Database
from headwater.catalog.keys import Key
from headwater.catalog.vault import Vault
from headwater.console.deferred import DeferredResults
from headwater.console.oidc import OidcProvider
from headwater.domain.errors import HeadwaterError
from headwater.domain.schedule import Rng
from headwater.ingest.replay import Replays
from headwater.lake.engine import Engine
from headwater.lifecycle.notifications.client import NotificationClient
from headwater.lifecycle.notifications.dispatcher import NotificationDispatcher
from headwater.lifecycle.webhooks.dispatcher import WebhookDispatcher
from headwater.sandbox.pool import Sandbox
from headwater.streams.bisect import Bisection
from headwater.streams.diffs import TaskDiffs
from headwater.streams.documents import DocumentReader
from headwater.streams.erasure import DocumentErasure
from headwater.streams.event_feed import EventFeed
from headwater.streams.history import DocumentHistory
from headwater.streams.task_log import TaskLogReader


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting, as the console shows it."""

    name: str
    #: Secrets are hidden.
    value: str
    description: str
    is_default: bool


class LoginLimiter(Protocol):
    """Limits the wrong keys that may be tried from an address; the API shares it."""

    def require(self, address: str | None, secret: str) -> None:
        """Raise ``TooManyRequests`` if the address has tried too much."""
        ...

    def failed(self, address: str | None) -> None:
        """Count a failure."""
        ...

    def succeeded(self, secret: str) -> None:
        """Remember a key that is valid."""
        ...


@dataclass(frozen=True, kw_only=True)
class ConsoleServices:
    """The services of a running Headwater, for the pages."""

    db: Database
    engine: Engine
    replays: Replays
    reader: DocumentReader
    document_history: DocumentHistory
    bisection: Bisection
    event_feed: EventFeed
    deferred: DeferredResults
    task_log_reader: TaskLogReader
    task_diffs: TaskDiffs
    document_erasure: DocumentErasure
    webhook_dispatcher: WebhookDispatcher
    notification_client: NotificationClient
    notification_dispatcher: NotificationDispatcher
    sandbox: Sandbox
    vault: Vault
    clock: Callable[[], datetime]
    rng: Rng
    #: Limits concurrent checks of all documents; the API shares it.
    checks: asyncio.Semaphore
    #: The base URL that ECs and people use.
    public_url: str
    #: Whether webhooks may have private addresses.
    is_private_allowed: bool
    #: Counts a request of a key.
    acquire: Callable[[Key], None]
    logins: LoginLimiter
    #: Where people sign in without a key; None if they do not.
    oidc: OidcProvider | None
    #: Returns the status code of an error.
    status_of: Callable[[HeadwaterError], int]
    #: Returns the parts that fail, with their errors.
    failures: Callable[[], Awaitable[Mapping[str, BaseException]]]
    settings: Sequence[Setting]
    version: str
    workers: int
    #: The data directory.
    data: Path
    #: Where the catalog and the files of the lake are, in words.
    catalog_place: str
    lake_place: str

    @property
    def root(self) -> str:
        """The path below which a proxy serves everything, without its last slash; empty if there is none."""
        return urlsplit(self.public_url).path.rstrip("/")

    @property
    def is_behind_tls(self) -> bool:
        """Whether people reach the server by https."""
        return self.public_url.startswith("https:")
