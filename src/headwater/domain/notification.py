"""Notifications: messages for people about runs that went wrong, grouped so that a storm is one message."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from headwater.domain.event import Event

#: What a notification is about unless it says otherwise.
EVENTS = ("task.failed", "task.timed_out", "task.withheld", "crawler.missed", "crawler.recovered")
#: What is about the server itself, and told if it is chosen.
OF_SERVER = ("segment.damaged", "backup.failed")
#: Kinds of news without an event type of their own.
REJECTED = "rejected"
SHRUNK = "shrunk"
TEST = "test"
#: The words for each kind of news in a title, ``3 failed``.
WORDS: Mapping[str, str] = {
    "task.failed": "failed",
    "task.timed_out": "timed out",
    "task.withheld": "withheld",
    "crawler.missed": "missed",
    "crawler.recovered": "recovered",
    "segment.damaged": "damaged",
    "backup.failed": "without a backup",
    "backup.created": "backed up",
    REJECTED: "with many rejected lines",
    SHRUNK: "with fewer documents",
}
#: Lines of a message; further news are only counted.
MOST_LINES = 10
#: Characters of a crawler's own message that a line quotes.
LONGEST_QUOTE = 300
#: Good runs that documents are compared with.
RUNS = 10
#: Seconds between attempts to send a message; there is one attempt more than pauses.
BACKOFF = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0)


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """When a run that ended well is news all the same; None disables a condition."""

    #: The share of rejected lines, 0 to 1, above which it is.
    max_rejected: float | None = None
    #: By which share, 0 to 1, its documents may be fewer than the median of the last good runs.
    max_shrink: float | None = None


@dataclass(frozen=True, kw_only=True)
class News:
    """Something to tell."""

    #: An event's type, or one of the kinds above.
    kind: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Group:
    """News that become one message."""

    counts: dict[str, int] = field(default_factory=dict[str, int])
    #: The first lines.
    lines: tuple[str, ...] = ()

    def plus(self, news: News) -> "Group":
        """Return the group with more news."""
        counts = {**self.counts, news.kind: self.counts.get(news.kind, 0) + 1}
        lines = self.lines if len(self.lines) >= MOST_LINES else (*self.lines, news.text)
        return replace(self, counts=counts, lines=lines)

    @property
    def total(self) -> int:
        """Number of news."""
        return sum(self.counts.values())

    @property
    def title(self) -> str:
        """The title of the message: ``Headwater: 3 failed, 1 missed``."""
        return "Headwater: " + ", ".join(f"{count:,} {WORDS.get(kind, kind)}" for kind, count in self.counts.items())

    @property
    def body(self) -> str:
        """The message itself: a line for each of the first news, and how many more there are."""
        more = self.total - len(self.lines)
        return "\n".join([*self.lines, *([f"… and {more:,} more"] if more else [])])


@dataclass(frozen=True, kw_only=True)
class Notification:
    """A rule: what is told to whom."""

    fid: str
    #: The Apprise URL, encrypted, and without its secrets.
    sealed_url: str
    shown_url: str
    #: Types of events that are told.
    events: tuple[str, ...] = EVENTS
    #: Only of these streams and crawlers; empty means all.
    streams: tuple[str, ...] = ()
    crawlers: tuple[str, ...] = ()
    conditions: Conditions = field(default_factory=Conditions)
    #: Seconds for which news are collected before they are sent.
    group_seconds: int = 60
    enabled: bool = True
    #: The last event that it has seen.
    place: int
    #: News that are being collected, and until when.
    grouped: Group | None = None
    group_due_at: datetime | None = None
    #: The message that is being sent; its next attempt, the attempts so far, and until when a process holds it.
    outgoing: Group | None = None
    outgoing_due_at: datetime | None = None
    outgoing_tries: int = 0
    leased_until: datetime | None = None
    last_sent_at: datetime | None = None
    #: Why the last attempt failed; None after a success.
    last_error: str | None = None
    created_at: datetime
    updated_at: datetime
    version: int
    meta: dict[str, Any]

    def is_about(self, event: Event) -> bool:
        """Return whether an event is of its streams and crawlers."""
        return (not self.streams or event.stream in self.streams) and (
            not self.crawlers or event.crawler in self.crawlers
        )


def news_of(event: Event, notification: Notification, *, crawler: str, link: str) -> list[News]:
    """Return what an event is to a notification, apart from its conditions; ``crawler`` is the crawler's name."""
    if event.type not in notification.events:
        return []
    is_repeated = event.type == "crawler.missed" and event.data.get("missed_since") != event.data.get("expected_at")
    if is_repeated:
        return []  # told with the first run that was missed
    if event.type == "backup.failed" and event.data.get("failed") != 1:
        return []  # likewise
    return [News(kind=event.type, text=f"{crawler}: {sentence(event)} {link}")]


