"""What Headwater answers with, as values: named as on the wire, in ``snake_case``, with moments as ``datetime``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

_WIRE_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def moment(text: str | None) -> datetime | None:
    """Return the moment that an RFC 3339 text tells."""
    return None if text is None else datetime.fromisoformat(text.replace("Z", "+00:00"))


@dataclass(frozen=True)
class Record:
    """A part of an answer."""

    #: All of it as it was answered, with what this version of the package does not know.
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def read(cls, payload: Mapping[str, Any]) -> Self:
        """Return what an answer tells; a field that it does not tell is None."""
        told = {_WIRE_HUMP.sub("_", name).lower(): value for name, value in payload.items()}
        values = {
            each.name: moment(told.get(each.name)) if each.name in _MOMENTS else told.get(each.name)
            for each in fields(cls)
            if each.name != "raw" and each.default is MISSING
        }
        return cls(raw=payload, **values)


_MOMENTS = {
    *("created_at", "updated_at", "started_at", "heard_at", "deadline", "ended_at", "removed_at"),
    *("retry_at", "next_run_at"),
    *("issued_at", "expires_at", "renewed_at"),
    *("written_at", "at"),
    *("disabled_at", "failing_since", "former_secret_until", "due_at", "settled_at"),
}


@dataclass(frozen=True)
class Object(Record):
    """A relational object."""

    fid: str
    #: The plural path name: ``streams``, ``externals``, ``crawlers``, ``tasks`` or ``webhooks``.
    type: str
    #: Grows with each edit.
    version: int
    created_at: datetime
    updated_at: datetime
    #: ``name``, ``description``, ``image``, and whatever its owner keeps there.
    meta: Mapping[str, Any]

    @property
    def name(self) -> str | None:
        """What it is called."""
        return self.meta.get("name")


@dataclass(frozen=True)
class Stream(Object):
    """A named, versioned collection of documents, fed by one crawler."""

    #: Grows by one with each change of what the stream shows.
    stream_version: int
    #: Number of current documents, as of ``docs_version``.
    docs: int
    docs_version: int
    #: The first stream version that can still be read.
    oldest_version: int
    #: Of its crawler's latest task: ``code``, ``state``, ``message``, ``detail``, ``task``, ``at``.
    status: Mapping[str, Any] | None


@dataclass(frozen=True)
class External(Object):
    """A crawler that somebody wrote, registered."""

    #: Base URL of its server; None for a script that uploads (push).
    endpoint: str | None
    #: None, ``basic`` or ``oauth``.
    credential: str | None
    oauth: str | None
    oauth_parameters: Any
    #: The JSON Schema that each document must match.
    schema: Mapping[str, Any] | bool | None
    #: The field that holds a document's id.
    doc_id_field: str | None
    headers: Mapping[str, str]
    #: What a crawler can be told.
    parameters: Sequence[Mapping[str, Any]]
    analysis: Mapping[str, Any] | None
    #: The version that crawlers run with; None while it is always the newest.
    published: int | None

    @property
    def in_use(self) -> int:
        """The version that a run begins with if it asks for none."""
        return self.version if self.published is None else self.published


@dataclass(frozen=True)
class ExternalVersion(Record):
    """That an External was described anew."""

    version: int
    created_at: datetime
    #: Whether crawlers run with it.
    published: bool


@dataclass(frozen=True)
class Login(Record):
    """A login that is begun at an External's server."""

    #: As good as the token that comes of it.
    uuid: str = field(repr=False)
    #: Where a person logs in.
    url: str = field(repr=False)


@dataclass(frozen=True)
class Credential(Record):
    """A login at an External's server whose token Headwater keeps, for crawlers to name."""

    fid: str
    external: str
    #: What the server says of the person.
    user: str | None
    reported_name: str | None
    email_address: str | None
    issued_at: datetime | None
    #: From when on tasks of its crawlers fail with ``credential_expired``; None if it does not expire.
    expires_at: datetime | None
    #: Whether it was when this was answered.
    expired: bool
    created_at: datetime
    #: When its token was last fetched.
    renewed_at: datetime


@dataclass(frozen=True)
class CheckedStream(Record):
    """What a schema would do to the documents that a stream shows."""

    stream: str
    name: str | None
    #: The stream version that was looked at, and how many documents it shows.
    stream_version: int
    documents: int
    #: Documents that would be refused; and others that would have another id than they have.
    failing: int
    renamed: int
    #: The first that would be refused: ``id``, ``task``, ``pointer``, ``keyword``, ``schema_pointer``, ``detail``.
    examples: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Check(Record):
    """What a schema would do to the current documents of an External's crawlers."""

    #: Of all streams together.
    documents: int
    failing: int
    renamed: int
    streams: Sequence[CheckedStream]

    @classmethod
    def read(cls, payload: Mapping[str, Any]) -> Self:
        """Return what an answer tells."""
        return replace(super().read(payload), streams=[CheckedStream.read(each) for each in payload["streams"]])


