"""Notifications: create, list, read, change, delete, test."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query, Request, Response, status
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from headwater.api import routing
from headwater.api.auth import ADMINISTERS, READS
from headwater.api.dependencies import Services, ServicesOf
from headwater.api.openapi import fails
from headwater.api.request_bodies import WHOLE, IfMatch, MergePatch, Meta, NewMeta, RequestBody, merge_patch, patched
from headwater.api.responses import Cursor, Envelope, Limit, Listing, ObjectOut, answer, common, listing, position_of
from headwater.catalog import links, objects
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import NOTIFICATIONS
from headwater.domain.errors import MovedMeanwhile
from headwater.domain.event import TYPES
from headwater.domain.ids import new_fid
from headwater.domain.notification import EVENTS, Conditions, Notification
from headwater.lifecycle.notifications import actions
from headwater.lifecycle.notifications.actions import NotificationConfig

router = routing.router("notifications")

#: Maximum number of streams or crawlers, characters of a URL, and seconds of a group.
MOST_OBJECTS = 1000
LONGEST_URL = 4096
LONGEST_GROUP = 86_400

_Type = Annotated[str, Field(pattern=f"^({'|'.join(sorted(TYPES)).replace('.', '[.]')})$")]


class ConditionsBody(RequestBody):
    """When a run that ended well is told of all the same; null disables a condition."""

    model_config = ConfigDict(from_attributes=True)

    max_rejected: Annotated[float, Field(ge=0, le=1, strict=True)] | None = Field(
        default=None, description="The share of rejected lines above which it is.", examples=[0.05]
    )
    max_shrink: Annotated[float, Field(ge=0, le=1, strict=True)] | None = Field(
        default=None,
        description="By which share it may bring fewer documents than the median of the last 10 good runs.",
        examples=[0.3],
    )


class NotificationFields(RequestBody):
    """The settings of a notification."""

    events: list[_Type] = Field(
        default_factory=lambda: list(EVENTS), max_length=100, description="Types of events that are told."
    )
    streams: list[str] = Field(
        default_factory=list[str], max_length=MOST_OBJECTS, description="Only of these streams; none: of all."
    )
    crawlers: list[str] = Field(
        default_factory=list[str], max_length=MOST_OBJECTS, description="Only of these crawlers; none: of all."
    )
    conditions: ConditionsBody = Field(default_factory=ConditionsBody)
    group_seconds: Annotated[int, Field(ge=0, le=LONGEST_GROUP), WHOLE] = Field(
        default=60, description="Seconds for which news are collected, to be sent as one message."
    )
    enabled: StrictBool = Field(
        default=True, description="Whether anything is sent. What happens while it is not is not sent later."
    )

    def config(self, meta: dict[str, Any], *, url: str | None, shown_url: str) -> NotificationConfig:
        """Return the settings."""
        return NotificationConfig(
            url=url,
            shown_url=shown_url,
            events=tuple(dict.fromkeys(self.events)),
            streams=tuple(dict.fromkeys(self.streams)),
            crawlers=tuple(dict.fromkeys(self.crawlers)),
            conditions=Conditions(**self.conditions.model_dump()),
            group_seconds=self.group_seconds,
            enabled=self.enabled,
            meta=meta,
        )


_URL = Field(
    max_length=LONGEST_URL,
    description="An Apprise URL; stored encrypted, returned without its secrets.",
    examples=["slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#crawls"],
)


class NewNotification(NotificationFields):
    """A notification to create."""

    url: str = _URL
    meta: NewMeta = Field(default_factory=NewMeta, examples=[{"name": "Night shift"}])


class NotificationBody(NotificationFields):
    """The writable fields of a notification; the URL as it is returned keeps the stored one."""

    url: str = _URL
    meta: Meta = Field(default_factory=Meta)


class NotificationOut(ObjectOut):
    """A rule by which people are notified."""

    url: str = Field(description="Without its secrets.", examples=["slack://T...2/A...D/T...Q//%23crawls/"])
    events: list[str]
    streams: list[str]
    crawlers: list[str]
    conditions: ConditionsBody
    group_seconds: int
    enabled: bool
    last_sent_at: datetime | None = Field(description="When a message was last sent.")
    last_error: str | None = Field(description="Why the last attempt failed; null after a success.")


class NotificationTestOut(BaseModel):
    """The result of a test."""

    sent: bool
    error: str | None = Field(description="Why it was not sent.")


def _out(notification: Notification) -> NotificationOut:
    names = ("events", "streams", "crawlers", "group_seconds", "enabled", "last_sent_at", "last_error")
    return NotificationOut(
        **common(notification, "notifications"),
        url=notification.shown_url,
        conditions=ConditionsBody.model_validate(notification.conditions),
        **{name: getattr(notification, name) for name in names},
    )


@router.post("/notifications", status_code=status.HTTP_201_CREATED, dependencies=[ADMINISTERS], responses=fails(415))
async def create_notification(
    body: NewNotification, services: ServicesOf, response: Response
) -> Envelope[NotificationOut]:
    """Notify people by a service that an Apprise URL names: Slack, Teams, e-mail, Telegram and a hundred more."""
    shown = await services.notification_client.shown(body.url)
    setting = body.config(body.meta.kept(), url=body.url, shown_url=shown)

    def create(tx: Transaction, at: datetime) -> NotificationOut:
        fid = new_fid(at)
        links.add(tx, body.meta.links_of("notifications", fid), known=fid)
        return _out(actions.create(tx, fid, setting, vault=services.vault, at=at))

    made = await services.db.write(create, services.clock())
    response.headers["Location"] = f"/notifications/{made.fid}"
    return answer(response, made)


@router.get("/notifications", dependencies=[READS])
async def list_notifications(
    services: ServicesOf,
    request: Request,
    response: Response,
    enabled: Annotated[bool | None, Query(description="Only those that are, or are not.")] = None,
    name: Annotated[str | None, Query(description="Only those whose `meta.name` is this.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[NotificationOut]:
    """List notifications, newest first."""
    where = {field: value for field, value in {"enabled": enabled, "name": name}.items() if value is not None}
    after = position_of(cursor, str)
    found = await services.db.read(objects.page, NOTIFICATIONS, where=where, after=after, limit=limit)
    page = [_out(notification) for notification in found]
    return listing(request, response, page, limit=limit, last=page[-1].fid if page else None)


@router.get("/notifications/{fid}", dependencies=[READS], responses=fails(404))
async def get_notification(fid: str, services: ServicesOf, response: Response) -> Envelope[NotificationOut]:
    """Read a notification; its URL is returned without its secrets."""
    return answer(response, _out(await services.db.read(objects.get, NOTIFICATIONS, fid)))


async def _changed(
    services: Services, fid: str, expected: frozenset[int] | None, body: NotificationBody | dict[str, Any]
) -> NotificationOut:
    old: Notification = await services.db.read(objects.get, NOTIFICATIONS, fid)
    objects.require_version(old, expected)
    if isinstance(body, dict):
        body = patched(_body(old), body)
    is_kept = body.url == old.shown_url
    shown = old.shown_url if is_kept else await services.notification_client.shown(body.url)
    setting = body.config(body.meta.kept(), url=None if is_kept else body.url, shown_url=shown)

    def change(tx: Transaction, at: datetime) -> NotificationOut:
        present = objects.get(tx, NOTIFICATIONS, fid, lock=True)
        if present.version != old.version:
            raise MovedMeanwhile(f"notification {fid} was changed by somebody else meanwhile; read it and try again")
        return _out(actions.change(tx, present, setting, vault=services.vault, at=at))

    return await services.db.write(change, services.clock())


def _body(notification: Notification) -> NotificationBody:
    names = ("streams", "crawlers", "events", "group_seconds", "enabled", "meta")
    stored: dict[str, Any] = {name: getattr(notification, name) for name in names}
    lists = {name: list(stored[name]) for name in ("streams", "crawlers", "events")}
    conditions = ConditionsBody.model_validate(notification.conditions).model_dump()
    return NotificationBody.model_validate({**stored, **lists, "conditions": conditions, "url": notification.shown_url})


@router.patch("/notifications/{fid}", dependencies=[ADMINISTERS], responses=fails(404, 409, 412, 415))
async def patch_notification(
    fid: str,
    patch: Annotated[MergePatch, merge_patch(NotificationBody)],
    expected: IfMatch,
    services: ServicesOf,
    response: Response,
) -> Envelope[NotificationOut]:
    """Change a notification by a merge patch."""
    return answer(response, await _changed(services, fid, expected, patch))


@router.put("/notifications/{fid}", dependencies=[ADMINISTERS], responses=fails(404, 409, 412, 415))
async def put_notification(
    fid: str, body: NotificationBody, expected: IfMatch, services: ServicesOf, response: Response
) -> Envelope[NotificationOut]:
    """Replace a notification's settings; omitted ones are reset to their defaults."""
    return answer(response, await _changed(services, fid, expected, body))


@router.delete("/notifications/{fid}", dependencies=[ADMINISTERS], responses=fails(404, 409, 412))
async def delete_notification(fid: str, expected: IfMatch, services: ServicesOf) -> Envelope[None]:
    """Delete a notification; what it has collected is not sent any more."""

    def delete(tx: Transaction, at: datetime) -> None:
        notification = objects.get(tx, NOTIFICATIONS, fid, lock=True)
        objects.require_version(notification, expected)
        objects.remove(tx, NOTIFICATIONS, notification, at=at)

    await services.db.write(delete, services.clock())
    return Envelope(payload=None)


@router.post("/actions/notifications/{fid}/test", dependencies=[ADMINISTERS], responses=fails(404))
async def test_notification(fid: str, services: ServicesOf) -> Envelope[NotificationTestOut]:
    """Send a test message at once, and say whether the service took it."""
    error = await services.notification_dispatcher.test(fid)
    return Envelope(payload=NotificationTestOut(sent=error is None, error=error))
