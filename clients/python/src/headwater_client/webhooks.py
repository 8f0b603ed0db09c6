"""Webhooks: where events are posted to, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from headwater_client import parts
from headwater_client.answers import Delivery
from headwater_client.objects import MadeWebhook, Webhook
from headwater_client.questions import D, Pages, Part, Question, Ref, call, fid_of, given, reading, walk

#: Seconds that a receiver may take to answer a test, and some.
_TESTED_WITHIN = 60.0


class Webhooks(Part[D]):
    """``hw.webhooks``.

    A receiver verifies what it gets with a library of Standard Webhooks, and the secret that ``create`` gives.
    """

    @call
    def create(
        self,
        url: str,
        name: str | None = None,
        *,
        types: Sequence[str] | None = None,
        stream: Ref | None = None,
        crawler: Ref | None = None,
        enabled: bool | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Question[MadeWebhook]:
        """Have events posted to a URL from now on; the answer has the ``secret``, this once.

        Args:
            url: where to.
            name: what the webhook is called.
            types: of events, ``task.done``, or all of an object's, ``task.*``; absent, all.
            stream: only what is about this stream.
            crawler: only what is about this crawler.
            enabled: whether anything is sent; absent, it is.
            meta: ``description``, ``image``, and whatever else is kept with it.
        """
        body = {
            "url": url,
            **given(types=None if types is None else list(types), enabled=enabled, **_about(stream, crawler)),
            "meta": parts.meta_of(name, meta),
        }
        return Question("POST", "/webhooks", reading(MadeWebhook.made), json=body)

    @call
    def get(self, webhook: Ref) -> Question[Webhook]:
        """Read a webhook; its secret is not shown."""
        return parts.getting(Webhook, "webhooks", webhook)

    @walk
    def list(
        self,
        *,
        stream: Ref | None = None,
        crawler: Ref | None = None,
        enabled: bool | None = None,
        name: str | None = None,
    ) -> Pages[Webhook]:
        """Iterate over webhooks, newest first."""
        is_enabled = None if enabled is None else str(enabled).lower()
        return parts.listing(Webhook, "webhooks", given(enabled=is_enabled, name=name, **_about(stream, crawler)))

    @call
    def update(self, webhook: Ref, fields: Mapping[str, Any], *, if_version: int | None = None) -> Question[Webhook]:
        """Merge fields into a webhook (RFC 7396: null removes); ``{"enabled": True}`` lets it begin anew."""
        return parts.writing(Webhook, "PATCH", "webhooks", webhook, fields=fields, if_version=if_version)

    @call
    def replace(self, webhook: Ref, fields: Mapping[str, Any], *, if_version: int | None = None) -> Question[Webhook]:
        """Overwrite a webhook's fields; those that are not given go back to their defaults. Its secret stays."""
        return parts.writing(Webhook, "PUT", "webhooks", webhook, fields=fields, if_version=if_version)

    @call
    def delete(self, webhook: Ref) -> Question[None]:
        """Delete a webhook with its deliveries; what waits is not sent any more."""
        return parts.deleting("webhooks", webhook, cascade=False)

    @call
    def rotate_secret(self, webhook: Ref, *, if_version: int | None = None) -> Question[MadeWebhook]:
        """Give a webhook another ``secret``, shown this once; for a day the former one signs as well."""
        path = f"/actions/webhooks/{fid_of(webhook)}/secret"
        return Question("POST", path, reading(MadeWebhook.made), headers=parts.if_match(if_version))

    @call
    def test(self, webhook: Ref) -> Question[Delivery]:
        """Send a ``webhook.test`` now, and tell what came of it: ``state`` and ``attempts``."""
        path = f"/actions/webhooks/{fid_of(webhook)}/test"
        return Question("POST", path, reading(Delivery.read), patience=_TESTED_WITHIN)

    @walk
    def deliveries(self, webhook: Ref, *, state: str | None = None) -> Pages[Delivery]:
        """Iterate over what was or is to be sent to a webhook, newest first.

        Args:
            webhook: to which.
            state: only those that are ``pending``, ``delivered`` or ``failed``.
        """
        path = f"/webhooks/{fid_of(webhook)}/deliveries"
        return Pages(path, Delivery.read, {**given(state=state), "limit": parts.PAGE})

    @call
    def replay(self, delivery: Delivery | str) -> Question[Delivery]:
        """Send a delivery once more, under the same id."""
        delivery_id = delivery if isinstance(delivery, str) else delivery.id
        path = f"/actions/webhook-deliveries/{quote(delivery_id, safe='')}/replay"
        return Question("POST", path, reading(Delivery.read))


def _about(stream: Ref | None, crawler: Ref | None) -> dict[str, str]:
    return given(
        stream=None if stream is None else fid_of(stream),
        crawler=None if crawler is None else fid_of(crawler),
    )
