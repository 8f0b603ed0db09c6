"""A crawler: an External configured to feed one stream."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headwater.domain.expectation import Expectation
from headwater.domain.gates import Gates
from headwater.domain.schedule import Schedule
from headwater.domain.task import Mode, Publish

#: Default timeout of a running task, in seconds without a sign of life, and the longest one.
TIMEOUT = 3600
LONGEST_TIMEOUT = 31 * 86400
#: Maximum number of automatic retries of a task.
MOST_RETRIES = 100


@dataclass(frozen=True, kw_only=True)
class Crawler:
    """An External with parameters and a credential, bound to the stream that it feeds."""

    fid: str
    external: str
    stream: str
    #: The parameters of its tasks; passwords are encrypted.
    params: dict[str, Any]
    #: Its credential for its source, encrypted; None if it needs none.
    sealed_credential: str | None = None
    credential_type: str | None = None
    #: Or the fid of an OAuth login: a credential of the External (``oauth.py``).
    login: str | None = None
    #: When it runs automatically; None if it is only started manually.
    schedule: Schedule | None = None
    #: The next run by the schedule; None if there is none.
    planned_at: datetime | None = None
    #: The time of that run with its random jitter.
    next_run_at: datetime | None = None
    #: When a due run was last skipped, and why.
    skipped_at: datetime | None = None
    skipped_because: str | None = None
    #: Seconds of silence after which a running task times out.
    timeout: int
    publish: Publish
    #: What its successful runs do to the documents of earlier ones.
    mode: Mode = Mode.MERGE
    #: Of snapshots: the comparisons that the documents match which they may hide; None hides all.
    scope: list[str] | None = None
    #: The conditions on publishing its successful tasks; None publishes all.
    gates: Gates | None = None
    #: Number of automatic retries of a task that failed or timed out.
    retries: int = 0
    #: By when runs are expected to end well, whoever starts them; None if none are.
    expect: Expectation | None = None
    #: The deadline of the next expected run; None if there is none.
    expected_by: datetime | None = None
    #: When the first missed run was expected; None while none is missed.
    missed_since: datetime | None = None
    created_at: datetime
    updated_at: datetime
    version: int
    meta: dict[str, Any]
