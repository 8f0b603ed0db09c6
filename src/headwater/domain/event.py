"""Events: changes of objects, as subscribers receive them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import msgspec

from headwater.domain.crawler import Crawler
from headwater.domain.external import External
from headwater.domain.ids import RelationalObject
from headwater.domain.stream import LogEntry
from headwater.domain.task import Failing, Reason, Task

#: The fields of the objects that an object belongs to.
_BELONGS_TO = ("stream", "crawler", "external")
#: Further fields in the events of a task.
_TASK = ("attempt", "code", "state", "reason", "message", "docs", "rejected", "retry_at")
#: The types of events of each object.
WORDS = {
    "task": (
        *("created", "running", "reported", "done", "withheld", "published", "failed", "timed_out", "stopped"),
        *("retried", "deleted", "restored", "updated", "purged"),
    ),
    "stream": ("created", "changed", "updated", "deleted"),
    "crawler": ("created", "updated", "skipped", "missed", "recovered", "deleted"),
    "external": ("created", "updated", "published", "deleted"),
    "webhook": ("created", "updated", "deleted"),
    "notification": ("created", "updated", "deleted"),
    "segment": ("damaged",),
    "backup": ("created", "failed"),
}
TYPES = frozenset(f"{kind}.{word}" for kind, words in WORDS.items() for word in words)
_BY_REASON = {Reason.GATE_FAILED: "withheld", Reason.PUBLISHED_BY_USER: "published"}


@dataclass(frozen=True, kw_only=True)
class Event:
    """A change, recorded in its own transaction."""

    #: Its position among all events: later ones have higher ids. 0 until it is stored.
    id: int = 0
    at: datetime
    #: Its type, ``{object}.{word}``.
    type: str
    #: The stream that it is about, or that the object belongs to; likewise the next ones.
    stream: str | None = None
    crawler: str | None = None
    external: str | None = None
    task: str | None = None
    #: Details that spare subscribers a request; small, and without secrets.
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, kw_only=True)
class EventFilter:
    """A filter on events: all given fields must match."""

    stream: str | None = None
    crawler: str | None = None
    #: Of that task, alone or among others.
    task: str | None = None
    #: Of these types; ``task`` is every event of a task.
    types: frozenset[str] = frozenset()
    #: At that time or later.
    since: datetime | None = None

    def takes(self, event: Event) -> bool:
        """Return whether an event matches."""
        return (
            self.stream in {None, event.stream}
            and self.crawler in {None, event.crawler}
            and (self.task in {None, event.task} or self.task in (event.data.get("tasks") or ()))
            and (not self.types or event.type in self.types or event.type.partition(".")[0] in self.types)
            and (self.since is None or event.at >= self.since)
        )


def creation(kind: str, value: RelationalObject) -> Event:
    """Return the event for a new object of a type, ``task``."""
    return _of(kind, "created", value, at=value.created_at)


def edit(kind: str, old: RelationalObject, new: RelationalObject) -> Event:
    """Return the event for an edited object."""
    word = _moved(old, new) if isinstance(old, Task) and isinstance(new, Task) else "updated"
    return _of(kind, word, new, at=new.updated_at)


def deletion(kind: str, value: RelationalObject, *, at: datetime) -> Event:
    """Return the event for a permanently deleted object; for a task, ``deleted`` means that it can be restored."""
    return _of(kind, "purged" if isinstance(value, Task) else "deleted", value, at=at)


def publication(external: External, version: int | None, *, at: datetime) -> Event:
    """Return the event for a change of the version of an External that crawlers use; None is the newest."""
    return _of("external", "published", external, at=at, published=version)


def skip(crawler: Crawler, why: str, *, at: datetime) -> Event:
    """Return the event for a due run of a crawler that was not started."""
    return _of("crawler", "skipped", crawler, at=at, why=why)


def miss(crawler: Crawler, *, expected_at: datetime, missed_since: datetime, at: datetime) -> Event:
    """Return the event for an expected run of a crawler that did not end well in time.

    The first of several has ``missed_since`` equal to ``expected_at``.
    """
    moments = msgspec.to_builtins({"expected_at": expected_at, "missed_since": missed_since})
    return _of("crawler", "missed", crawler, at=at, **moments)


def recovery(
    crawler: Crawler, task: str, *, missed_since: datetime | None, failing: Failing | None, at: datetime
) -> Event:
    """Return the event for the first good run of a crawler after missed ones, or after ones that did not end well."""
    since = None if failing is None else failing.since
    moments = msgspec.to_builtins({"missed_since": missed_since, "failed_since": since})
    event = _of("crawler", "recovered", crawler, at=at, **moments, failed=0 if failing is None else failing.runs)
    return replace(event, task=task)


def damage(path: str, *, stream: str, task: str | None, at: datetime) -> Event:
    """Return the event for a file that was found damaged; ``task`` is None if its documents are of several."""
    return Event(at=at, type="segment.damaged", stream=stream, task=task, data={"path": path})


def backup(name: str, *, files: int, new_files: int, size: int, new_size: int, failed: int, at: datetime) -> Event:
    """Return the event for a backup by the schedule; ``failed`` is the number of failed tries in a row before it."""
    data = {"backup": name, "files": files, "new_files": new_files, "bytes": size, "new_bytes": new_size}
    return Event(at=at, type="backup.created", data={**data, "failed": failed})


def failed_backup(why: str, *, failed: int, last_made_at: datetime | None, at: datetime) -> Event:
    """Return the event for a backup that the schedule could not make, the ``failed``-th in a row."""
    moments = msgspec.to_builtins({"last_made_at": last_made_at})
    return Event(at=at, type="backup.failed", data={"message": why, "failed": failed, **moments})


def stream_event(entry: LogEntry, *, crawler: str | None = None) -> Event:
    """Return the event for a new version of a stream."""
    data: dict[str, Any] = {
        "stream_version": entry.version,
        "change": entry.change,
        "attempt": entry.attempt,
        "docs": entry.docs,
    }
    if entry.tasks is not None:
        data["tasks"] = entry.tasks
    return Event(at=entry.at, type="stream.changed", stream=entry.stream, crawler=crawler, task=entry.task, data=data)


def _of(kind: str, word: str, value: RelationalObject, *, at: datetime, **more: Any) -> Event:
    about = {kind: value.fid} | {name: getattr(value, name) for name in _BELONGS_TO if hasattr(value, name)}
    told: dict[str, Any] = (
        msgspec.to_builtins({name: getattr(value, name) for name in _TASK}) if isinstance(value, Task) else {}
    )
    # Objects without a column of their own are named in the data.
    own = {} if kind in Event.__annotations__ else {kind: value.fid}
    return Event(
        at=at,
        type=f"{kind}.{word}",
        stream=about.get("stream"),
        crawler=about.get("crawler"),
        external=about.get("external"),
        task=about.get("task"),
        data={**own, "version": value.version, "name": value.meta.get("name"), **told, **more},
    )


def _moved(old: Task, new: Task) -> str:
    """Return the event type for a task's transition; the most specific one comes first."""
    if new.attempt != old.attempt:
        return "retried"
    if (new.removed_at is None) != (old.removed_at is None):
        return "restored" if new.removed_at is None else "deleted"
    if new.reason is not None and new.reason is not old.reason and new.reason in _BY_REASON:
        return _BY_REASON[new.reason]
    if new.state is not old.state:
        return str(new.state)
    return "reported" if new.is_open and new.heard_at != old.heard_at else "updated"
