"""API keys: create, shown once, and revoke."""

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from starlette.responses import Response

from headwater.catalog import keys
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.keys import Key
from headwater.console.confirmation import Confirmation, asked, require_typed
from headwater.console.listing import ROWS, rows_of
from headwater.console.rendering import render
from headwater.console.routing import Pages
from headwater.console.visits import Visit
from headwater.domain.errors import NotFound, RequestInvalid
from headwater.domain.ids import is_fid
from headwater.domain.scope import Scope

pages = Pages()


@pages.get("/keys", needs=Scope.ADMIN)
async def list_keys(visit: Visit) -> Response:
    """Show the keys, newest first."""
    after = visit.query.get("after")
    position = after if is_fid(after) else None
    found = await visit.services.db.read(partial(keys.page, name=None, start=None, after=position, limit=ROWS + 1))
    page = rows_of(visit, found, last=found[ROWS - 1].fid if len(found) > ROWS else None)
    return render(visit, "keys.html", page=page, scopes=list(map(str, Scope)))


@pages.post("/keys", action="create_key", about="keys", needs=Scope.ADMIN)
async def create_key(visit: Visit) -> Response:
    """Create a key, and show it once."""
    name, scope = visit.form.get("name").strip()[:200], visit.form.get("scope")
    if not name or scope not in set(Scope):
        raise RequestInvalid("a key needs a name, whose it is or what for, and a scope")
    key, secret = await visit.services.db.write(
        partial(keys.add, name=name, scopes=(Scope(scope),), at=visit.services.clock())
    )
    return render(visit, "key_made.html", key=key, secret=secret)


@pages.get("/keys/{fid}/expiry", needs=Scope.ADMIN)
async def show_expiry(visit: Visit) -> Response:
    """Show until when a key is valid, to be changed."""
    key = await visit.services.db.read(keys.get, visit.fid)
    return render(visit, "key_expiry.html", key=key)


@pages.post("/keys/{fid}/expiry", action="patch_key", about="keys", needs=Scope.ADMIN)
async def change_expiry(visit: Visit) -> Response:
    """Change until when a key is valid; the date is in UTC."""
    expires_at = _expiry(visit.form.get("expires").strip(), visit.at)

    def change(tx: Transaction) -> Key:
        old = keys.get(tx, visit.fid, lock=True)
        return keys.save(tx, old, replace(old, expires_at=expires_at, version=old.version + 1))

    key = await visit.services.db.write(change)
    until = "does not expire" if key.expires_at is None else f"is valid until {key.expires_at:%Y-%m-%d %H:%M} UTC"
    return visit.go("/console/keys", notice=f"The key {key.name!r} {until}.")


def _expiry(text: str, at: datetime) -> datetime | None:
    """Return the moment of a form's field; None if it is empty.

    Raises:
        RequestInvalid: it is none, or is over.
    """
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise RequestInvalid(f"{text[:40]!r} is no date with a time; one looks like 2030-01-31T12:00") from None
    if moment <= at:
        raise RequestInvalid("this moment is over, and the key would be of no use; revoke it, to end it now")
    return moment


@pages.get("/keys/{fid}/revoke", needs=Scope.ADMIN)
async def ask_revoke(visit: Visit) -> Response:
    """Say what revoking a key does."""
    key = await visit.services.db.read(keys.valid, visit.fid, visit.services.clock())
    if key is None:
        raise NotFound("this key is revoked already, or there never was one")
    lines = [f"Whatever uses {key.name!r} is refused from then on, and browsers that are signed in with it are out."]
    if key.fid == visit.key.fid:
        lines.append("This is the key that you are signed in with: you will be signed out.")
    ask = Confirmation(
        title=f"Revoke the key {key.name!r}?",
        action=f"/console/keys/{visit.fid}/revoke",
        button="Revoke it",
        back="/console/keys",
        lines=lines,
        typed="revoke",
    )
    return asked(visit, ask)


@pages.post("/keys/{fid}/revoke", action="revoke_key", about="keys", needs=Scope.ADMIN)
async def revoke(visit: Visit) -> Response:
    """Revoke a key."""
    require_typed(visit, "revoke", otherwise="the key stays")
    await visit.services.db.write(partial(keys.revoke, at=visit.services.clock()), visit.fid)
    return visit.go("/console/keys", notice="The key is revoked.")
