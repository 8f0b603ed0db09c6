"""Webhooks: what is sent to whom of what happens, signed as Standard Webhooks 1.0 says, and how often it is tried."""

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
from headwater.domain.schedule import Dice

#: What a secret begins with.
SECRET_PREFIX = "whsec_"  # noqa: S105 - no secret, but what tells one
#: The type of what a test sends; no event has it.
TEST = "webhook.test"
#: Seconds between the tries of a delivery, as Standard Webhooks has them: 10 tries over about three days.
PAUSES = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
#: A pause becomes longer by up to this share, by lot, so that what failed together does not come again together.
JITTER = 0.1
#: Seconds for which a receiver may ask, at most: what waits for it holds up what follows.
MOST_PATIENCE = 3600.0
#: A webhook for which so long nothing but failures came is disabled when a delivery is given up.
FAILING_FOR = timedelta(days=5)


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """Where events are sent to, and which."""

    fid: str
    url: str
    #: Types of events, ``task.done``, or all of an object's, ``task.*``; none means all.
    types: tuple[str, ...] = ()
    #: Only events of this stream; None: of all. Likewise the crawler.
    stream: str | None = None
    crawler: str | None = None
    enabled: bool = True
    #: Since when it is disabled, and why.
    disabled_at: datetime | None = None
    disabled_reason: str | None = None
    #: Since when nothing but failures came; None: what came last was a success, or nothing yet.
    failing_since: datetime | None = None
    #: The last event that happened before it was enabled: later ones are sent.
    since: int
    #: What deliveries are signed with, sealed.
    sealed_secret: str
    #: The one before it, which is valid until then.
    sealed_former: str | None = None
    former_until: datetime | None = None
    created_at: datetime
    updated_at: datetime
    version: int
    meta: dict[str, Any]

    def wants(self, event: Event) -> bool:
        """Whether an event is to be sent; what happens to itself is not."""
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
    """What became of a delivery."""

    #: It is sent, or waits for its next try.
    PENDING = "pending"
    #: It was answered with 2xx.
    DELIVERED = "delivered"
    #: It was given up.
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What is sent to a webhook of one event."""

    #: Also what receivers know it by, ``webhook-id``: the same in each try.
    fid: str
    webhook: str
    #: The event; None of a test.
    event: int | None
    type: str
    #: What is sent, to the byte.
    body: str
    #: Of a lane, the earlier is settled before the later is sent.
    lane: str
    state: DeliveryState
    #: How often it was tried.
    tries: int = 0
    #: How often in vain, since it began or was replayed.
    failures: int = 0
    #: Not to be tried before.
    due_at: datetime
    #: Somebody is sending it until then; a dead one's claim comes back.
    leased_until: datetime | None = None
    created_at: datetime
    settled_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class DeliveryAttempt:
    """One try, and what came of it."""

    delivery: str
    #: 1, 2, …; one is left out where the process died that made it.
    number: int
    at: datetime
    #: Milliseconds until it was answered, or given up.
    duration_ms: int
    #: The status that was answered; None: no answer came.
    status: int | None = None
    #: The beginning of the answer.
    answer: str | None = None
    #: Why it failed; None of a success.
    error: str | None = None

    @property
    def is_success(self) -> bool:
        """Whether the receiver has it."""
        return self.error is None

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants nothing more."""
        return self.status == HTTPStatus.GONE


def lane_of(event: Event) -> str:
    """Return what an event is told in order with: others of its task, else of its stream, else of its External."""
    return event.task or event.stream or event.external or ""


def body_of(event: Event) -> str:
    """Return what is sent of an event."""
    about = {name: getattr(event, name) for name in ("stream", "crawler", "external", "task")}
    return message(event.type, {"event": event.id, **about, **event.data}, at=event.at)


def message(kind: str, data: dict[str, Any], *, at: datetime) -> str:
    """Return a message of a type, as text."""
    moment = at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return json.dumps({"type": kind, "timestamp": moment, "data": data}, ensure_ascii=False, separators=(",", ":"))


def pause_after(failures: int, pauses: Sequence[float], *, asked: float, dice: Dice) -> timedelta | None:
    """Return how long to wait after so many failures, and as the receiver asked; None if it is given up."""
    if failures > len(pauses):
        return None
    return timedelta(seconds=max(pauses[failures - 1] * (1 + JITTER * dice()), min(asked, MOST_PATIENCE)))


def new_secret(random: bytes) -> str:
    """Return random bytes as a secret."""
    return SECRET_PREFIX + base64.b64encode(random).decode()


def headers_of(delivery: Delivery, secrets: Iterable[str], *, at: datetime) -> dict[str, str]:
    """Return the headers by which a receiver tells that a delivery is ours; each of the secrets signs it."""
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
