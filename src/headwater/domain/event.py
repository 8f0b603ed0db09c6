"""Events: what those who follow Headwater are told of, each a word and what it is about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from headwater.domain.crawler import Crawler
from headwater.domain.external import External
from headwater.domain.relational import RelationalObject
from headwater.domain.stream import LogEntry
from headwater.domain.task import Reason, Task

#: What an object belongs to, as its fields are called.
_BELONGS_TO = ("stream", "crawler", "external")
#: What is told of a task beside that.
_TASK = ("attempt", "code", "state", "reason", "message", "docs", "rejected", "retry_at")
#: Every event, by what it is about.
WORDS = {
    "task": (
        *("created", "running", "reported", "done", "withheld", "published", "failed", "timed_out", "stopped"),
        *("retried", "deleted", "restored", "updated", "purged"),
    ),
    "stream": ("created", "changed", "updated", "deleted"),
    "crawler": ("created", "updated", "skipped", "deleted"),
    "external": ("created", "updated", "published", "deleted"),
    "webhook": ("created", "updated", "deleted"),
}
TYPES = frozenset(f"{kind}.{word}" for kind, words in WORDS.items() for word in words)
_BY_REASON = {Reason.GATE_FAILED: "withheld", Reason.PUBLISHED_BY_USER: "published"}


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that has changed, told in the transaction that changed it."""

    #: Its place among all events: later ones have higher ids. 0 until it is stored.
    id: int = 0
    at: datetime
    #: What happened, ``{object}.{word}``.
    type: str
    #: The stream that it is about, or that the object belongs to; likewise the others.
    stream: str | None = None
    crawler: str | None = None
    external: str | None = None
    task: str | None = None
    #: What is worth knowing without asking; small, and without secrets.
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, kw_only=True)
class EventFilter:
    """Which events somebody wants to hear of: those of which everything holds that is given."""

    stream: str | None = None
    crawler: str | None = None
    #: That task alone or among others.
    task: str | None = None
    #: Of these types; ``task`` is every event of a task.
    types: frozenset[str] = frozenset()
    #: Of that moment or later.
    since: datetime | None = None

    def takes(self, event: Event) -> bool:
        """Tell whether an event is wanted."""
        return (
            self.stream in {None, event.stream}
            and self.crawler in {None, event.crawler}
            and (self.task in {None, event.task} or self.task in (event.data.get("tasks") or ()))
            and (not self.types or event.type in self.types or event.type.partition(".")[0] in self.types)
            and (self.since is None or event.at >= self.since)
        )


def creation(kind: str, value: RelationalObject) -> Event:
    """Return what is told of a new object of a kind, ``task``."""
    return _of(kind, "created", value, at=value.created_at)


def edit(kind: str, old: RelationalObject, new: RelationalObject) -> Event:
    """Return what is told of an object that became another version of itself."""
    word = _moved(old, new) if isinstance(old, Task) and isinstance(new, Task) else "updated"
    return _of(kind, word, new, at=new.updated_at)


def deletion(kind: str, value: RelationalObject, *, at: datetime) -> Event:
    """Return what is told of an object that is gone for good; of a task, ``deleted`` says that it can come back."""
    return _of(kind, "purged" if isinstance(value, Task) else "deleted", value, at=at)


def publication(external: External, version: int | None, *, at: datetime) -> Event:
    """Return what is told when crawlers are to run with a version of an External; None is the newest."""
    return _of("external", "published", external, at=at, published=version)


def skip(crawler: Crawler, why: str, *, at: datetime) -> Event:
    """Return what is told when a run of a crawler that was due was not started."""
    return _of("crawler", "skipped", crawler, at=at, why=why)


def stream_event(entry: LogEntry, *, crawler: str | None = None) -> Event:
    """Return what is told of a stream that shows something else than before."""
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
    # What no column is for is told with the rest.
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
    """Return the word for what became of a task; the first that fits says most."""
    if new.attempt != old.attempt:
        return "retried"
    if (new.removed_at is None) != (old.removed_at is None):
        return "restored" if new.removed_at is None else "deleted"
    if new.reason is not None and new.reason is not old.reason and new.reason in _BY_REASON:
        return _BY_REASON[new.reason]
    if new.state is not old.state:
        return str(new.state)
    return "reported" if new.is_open and new.heard_at != old.heard_at else "updated"
