"""Webhooks: where events are sent, what was delivered, tests and replays."""

from datetime import datetime
from functools import partial

from starlette.responses import Response

from headwater.catalog import deliveries, objects, runs
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import STREAMS, WEBHOOKS
from headwater.console.confirmation import Confirmation, asked, require_typed
from headwater.console.listing import ROWS, rows_of
from headwater.console.rendering import render
from headwater.console.routing import Pages
from headwater.console.visits import Visit
from headwater.domain.errors import RequestInvalid
from headwater.domain.ids import is_fid, new_fid
from headwater.domain.scope import Scope
from headwater.domain.webhook import Delivery, DeliveryAttempt, DeliveryState, Webhook
from headwater.lifecycle.webhooks import actions
from headwater.lifecycle.webhooks.actions import WebhookConfig
from headwater.lifecycle.webhooks.destination import KNOWN_TYPES, checked_type, checked_url, require_public

pages = Pages()

#: Deliveries of a page.
DELIVERIES = 50


@pages.get("/webhooks")
async def list_webhooks(visit: Visit) -> Response:
    """Show the webhooks, newest first."""
    after = visit.query.get("after")
    position = after if is_fid(after) else None
    found = await visit.services.db.read(partial(objects.page, where={}, after=position, limit=ROWS + 1), WEBHOOKS)
    page = rows_of(visit, found, last=found[ROWS - 1].fid if len(found) > ROWS else None)
    return render(visit, "webhooks.html", page=page, types=KNOWN_TYPES)


@pages.post("/webhooks", action="create_webhook", about="webhooks", needs=Scope.ADMIN)
async def create_webhook(visit: Visit) -> Response:
    """Create a webhook, and show its secret once."""
    try:
        url = checked_url(visit.form.get("url").strip())
        types = tuple(dict.fromkeys(checked_type(each) for each in visit.form.all("type")))
    except ValueError as error:
        raise RequestInvalid(str(error)) from None
    if not visit.services.is_private_allowed:
        require_public(url)
    name = visit.form.get("name").strip()[:200]
    config = WebhookConfig(
        url=url, types=types, stream=None, crawler=None, enabled=True, meta={"name": name} if name else {}
    )

    def create(tx: Transaction, at: datetime) -> tuple[Webhook, str]:
        return actions.create(tx, new_fid(at), config, vault=visit.services.vault, at=at)

    webhook, secret = await visit.services.db.write(create, visit.services.clock())
    return render(visit, "webhook_made.html", webhook=webhook, secret=secret)


@pages.get("/webhooks/{fid}")
async def show_webhook(visit: Visit) -> Response:
    """Show a webhook and its deliveries."""
    state = visit.query.get("state")
    chosen = DeliveryState(state) if state in set(DeliveryState) else None
    after = visit.query.get("after")

    def read(tx: Transaction) -> tuple[Webhook, list[Delivery], dict[str, list[DeliveryAttempt]], str | None]:
        webhook = objects.get(tx, WEBHOOKS, visit.fid)
        before = after if is_fid(after) else None
        found = deliveries.page(tx, visit.fid, state=chosen, before=before, limit=DELIVERIES + 1)
        named = None if webhook.stream is None else runs.names(tx, STREAMS, [webhook.stream])[webhook.stream]
        return webhook, found, deliveries.attempts_of(tx, [each.fid for each in found]), named

    webhook, found, attempts, stream = await visit.services.db.read(read)
    last = found[DELIVERIES - 1].fid if len(found) > DELIVERIES else None
    page = rows_of(visit, found, last=last, rows=DELIVERIES)
    states = [str(each) for each in DeliveryState]
    return render(
        visit, "webhook.html", webhook=webhook, page=page, attempts=attempts, stream=stream, states=states, state=state
    )


@pages.post("/webhooks/{fid}/test", action="test_webhook", about="webhooks")
async def send_test(visit: Visit) -> Response:
    """Send a test, and say how it was answered."""
    sent = await visit.services.webhook_dispatcher.test(visit.fid)
    tried = (await visit.services.db.read(deliveries.attempts_of, [sent.fid]))[sent.fid]
    answer = f"answered with {tried[-1].status}" if tried and tried[-1].status else (tried[-1].error if tried else "")
    said = "arrived" if sent.state is DeliveryState.DELIVERED else "did not arrive"
    return visit.go(f"/console/webhooks/{visit.fid}", notice=f"The test {said}: {answer}.")


@pages.post("/webhooks/{fid}/replay", action="replay_delivery", about="webhooks")
async def replay(visit: Visit) -> Response:
    """Send a delivery again."""
    given = visit.form.get("delivery")
    await visit.services.db.write(partial(actions.replay, at=visit.services.clock()), given)
    return visit.go(f"/console/webhooks/{visit.fid}", notice="It is sent again.")


@pages.post("/webhooks/{fid}/enabled", action="patch_webhook", about="webhooks", needs=Scope.ADMIN)
async def switch(visit: Visit) -> Response:
    """Enable a webhook, or disable it."""

    def change(tx: Transaction, at: datetime) -> Webhook:
        old = objects.get(tx, WEBHOOKS, visit.fid, lock=True)
        config = WebhookConfig(
            url=old.url,
            types=old.types,
            stream=old.stream,
            crawler=old.crawler,
            enabled="enable" in visit.form,
            meta=old.meta,
        )
        return actions.change(tx, old, config, at=at)

    changed = await visit.services.db.write(change, visit.services.clock())
    said = "Enabled: events from now on are sent." if changed.enabled else "Disabled: nothing is sent."
    return visit.go(f"/console/webhooks/{visit.fid}", notice=said)


@pages.get("/webhooks/{fid}/delete", needs=Scope.ADMIN)
async def ask_delete(visit: Visit) -> Response:
    """Say what deleting a webhook does."""
    webhook = await visit.services.db.read(objects.get, WEBHOOKS, visit.fid)
    ask = Confirmation(
        title="Delete this webhook?",
        action=f"/console/webhooks/{visit.fid}/delete",
        button="Delete it",
        back=f"/console/webhooks/{visit.fid}",
        lines=[f"Nothing more is sent to {webhook.url}, and the record of its deliveries goes with it."],
        typed="delete",
    )
    return asked(visit, ask)


@pages.post("/webhooks/{fid}/delete", action="delete_webhook", about="webhooks", needs=Scope.ADMIN)
async def delete(visit: Visit) -> Response:
    """Delete a webhook."""
    require_typed(visit, "delete", otherwise="nothing was deleted")

    def remove(tx: Transaction, at: datetime) -> None:
        objects.remove(tx, WEBHOOKS, objects.get(tx, WEBHOOKS, visit.fid, lock=True), at=at)

    await visit.services.db.write(remove, visit.services.clock())
    return visit.go("/console/webhooks", notice="The webhook is deleted.")
