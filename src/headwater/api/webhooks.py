"""Webhooks: where events are sent to, as they happen."""

import ipaddress
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request, Response, status
from pydantic import AfterValidator, Field, StrictBool

from headwater.api.auth import ADMINISTERS, READS
from headwater.api.bodies import IfMatch, MergePatch, Meta, NewMeta, RequestBody, merge_patch, patched
from headwater.api.envelope import Cursor, Envelope, Limit, Listing, ObjectOut, answer, common, listing, position_of
from headwater.api.openapi import fails
from headwater.api.parts import Backend
from headwater.catalog import links, objects
from headwater.catalog.objects import WEBHOOKS
from headwater.catalog.transaction import Transaction
from headwater.domain.errors import Flaw, RequestInvalid
from headwater.domain.event import TYPES, WORDS
from headwater.domain.fid import new_fid
from headwater.domain.webhook import Webhook
from headwater.lifecycle import webhooks
from headwater.lifecycle.addresses import not_public
from headwater.lifecycle.webhooks import Setting

router = APIRouter(tags=["webhooks"])

#: Types that a webhook names, and characters of a URL, at most.
MOST_TYPES = 100
LONGEST_URL = 2048
#: What it can name: types, and all of an object's.
_KNOWN: list[Any] = [*sorted(TYPES), *(f"{kind}.*" for kind in WORDS)]


def _a_type(text: str) -> str:
    if text not in _KNOWN:
        raise ValueError(f"there is no such event; there are {', '.join(_KNOWN)}")
    return text


def _a_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ValueError("it is no URL") from None
    if parts.scheme not in {"http", "https"} or not is_whole:
        raise ValueError("a whole URL is expected, https://example.org/hook")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("a URL without user, password and fragment is expected; the signature says who sends")
    if len(text) > LONGEST_URL or not text.isprintable() or " " in text:
        raise ValueError(f"a URL of {LONGEST_URL} printable characters at most is expected")
    return text


class WebhookFields(RequestBody):
    """Where events are sent to, and which."""

    url: Annotated[str, AfterValidator(_a_url)] = Field(
        description="Where they are posted to; `https`, and no private address, unless a setting allows it.",
        examples=["https://example.org/hooks/headwater"],
    )
    types: list[Annotated[str, AfterValidator(_a_type), Field(json_schema_extra={"enum": _KNOWN})]] = Field(
        default_factory=list[str],
        max_length=MOST_TYPES,
        description="Types of events, or all of an object's, `task.*`; none: all there are.",
        examples=[["task.done", "task.failed", "stream.*"]],
    )
    stream: str | None = Field(default=None, description="Only events of this stream.")
    crawler: str | None = Field(default=None, description="Only events of this crawler.")
    enabled: StrictBool = Field(
        default=True, description="Whether anything is sent. What happens while it is not is not sent later."
    )

    def setting(self, meta: dict[str, Any], *, is_private_allowed: bool, present: str | None = None) -> Setting:
        """Return what the caller decides; ``present`` is the URL that it has already.

        Raises:
            RequestInvalid: the URL leads where nothing is sent.
        """
        if not is_private_allowed and self.url != present:
            _require_public(self.url)
        return Setting(
            url=self.url,
            types=tuple(dict.fromkeys(self.types)),
            stream=self.stream,
            crawler=self.crawler,
            enabled=self.enabled,
            meta=meta,
        )


def _require_public(url: str) -> None:
    """Raise unless something could be sent to a URL; where its name leads is looked at when it is."""
    parts = urlsplit(url)
    detail = None if parts.scheme == "https" else "only https is sent to"
    try:
        objection = not_public(ipaddress.ip_address(parts.hostname or ""))
    except ValueError:
        objection = None  # a name
    if objection is not None:
        detail = f"{parts.hostname} is {objection}, which is not called"
    if detail is not None:
        detail += "; the setting webhook_private_addresses allows it"
        raise RequestInvalid(detail, flaws=[Flaw(pointer="/url", detail=detail)])


class NewWebhook(WebhookFields):
    """A webhook to set up."""

    meta: NewMeta = Field(default_factory=NewMeta, examples=[{"name": "Chat"}])


class WebhookBody(WebhookFields):
    """What of a webhook can be written."""

    meta: Meta = Field(default_factory=Meta)


class WebhookOut(ObjectOut):
    """Where events are sent to, signed as Standard Webhooks 1.0 says."""

    url: str
    types: list[str]
    stream: str | None
    crawler: str | None
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
    """A webhook with its secret, which is shown this once."""

    secret: str = Field(description="For the receiver, to verify signatures with.", examples=["whsec_…"])


def _fields(webhook: Webhook) -> dict[str, Any]:
    return {
        **common(webhook, "webhooks"),
        "url": webhook.url,
        "types": list(webhook.types),
        "stream": webhook.stream,
        "crawler": webhook.crawler,
        "enabled": webhook.enabled,
        "disabled_at": webhook.disabled_at,
        "disabled_reason": webhook.disabled_reason,
        "failing_since": webhook.failing_since,
        "former_secret_until": webhook.former_until,
    }


