"""Calls for notifications: rules by which people are told of runs that went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headwater_client import resource
from headwater_client.models.objects import Notification
from headwater_client.models.results import NotificationTest
from headwater_client.requests import Call, D, Pages, Ref, Resource, endpoint, fid_of, given, paginated, reading

#: Timeout in seconds of a test message: the server's, and a margin.
_TESTED_WITHIN = 90.0


class Notifications(Resource[D]):
    """``hw.notifications``."""

    @endpoint
    def create(
        self,
        url: str,
        name: str | None = None,
        *,
        events: Sequence[str] | None = None,
        streams: Sequence[Ref] | None = None,
        crawlers: Sequence[Ref] | None = None,
        conditions: Mapping[str, float | None] | None = None,
        group_seconds: int | None = None,
        enabled: bool | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Call[Notification]:
        """Create a notification through a service.

        Args:
            url: an Apprise URL: ``slack://…``, ``mailto://…`` and a hundred more; it is not returned with its secrets.
            name: the notification's name.
            events: types of events, such as ``task.failed``; by default failed, timed out, withheld, missed, recovered.
            streams: only events of these streams.
            crawlers: only events of these crawlers.
            conditions: ``max_rejected``, ``max_shrink``: shares above which a run that ended well is told as well.
            group_seconds: seconds for which news are collected, to be sent as one message.
            enabled: whether messages are sent; true by default.
            meta: ``description``, ``image``, and any other metadata.
        """
        body = {
            "url": url,
            **given(
                events=None if events is None else list(events),
                streams=None if streams is None else [fid_of(each) for each in streams],
                crawlers=None if crawlers is None else [fid_of(each) for each in crawlers],
                conditions=conditions,
                group_seconds=group_seconds,
                enabled=enabled,
            ),
            "meta": resource.meta_of(name, meta),
        }
        return Call("POST", "/notifications", reading(Notification.read), json=body)

    @endpoint
    def get(self, notification: Ref) -> Call[Notification]:
        """Read a notification."""
        return resource.getting(Notification, "notifications", notification)

    @paginated
    def list(self, *, enabled: bool | None = None, name: str | None = None) -> Pages[Notification]:
        """Iterate over notifications, newest first."""
        is_enabled = None if enabled is None else str(enabled).lower()
        return resource.listing(Notification, "notifications", given(enabled=is_enabled, name=name))

    @endpoint
    def update(
        self, notification: Ref, fields: Mapping[str, Any], *, if_version: int | None = None
    ) -> Call[Notification]:
        """Merge fields into a notification (RFC 7396: null removes)."""
        return resource.writing(
            Notification, "PATCH", "notifications", notification, fields=fields, if_version=if_version
        )

    @endpoint
    def replace(
        self, notification: Ref, fields: Mapping[str, Any], *, if_version: int | None = None
    ) -> Call[Notification]:
        """Overwrite a notification's fields; omitted fields are reset to their defaults."""
        return resource.writing(
            Notification, "PUT", "notifications", notification, fields=fields, if_version=if_version
        )

    @endpoint
    def delete(self, notification: Ref) -> Call[None]:
        """Delete a notification."""
        return resource.deleting("notifications", notification, cascade=False)

    @endpoint
    def test(self, notification: Ref) -> Call[NotificationTest]:
        """Send a test message now, and return whether the service took it."""
        path = f"/actions/notifications/{fid_of(notification)}/test"
        return Call("POST", path, reading(NotificationTest.read), retry_for=_TESTED_WITHIN)
