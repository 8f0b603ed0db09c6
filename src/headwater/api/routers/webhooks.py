"""Webhooks: create, list, read, change, delete, rotate the secret."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query, Request, Response, status
from pydantic import AfterValidator, Field, StrictBool

from headwater.api import routing
from headwater.api.auth import ADMINISTERS, READS
from headwater.api.dependencies import ServicesOf
from headwater.api.openapi import fails
from headwater.api.query_params import FidPrefix
from headwater.api.request_bodies import IfMatch, MergePatch, Meta, NewMeta, RequestBody, merge_patch, patched
from headwater.api.responses import Cursor, Envelope, Limit, Listing, ObjectOut, answer, common, listing, position_of
from headwater.catalog import links, objects
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import WEBHOOKS
from headwater.domain.ids import new_fid
from headwater.domain.webhook import BodyFormat, Webhook
from headwater.lifecycle.webhooks import actions as webhook_actions
from headwater.lifecycle.webhooks.actions import WebhookConfig
from headwater.lifecycle.webhooks.destination import KNOWN_TYPES, checked_type, checked_url, require_public

router = routing.router("webhooks")

#: Maximum number of event types.
MOST_TYPES = 100
_KNOWN: list[Any] = KNOWN_TYPES


class WebhookFields(RequestBody):
    """The settings of a webhook: URL and event types."""

    url: Annotated[str, AfterValidator(checked_url)] = Field(
        description="Where they are posted to; `https`, and no private address, unless a setting allows it.",
        examples=["https://example.org/hooks/headwater"],
    )
    types: list[Annotated[str, AfterValidator(checked_type), Field(json_schema_extra={"enum": _KNOWN})]] = Field(
        default_factory=list[str],
        max_length=MOST_TYPES,
        description="Types of events, or all of an object's, `task.*`; none: all there are.",
        examples=[["task.done", "task.failed", "stream.*"]],
    )
    stream: str | None = Field(default=None, description="Only events of this stream.")
    crawler: str | None = Field(default=None, description="Only events of this crawler.")
    format: BodyFormat = Field(
        default=BodyFormat.STANDARD,
        description="`standard`: events as JSON. `slack`: a text for people, for Slack's incoming webhooks.",
    )
    enabled: StrictBool = Field(
        default=True, description="Whether anything is sent. What happens while it is not is not sent later."
    )

    def setting(self, meta: dict[str, Any], *, is_private_allowed: bool, present: str | None = None) -> WebhookConfig:
        """Return the settings; ``present`` is the webhook's stored URL.

        Raises:
            RequestInvalid: the URL is not allowed.
        """
        if not is_private_allowed and self.url != present:
            require_public(self.url)
        return WebhookConfig(
            url=self.url,
            types=tuple(dict.fromkeys(self.types)),
            stream=self.stream,
            crawler=self.crawler,
            enabled=self.enabled,
            format=self.format,
            meta=meta,
        )


class NewWebhook(WebhookFields):
    """A webhook to create."""

    meta: NewMeta = Field(default_factory=NewMeta, examples=[{"name": "Chat"}])


class WebhookBody(WebhookFields):
    """The writable fields of a webhook."""

    meta: Meta = Field(default_factory=Meta)


class WebhookOut(ObjectOut):
    """A webhook; deliveries are signed as in Standard Webhooks 1.0."""

    url: str
    types: list[str]
    stream: str | None
    crawler: str | None
    format: BodyFormat
    enabled: bool
    disabled_at: datetime | None = Field(description="Since when nothing is sent; null while it is enabled.")
    disabled_reason: str | None = Field(
        description="Why: `by hand`, or what the receiver did.", examples=["its receiver answered 410 (Gone)"]
    )
    failing_since: datetime | None = Field(
        description="Since when nothing but failures came; null: what came last was a success, or nothing yet."
    )
    former_secret_until: datetime | None = Field(
        description="Until when the secret before the present one signs as well; null: there is none."
    )


class WebhookMadeOut(WebhookOut):
    """A webhook with its secret, which is shown only once."""

    secret: str = Field(description="For the receiver, to verify signatures with.", examples=["whsec_…"])


def _fields(webhook: Webhook) -> dict[str, Any]:
    return {
        **common(webhook, "webhooks"),
        "url": webhook.url,
        "types": list(webhook.types),
        "stream": webhook.stream,
        "crawler": webhook.crawler,
        "format": webhook.format,
        "enabled": webhook.enabled,
        "disabled_at": webhook.disabled_at,
        "disabled_reason": webhook.disabled_reason,
        "failing_since": webhook.failing_since,
        "former_secret_until": webhook.former_until,
    }


def _out(webhook: Webhook) -> WebhookOut:
    return WebhookOut(**_fields(webhook))


@router.post("/webhooks", status_code=status.HTTP_201_CREATED, dependencies=[ADMINISTERS], responses=fails(415))
async def create_webhook(body: NewWebhook, services: ServicesOf, response: Response) -> Envelope[WebhookMadeOut]:
    """Create a webhook: events from now on are posted to its URL. Its `secret` is shown only once."""
    setting = body.setting(body.meta.kept(), is_private_allowed=services.is_private_allowed)

    def create(tx: Transaction, at: datetime) -> WebhookMadeOut:
        fid = new_fid(at)
        links.add(tx, body.meta.links_of("webhooks", fid), known=fid)
        webhook, secret = webhook_actions.create(tx, fid, setting, vault=services.vault, at=at)
        return WebhookMadeOut(**_fields(webhook), secret=secret)

    made = await services.db.write(create, services.clock())
    response.headers["Location"] = f"/webhooks/{made.fid}"
    return answer(response, made)


@router.get("/webhooks", dependencies=[READS])
async def list_webhooks(
    services: ServicesOf,
    request: Request,
    response: Response,
    stream: str | None = None,
    crawler: str | None = None,
    enabled: Annotated[bool | None, Query(description="Only those that are, or are not.")] = None,
    name: Annotated[str | None, Query(description="Only those whose `meta.name` is this.")] = None,
    fid: FidPrefix = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[WebhookOut]:
    """List webhooks, newest first."""
    filters = {"stream": stream, "crawler": crawler, "enabled": enabled, "name": name, "fid": fid}
    where = {field: value for field, value in filters.items() if value is not None}
    after = position_of(cursor, str)
    found = await services.db.read(objects.page, WEBHOOKS, where=where, after=after, limit=limit)
    page = [_out(webhook) for webhook in found]
    return listing(request, response, page, limit=limit, last=page[-1].fid if page else None)


@router.get("/webhooks/{fid}", dependencies=[READS], responses=fails(404))
async def get_webhook(fid: str, services: ServicesOf, response: Response) -> Envelope[WebhookOut]:
    """Read a webhook; its secret is not returned."""
    return answer(response, _out(await services.db.read(objects.get, WEBHOOKS, fid)))


def _change(
    tx: Transaction,
    fid: str,
    expected: frozenset[int] | None,
    body: WebhookBody | dict[str, Any],
    *,
    is_private_allowed: bool,
    at: datetime,
) -> WebhookOut:
    old = objects.get(tx, WEBHOOKS, fid, lock=True)
    objects.require_version(old, expected)
    if isinstance(body, dict):
        body = patched(_body(old), body)
    setting = body.setting(body.meta.kept(), is_private_allowed=is_private_allowed, present=old.url)
    return _out(webhook_actions.change(tx, old, setting, at=at))


def _body(webhook: Webhook) -> WebhookBody:
    names = ("url", "types", "stream", "crawler", "format", "enabled", "meta")
    stored = {name: getattr(webhook, name) for name in names}
    return WebhookBody.model_validate(stored | {"types": list(webhook.types)})


@router.patch("/webhooks/{fid}", dependencies=[ADMINISTERS], responses=fails(404, 409, 412, 415))
async def patch_webhook(
    fid: str,
    patch: Annotated[MergePatch, merge_patch(WebhookBody)],
    expected: IfMatch,
    services: ServicesOf,
    response: Response,
) -> Envelope[WebhookOut]:
    """Change a webhook by a merge patch; `{"enabled": true}` resumes one that was disabled, with new events."""
    changed = await services.db.write(
        _change, fid, expected, patch, is_private_allowed=services.is_private_allowed, at=services.clock()
    )
    return answer(response, changed)


@router.put("/webhooks/{fid}", dependencies=[ADMINISTERS], responses=fails(404, 409, 412, 415))
async def put_webhook(
    fid: str, body: WebhookBody, expected: IfMatch, services: ServicesOf, response: Response
) -> Envelope[WebhookOut]:
    """Replace a webhook's settings; omitted ones are reset to their defaults. Its secret stays."""
    changed = await services.db.write(
        _change, fid, expected, body, is_private_allowed=services.is_private_allowed, at=services.clock()
    )
    return answer(response, changed)


