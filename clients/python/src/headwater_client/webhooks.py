"""Calls for webhooks and their deliveries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headwater_client import resource
from headwater_client.models.objects import MadeWebhook, Webhook
from headwater_client.models.results import Delivery
from headwater_client.requests import Call, D, Pages, Ref, Resource, endpoint, fid_of, given, paginated, reading

#: Timeout in seconds of a test delivery: the receiver's, and a margin.
_TESTED_WITHIN = 60.0


class Webhooks(Resource[D]):
    """``hw.webhooks``.

    Receivers verify deliveries with a Standard Webhooks library and the secret that ``create`` returns.
    """

    @endpoint
    def create(
        self,
        url: str,
        name: str | None = None,
        *,
        types: Sequence[str] | None = None,
        stream: Ref | None = None,
        crawler: Ref | None = None,
        format: str | None = None,  # noqa: A002 - named so on the wire
        enabled: bool | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Call[MadeWebhook]:
        """Create a webhook that posts events to a URL; only this response contains the ``secret``.

        Args:
            url: the receiver's URL.
            name: the webhook's name.
            types: event types, such as ``task.done``, or ``task.*`` for all of an object type; absent, all.
            stream: only events about this stream.
            crawler: only events about this crawler.
            format: ``standard``, or ``slack``: a text for people, as Slack's incoming webhooks expect.
            enabled: whether deliveries are sent; true by default.
            meta: ``description``, ``image``, and any other metadata.
        """
        body = {
            "url": url,
            **given(
                types=None if types is None else list(types), format=format, enabled=enabled, **_about(stream, crawler)
            ),
            "meta": resource.meta_of(name, meta),
        }
        return Call("POST", "/webhooks", reading(MadeWebhook.made), json=body)

    @endpoint
    def get(self, webhook: Ref) -> Call[Webhook]:
        """Read a webhook; the response does not contain its secret."""
        return resource.getting(Webhook, "webhooks", webhook)

    @paginated
    def list(
        self,
        *,
        stream: Ref | None = None,
        crawler: Ref | None = None,
        enabled: bool | None = None,
        name: str | None = None,
        fid: str | None = None,
    ) -> Pages[Webhook]:
        """Iterate over webhooks, newest first; ``fid`` is the start of one."""
        is_enabled = None if enabled is None else str(enabled).lower()
        filters = given(enabled=is_enabled, name=name, fid=fid, **_about(stream, crawler))
        return resource.listing(Webhook, "webhooks", filters)

    @endpoint
    def update(self, webhook: Ref, fields: Mapping[str, Any], *, if_version: int | None = None) -> Call[Webhook]:
        """Merge fields into a webhook (RFC 7396: null removes); ``{"enabled": True}`` enables it again."""
        return resource.writing(Webhook, "PATCH", "webhooks", webhook, fields=fields, if_version=if_version)

    @endpoint
    def replace(self, webhook: Ref, fields: Mapping[str, Any], *, if_version: int | None = None) -> Call[Webhook]:
        """Overwrite a webhook's fields; omitted fields are reset to their defaults. Its secret is unchanged."""
        return resource.writing(Webhook, "PUT", "webhooks", webhook, fields=fields, if_version=if_version)

    @endpoint
    def delete(self, webhook: Ref) -> Call[None]:
        """Delete a webhook with its deliveries, including pending ones."""
        return resource.deleting("webhooks", webhook, cascade=False)

    @endpoint
    def rotate_secret(self, webhook: Ref, *, if_version: int | None = None) -> Call[MadeWebhook]:
        """Rotate a webhook's ``secret``, returned only once; the previous one also signs for 24 hours."""
        path = f"/actions/webhooks/{fid_of(webhook)}/secret"
        return Call("POST", path, reading(MadeWebhook.made), headers=resource.if_match(if_version))

    @endpoint
    def test(self, webhook: Ref) -> Call[Delivery]:
        """Send a ``webhook.test`` event now, and return its delivery: ``state`` and ``attempts``."""
        path = f"/actions/webhooks/{fid_of(webhook)}/test"
        return Call("POST", path, reading(Delivery.read), retry_for=_TESTED_WITHIN)

    @paginated
    def deliveries(self, webhook: Ref, *, state: str | None = None) -> Pages[Delivery]:
        """Iterate over a webhook's deliveries, newest first.

        Args:
            webhook: the webhook.
            state: only deliveries that are ``pending``, ``delivered`` or ``failed``.
        """
        path = f"/webhooks/{fid_of(webhook)}/deliveries"
        return Pages(path, Delivery.read, {**given(state=state), "limit": resource.PAGE})

    @endpoint
    def replay(self, delivery: Delivery | str) -> Call[Delivery]:
        """Send a delivery again, with the same id."""
        delivery_id = delivery if isinstance(delivery, str) else delivery.id
        path = f"/actions/webhook-deliveries/{fid_of(delivery_id)}/replay"
        return Call("POST", path, reading(Delivery.read))


def _about(stream: Ref | None, crawler: Ref | None) -> dict[str, str]:
    return given(
        stream=None if stream is None else fid_of(stream),
        crawler=None if crawler is None else fid_of(crawler),
    )
