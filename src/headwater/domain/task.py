"""A task, one run of a crawler, with its state machine."""

from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from headwater.domain.errors import RequestInvalid, TaskClosed, TaskPurged, TaskRemoved
from headwater.domain.stream import Counts, Stream


class TaskState(StrEnum):
    """The state of a task; these words are public."""

    NEW = "new"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    STOPPED = "stopped"


class Reason(StrEnum):
    """Why a task ended; these words are public and stable."""

    REPORTED = "reported"
    START_FAILED = "start_failed"
    #: Its credential had expired, so that its crawler was not called.
    CREDENTIAL_EXPIRED = "credential_expired"
    SILENT = "silent"
    STOPPED_BY_USER = "stopped_by_user"
    DELETED_BY_USER = "deleted_by_user"
    #: It succeeded and failed a gate of its crawler, which keeps its documents out of the stream.
    GATE_FAILED = "gate_failed"
    #: It had failed a gate, and a person published it.
    PUBLISHED_BY_USER = "published_by_user"


class Origin(StrEnum):
    """What requested a task."""

    API = "api"
    CONSOLE = "console"
    CLI = "cli"
    SCHEDULE = "schedule"


class Publish(StrEnum):
    """When a task's documents become visible in the stream."""

    LIVE = "live"
    ON_SUCCESS = "on_success"


class Mode(StrEnum):
    """What a successful run does to the documents that earlier runs brought."""

    #: They stay, unless the run brings newer versions of them.
    MERGE = "merge"
    #: They disappear: the stream shows what the run brought, and nothing else.
    SNAPSHOT = "snapshot"


#: The states in which a task accepts documents and status reports.
OPEN = frozenset({TaskState.NEW, TaskState.RUNNING})

#: Reasons of tasks that ended by their crawler's report.
REPORTED = frozenset({Reason.REPORTED, Reason.GATE_FAILED, Reason.PUBLISHED_BY_USER})

_ENDS = {TaskState.DONE, TaskState.FAILED, TaskState.TIMED_OUT, TaskState.STOPPED}

#: The allowed transitions. Only a retry reopens an ended task.
TRANSITIONS: dict[TaskState, set[TaskState]] = {
    TaskState.NEW: {TaskState.RUNNING, *_ENDS},
    TaskState.RUNNING: {TaskState.RUNNING, *_ENDS},
    TaskState.DONE: {TaskState.NEW},
    TaskState.FAILED: {TaskState.NEW},
    TaskState.TIMED_OUT: {TaskState.NEW},
    TaskState.STOPPED: {TaskState.NEW},
}

