"""A crawler: an External set up to feed one stream."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headwater.domain.gates import Gates
from headwater.domain.schedule import Schedule
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
    #: The login that it names instead, by its fid: a credential of the External (``oauth.py``).
    login: str | None = None
    #: When it runs by itself; None if somebody starts each run.
    schedule: Schedule | None = None
    #: When the schedule has the next run; None if there is none to come.
    planned_at: datetime | None = None
    #: When that run comes, by the lot that was drawn.
    next_run_at: datetime | None = None
    #: When a run that was due was last skipped, and why.
    skipped_at: datetime | None = None
    skipped_because: str | None = None
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
