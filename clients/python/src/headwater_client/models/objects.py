"""Models of the API's objects: fields are named as on the wire, in ``snake_case``; times are ``datetime``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Self

_WIRE_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def moment(text: str | None) -> datetime | None:
    """Parse an RFC 3339 time."""
    return None if text is None else datetime.fromisoformat(text)


@dataclass(frozen=True)
class Record:
    """Base class of response models."""

    #: The raw JSON, including fields that this version of the package does not know.
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def read(cls, payload: Mapping[str, Any]) -> Self:
        """Read a response; missing fields are None."""
        named = {_WIRE_HUMP.sub("_", name).lower(): value for name, value in payload.items()}
        values = {
            each.name: moment(named.get(each.name)) if each.name in _MOMENTS else named.get(each.name)
            for each in fields(cls)
            if each.name != "raw" and each.default is MISSING
        }
        return cls(raw=payload, **values)


_MOMENTS = {
    *("created_at", "updated_at", "started_at", "heard_at", "deadline", "ended_at", "removed_at"),
    *("retry_at", "next_run_at", "expected_by", "missed_since"),
    *("issued_at", "expires_at", "renewed_at"),
    *("written_at", "at"),
    *("disabled_at", "failing_since", "former_secret_until", "due_at", "settled_at"),
    "last_sent_at",
}


@dataclass(frozen=True)
class Object(Record):
    """Base class of objects with a fid, a version and metadata."""

    fid: str
    #: The plural path name: ``streams``, ``externals``, ``crawlers``, ``tasks`` or ``webhooks``.
    type: str
    #: Increases with each edit.
    version: int
    created_at: datetime
    updated_at: datetime
    #: ``name``, ``description``, ``image``, and any other metadata.
    meta: Mapping[str, Any]

    @property
    def name(self) -> str | None:
        """The object's name."""
        return self.meta.get("name")


@dataclass(frozen=True)
class Stream(Object):
    """A named, versioned collection of documents, fed by one crawler."""

    #: Increases by one with each change of the stream's documents.
    stream_version: int
    #: Number of current documents, as of ``docs_version``.
    docs: int
    docs_version: int
    #: The oldest stream version that can still be read.
    oldest_version: int
    #: For how many days a run can be undone; None forever.
    undo_days: int | None
    #: Runs that ended by then cannot be undone; None if all can.
    settled_at: datetime | None
    #: Status of its crawler's latest task: ``code``, ``state``, ``message``, ``detail``, ``task``, ``at``.
    status: Mapping[str, Any] | None


@dataclass(frozen=True)
class External(Object):
    """A registered crawler definition."""

    #: Base URL of its server; None for a push External, whose script uploads by itself.
    endpoint: str | None
    #: None, ``basic`` or ``oauth``.
    credential: str | None
    oauth: str | None
    oauth_parameters: Any
    #: The JSON Schema that each document must match.
    schema: Mapping[str, Any] | bool | None
    #: The field that holds a document's id.
    doc_id_field: str | None
    #: ``field`` and ``value`` of documents that are deletions; None: only lines ``{"$delete": id}`` delete.
    delete_marker: Mapping[str, Any] | None
    headers: Mapping[str, str]
    #: The parameters that a crawler accepts.
    parameters: Sequence[Mapping[str, Any]]
    analysis: Mapping[str, Any] | None
    #: The version that crawlers run with; None if always the newest.
    published: int | None

    @property
    def in_use(self) -> int:
        """The version that tasks run with by default."""
        return self.version if self.published is None else self.published


@dataclass(frozen=True)
class ExternalVersion(Record):
    """A version of an External."""

    version: int
    created_at: datetime
    #: Whether crawlers run with it.
    published: bool


@dataclass(frozen=True)
class Login(Record):
    """A login in progress at an External's server."""

    #: Secret: it can be exchanged for the token.
    uuid: str = field(repr=False)
    #: Where a person logs in.
    url: str = field(repr=False)


@dataclass(frozen=True)
class Credential(Record):
    """A stored OAuth token from a login at an External's server, for use by crawlers."""

    fid: str
    external: str
    #: The person, as reported by the server.
    user: str | None
    reported_name: str | None
    email_address: str | None
    issued_at: datetime | None
    #: Time after which tasks that use it fail with ``credential_expired``; None if it does not expire.
    expires_at: datetime | None
    #: Whether it had expired at the time of the response.
    expired: bool
    created_at: datetime
    #: When its token was last fetched.
    renewed_at: datetime


@dataclass(frozen=True)
class CheckedStream(Record):
    """The result of a schema check for one stream."""

    stream: str
    name: str | None
    #: The stream version checked, and its number of documents.
    stream_version: int
    documents: int
    #: Documents that would be rejected, and others whose id would change.
    failing: int
    renamed: int
    #: The first documents that would be rejected: ``id``, ``task``, ``pointer``, ``keyword``, ``schema_pointer``,
    #: ``detail``.
    examples: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Check(Record):
    """The result of a schema check for all crawlers of an External."""

    #: Totals of all streams.
    documents: int
    failing: int
    renamed: int
    streams: Sequence[CheckedStream]

    @classmethod
    def read(cls, payload: Mapping[str, Any]) -> Self:
        """Read a response."""
        return replace(super().read(payload), streams=[CheckedStream.read(each) for each in payload["streams"]])