CODE_NEW = 0
CODE_RUNNING = 102
CODE_TIMED_OUT = 408
CODE_STOPPED = 410
CODE_FAILED = 500


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt of a task, ended or current; its fields are those of the task."""

    task: str
    attempt: int
    external_version: int
    params: dict[str, Any]
    code: int
    state: TaskState
    reason: Reason | None
    message: str | None
    detail: Any
    docs: int
    bytes: int
    uploads: int
    rejected: int
    deleted: int = 0
    started_at: datetime
    heard_at: datetime | None
    ended_at: datetime | None

    @property
    def versions(self) -> int:
        """Number of versions of documents that it has uploaded: documents and deletions."""
        return self.docs + self.deleted


@dataclass(frozen=True, kw_only=True)
class TaskFilter:
    """A filter on tasks of a stream: all given fields must match."""

    #: Started at that time or later.
    since: datetime | None = None
    #: Started before that time.
    until: datetime | None = None
    #: Whose current attempt runs with that version of its External.
    external_version: int | None = None
    origin: Origin | None = None
    #: With these parameters, among others.
    params: dict[str, Any] | None = None
    #: Among these tasks.
    tasks: tuple[str, ...] | None = None
    #: Removed by this stream version.
    removed_version: int | None = None


@dataclass(frozen=True, kw_only=True)
class Failing:
    """Runs of a crawler in a row that did not end well."""

    runs: int
    #: When the first of them ended.
    since: datetime


@dataclass(frozen=True, kw_only=True)
class Task:
    """One run of a crawler: a change set on its stream."""

    fid: str
    crawler: str
    stream: str
    external: str
    #: The External's version that the current attempt uses, including its schema.
    external_version: int
    #: The parameters of the call; passwords are encrypted (see ``catalog/vault.py``).
    params: dict[str, Any]
    #: Seconds of silence after which the task times out; copied from the crawler when the attempt starts.
    timeout: int
    #: When its documents become visible; copied from the crawler when the attempt starts.
    publish: Publish
    #: What it does to the documents of earlier tasks when it ends with 200; retries keep it.
    mode: Mode = Mode.MERGE
    #: Of a snapshot: the comparisons that the documents match which it may hide; None hides all.
    scope: list[str] | None = None
    #: 1, 2, …: each retry is a new attempt of the same task.
    attempt: int
    origin: Origin
    code: int
    state: TaskState
    reason: Reason | None = None
    message: str | None = None
    #: The crawler's details beside its message; any JSON.
    detail: Any = None
    #: Documents that the current attempt has uploaded.
    docs: int = 0
    #: Their size in bytes, decompressed.
    bytes: int = 0
    #: Number of accepted uploads of the current attempt.
    uploads: int = 0
    #: Number of rejected lines of the current attempt.
    rejected: int = 0
    #: Deletions that the current attempt has uploaded: lines that delete a document.
    deleted: int = 0
    #: The EC's URL for the notice of the task's end; None until the EC has sent it, and for push.
    callback: str | None = None
    #: When the current attempt was requested.
    started_at: datetime
    #: When the EC last uploaded or reported in the current attempt.
    heard_at: datetime | None = None
    #: When the task times out without an upload or report; None while its start is not delivered.
    deadline: datetime | None = None
    ended_at: datetime | None = None
    #: When the task was deleted from the stream; None while it is not.
    removed_at: datetime | None = None
    #: The stream version that removed its documents; None as well if none of them was visible.
    removed_version: int | None = None
    #: What its current attempt changed in the stream; None until that is counted, some time after its end.
    summary: Counts | None = None
    #: Number of automatic retries since a person last requested it.
    retried: int = 0
    #: When it is automatically retried; None if it is not.
    retry_at: datetime | None = None
    created_at: datetime
    updated_at: datetime
    version: int
    meta: dict[str, Any]

    @property
    def versions(self) -> int:
        """Number of versions of documents that the current attempt has uploaded: documents and deletions."""
        return self.docs + self.deleted

    @property
    def is_open(self) -> bool:
        """Whether the task accepts documents and status reports."""
        return self.state in OPEN

    @property
    def duration(self) -> float | None:
        """Seconds from the start of its current attempt to its end; None while it is open."""
        return None if self.ended_at is None else round((self.ended_at - self.started_at).total_seconds(), 3)

    @property
    def is_withheld(self) -> bool:
        """Whether a gate keeps its current attempt out of the stream, until a person publishes it."""
        return self.reason is Reason.GATE_FAILED

    def is_purged(self, stream: Stream) -> bool:
        """Whether it was deleted so long ago that its documents are purged."""
        has_floor = self.mode is Mode.SNAPSHOT and self.state is TaskState.DONE
        never_had_any = self.attempt == 1 and not self.versions and not has_floor
        removed = self.removed_version
        return removed is not None and removed <= stream.purged_version and not never_had_any


def require_unpurged(task: Task, stream: Stream) -> None:
    """Raise unless a task's documents can be restored.

    Raises:
        TaskPurged: they are purged.
    """
    if task.is_purged(stream):
        raise TaskPurged(
            f"task {task.fid} was deleted at {task.removed_at:%Y-%m-%d %H:%M} UTC and its documents are purged since; "
            "they cannot come back: run it again as a new task"
        )


def state_of(code: int) -> TaskState:
    """Return the state for a status code from a crawler.

    Raises:
        RequestInvalid: a crawler must not report this code.
    """
    if code == CODE_RUNNING:
        return TaskState.RUNNING
    if 200 <= code < 300:  # noqa: PLR2004 - HTTP's classes of status codes
        return TaskState.DONE
    if 400 <= code < 600:  # noqa: PLR2004
        return TaskState.FAILED
    raise RequestInvalid(
        f"{code} is no status code for a task: report 102 while it runs, 2xx when it is done, 4xx or 5xx when it failed"
    )


def require_open(task: Task) -> None:
    """Raise unless the task accepts documents and status reports.

    Raises:
        TaskRemoved: it is deleted.
        TaskClosed: it has ended.
    """
    if task.removed_at is not None:
        raise TaskRemoved(f"task {task.fid} is deleted; restore it first")
    if not task.is_open:
        raise TaskClosed(
            f"task {task.fid} ended with {task.code} ({task.state}) and takes nothing more; retry it to open it again"
        )


def move(
    task: Task,
    to: TaskState,
    *,
    code: int,
    at: datetime,
    reason: Reason | None = None,
    message: str | None = None,
    detail: Any = None,
) -> Task:
    """Return the task in a new state, with its silence timer or end time updated.

    Raises:
        TaskClosed: the transition is not allowed.
    """
    if to not in TRANSITIONS[task.state]:
        stands = "stands at" if task.is_open else "ended with"
        raise TaskClosed(f"task {task.fid} {stands} {task.code} ({task.state}) and cannot become {to} ({code})")
    moved = replace(task, state=to, code=code, reason=reason, message=message, detail=detail)
    if to in OPEN:
        return replace(moved, heard_at=at, deadline=at + timedelta(seconds=task.timeout))
    return replace(moved, ended_at=at, deadline=None)


def again(
    task: Task,
    *,
    params: dict[str, Any],
    external_version: int,
    timeout: int,
    publish: Publish,
    deadline: datetime | None,
    at: datetime,
    retried: int = 0,
) -> Task:
    """Return the task at the start of its next attempt, with ``retried`` automatic retries so far.

    Raises:
        TaskRemoved: it is deleted.
        TaskClosed: its current attempt is still open.
    """
    if task.removed_at is not None:
        raise TaskRemoved(f"task {task.fid} is deleted; restore it before you retry it")
    opened = move(task, TaskState.NEW, code=CODE_NEW, at=at)
    return replace(
        opened,
        attempt=task.attempt + 1,
        params=params,
        external_version=external_version,
        timeout=timeout,
        publish=publish,
        docs=0,
        bytes=0,
        uploads=0,
        rejected=0,
        deleted=0,
        callback=None,
        started_at=at,
        heard_at=None,
        deadline=deadline,
        ended_at=None,
        summary=None,
        retried=retried,
        retry_at=None,
    )


def present_attempt(task: Task) -> Attempt:
    """Return a task's current attempt as a record."""
    names = {field.name for field in fields(Attempt)} - {"task"}
    return Attempt(task=task.fid, **{name: getattr(task, name) for name in names})
