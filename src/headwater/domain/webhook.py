"""Webhooks: subscriptions, signatures by Standard Webhooks 1.0, and the schedule of attempts."""

import base64
import hmac
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from headwater.domain.event import Event
from headwater.domain.schedule import Rng

#: Prefix of a secret.
SECRET_PREFIX = "whsec_"  # noqa: S105 - no secret, but the prefix of one
#: The type of test deliveries; no event has it.
TEST = "webhook.test"
#: Seconds between the attempts of a delivery, as in Standard Webhooks: 10 attempts over about three days.
PAUSES = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
#: A delay is extended by a random share up to this, so that deliveries that failed together spread out.
JITTER = 0.1
#: Maximum seconds that a receiver's Retry-After may ask for: the rest of the lane waits, too.
MOST_PATIENCE = 3600.0
#: A webhook that has only failed for this long is disabled when a delivery fails for good.
FAILING_FOR = timedelta(days=5)


class BodyFormat(StrEnum):
    """What a webhook's receiver understands; these words are public."""

    STANDARD = "standard"
    #: Slack's incoming webhooks, and those that understand the same.
    SLACK = "slack"


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """A subscription: which events are sent, and to which URL."""

    fid: str
    url: str
    #: Types of events, ``task.done``, or all of an object's, ``task.*``; empty means all.
    types: tuple[str, ...] = ()
    #: Only events of this stream; None: of all streams. Likewise the crawler.
    stream: str | None = None
    crawler: str | None = None
    enabled: bool = True
    #: When and why it was disabled.
    disabled_at: datetime | None = None
    disabled_reason: str | None = None
    #: Since when all deliveries have failed; None if the last one succeeded, or there were none.
    failing_since: datetime | None = None
    #: The last event before it was enabled: later ones are sent.
    since: int
    #: The secret that signs deliveries, encrypted.
    sealed_secret: str
    #: The previous secret, which is valid until ``former_until``.
    sealed_former: str | None = None
    former_until: datetime | None = None
    format: BodyFormat = BodyFormat.STANDARD
    created_at: datetime
    updated_at: datetime
    version: int
    meta: dict[str, Any]

    def wants(self, event: Event) -> bool:
        """Whether an event is to be sent; events about the webhook itself are not."""
        return (
            event.id > self.since
            and event.data.get("webhook") != self.fid
            and self.stream in {None, event.stream}
            and self.crawler in {None, event.crawler}
            and (not self.types or any(_fits(event.type, pattern) for pattern in self.types))
        )


def _fits(kind: str, pattern: str) -> bool:
    return kind.startswith(pattern[:-1]) if pattern.endswith(".*") else kind == pattern


class DeliveryState(StrEnum):
    """The state of a delivery."""

    #: It is being sent, or waits for its next attempt.
    PENDING = "pending"
    #: It was answered with 2xx.
    DELIVERED = "delivered"
    #: It failed for good.
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """An event to be sent to a webhook."""

    #: Its id for receivers, too, ``webhook-id``: the same in each attempt.
    fid: str
    webhook: str
    #: The event; None for a test.
    event: int | None
    type: str
    #: The exact body.
    body: str
    #: Within a lane, an earlier delivery is settled before a later one is sent.
    lane: str
    state: DeliveryState
    #: Number of attempts.
    tries: int = 0
    #: Number of failed attempts since it was created or replayed.
    failures: int = 0
    #: Earliest time of the next attempt.
    due_at: datetime
    #: Until when a dispatcher holds it; the claim of a dead process expires.
    leased_until: datetime | None = None
    created_at: datetime
    settled_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class DeliveryAttempt:
    """One attempt and its result."""

    delivery: str
    #: 1, 2, …; a number is missing if the process died during that attempt.
    number: int
    at: datetime
    #: Milliseconds until the answer or the failure.
    duration_ms: int
    #: The status of the answer; None if there was none.
    status: int | None = None
    #: The beginning of the answer.
    answer: str | None = None
    #: The reason of a failure; None for a success.
    error: str | None = None

    @property
    def is_success(self) -> bool:
        """Whether the receiver accepted it."""
        return self.error is None

    @property
    def is_gone(self) -> bool:
        """Whether the receiver unsubscribes."""
        return self.status == HTTPStatus.GONE


def lane_of(event: Event) -> str:
    """Return the lane of an event: its task's, else its stream's, else its External's."""
    return event.task or event.stream or event.external or ""


def body_of(event: Event) -> str:
    """Return the body for an event."""
    about = {name: getattr(event, name) for name in ("stream", "crawler", "external", "task")}
    return message(event.type, {"event": event.id, **about, **event.data}, at=event.at)


def message(kind: str, data: dict[str, Any], *, at: datetime) -> str:
    """Return a message of a type, as text."""
    moment = at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return json.dumps({"type": kind, "timestamp": moment, "data": data}, ensure_ascii=False, separators=(",", ":"))


def slack_body(text: str, kind: str) -> str:
    """Return the body of a message for Slack's incoming webhooks."""
    # Of these characters alone Slack makes links and mentions.
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return json.dumps({"text": f"*{kind}* {safe}"}, ensure_ascii=False, separators=(",", ":"))


def pause_after(failures: int, backoff: Sequence[float], *, asked: float, rng: Rng) -> timedelta | None:
    """Return the delay after so many failures, at least as the receiver asked; None if there is no further attempt."""
    if failures > len(backoff):
        return None
    return timedelta(seconds=max(backoff[failures - 1] * (1 + JITTER * rng()), min(asked, MOST_PATIENCE)))


def new_secret(random: bytes) -> str:
    """Encode random bytes as a secret."""
    return SECRET_PREFIX + base64.b64encode(random).decode()


def headers_of(delivery: Delivery, secrets: Iterable[str], *, at: datetime) -> dict[str, str]:
    """Return the headers that identify and sign a delivery, with a signature by each of the secrets."""
    moment = str(int(at.timestamp()))
    signed = f"{delivery.fid}.{moment}.{delivery.body}".encode()
    return {
        "webhook-id": delivery.fid,
        "webhook-timestamp": moment,
        "webhook-signature": " ".join(f"v1,{_signature(secret, signed)}" for secret in secrets),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    return base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
