"""API keys: create, list, read, change, rotate, revoke."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import Query, Request, Response, status
from pydantic import AwareDatetime, BaseModel, Field

from headwater.api import routing
from headwater.api.auth import ADMINISTERS
from headwater.api.dependencies import ServicesOf
from headwater.api.openapi import fails
from headwater.api.query_params import FidPrefix
from headwater.api.request_bodies import WHOLE, IfMatch, MergePatch, RequestBody, merge_patch, patched
from headwater.api.responses import EXAMPLE_FID, Cursor, Envelope, Limit, Listing, listing, position_of
from headwater.catalog import keys, objects
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.keys import Key
from headwater.catalog.objects import CRAWLERS, STREAMS, ObjectType
from headwater.domain.errors import Flaw, RequestInvalid
from headwater.domain.scope import Scope

router = routing.router("keys")

#: Maximum number of characters of a name, and of objects that a key is limited to.
LONGEST_NAME = 200
MOST_LIMITS = 1000
#: Seconds for which a former secret works after a rotation: by default, and at most.
OVERLAP = 24 * 3600
LONGEST_OVERLAP = 90 * 24 * 3600

Fids = Annotated[list[str], Field(max_length=MOST_LIMITS)]


class KeyBody(RequestBody):
    """The writable fields of a key."""

    name: str = Field(
        min_length=1, max_length=LONGEST_NAME, description="Whose key it is, or what for.", examples=["nightly"]
    )
    scopes: list[Scope] = Field(
        default_factory=lambda: [Scope.READ],
        min_length=1,
        max_length=len(Scope),
        description="What it may do; each scope includes the ones before it.",
        examples=[["write"]],
    )
    streams: Fids | None = Field(
        default=None,
        description="Only these, with their crawlers and tasks; null with `crawlers` null: everything.",
        examples=[None],
    )
    crawlers: Fids | None = Field(
        default=None, description="Only these, with their streams and tasks.", examples=[None]
    )
    expires_at: AwareDatetime | None = Field(
        default=None, description="From when on it is refused; null: never.", examples=["2027-01-01T00:00:00Z"]
    )

    def limits(self, *, at: datetime, present: datetime | None = None) -> dict[str, Any]:
        """Return the fields as a key has them; ``present`` is its stored expiry.

        Raises:
            RequestInvalid: they do not go together.
        """
        if self.expires_at is not None and self.expires_at <= at and self.expires_at != present:
            raise _wrong("/expires_at", "a moment in the future is expected")
        if Scope.ADMIN in self.scopes and (self.streams is not None or self.crawlers is not None):
            raise _wrong("/scopes", "an admin key reaches everything, and has no streams or crawlers")
        return {
            "scopes": tuple(dict.fromkeys(self.scopes)),
            "streams": None if self.streams is None else tuple(dict.fromkeys(self.streams)),
            "crawlers": None if self.crawlers is None else tuple(dict.fromkeys(self.crawlers)),
            "expires_at": self.expires_at,
        }


class Rotation(RequestBody):
    """How to rotate a key."""

    overlap: Annotated[int, Field(ge=0, le=LONGEST_OVERLAP), WHOLE] = Field(
        default=OVERLAP, description="Seconds for which the former secret works as well; 0: it ends at once."
    )


class KeyOut(BaseModel):
    """An API key, without its secret."""

    fid: str = Field(examples=[EXAMPLE_FID])
    type: str = "keys"
    version: int
    name: str
    scopes: list[Scope]
    streams: list[str] | None
    crawlers: list[str] | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute; null: never.")
    revoked_at: datetime | None
    former_until: datetime | None = Field(
        description="Until when the secret before the last rotation works as well; null: there was no rotation."
    )


class KeyMadeOut(KeyOut):
    """A key with its secret, which is shown only once."""

    key: str = Field(description="Send it as `Authorization: Bearer`.", examples=["hw_…"])


def _wrong(pointer: str, detail: str) -> RequestInvalid:
    return RequestInvalid(f"{pointer}: {detail}", flaws=[Flaw(pointer=pointer, detail=detail)])


def _fields(key: Key) -> dict[str, Any]:
    names = ("fid", "version", "name", "scopes", "streams", "crawlers", "created_at")
    moments = ("expires_at", "last_used_at", "revoked_at", "former_until")
    return {name: getattr(key, name) for name in (*names, *moments)}


def _answer(response: Response, key: Key) -> Envelope[KeyOut]:
    response.headers["ETag"] = f'"{key.version}"'
    return Envelope(payload=KeyOut(**_fields(key)), version=key.version)


def _made(response: Response, key: Key, secret: str) -> Envelope[KeyMadeOut]:
    response.headers["ETag"] = f'"{key.version}"'
    response.headers["Cache-Control"] = "no-store"
    return Envelope(payload=KeyMadeOut(**_fields(key), key=secret), version=key.version)


def _require_there(tx: Transaction, limits: dict[str, Any], known: Key | None = None) -> None:
    """Raise unless the streams and crawlers exist; what was deleted since ``known`` was made may stay."""
    kinds: list[ObjectType[Any]] = [STREAMS, CRAWLERS]
    for kind in kinds:
        stored = getattr(known, kind.name, None) or ()
        for place, fid in enumerate(limits[kind.name] or ()):
            if fid not in stored and objects.find(tx, kind, fid) is None:
                raise _wrong(f"/{kind.name}/{place}", f"there is no {kind.singular} {fid!r}")


@router.post("/keys", status_code=status.HTTP_201_CREATED, dependencies=[ADMINISTERS], responses=fails(415))
async def create_key(body: KeyBody, services: ServicesOf, response: Response) -> Envelope[KeyMadeOut]:
    """Create a key. The key itself, `key`, is shown only once."""

    def create(tx: Transaction, at: datetime) -> tuple[Key, str]:
        limits = body.limits(at=at)
        _require_there(tx, limits)
        return keys.add(tx, name=body.name, at=at, **limits)

    key, secret = await services.db.write(create, services.clock())
    response.headers["Location"] = f"/keys/{key.fid}"
    return _made(response, key, secret)


@router.get("/keys", dependencies=[ADMINISTERS])
async def list_keys(
    services: ServicesOf,
    request: Request,
    response: Response,
    name: Annotated[str | None, Query(description="Only those whose name is this.")] = None,
    fid: FidPrefix = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[KeyOut]:
    """List keys, newest first; revoked and expired ones too."""
    found = await services.db.read(keys.page, name=name, start=fid, after=position_of(cursor, str), limit=limit)
    page = [KeyOut(**_fields(key)) for key in found]
    return listing(request, response, page, limit=limit, last=page[-1].fid if page else None)


@router.get("/keys/{fid}", dependencies=[ADMINISTERS], responses=fails(404))
async def get_key(fid: str, services: ServicesOf, response: Response) -> Envelope[KeyOut]:
    """Read a key; its secret is not returned."""
    return _answer(response, await services.db.read(keys.get, fid))


@router.patch("/keys/{fid}", dependencies=[ADMINISTERS], responses=fails(404, 409, 412, 415))
async def patch_key(
    fid: str,
    patch: Annotated[MergePatch, merge_patch(KeyBody)],
    expected: IfMatch,
    services: ServicesOf,
    response: Response,
) -> Envelope[KeyOut]:
    """Change a key by a merge patch; effective with its next request."""

    def change(tx: Transaction, at: datetime) -> Key:
        old = keys.get(tx, fid, lock=True)
        keys.require_version(old, expected)
        stored = {name: value for name, value in _fields(old).items() if name in KeyBody.model_fields}
        body = patched(KeyBody.model_validate(stored), patch)
        limits = body.limits(at=at, present=old.expires_at)
        _require_there(tx, limits, old)
        return keys.save(tx, old, replace(old, name=body.name, version=old.version + 1, **limits))

    return _answer(response, await services.db.write(change, services.clock()))


@router.delete("/keys/{fid}", dependencies=[ADMINISTERS], responses=fails(404, 412))
async def revoke_key(fid: str, expected: IfMatch, services: ServicesOf) -> Envelope[None]:
    """Revoke a key, effective at once. It stays in the list, for the audit."""
    await services.db.write(keys.revoke, fid, at=services.clock(), expected=expected)
    return Envelope(payload=None)


@router.post("/actions/keys/{fid}/rotate", dependencies=[ADMINISTERS], responses=fails(404, 409, 412, 415))
async def rotate_key(
    fid: str, expected: IfMatch, services: ServicesOf, response: Response, body: Rotation | None = None
) -> Envelope[KeyMadeOut]:
    """Give a key a new secret, shown only once. The former one works for `overlap` seconds more."""
    overlap = timedelta(seconds=(body or Rotation()).overlap)

    def rotate(tx: Transaction, at: datetime) -> tuple[Key, str]:
        old = keys.get(tx, fid, lock=True)
        keys.require_version(old, expected)
        new = replace(old, version=old.version + 1, former_until=at + overlap)
        return new, keys.rotate(tx, old, new)

    return _made(response, *await services.db.write(rotate, services.clock()))