@router.delete("/webhooks/{fid}", dependencies=[ADMINISTERS], responses=fails(404, 409, 412))
async def delete_webhook(fid: str, expected: IfMatch, services: ServicesOf) -> Envelope[None]:
    """Delete a webhook with its deliveries; pending ones are not sent any more."""

    def delete(tx: Transaction, at: datetime) -> None:
        webhook = objects.get(tx, WEBHOOKS, fid, lock=True)
        objects.require_version(webhook, expected)
        objects.remove(tx, WEBHOOKS, webhook, at=at)

    await services.db.write(delete, services.clock())
    return Envelope(payload=None)


@router.post("/actions/webhooks/{fid}/secret", dependencies=[ADMINISTERS], responses=fails(404, 409, 412))
async def rotate_webhook_secret(
    fid: str, expected: IfMatch, services: ServicesOf, response: Response
) -> Envelope[WebhookMadeOut]:
    """Give a webhook a new secret, shown only once. For 24 hours the former one signs as well."""

    def rotate(tx: Transaction, at: datetime) -> WebhookMadeOut:
        old = objects.get(tx, WEBHOOKS, fid, lock=True)
        objects.require_version(old, expected)
        webhook, secret = webhook_actions.rotate(tx, old, vault=services.vault, at=at)
        return WebhookMadeOut(**_fields(webhook), secret=secret)

    return answer(response, await services.db.write(rotate, services.clock()))
