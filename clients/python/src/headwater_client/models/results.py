"""Response models other than objects: documents, versions, changes, counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headwater_client.models.objects import Record

if TYPE_CHECKING:
    from typing import Self


@dataclass(frozen=True)
class Attempt(Record):
    """One attempt of a task: the current one, or an earlier one as it ended."""

    attempt: int
    external_version: int
    params: Mapping[str, Any]
    code: int
    state: str
    reason: str | None
    message: str | None
    detail: Any
    docs: int
    bytes: int
    uploads: int
    rejected: int
    deleted: int
    started_at: datetime
    heard_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True)
class NotificationTest(Record):
    """The result of a test message."""

    sent: bool
    #: Why it was not sent.
    error: str | None


@dataclass(frozen=True)
class LogLine(Record):
    """A line of a task's log."""

    at: datetime | None
    #: ``debug``, ``info``, ``warning``, ``error`` or ``critical``.
    level: str
    text: str

    @property
    def fields(self) -> Mapping[str, Any]:
        """Further fields that the crawler sent."""
        return {name: value for name, value in self.raw.items() if name not in {"at", "level", "text"}}


@dataclass(frozen=True)
class Document(Record):
    """A current document of a stream, or a document uploaded by a task."""

    id: str
    #: The task that wrote this version.
    task: str
    doc: Mapping[str, Any]


@dataclass(frozen=True)
class DocumentVersion(Record):
    """A retained version of a document."""

    task: str
    attempt: int
    external_version: int | None
    params: Mapping[str, Any] | None
    written_at: datetime
    #: ``shown``, ``covered``, ``removed``, ``replaced``, ``dropped``, ``deleted``, ``waiting`` or ``unpublished``.
    standing: str
    shows: bool
    #: ``upsert``, or ``delete`` if this version deletes the document.
    op: str
    #: None in a deletion.
    doc: Mapping[str, Any] | None


@dataclass(frozen=True)
class LogEntry(Record):
    """A version of a stream, and its cause."""

    version: int
    at: datetime
    #: ``upload``, ``replay``, ``publish``, ``replace``, ``withhold``, ``remove``, ``restore`` or ``erase``.
    change: str
    task: str | None
    attempt: int | None
    tasks: Sequence[str] | None
    docs: int


@dataclass(frozen=True)
class MatchChange(Record):
    """A change of which documents match: what an attempt brought, or another change of the stream."""

    #: The first and the last of its stream versions that changed which documents match.
    version: int
    until: int
    at: datetime
    #: As in ``LogEntry``.
    change: str
    task: str | None
    attempt: int | None
    tasks: Sequence[str] | None
    #: Documents that did not match before and did then, and the other way round.
    brought: int
    removed: int


@dataclass(frozen=True)
class Bisected(Record):
    """When documents of a stream matched."""

    #: The stream versions from which on, and up to which, changes were looked at.
    since: int
    stream_version: int
    #: Documents that matched at ``since``, and that match now.
    before: int
    docs: int
    #: Whether there are more changes than ``limit``.
    more: bool
    #: The tasks without which none of the documents that match now would, oldest first.
    to_undo: Sequence[str]

    @property
    def first(self) -> MatchChange | None:
        """The first change by which a document came to match."""
        return None if self.raw.get("first") is None else MatchChange.read(self.raw["first"])

    @property
    def runs(self) -> list[MatchChange]:
        """All changes of which documents match, oldest first."""
        return [MatchChange.read(one) for one in self.raw.get("runs", [])]


@dataclass(frozen=True)
class PlannedSegment(Record):
    """A file with documents of a stream: ``doc_id``, ``doc``, and ``task`` unless all are of one task."""

    location: str
    size: int
    rows: int
    #: The task of all its rows; None: the column ``task`` has that of each.
    task: str | None
    #: ``location``, ``size`` and ``rows`` of a file whose column ``pos`` has the rows to leave out; None if all show.
    deletes: Mapping[str, Any] | None