@dataclass(frozen=True)
class Crawler(Object):
    """An External configured to feed one stream."""

    external: str
    stream: str
    #: Passwords read as ``********``.
    params: Mapping[str, Any]
    #: ``type``; for OAuth also ``fid`` and ``expires_at``, as a string.
    credential: Mapping[str, Any] | None
    #: ``cron``, ``timezone``, ``every``, ``jitter``, ``paused``.
    schedule: Mapping[str, Any] | None
    #: Time of its next scheduled run.
    next_run_at: datetime | None
    #: The last scheduled run that was skipped: ``at`` and ``why``.
    last_skip: Mapping[str, Any] | None
    #: Seconds of silence after which a running task times out.
    timeout: int
    #: ``live`` or ``on_success``.
    publish: str
    #: ``merge`` or ``snapshot``.
    mode: str
    #: Conditions on the documents that a snapshot may hide; None: all.
    scope: Sequence[str] | None
    #: ``min_docs``, ``max_shrink``, ``max_rejected``: conditions for a task to be published.
    gates: Mapping[str, float | None] | None
    #: Number of automatic retries of a task that failed or timed out.
    retries: int
    #: ``cron``, ``timezone``, ``every``, ``grace``: when runs are expected to have ended well.
    expect: Mapping[str, Any] | None
    #: By when the next one must have.
    expected_by: datetime | None
    #: When the first one was expected that did not; None while none is missed.
    missed_since: datetime | None
    #: State of its open task; None if it has none.
    state: str | None


@dataclass(frozen=True)
class UploadTarget:
    """A push task's upload endpoint and token."""

    #: Including the token.
    endpoint: str = field(repr=False)
    token: str = field(repr=False)


@dataclass(frozen=True)
class Task(Object):
    """One run of a crawler: a change set on its stream."""

    crawler: str
    stream: str
    external: str
    external_version: int
    params: Mapping[str, Any]
    #: ``merge``, or ``snapshot``: once it ended with 200, the stream shows nothing of earlier runs.
    mode: str
    #: Conditions on the documents that it may hide; None: all.
    scope: Sequence[str] | None
    #: 1, 2, …: each retry is a new attempt.
    attempt: int
    #: ``api``, ``console``, ``cli`` or ``schedule``.
    origin: str
    #: 0 new, 102 running, 200 done, 408 timed out, 410 stopped, other 4xx or 5xx failed.
    code: int
    #: ``new``, ``running``, ``done``, ``timed_out``, ``failed`` or ``stopped``.
    state: str
    #: Why it ended; ``gate_failed`` if it succeeded but was not published.
    reason: str | None
    message: str | None
    detail: Any
    #: Documents, bytes and uploads of the current attempt.
    docs: int
    bytes: int
    uploads: int
    rejected: int
    #: Documents that it deleted by ``TaskWriter.delete``.
    deleted: int
    started_at: datetime
    heard_at: datetime | None
    deadline: datetime | None
    ended_at: datetime | None
    #: Seconds from the start of the current attempt to its end; None while it is open.
    duration: float | None
    #: Time of the next automatic retry; None if there is none.
    retry_at: datetime | None
    #: Set while its documents are removed from the stream.
    removed_at: datetime | None
    #: How it changed the stream: ``added``, ``changed``, ``unchanged``, ``removed``; counted after its end.
    summary: Mapping[str, int] | None

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.state in {"new", "running"}


@dataclass(frozen=True)
class BegunTask(Task):
    """The response to starting or retrying a task."""

    #: Where its script uploads; None if its External has a server, or the task was already running.
    upload: UploadTarget | None = None
    #: Whether the crawler already had this open task, so no task was started.
    already_running: bool = False

    @classmethod
    def begun(cls, payload: Mapping[str, Any], *, already_running: bool) -> Self:
        """Read the response to a start or a retry."""
        # The token is a secret, so it is kept out of ``raw``.
        known = {name: value for name, value in payload.items() if name != "upload"}
        target = payload.get("upload")
        upload = None if target is None else UploadTarget(endpoint=target["endpoint"], token=target["token"])
        return replace(cls.read(known), upload=upload, already_running=already_running)


@dataclass(frozen=True)
class Webhook(Object):
    """A webhook: a URL that events are posted to."""

    url: str
    #: Event types, such as ``task.done``, or ``task.*`` for all of an object type; empty for all.
    types: Sequence[str]
    #: Only events about these objects; None for any.
    stream: str | None
    crawler: str | None
    #: ``standard``, or ``slack``: a text for people.
    format: str | None
    enabled: bool
    #: When and why it was disabled.
    disabled_at: datetime | None
    disabled_reason: str | None
    #: Since when all deliveries have failed.
    failing_since: datetime | None
    #: Until when the previous secret also signs.
    former_secret_until: datetime | None


@dataclass(frozen=True)
class Notification(Object):
    """A rule by which people are notified."""

    #: Without its secrets.
    url: str
    events: Sequence[str]
    #: Only of these; empty for all.
    streams: Sequence[str]
    crawlers: Sequence[str]
    #: ``max_rejected``, ``max_shrink``.
    conditions: Mapping[str, float | None]
    group_seconds: int
    enabled: bool
    last_sent_at: datetime | None
    #: Why the last attempt failed; None after a success.
    last_error: str | None


@dataclass(frozen=True)
class MadeWebhook(Webhook):
    """The response to creating a webhook or rotating its secret."""

    #: The receiver's key for verifying signatures; not returned again.
    secret: str = field(default="", repr=False)

    @classmethod
    def made(cls, payload: Mapping[str, Any]) -> Self:
        """Read the response."""
        # The secret is kept out of ``raw``.
        known = {name: value for name, value in payload.items() if name != "secret"}
        return replace(cls.read(known), secret=payload["secret"])
