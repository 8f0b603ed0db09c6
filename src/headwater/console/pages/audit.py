"""The audit: who did what to which object, and when."""

from starlette.responses import Response

from headwater.catalog import audit
from headwater.catalog.audit import Wanted
from headwater.console.listing import ROWS, rows_of
from headwater.console.rendering import render
from headwater.console.routing import Pages
from headwater.console.visits import Visit
from headwater.domain.ids import is_fid
from headwater.domain.scope import Scope

pages = Pages()

#: Where the objects of the audit have a page.
PLACES = {
    "tasks": "runs",
    "streams": "streams",
    "crawlers": "crawlers",
    "externals": "externals",
    "webhooks": "webhooks",
}


@pages.get("/audit", needs=Scope.ADMIN)
async def list_audit(visit: Visit) -> Response:
    """Show the changes, newest first."""
    names = ("key", "action", "object_fid")
    given = {name: visit.query.get(name).strip() or None for name in names}
    after = visit.query.get("after")

    found = await visit.services.db.read(
        lambda tx: audit.page(
            tx,
            Wanted(key=given["key"], action=given["action"], object_fid=given["object_fid"]),
            before=after if is_fid(after) else None,
            limit=ROWS + 1,
        )
    )
    page = rows_of(visit, found, last=found[ROWS - 1].fid if len(found) > ROWS else None)
    return render(visit, "audit.html", page=page, given=given, places=PLACES)