def failed_conditions(
    event: Event, conditions: Conditions, *, before: Sequence[int], crawler: str, link: str
) -> list[News]:
    """Return the conditions that a run fails; ``before`` are the numbers of documents of the last good runs."""
    docs, rejected = int(event.data.get("docs") or 0), int(event.data.get("rejected") or 0)
    found: list[News] = []
    if conditions.max_rejected is not None and rejected and rejected / (docs + rejected) > conditions.max_rejected:
        share = rejected / (docs + rejected)
        text = f"{crawler}: {rejected:,} of {docs + rejected:,} lines were rejected ({share:.1%})"
        found.append(News(kind=REJECTED, text=f"{text} {link}"))
    usual = median(before) if before else 0
    if conditions.max_shrink is not None and usual and (usual - docs) / usual > conditions.max_shrink:
        text = f"{crawler}: {_counted(docs)}, {(usual - docs) / usual:.0%} fewer than usual ({usual:,.0f})"
        found.append(News(kind=SHRUNK, text=f"{text} {link}"))
    return found


def sentence(event: Event) -> str:
    """Return what happened, in plain words."""
    data = event.data
    match event.type:
        case "task.failed":
            text = f"a run failed with {data.get('code')}, after {_counted(data.get('docs'))}{_quoted(data)}"
        case "task.timed_out":
            text = f"a run timed out, after {_counted(data.get('docs'))}{_quoted(data)}"
        case "task.withheld":
            text = f"a run ended well and is not published{_quoted(data)}"
        case "task.done":
            text = f"a run ended well, with {_counted(data.get('docs'))}"
        case "crawler.missed":
            text = f"no run ended well that was expected at {_minute(data.get('expected_at'))}"
        case "crawler.recovered":
            text = f"a run ended well again; {_before_recovery(data)}"
        case "crawler.skipped":
            text = f"a run was due and not started{_quoted({'message': data.get('why')})}"
        case "stream.changed":
            text = f"version {data.get('stream_version')} of the stream: {data.get('change')}"
        case _:
            text = _of_server(event)
    return text


def _of_server(event: Event) -> str:
    """Return what happened to the server itself, or else the words of an event's type."""
    data = event.data
    match event.type:
        case "backup.created":
            again = f"; it had failed {_counted(data['failed'], 'time')} before" if data.get("failed") else ""
            return f"backup {data.get('backup')} was made, with {_counted(data.get('new_files'), 'new file')}{again}"
        case "segment.damaged":
            return f"stored documents are damaged, in {data.get('path')}"
        case "backup.failed":
            last = f"; the last one was made at {_minute(data['last_made_at'])}" if data.get("last_made_at") else ""
            return f"no backup could be made{_quoted(data)}{last}"
        case _:
            return event.type.replace(".", " ").replace("_", " ")


def _before_recovery(data: Mapping[str, Any]) -> str:
    failed = data.get("failed") or 0
    parts = [f"missed since {_minute(data['missed_since'])}"] if data.get("missed_since") else []
    if failed:
        runs = "1 run before it" if failed == 1 else f"{failed:,} runs before it"
        parts.append(f"{runs} did not, since {_minute(data.get('failed_since'))}")
    return ", and ".join(parts)


def pause_after(tries: int) -> timedelta | None:
    """Return the pause after so many failed attempts; None if there is no further one."""
    return timedelta(seconds=BACKOFF[tries - 1]) if tries <= len(BACKOFF) else None


def _counted(count: object, thing: str = "document") -> str:
    number = count if isinstance(count, int) else 0
    return f"1 {thing}" if number == 1 else f"{number:,} {thing}s"


def _quoted(data: Mapping[str, Any]) -> str:
    text = " ".join(str(data.get("message") or "").split())
    return f": {text[:LONGEST_QUOTE]}{'…' if len(text) > LONGEST_QUOTE else ''}" if text else ""


def _minute(moment: object) -> str:
    return f"{str(moment)[:16].replace('T', ' ')} UTC"
