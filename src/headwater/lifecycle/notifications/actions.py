"""Actions on notifications: create, change, collect news; each is one transaction without network access."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from headwater.catalog import event_order, events, notifications, objects
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import CRAWLERS, NOTIFICATIONS, STREAMS, ObjectType
from headwater.catalog.vault import Vault
from headwater.domain.errors import Flaw, RequestInvalid
from headwater.domain.event import Event
from headwater.domain.notification import (
    RUNS,
    Conditions,
    Group,
    News,
    Notification,
    failed_conditions,
    news_of,
)

#: Events that are looked at in one transaction.
MANY = 1000


@dataclass(frozen=True, kw_only=True)
class NotificationConfig:
    """The settings of a notification that a caller chooses."""

    #: The Apprise URL, and without its secrets; None keeps the stored ones.
    url: str | None
    shown_url: str
    events: tuple[str, ...]
    streams: tuple[str, ...]
    crawlers: tuple[str, ...]
    conditions: Conditions
    group_seconds: int
    enabled: bool
    meta: dict[str, Any]


def create(tx: Transaction, fid: str, setting: NotificationConfig, *, vault: Vault, at: datetime) -> Notification:
    """Create a notification of what happens from now on.

    Raises:
        RequestInvalid: there is no such stream or crawler.
    """
    _require_there(tx, setting)
    notification = Notification(
        fid=fid,
        sealed_url=vault.seal(setting.url),
        place=event_order.newest(tx),
        created_at=at,
        updated_at=at,
        version=1,
        **_fields(setting),
    )
    return objects.add(tx, NOTIFICATIONS, notification)


def change(
    tx: Transaction, old: Notification, setting: NotificationConfig, *, vault: Vault, at: datetime
) -> Notification:
    """Change a notification; what happened while it was disabled is not told later.

    Raises:
        RequestInvalid: there is no such stream or crawler.
        MovedMeanwhile: it was changed since ``old`` was read.
    """
    _require_there(tx, setting)
    new = replace(old, **_fields(setting), **objects.edited(at, old.version))
    if setting.url is not None:
        new = replace(new, sealed_url=vault.seal(setting.url))
    if new.enabled and not old.enabled:
        new = replace(new, place=event_order.newest(tx))
    return objects.save(tx, NOTIFICATIONS, old, new)


def collect(tx: Transaction, fid: str, *, public_url: str, at: datetime) -> int:
    """Add the next events to what a notification has collected; return how many events were looked at."""
    notification = notifications.lock(tx, fid)
    if notification is None:
        return 0
    following = events.after(tx, notification.place, limit=MANY)
    if not following:
        return 0
    group = notification.grouped
    names: dict[str, str] = {}
    for event in following:
        for news in _news(tx, event, notification, names, public_url=public_url):
            group = (group or Group()).plus(news)
    until = at + timedelta(seconds=notification.group_seconds)
    notifications.collect(tx, notification, group, place=following[-1].id, until=until)
    return len(following)


def _news(
    tx: Transaction, event: Event, notification: Notification, names: dict[str, str], *, public_url: str
) -> list[News]:
    if event.type not in {*notification.events, "task.done"} or not notification.is_about(event):
        return []
    crawler = _name(tx, event.crawler, names)
    link = f"{public_url.rstrip('/')}/console/{_page(event)}"
    found = news_of(event, notification, crawler=crawler, link=link)
    if event.type in {"task.done", "task.withheld"} and notification.conditions != Conditions():
        before = (
            notifications.docs_of_good_runs(tx, event.crawler or "", but=event.task or "", limit=RUNS)
            if notification.conditions.max_shrink is not None
            else []
        )
        found += failed_conditions(event, notification.conditions, before=before, crawler=crawler, link=link)
    return found


def _page(event: Event) -> str:
    """Return the page of the console that shows more about an event."""
    if event.task is not None:
        return f"runs/{event.task}"
    return "system" if event.crawler is None else f"crawlers/{event.crawler}"


def _name(tx: Transaction, fid: str | None, names: dict[str, str]) -> str:
    if fid is None:
        return "Headwater"
    if fid not in names:
        crawler = objects.find(tx, CRAWLERS, fid)
        names[fid] = str((crawler and crawler.meta.get("name")) or f"crawler {fid}")
    return names[fid]


def test_group(public_url: str) -> Group:
    """Return the news of a test."""
    text = f"This is a test of a notification from {public_url}. Nothing has happened."
    return Group(lines=(text,), counts={"test": 1})


def _fields(setting: NotificationConfig) -> dict[str, Any]:
    names = ("shown_url", "events", "streams", "crawlers", "conditions", "group_seconds", "enabled", "meta")
    return {name: getattr(setting, name) for name in names}


def _require_there(tx: Transaction, setting: NotificationConfig) -> None:
    named: list[tuple[str, ObjectType[Any], tuple[str, ...]]] = [
        ("streams", STREAMS, setting.streams),
        ("crawlers", CRAWLERS, setting.crawlers),
    ]
    flaws = [
        Flaw(pointer=f"/{field}/{place}", detail=f"there is no {kind.singular} {fid!r}")
        for field, kind, fids in named
        for place, fid in enumerate(fids)
        if objects.find(tx, kind, fid) is None
    ]
    if flaws:
        raise RequestInvalid(f"the notification cannot be about what does not exist: {flaws[0].detail}", flaws=flaws)