@dataclass(frozen=True)
class Crawler(Object):
    """An External set up to feed one stream."""

    external: str
    stream: str
    #: Passwords read as ``********``.
    params: Mapping[str, Any]
    #: ``type``; of a login by OAuth also ``fid`` and ``expires_at``, as a text.
    credential: Mapping[str, Any] | None
    #: ``cron``, ``timezone``, ``every``, ``jitter``, ``paused``.
    schedule: Mapping[str, Any] | None
    #: When it next runs by itself.
    next_run_at: datetime | None
    #: The last run that was due and was not started: ``at`` and ``why``.
    last_skip: Mapping[str, Any] | None
    #: Seconds of silence after which a running task times out.
    timeout: int
    #: ``live`` or ``on_success``.
    publish: str
    #: ``min_docs``, ``max_shrink``, ``max_rejected``: what a run must hold to, or it is not published.
    gates: Mapping[str, float | None] | None
    #: How often a task that failed or timed out is retried by itself.
    retries: int
    #: Of its open task; None while it has none.
    state: str | None


@dataclass(frozen=True)
class UploadTarget:
    """Where a task's script uploads."""

    #: With the token in it.
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
    #: 1, 2, …: each retry is a new attempt.
    attempt: int
    #: ``api``, ``console``, ``cli`` or ``schedule``.
    origin: str
    #: 0 new, 102 running, 200 done, 408 timed out, 410 stopped, other 4xx or 5xx failed.
    code: int
    #: ``new``, ``running``, ``done``, ``timed_out``, ``failed`` or ``stopped``.
    state: str
    #: Why it ended; ``gate_failed`` if it ended well and is not published.
    reason: str | None
    message: str | None
    detail: Any
    #: Documents, their bytes and uploads of the present attempt.
    docs: int
    bytes: int
    uploads: int
    rejected: int
    started_at: datetime
    heard_at: datetime | None
    deadline: datetime | None
    ended_at: datetime | None
    #: When it is retried by itself; None if it is not.
    retry_at: datetime | None
    #: Set while its documents are removed from the stream.
    removed_at: datetime | None
    #: What it did to the stream: ``added``, ``changed``, ``unchanged``, ``removed``; counted after its end.
    summary: Mapping[str, int] | None

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.state in {"new", "running"}


@dataclass(frozen=True)
class BegunTask(Task):
    """A task that was asked for."""

    #: Where its script uploads; None where a server does, and where the task was running already.
    upload: UploadTarget | None = None
    #: Whether it was open before, so that none was begun.
    already_running: bool = False

    @classmethod
    def begun(cls, payload: Mapping[str, Any], *, already_running: bool) -> Self:
        """Return what the answer to a creation or a retry tells."""
        # The token is said this once, and is not for logs: what was answered is kept without it.
        known = {name: value for name, value in payload.items() if name != "upload"}
        target = payload.get("upload")
        upload = None if target is None else UploadTarget(endpoint=target["endpoint"], token=target["token"])
        return replace(cls.read(known), upload=upload, already_running=already_running)


@dataclass(frozen=True)
class Webhook(Object):
    """Where events are posted to."""

    url: str
    #: Types of events, ``task.done``, or all of an object's, ``task.*``; none: all there are.
    types: Sequence[str]
    #: Only what is about these; None: about any.
    stream: str | None
    crawler: str | None
    enabled: bool
    #: Since when nothing is sent, and why.
    disabled_at: datetime | None
    disabled_reason: str | None
    #: Since when nothing but failures came.
    failing_since: datetime | None
    #: Until when the secret before the present one signs as well.
    former_secret_until: datetime | None


@dataclass(frozen=True)
class MadeWebhook(Webhook):
    """A webhook that was set up, or given another secret."""

    #: What its receiver verifies signatures with; not shown again.
    secret: str = field(default="", repr=False)

    @classmethod
    def made(cls, payload: Mapping[str, Any]) -> Self:
        """Return what the answer tells."""
        # The secret is said this once, and is not for logs: what was answered is kept without it.
        known = {name: value for name, value in payload.items() if name != "secret"}
        return replace(cls.read(known), secret=payload["secret"])
