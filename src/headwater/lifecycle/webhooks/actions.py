"""Actions on webhooks (create, fan out, test, replay, disable); each is one transaction without network access."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from headwater.catalog import deliveries, event_order, events, objects, webhooks
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import CRAWLERS, STREAMS, WEBHOOKS, ObjectType
from headwater.catalog.vault import Vault
from headwater.domain.errors import Flaw, RequestInvalid, WebhookDisabled
from headwater.domain.event import Event
from headwater.domain.ids import new_fid
from headwater.domain.notification import sentence
from headwater.domain.schedule import Rng
from headwater.domain.webhook import (
    FAILING_FOR,
    TEST,
    BodyFormat,
    Delivery,
    DeliveryAttempt,
    DeliveryState,
    Webhook,
    body_of,
    lane_of,
    message,
    new_secret,
    pause_after,
    slack_body,
)

log = structlog.get_logger(__name__)

#: Random bytes per secret.
SECRET_BYTES = 32
#: How long a replaced secret still signs deliveries, beside the new one.
BOTH_VALID = timedelta(hours=24)
#: Events per fan-out transaction.
MANY = 500


@dataclass(frozen=True, kw_only=True)
class WebhookConfig:
    """The settings of a webhook that a caller chooses."""

    url: str
    types: tuple[str, ...]
    stream: str | None
    crawler: str | None
    enabled: bool
    format: BodyFormat = BodyFormat.STANDARD
    meta: dict[str, Any]


def create(tx: Transaction, fid: str, setting: WebhookConfig, *, vault: Vault, at: datetime) -> tuple[Webhook, str]:
    """Create a webhook for events from now on; return it with its secret, which is not shown again.

    Raises:
        RequestInvalid: there is no such stream or crawler.
    """
    _require_there(tx, setting, None)
    secret = new_secret(secrets.token_bytes(SECRET_BYTES))
    webhook = Webhook(
        fid=fid,
        url=setting.url,
        types=setting.types,
        stream=setting.stream,
        crawler=setting.crawler,
        enabled=setting.enabled,
        format=setting.format,
        **_disabled_fields(None if setting.enabled else "by hand", at=at),
        since=event_order.newest(tx),
        sealed_secret=vault.seal(secret),
        created_at=at,
        updated_at=at,
        version=1,
        meta=setting.meta,
    )
    return objects.add(tx, WEBHOOKS, webhook), secret


def change(tx: Transaction, old: Webhook, setting: WebhookConfig, *, at: datetime) -> Webhook:
    """Change a webhook; events that were missed while it was disabled are not sent when it is enabled again.

    Raises:
        RequestInvalid: there is no such stream or crawler.
        MovedMeanwhile: it was changed since ``old`` was read.
    """
    _require_there(tx, setting, old)
    new = replace(
        old,
        url=setting.url,
        types=setting.types,
        stream=setting.stream,
        crawler=setting.crawler,
        enabled=setting.enabled,
        format=setting.format,
        meta=setting.meta,
        **objects.edited(at, old.version),
    )
    if new.enabled and not old.enabled:
        new = replace(new, **_disabled_fields(None, at=at), failing_since=None, since=event_order.newest(tx))
        tx.publish(deliveries.WAITING)
    elif old.enabled and not new.enabled:
        new = replace(new, **_disabled_fields("by hand", at=at))
    return objects.save(tx, WEBHOOKS, old, new)


def rotate(tx: Transaction, old: Webhook, *, vault: Vault, at: datetime) -> tuple[Webhook, str]:
    """Give a webhook a new secret and return both; the former one stays valid for another day."""
    secret = new_secret(secrets.token_bytes(SECRET_BYTES))
    new = replace(
        old,
        sealed_secret=vault.seal(secret),
        sealed_former=old.sealed_secret,
        former_until=at + BOTH_VALID,
        **objects.edited(at, old.version),
    )
    return objects.save(tx, WEBHOOKS, old, new), secret


def secrets_of(webhook: Webhook, *, vault: Vault, at: datetime) -> list[str]:
    """Return the secrets that sign a delivery at this time, newest first."""
    valid = [webhook.sealed_secret]
    if webhook.sealed_former is not None and webhook.former_until is not None and at < webhook.former_until:
        valid.append(webhook.sealed_former)
    return [vault.unseal(sealed) for sealed in valid]


def fan_out(tx: Transaction, *, at: datetime, limit: int = MANY) -> int:
    """Create the deliveries of the next events, one per subscribed webhook; return the number of events."""
    place = webhooks.take_place(tx)
    if place is None:
        return 0  # another process is fanning out
    # Read before the webhooks: one that is created concurrently starts with later events.
    pending = webhooks.to_fan_out(tx, webhooks.enabled(tx), limit=limit)
    if not pending:
        return 0
    listening = webhooks.enabled(tx, lock=True)
    wanted = [(event, webhook) for event in pending for webhook in listening if webhook.wants(event)]
    # Their ids are a microsecond apart, which keeps their order.
    fids = (new_fid(at + timedelta(microseconds=number)) for number in range(len(wanted)))
    deliveries.add(tx, [_delivery(fid, *of, at=at) for fid, of in zip(fids, wanted, strict=True)])
    webhooks.move_place(tx, place, pending[-1].id)
    if len(pending) == limit:
        tx.publish(events.APPENDED)  # there may be more
    return len(pending)


def begin_test(tx: Transaction, fid: str, *, at: datetime, lease: timedelta) -> Delivery:
    """Create a test delivery of a webhook, claimed by the caller, who sends it.

    Raises:
        NotFound: there is no such webhook.
    """
    webhook = objects.get(tx, WEBHOOKS, fid)
    new = new_fid(at)
    test = Delivery(
        fid=new,
        webhook=webhook.fid,
        event=None,
        type=TEST,
        body=slack_body("this is a test; nothing has happened", TEST)
        if webhook.format is BodyFormat.SLACK
        else message(TEST, {"webhook": webhook.fid}, at=at),
        lane=new,
        state=DeliveryState.PENDING,
        due_at=at,
        created_at=at,
    )
    deliveries.add(tx, [replace(test, tries=1, leased_until=at + lease)])
    return test


def replay(tx: Transaction, fid: str, *, at: datetime) -> Delivery:
    """Send a delivery again, under the same id.

    Raises:
        NotFound: there is no such delivery.
        WebhookDisabled: its webhook is disabled.
    """
    delivery = deliveries.get(tx, fid, lock=True)
    webhook = objects.get(tx, WEBHOOKS, delivery.webhook)
    if not webhook.enabled:
        raise WebhookDisabled(
            f"webhook {webhook.fid} is disabled ({webhook.disabled_reason}), so that nothing is sent to it; "
            "enable it first, with PATCH and enabled: true"
        )
    deliveries.again(tx, delivery, at=at)
    return deliveries.get(tx, fid)


def settle(
    tx: Transaction,
    claimed: Delivery,
    attempt: DeliveryAttempt,
    *,
    asked: float,
    at: datetime,
    backoff: Sequence[float],
    rng: Rng,
) -> None:
    """Record an attempt, and decide what follows from it.

    Args:
        tx: the transaction.
        claimed: the delivery as it was claimed.
        attempt: its outcome.
        asked: seconds to wait, from the receiver's ``Retry-After``.
        at: now.
        backoff: seconds before each further try.
        rng: draws the jitter of the backoff.
    """
    webhook = objects.find(tx, WEBHOOKS, claimed.webhook, lock=True)
    if webhook is None:
        return  # deleted since, together with its deliveries
    deliveries.note(tx, attempt)
    if attempt.is_success:
        deliveries.succeed(tx, claimed, at=at)
        webhooks.thrives(tx, webhook)
        return
    is_test = claimed.type == TEST
    pause = pause_after(claimed.failures + 1, () if is_test else backoff, asked=asked, rng=rng)
    if pause is not None and not attempt.is_gone:
        deliveries.put_off(tx, claimed, until=at + pause)
    else:
        deliveries.fail(tx, claimed, at=at)
        log.warning("webhook.delivery_failed", webhook=webhook.fid, delivery=claimed.fid, why=attempt.error)
    if attempt.is_gone:
        _disable(tx, webhook, "its receiver answered 410 (Gone)", at=at)
    elif not is_test:
        webhooks.fails(tx, webhook, since=attempt.at)
        failing_since = webhook.failing_since or attempt.at
        if pause is None and at - failing_since >= FAILING_FOR:
            why = (
                f"nothing could be delivered since {failing_since:%Y-%m-%d %H:%M} UTC; the last error: {attempt.error}"
            )
            _disable(tx, webhook, why, at=at)


def _disable(tx: Transaction, webhook: Webhook, why: str, *, at: datetime) -> None:
    if webhook.enabled:
        disabled = replace(
            webhook, enabled=False, **_disabled_fields(why, at=at), **objects.edited(at, webhook.version)
        )
        objects.save(tx, WEBHOOKS, webhook, disabled)
        log.warning("webhook.disabled", webhook=webhook.fid, why=why)


def _disabled_fields(why_disabled: str | None, *, at: datetime) -> dict[str, Any]:
    return {"disabled_at": None if why_disabled is None else at, "disabled_reason": why_disabled}


def _delivery(fid: str, event: Event, webhook: Webhook, *, at: datetime) -> Delivery:
    return Delivery(
        fid=fid,
        webhook=webhook.fid,
        event=event.id,
        type=event.type,
        body=slack_body(sentence(event), event.type) if webhook.format is BodyFormat.SLACK else body_of(event),
        lane=lane_of(event),
        state=DeliveryState.PENDING,
        due_at=at,
        created_at=at,
    )


def _require_there(tx: Transaction, setting: WebhookConfig, old: Webhook | None) -> None:
    """Raise if a stream or crawler that a webhook newly refers to does not exist; a former one may be gone."""
    named: list[tuple[str, ObjectType[Any], str | None, str | None]] = [
        ("stream", STREAMS, setting.stream, None if old is None else old.stream),
        ("crawler", CRAWLERS, setting.crawler, None if old is None else old.crawler),
    ]
    flaws = [
        Flaw(pointer=f"/{field}", detail=f"there is no {field} {wanted!r}")
        for field, kind, wanted, before in named
        if wanted is not None and wanted != before and objects.find(tx, kind, wanted) is None
    ]
    if flaws:
        raise RequestInvalid(f"the webhook cannot be about what does not exist: {flaws[0].detail}", flaws=flaws)
