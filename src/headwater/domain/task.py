"""A task, one run of a crawler, with its state machine."""

from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from headwater.domain.errors import RequestInvalid, TaskClosed, TaskPurged, TaskRemoved
from headwater.domain.stream import Counts, Stream


class TaskState(StrEnum):
    """Where a task stands; the words that callers see."""

    NEW = "new"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    STOPPED = "stopped"


class Reason(StrEnum):
    """Why a task ended, as a stable word."""

    REPORTED = "reported"
    START_FAILED = "start_failed"
    #: What it was to log in with at its source had expired, so that its crawler was not called.
    CREDENTIAL_EXPIRED = "credential_expired"
    SILENT = "silent"
    STOPPED_BY_USER = "stopped_by_user"
    DELETED_BY_USER = "deleted_by_user"
    #: It ended well and failed a gate of its crawler, which keeps its documents out of the stream.
    GATE_FAILED = "gate_failed"
    #: It had failed a gate, and a person let it in.
    PUBLISHED_BY_USER = "published_by_user"


class Origin(StrEnum):
    """Who asked for a task."""

    API = "api"
    CONSOLE = "console"
    CLI = "cli"
    SCHEDULE = "schedule"


class Publish(StrEnum):
    """When a task's documents show in the stream."""

    LIVE = "live"
    ON_SUCCESS = "on_success"


#: In these states a task takes documents and status reports.
OPEN = frozenset({TaskState.NEW, TaskState.RUNNING})

#: Why a task ended whose crawler had said so.
REPORTED = frozenset({Reason.REPORTED, Reason.GATE_FAILED, Reason.PUBLISHED_BY_USER})

_ENDS = {TaskState.DONE, TaskState.FAILED, TaskState.TIMED_OUT, TaskState.STOPPED}

#: Which state may follow which. An ended task is opened again by a retry, and by nothing else.
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
    """One attempt of a task, as it ended or stands; its fields are those of the task."""

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
    started_at: datetime
    heard_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class TaskFilter:
    """Which tasks of a stream are meant: those of which everything holds that is given."""

    #: Begun at that moment or later.
    since: datetime | None = None
    #: Begun before that moment.
    until: datetime | None = None
    #: Whose present attempt runs with that version of its External.
    external_version: int | None = None
    origin: Origin | None = None
    #: Called with these values, among others.
    params: dict[str, Any] | None = None
    #: Among these tasks.
    tasks: tuple[str, ...] | None = None
    #: Removed by this stream version.
    removed_version: int | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """One run of a crawler: a change set on its stream."""

    fid: str
    crawler: str
    stream: str
    external: str
    #: The External's version that the present attempt runs with, its schema included.
    external_version: int
    #: What the External is called with; passwords are sealed (see ``catalog/vault.py``).
    params: dict[str, Any]
    #: Seconds of silence after which the task times out; the crawler's when the attempt began.
    timeout: int
    #: When its documents show; the crawler's when the attempt began.
    publish: Publish
    #: 1, 2, …: each retry is a new attempt of the same task.
    attempt: int
    origin: Origin
    code: int
    state: TaskState
    reason: Reason | None = None
    message: str | None = None
    #: Whatever the crawler reports beside its message; any JSON.
    detail: Any = None
    #: Documents that the present attempt has uploaded.
    docs: int = 0
    #: Their size in bytes, decompressed.
    bytes: int = 0
    #: Uploads that the present attempt has had accepted.
    uploads: int = 0
    #: Documents of the present attempt that were kept aside as invalid.
    rejected: int = 0
    #: Where the EC is told of the task's end; None until it has said so, or for ever (push).
    callback: str | None = None
    #: When the present attempt was asked for.
    started_at: datetime
    #: When the EC was last heard from in the present attempt.
    heard_at: datetime | None = None
    #: When the task times out unless it is heard from; None while its start waits to be delivered.
    deadline: datetime | None = None
    ended_at: datetime | None = None
    #: When its documents were removed from the stream; None while they belong to it.
    removed_at: datetime | None = None
    #: The stream version that removed its documents; None too when none of them showed.
    removed_version: int | None = None
    #: What its present attempt did to the stream; None until that is counted, some time after its end.
    summary: Counts | None = None
    #: How often it was retried by itself since a person last asked for it.
    retried: int = 0
    #: When it is to be retried by itself; None if it is not.
    retry_at: datetime | None = None
    created_at: datetime
    updated_at: datetime
    version: int
    meta: dict[str, Any]

    @property
    def is_open(self) -> bool:
        """Whether the task takes documents and status reports."""
        return self.state in OPEN

    @property
    def is_withheld(self) -> bool:
        """Whether a gate keeps its present attempt out of the stream, until a person lets it in."""
        return self.reason is Reason.GATE_FAILED

    def is_purged(self, stream: Stream) -> bool:
        """Whether it was deleted so long ago that its stream no longer keeps its documents."""
        never_had_any = self.attempt == 1 and not self.docs
        removed = self.removed_version
        return removed is not None and removed <= stream.purged_version and not never_had_any


def require_unpurged(task: Task, stream: Stream) -> None:
    """Raise unless a task's documents could be put back.

    Raises:
        TaskPurged: its stream no longer keeps them.
    """
    if task.is_purged(stream):
        raise TaskPurged(
            f"task {task.fid} was deleted at {task.removed_at:%Y-%m-%d %H:%M} UTC and its documents are purged since; "
            "they cannot come back: run it again as a new task"
        )


def state_of(code: int) -> TaskState:
    """Return the state that a status code from a crawler stands for.

    Raises:
        RequestInvalid: the code is none that a crawler may report.
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
    """Raise unless the task takes documents and status reports.

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
    """Return the task in its new state: heard from when it goes on, ended when it does not.

    Raises:
        TaskClosed: no such move leads from the state in which the task is.
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
    """Return the task at the beginning of its next attempt, its automatic retries since a person's among ``retried``.

    Raises:
        TaskRemoved: it is deleted.
        TaskClosed: its present attempt is still open.
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
    """Return a task's present attempt, as it stands."""
    names = {field.name for field in fields(Attempt)} - {"task"}
    return Attempt(task=task.fid, **{name: getattr(task, name) for name in names})
