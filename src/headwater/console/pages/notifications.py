"""Notifications: who is told of what, tests, and new ones."""

from datetime import datetime
from functools import partial

from starlette.responses import Response

from headwater.catalog import objects
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import NOTIFICATIONS
from headwater.console.confirmation import Confirmation, asked, require_typed
from headwater.console.listing import ROWS, rows_of
from headwater.console.rendering import render
from headwater.console.routing import Pages
from headwater.console.visits import Form, Visit
from headwater.domain.errors import RequestInvalid
from headwater.domain.ids import is_fid, new_fid
from headwater.domain.notification import EVENTS, OF_SERVER, Conditions, Notification
from headwater.domain.scope import Scope
from headwater.lifecycle.notifications import actions
from headwater.lifecycle.notifications.actions import NotificationConfig

pages = Pages()

#: Seconds for which news are collected, as the form offers them: by the number as text.
GROUPS = {"0": "at once", "60": "a minute", "600": "ten minutes", "3600": "an hour", "86400": "a day"}
#: The events that the form offers.
_OFFERED = (*EVENTS, *OF_SERVER)
_WHOLE = 100


@pages.get("/notifications")
async def list_notifications(visit: Visit) -> Response:
    """Show the notifications, newest first."""
    after = visit.query.get("after")
    position = after if is_fid(after) else None
    found = await visit.services.db.read(partial(objects.page, where={}, after=position, limit=ROWS + 1), NOTIFICATIONS)
    page = rows_of(visit, found, last=found[ROWS - 1].fid if len(found) > ROWS else None)
    return render(visit, "notifications.html", page=page, events=_OFFERED, groups=GROUPS)


@pages.post("/notifications", action="create_notification", about="notifications", needs=Scope.ADMIN)
async def create_notification(visit: Visit) -> Response:
    """Create a notification."""
    url = visit.form.get("url").strip()
    shown = await visit.services.notification_client.shown(url)
    chosen = tuple(each for each in _OFFERED if each in visit.form.all("event"))
    name, group = visit.form.get("name").strip()[:200], visit.form.get("group")
    config = NotificationConfig(
        url=url,
        shown_url=shown,
        events=chosen,
        streams=(),
        crawlers=(),
        conditions=Conditions(
            max_rejected=_share(visit.form, "max_rejected"), max_shrink=_share(visit.form, "max_shrink")
        ),
        group_seconds=int(group) if group in GROUPS else 60,
        enabled=True,
        meta={"name": name} if name else {},
    )

    def create(tx: Transaction, at: datetime) -> Notification:
        return actions.create(tx, new_fid(at), config, vault=visit.services.vault, at=at)

    await visit.services.db.write(create, visit.services.clock())
    return visit.go("/console/notifications", notice="Created. A test shows whether it arrives.")


def _share(form: Form, name: str) -> float | None:
    text = form.get(name).strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 0 <= int(text) <= _WHOLE):
        raise RequestInvalid(f"{text[:40]!r} is no percentage: a whole number from 0 to 100 is expected")
    return int(text) / _WHOLE


@pages.post("/notifications/{fid}/test", action="test_notification", about="notifications", needs=Scope.ADMIN)
async def send_test(visit: Visit) -> Response:
    """Send a test, and say whether the service took it."""
    error = await visit.services.notification_dispatcher.test(visit.fid)
    said = "The service took the test." if error is None else f"The test was not sent: {error}"
    return visit.go("/console/notifications", notice=said)


@pages.post("/notifications/{fid}/enabled", action="patch_notification", about="notifications", needs=Scope.ADMIN)
async def switch(visit: Visit) -> Response:
    """Enable a notification, or disable it."""

    def change(tx: Transaction, at: datetime) -> Notification:
        old = objects.get(tx, NOTIFICATIONS, visit.fid, lock=True)
        names = ("shown_url", "events", "streams", "crawlers", "conditions", "group_seconds", "meta")
        config = NotificationConfig(
            url=None, enabled="enable" in visit.form, **{name: getattr(old, name) for name in names}
        )
        return actions.change(tx, old, config, vault=visit.services.vault, at=at)

    changed = await visit.services.db.write(change, visit.services.clock())
    said = "Enabled: what happens from now on is told." if changed.enabled else "Disabled: nothing is told."
    return visit.go("/console/notifications", notice=said)


@pages.get("/notifications/{fid}/delete", needs=Scope.ADMIN)
async def ask_delete(visit: Visit) -> Response:
    """Say what deleting a notification does."""
    found = await visit.services.db.read(objects.get, NOTIFICATIONS, visit.fid)
    ask = Confirmation(
        title="Delete this notification?",
        action=f"/console/notifications/{visit.fid}/delete",
        button="Delete it",
        back="/console/notifications",
        lines=[f"Nothing more is told to {found.shown_url}. What was collected and not sent yet goes with it."],
        typed="delete",
    )
    return asked(visit, ask)


@pages.post("/notifications/{fid}/delete", action="delete_notification", about="notifications", needs=Scope.ADMIN)
async def delete(visit: Visit) -> Response:
    """Delete a notification."""
    require_typed(visit, "delete", otherwise="nothing was deleted")

    def remove(tx: Transaction, at: datetime) -> None:
        objects.remove(tx, NOTIFICATIONS, objects.get(tx, NOTIFICATIONS, visit.fid, lock=True), at=at)

    await visit.services.db.write(remove, visit.services.clock())
    return visit.go("/console/notifications", notice="The notification is deleted.")
