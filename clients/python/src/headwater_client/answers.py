"""What Headwater answers beside its objects, as values: documents, versions, changes, counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headwater_client.objects import Record

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class Attempt(Record):
    """One attempt of a task: the present one as it stands, a former one as it ended."""

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
    started_at: datetime
    heard_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True)
class Document(Record):
    """A document that a stream shows, or a task brought."""

    id: str
    #: The task that wrote this version of it.
    task: str
    doc: Mapping[str, Any]


@dataclass(frozen=True)
class DocumentVersion(Record):
    """A version of a document that is still kept."""

    task: str
    attempt: int
    external_version: int | None
    params: Mapping[str, Any] | None
    written_at: datetime
    #: ``shown``, ``covered``, ``removed``, ``replaced``, ``waiting`` or ``unpublished``.
    standing: str
    shows: bool
    doc: Mapping[str, Any]


@dataclass(frozen=True)
class LogEntry(Record):
    """A version of a stream, and what made it."""

    version: int
    at: datetime
    #: ``upload``, ``replay``, ``publish``, ``replace``, ``withhold``, ``remove``, ``restore`` or ``erase``.
    change: str
    task: str | None
    attempt: int | None
    tasks: Sequence[str] | None
    docs: int


@dataclass(frozen=True)
class Event(Record):
    """Something that has changed."""

    #: Its place among all events; to go on behind it another time.
    id: int
    at: datetime
    #: What happened: ``task.done``, ``stream.changed``, …
    type: str
    #: What it is about, or what that belongs to; likewise the others.
    stream: str | None
    crawler: str | None
    external: str | None
    task: str | None
    #: What is worth knowing without asking.
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """A step from one version of a stream to a later one."""

    #: ``upsert``, ``delete``; or ``version``: what came so far is all up to ``version``, to go on from another time.
    op: str
    #: The document's; empty for ``version``.
    id: str = ""
    doc: Mapping[str, Any] | None = None
    task: str | None = None
    #: Given with ``version`` only.
    version: int | None = None


@dataclass(frozen=True)
class Difference(Record):
    """A document before and after."""

    id: str
    #: ``{"task", "doc"}``; None where it does not show.
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    #: A JSON Patch from one to the other, of documents that changed.
    patch: Sequence[Mapping[str, Any]] | None


@dataclass(frozen=True)
class Counts(Record):
    """What a task did: of each id that it touched, what became of the document."""

    added: int
    changed: int
    unchanged: int
    removed: int


@dataclass(frozen=True)
class Removal(Record):
    """What taking a task's documents out would do."""

    #: Documents that would be gone, of which an older version would show, and of which a newer task's shows anyway.
    removed: int
    restored: int
    unaffected: int
    #: The tasks, where several were meant.
    tasks: Sequence[str] | None


@dataclass(frozen=True)
class Restoration(Record):
    """What putting a task's documents back would do."""

    #: Documents that would show where none does, in place of an older version, and not, for a newer one lies above.
    added: int
    replaced: int
    unaffected: int
    #: The tasks, where several were meant, and those that cannot come back.
    tasks: Sequence[str] | None
    purged: Sequence[str] | None


@dataclass(frozen=True)
class Moved(Record):
    """Tasks that were taken out, or put back, together."""

    tasks: Sequence[str]
    #: The stream version that did it; None if nothing of them showed.
    stream_version: int | None
    #: Tasks that could not come back.
    purged: Sequence[str] | None


@dataclass(frozen=True)
class Erased(Record):
    """A document that is gone for good."""

    #: How many versions of it there were, and rejected lines that were it, or may have been.
    docs: int
    rejects: int
    stream_version: int


@dataclass(frozen=True)
class AuditEntry(Record):
    """That somebody changed something."""

    fid: str
    at: datetime
    #: The fid of the API key; None for what was done on the server itself.
    key: str | None
    #: What the key was called then, or ``cli``.
    name: str
    #: ``api``, ``console`` or ``cli``.
    origin: str
    #: The name that the call has in OpenAPI, such as ``delete_task``.
    action: str
    #: ``{"type", "fid"}``
    object: Mapping[str, str] | None
    request_id: str | None
    #: What one needs to understand it.
    detail: Mapping[str, Any]


@dataclass(frozen=True)
class Link(Record):
    """An edge between two objects."""

    #: ``{"type", "fid"}``
    start: Mapping[str, str]
    end: Mapping[str, str]

    @classmethod
    def read(cls, payload: Mapping[str, Any]) -> Self:
        """Return what an answer tells."""
        return cls(raw=payload, start=payload["from"], end=payload["to"])


@dataclass(frozen=True)
class Receipt(Record):
    """What the server took of an upload; it is on its disk."""

    #: Documents of this upload, and of the attempt so far.
    count: int
    total: int
    #: Size of this upload, decompressed.
    bytes: int
    #: Lines of this upload that were kept aside, and what is wrong with them; None if it was not lenient.
    rejected: int | None
    errors: Sequence[Mapping[str, Any]] | None


@dataclass(frozen=True)
class Reject(Record):
    """A line that a lenient upload left aside."""

    task: str
    attempt: int
    #: Which accepted upload of the attempt it came with, from 1; its line there, and the byte at which it begins.
    upload: int
    line: int
    offset: int
    at: datetime
    #: ``broken``: not JSON; ``invalid``: no object, or not as the schema says.
    kind: str
    #: The document's id; of a broken line what seems to be it.
    id: str | None
    #: What is wrong with it, each with ``detail`` and mostly ``pointer``.
    errors: Sequence[Mapping[str, Any]]
    #: The line as it came; where it is not UTF-8, ``base64`` has it.
    text: str | None
    base64: str | None
    #: Bytes of the whole line, and whether it is longer than what is kept.
    size: int
    truncated: bool


@dataclass(frozen=True)
class Replayed(Record):
    """What became of lines that were kept aside."""

    #: Lines that are documents of the task now.
    replayed: int
    #: Lines that pass too, of whose documents the task has brought newer versions since; they are dropped.
    covered: int
    #: Lines that are still rejected.
    rejected: int
    #: The stream version that shows the documents; None if there are none, or if they wait with their task.
    stream_version: int | None


@dataclass(frozen=True)
class Delivery(Record):
    """What is sent to a webhook of an event."""

    #: What the receiver gets as ``webhook-id``.
    id: str
    webhook: str
    #: The event; None of a test.
    event: int | None
    type: str
    #: ``pending``, ``delivered`` or ``failed``.
    state: str
    #: When it is tried next; None once it is settled.
    due_at: datetime | None
    created_at: datetime
    settled_at: datetime | None
    payload: Mapping[str, Any]
    #: Every try: ``number``, ``at``, ``duration_ms``, ``status``, ``answer``, ``error``.
    attempts: Sequence[Mapping[str, Any]]
