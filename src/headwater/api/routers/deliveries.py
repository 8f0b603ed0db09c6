"""Webhook deliveries: list, test, replay."""

import json
from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import Query, Request, Response, status
from pydantic import BaseModel, Field

from headwater.api import routing
from headwater.api.auth import READS, WRITES
from headwater.api.dependencies import ServicesOf
from headwater.api.openapi import fails
from headwater.api.responses import EXAMPLE_FID, Cursor, Envelope, Limit, Listing, listing, position_of
from headwater.catalog import deliveries, objects
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import WEBHOOKS
from headwater.domain.webhook import Delivery, DeliveryAttempt, DeliveryState
from headwater.lifecycle.webhooks import actions as webhook_actions

router = routing.router("webhooks")


class DeliveryAttemptOut(BaseModel):
    """A delivery attempt and its outcome."""

    number: int = Field(description="1, 2, …; one is missing where the server died that made it.", examples=[1])
    at: datetime
    duration_ms: int = Field(description="Milliseconds until it was answered, or given up.", examples=[12])
    status: int | None = Field(description="The status that was answered; null: no answer came.", examples=[200])
    answer: str | None = Field(description="The beginning of the answer, 4 KiB at most.", examples=["ok"])
    error: str | None = Field(description="Why it failed; null: it did not.", examples=[None])


class DeliveryOut(BaseModel):
    """A delivery of an event to a webhook, with its attempts."""

    id: str = Field(description="Also what the receiver gets as `webhook-id`, in each try.", examples=[EXAMPLE_FID])
    webhook: str
    event: int | None = Field(description="The event's id; null of a test.", examples=[42])
    type: str = Field(examples=["task.done"])
    state: DeliveryState = Field(
        description="`pending`: it is sent, or waits for its next try; `delivered`: with 2xx; `failed`: given up."
    )
    due_at: datetime | None = Field(description="Not tried before; null once it is settled.")
    created_at: datetime
    settled_at: datetime | None = Field(description="When it was delivered or given up.")
    payload: dict[str, Any] = Field(description="What is sent.")
    attempts: list[DeliveryAttemptOut] = Field(description="Oldest first.")

    @classmethod
    def of(cls, delivery: Delivery, attempts: list[DeliveryAttempt]) -> Self:
        """Return a delivery in the form of the API."""
        return cls(
            id=delivery.fid,
            webhook=delivery.webhook,
            event=delivery.event,
            type=delivery.type,
            state=delivery.state,
            due_at=delivery.due_at if delivery.state is DeliveryState.PENDING else None,
            created_at=delivery.created_at,
            settled_at=delivery.settled_at,
            payload=json.loads(delivery.body),
            attempts=[
                DeliveryAttemptOut(**{name: getattr(each, name) for name in DeliveryAttemptOut.model_fields})
                for each in attempts
            ],
        )


def _out(tx: Transaction, found: list[Delivery]) -> list[DeliveryOut]:
    attempts = deliveries.attempts_of(tx, [delivery.fid for delivery in found])
    return [DeliveryOut.of(delivery, attempts[delivery.fid]) for delivery in found]


@router.get("/webhooks/{fid}/deliveries", dependencies=[READS], responses=fails(404))
async def list_deliveries(
    fid: str,
    services: ServicesOf,
    request: Request,
    response: Response,
    state: Annotated[DeliveryState | None, Query(description="Only those in this state.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[DeliveryOut]:
    """List a webhook's deliveries, newest first, with their attempts; they are kept for 30 days."""
    before = position_of(cursor, str)

    def read(tx: Transaction) -> list[DeliveryOut]:
        objects.get(tx, WEBHOOKS, fid)
        return _out(tx, deliveries.page(tx, fid, state=state, before=before, limit=limit))

    page = await services.db.read(read)
    return listing(request, response, page, limit=limit, last=page[-1].id if page else None)


@router.post("/actions/webhooks/{fid}/test", dependencies=[WRITES], responses=fails(404))
async def test_webhook(fid: str, services: ServicesOf) -> Envelope[DeliveryOut]:
    """Send a `webhook.test` now, even if the webhook is disabled, and return the outcome.

    There is one attempt; the response is 200 in any case, see `state` and `attempts` for the outcome.
    """
    sent = await services.webhook_dispatcher.test(fid)
    return Envelope(payload=await services.db.read(lambda tx: _out(tx, [sent])[0]))


@router.post(
    "/actions/webhook-deliveries/{id}/replay",
    status_code=status.HTTP_202_ACCEPTED,
    dependencies=[WRITES],
    responses=fails(404, 409),
)
async def replay_delivery(id: str, services: ServicesOf) -> Envelope[DeliveryOut]:  # noqa: A002 - the path's name for it
    """Send a delivery again, now, under the same `webhook-id`, with all its attempts available.

    Other deliveries are not delayed. The receiver may get it twice.
    """

    def replay(tx: Transaction, at: datetime) -> DeliveryOut:
        return _out(tx, [webhook_actions.replay(tx, id, at=at)])[0]

    return Envelope(payload=await services.db.write(replay, services.clock()))