def _out(webhook: Webhook) -> WebhookOut:
    return WebhookOut(**_fields(webhook))


@router.post("/webhooks", status_code=status.HTTP_201_CREATED, dependencies=[ADMINISTERS], responses=fails(415))
async def create_webhook(body: NewWebhook, backend: Backend, response: Response) -> Envelope[WebhookMadeOut]:
    """Set up a webhook: what happens from now on is posted to its URL. Its `secret` is shown this once."""
    setting = body.setting(body.meta.kept(), is_private_allowed=backend.is_private_allowed)

    def create(tx: Transaction, at: datetime) -> WebhookMadeOut:
        fid = new_fid(at)
        links.add(tx, body.meta.links_of("webhooks", fid), known=fid)
        webhook, secret = webhooks.create(tx, fid, setting, vault=backend.vault, at=at)
        return WebhookMadeOut(**_fields(webhook), secret=secret)

    made = await backend.db.write(create, backend.clock())
    response.headers["Location"] = f"/webhooks/{made.fid}"
    return answer(response, made)


@router.get("/webhooks", dependencies=[READS])
async def list_webhooks(
    backend: Backend,
    request: Request,
    response: Response,
    stream: str | None = None,
    crawler: str | None = None,
    enabled: Annotated[bool | None, Query(description="Only those that are, or are not.")] = None,
    name: Annotated[str | None, Query(description="Only those whose `meta.name` is this.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[WebhookOut]:
    """List webhooks, newest first."""
    filters = {"stream": stream, "crawler": crawler, "enabled": enabled, "name": name}
    where = {field: value for field, value in filters.items() if value is not None}
    after = position_of(cursor, str)
    found = await backend.db.read(objects.page, WEBHOOKS, where=where, after=after, limit=limit)
    page = [_out(webhook) for webhook in found]
    return listing(request, response, page, limit=limit, last=page[-1].fid if page else None)


@router.get("/webhooks/{fid}", dependencies=[READS], responses=fails(404))
async def get_webhook(fid: str, backend: Backend, response: Response) -> Envelope[WebhookOut]:
    """Read a webhook; its secret is not shown."""
    return answer(response, _out(await backend.db.read(objects.get, WEBHOOKS, fid)))


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
    return _out(webhooks.change(tx, old, setting, at=at))


def _body(webhook: Webhook) -> WebhookBody:
    names = ("url", "types", "stream", "crawler", "enabled", "meta")
    stored = {name: getattr(webhook, name) for name in names}
    return WebhookBody.model_validate(stored | {"types": list(webhook.types)})


@router.patch("/webhooks/{fid}", dependencies=[ADMINISTERS], responses=fails(404, 409, 412, 415))
async def patch_webhook(
    fid: str,
    patch: Annotated[MergePatch, merge_patch(WebhookBody)],
    expected: IfMatch,
    backend: Backend,
    response: Response,
) -> Envelope[WebhookOut]:
    """Change a webhook by a merge patch; `{"enabled": true}` lets one that was disabled begin anew."""
    changed = await backend.db.write(
        _change, fid, expected, patch, is_private_allowed=backend.is_private_allowed, at=backend.clock()
    )
    return answer(response, changed)


@router.put("/webhooks/{fid}", dependencies=[ADMINISTERS], responses=fails(404, 409, 412, 415))
async def put_webhook(
    fid: str, body: WebhookBody, expected: IfMatch, backend: Backend, response: Response
) -> Envelope[WebhookOut]:
    """Set a webhook up anew; what is not sent goes back to its default. Its secret stays."""
    changed = await backend.db.write(
        _change, fid, expected, body, is_private_allowed=backend.is_private_allowed, at=backend.clock()
    )
    return answer(response, changed)


@router.delete("/webhooks/{fid}", dependencies=[ADMINISTERS], responses=fails(404, 409, 412))
async def delete_webhook(fid: str, expected: IfMatch, backend: Backend) -> Envelope[None]:
    """Delete a webhook with its deliveries; what waits is not sent any more."""

    def delete(tx: Transaction, at: datetime) -> None:
        webhook = objects.get(tx, WEBHOOKS, fid, lock=True)
        objects.require_version(webhook, expected)
        objects.remove(tx, WEBHOOKS, webhook, at=at)

    await backend.db.write(delete, backend.clock())
    return Envelope(payload=None)


@router.post("/actions/webhooks/{fid}/secret", dependencies=[ADMINISTERS], responses=fails(404, 409, 412))
async def rotate_webhook_secret(
    fid: str, expected: IfMatch, backend: Backend, response: Response
) -> Envelope[WebhookMadeOut]:
    """Give a webhook another secret, shown this once. For 24 hours the former one signs as well."""

    def rotate(tx: Transaction, at: datetime) -> WebhookMadeOut:
        old = objects.get(tx, WEBHOOKS, fid, lock=True)
        objects.require_version(old, expected)
        webhook, secret = webhooks.rotate(tx, old, vault=backend.vault, at=at)
        return WebhookMadeOut(**_fields(webhook), secret=secret)

    return answer(response, await backend.db.write(rotate, backend.clock()))