@dataclass(frozen=True)
class PlannedRange(Record):
    """The documents with ids after ``after``, up to ``upto``, inclusive; None is unbounded."""

    after: str | None
    upto: str | None

    @property
    def segments(self) -> list[PlannedSegment]:
        """The files to read."""
        return [PlannedSegment.read(one) for one in self.raw.get("segments", [])]


@dataclass(frozen=True)
class Plan(Record):
    """A version of a stream as files, cut into ranges; ``headwater_client.plan_reader`` reads them."""

    #: The stream version, and how many documents it shows.
    version: int
    docs: int
    #: How locations are to be read: ``headwater``, ``local`` or ``store``; and endpoint and credentials for that.
    warehouse: str
    config: Mapping[str, str]
    #: Until when the files can be read.
    expires_at: datetime

    @property
    def ranges(self) -> list[PlannedRange]:
        """All ranges, in the order of ids."""
        return [PlannedRange.read(one) for one in self.raw.get("ranges", [])]


@dataclass(frozen=True)
class Event(Record):
    """An event of the event feed."""

    #: Its sequence number, from which the feed can be resumed.
    id: int
    at: datetime
    #: Event type: ``task.done``, ``stream.changed``, …
    type: str
    #: The objects concerned; None if none.
    stream: str | None
    crawler: str | None
    external: str | None
    task: str | None
    #: Details of the event.
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """A step from one version of a stream to a later one."""

    #: ``upsert``, ``delete``, or ``version``: all changes up to ``version`` are complete, a point to resume from.
    op: str
    #: The document's id; empty for ``version``.
    id: str = ""
    doc: Mapping[str, Any] | None = None
    task: str | None = None
    #: Set for ``version`` only.
    version: int | None = None


@dataclass(frozen=True)
class Difference(Record):
    """A document before and after."""

    id: str
    #: ``{"task", "doc"}``; None if the document did not exist.
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    #: A JSON Patch from ``before`` to ``after``, of changed documents.
    patch: Sequence[Mapping[str, Any]] | None


@dataclass(frozen=True)
class Counts(Record):
    """How a task changed its stream, in numbers of documents."""

    added: int
    changed: int
    unchanged: int
    removed: int


@dataclass(frozen=True)
class Removal(Record):
    """What removing a task's documents from its stream would change."""

    #: Documents that would disappear, that would revert to an older version, and that a newer task has overwritten.
    removed: int
    restored: int
    unaffected: int
    #: The tasks, if several.
    tasks: Sequence[str] | None


@dataclass(frozen=True)
class Restoration(Record):
    """What restoring a task's documents would change."""

    #: Documents that would reappear, that would replace an older version, and that a newer task has overwritten.
    added: int
    replaced: int
    unaffected: int
    #: The tasks, if several, and those that cannot be restored.
    tasks: Sequence[str] | None
    purged: Sequence[str] | None


@dataclass(frozen=True)
class Moved(Record):
    """Tasks that were deleted or restored together."""

    tasks: Sequence[str]
    #: The resulting stream version; None if the stream did not change.
    stream_version: int | None
    #: Tasks that could not be restored.
    purged: Sequence[str] | None


@dataclass(frozen=True)
class Erased(Record):
    """A permanently erased document."""

    #: Number of erased versions, and of erased rejected lines with this id, or possibly with it.
    docs: int
    rejects: int
    stream_version: int


@dataclass(frozen=True)
class AuditEntry(Record):
    """An entry of the audit log."""

    fid: str
    at: datetime
    #: The fid of the API key; None for actions on the server itself.
    key: str | None
    #: The key's name at that time, or ``cli``.
    name: str
    #: ``api``, ``console`` or ``cli``.
    origin: str
    #: The operation id in OpenAPI, such as ``delete_task``.
    action: str
    #: ``{"type", "fid"}``
    object: Mapping[str, str] | None
    request_id: str | None
    #: Details of the action.
    detail: Mapping[str, Any]


