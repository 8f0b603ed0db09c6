"""A crawler: an External set up to feed one stream."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headwater.domain.gates import Gates
from headwater.domain.task import Publish


@dataclass(frozen=True, kw_only=True)
class Crawler:
    """An External with parameters and a credential, tied to the stream that it feeds."""

    fid: str
    external: str
    stream: str
    #: What its tasks are called with; passwords are sealed.
    params: dict[str, Any]
    #: What it logs in with at its source, sealed; None if it needs nothing.
    sealed_credential: str | None = None
    credential_type: str | None = None
    #: When it runs by itself: ``{cron, timezone}``, or None.
    schedule: dict[str, Any] | None = None
    #: Seconds of silence after which a running task times out.
    timeout: int
    publish: Publish
    #: What its tasks must hold to when they end well, or they are not published; None lets all pass.
    gates: Gates | None = None
    #: How often a task that failed or timed out is run again by itself.
    retries: int = 0
    created_at: datetime
    updated_at: datetime
    version: int
    meta: dict[str, Any]