@dataclass(frozen=True)
class Link(Record):
    """An edge between two objects."""

    #: ``{"type", "fid"}``
    start: Mapping[str, str]
    end: Mapping[str, str]

    @classmethod
    def read(cls, payload: Mapping[str, Any]) -> Self:
        """Read a response."""
        return cls(raw=payload, start=payload["from"], end=payload["to"])


@dataclass(frozen=True)
class Receipt(Record):
    """The response to an upload, which is on the server's disk."""

    #: Documents of this upload, and of the attempt so far.
    count: int
    total: int
    #: Uncompressed size of this upload.
    bytes: int
    #: Documents that it deleted.
    deleted: int
    #: Number of rejected lines, and their errors; None if the upload was not lenient.
    rejected: int | None
    errors: Sequence[Mapping[str, Any]] | None


@dataclass(frozen=True)
class Reject(Record):
    """A line rejected by a lenient upload."""

    task: str
    attempt: int
    #: Number of the upload within the attempt, from 1; the line in it, and its byte offset.
    upload: int
    line: int
    offset: int
    at: datetime
    #: ``broken``: not JSON; ``invalid``: not an object, or does not match the schema.
    kind: str
    #: The document's id; of a broken line, a guess.
    id: str | None
    #: Its errors, each with ``detail`` and mostly ``pointer``.
    errors: Sequence[Mapping[str, Any]]
    #: The line as uploaded; if it is not UTF-8, it is in ``base64``.
    text: str | None
    base64: str | None
    #: Size of the whole line in bytes, and whether it was truncated.
    size: int
    truncated: bool


@dataclass(frozen=True)
class Replayed(Record):
    """The result of replaying rejected lines."""

    #: Lines that are now documents of the task.
    replayed: int
    #: Valid lines that were discarded, because the task has since uploaded newer versions of their documents.
    covered: int
    #: Lines that are still rejected.
    rejected: int
    #: The resulting stream version; None if nothing was replayed, or the task is not published yet.
    stream_version: int | None


@dataclass(frozen=True)
class Delivery(Record):
    """A delivery of an event to a webhook."""

    #: The ``webhook-id`` header.
    id: str
    webhook: str
    #: The event; None for a test.
    event: int | None
    type: str
    #: ``pending``, ``delivered`` or ``failed``.
    state: str
    #: Time of the next attempt; None once settled.
    due_at: datetime | None
    created_at: datetime
    settled_at: datetime | None
    payload: Mapping[str, Any]
    #: Its attempts: ``number``, ``at``, ``duration_ms``, ``status``, ``answer``, ``error``.
    attempts: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Key(Record):
    """An API key, without its secret."""

    fid: str
    version: int
    name: str
    #: ``read``, ``write``, ``admin``.
    scopes: Sequence[str]
    #: The streams and crawlers that it is limited to; None for all.
    streams: Sequence[str] | None
    crawlers: Sequence[str] | None
    created_at: datetime
    expires_at: datetime | None
    #: To the minute; None if never.
    last_used_at: datetime | None
    revoked_at: datetime | None
    #: Until when the secret before the last rotation works as well.
    former_until: datetime | None


@dataclass(frozen=True)
class MadeKey(Key):
    """The response to creating or rotating a key."""

    #: The key itself; not returned again.
    key: str = field(default="", repr=False)

    @classmethod
    def made(cls, payload: Mapping[str, Any]) -> Self:
        """Read the response."""
        # The secret is kept out of ``raw``.
        known = {name: value for name, value in payload.items() if name != "key"}
        return replace(cls.read(known), key=payload["key"])


@dataclass(frozen=True)
class PreparedExport(Record):
    """An export that was written to a file on the server."""

    fid: str
    stream: str
    #: The version that it shows.
    stream_version: int
    format: str
    size: int
    #: Where it is downloaded, whole or by ``Range``, with the API key.
    path: str
    created_at: datetime
    expires_at: datetime
