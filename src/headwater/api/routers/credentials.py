"""OAuth logins at the ECs of Externals, and the credentials that result."""

from datetime import datetime
from typing import Annotated, Self
from uuid import uuid4

from fastapi import Query, Request, Response, status
from pydantic import BaseModel, Field

from headwater.api import routing
from headwater.api.auth import READS, WRITES
from headwater.api.dependencies import ServicesOf
from headwater.api.openapi import fails
from headwater.api.request_bodies import RequestBody, RunVersion
from headwater.api.responses import EXAMPLE_FID, Cursor, Envelope, Limit, Listing, listing, position_of
from headwater.catalog import credentials, externals, objects
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import EXTERNALS
from headwater.domain.oauth import Credential
from headwater.lifecycle import oauth

router = routing.router("externals")

_UUID = "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"
_EXAMPLE_UUID = "5b0c1c52-5a39-4b6c-9d3f-0d6a3c1f7e21"


class LoginOut(BaseModel):
    """A login in progress: once a person has logged in at `url`, the token can be fetched."""

    uuid: str = Field(
        description="Of this login; as good as its token, so keep it to yourself.", examples=[_EXAMPLE_UUID]
    )
    url: str = Field(
        description="Where the person logs in, in a pop-up for instance.",
        examples=[f"https://crawler.example/oauth/login?uuid={_EXAMPLE_UUID}&subdomain=acme"],
    )


class TokenBody(RequestBody):
    """Identifies the finished login."""

    uuid: str = Field(pattern=_UUID, description="That of the login.", examples=[_EXAMPLE_UUID])


class CredentialOut(BaseModel):
    """A login whose token is stored, to which crawlers can refer; the token is never returned."""

    fid: str = Field(examples=[EXAMPLE_FID])
    external: str = Field(examples=[EXAMPLE_FID])
    user: str | None = Field(description="As the EC says it.", examples=["jo"])
    reported_name: str | None = Field(description="What the EC calls the person.", examples=["Jo Miller"])
    email_address: str | None = Field(examples=["jo@example.org"])
    issued_at: datetime | None = Field(examples=["2026-03-01T12:00:00.000000Z"])
    expires_at: datetime | None = Field(
        description="From when on its crawlers' tasks fail with `credential_expired`; null: it does not expire.",
        examples=["2026-06-01T12:00:00.000000Z"],
    )
    expired: bool = Field(description="Whether it has.", examples=[False])
    created_at: datetime = Field(examples=["2026-03-01T12:00:00.000000Z"])
    renewed_at: datetime = Field(
        description="When its token was last fetched.", examples=["2026-03-01T12:00:00.000000Z"]
    )

    @classmethod
    def of(cls, credential: Credential, *, at: datetime) -> Self:
        """Return a credential in the form of the API."""
        shown = {name: getattr(credential, name) for name in cls.model_fields if name != "expired"}
        return cls(**shown, expired=credential.is_expired(at=at))


@router.get("/externals/{fid}/oauth", dependencies=[WRITES], responses=fails(404, 409))
async def begin_login(
    fid: str,
    services: ServicesOf,
    reset: Annotated[bool, Query(description="Let the EC forget who was logged in there.")] = False,
    credential: Annotated[
        str | None,
        Query(description="The credential that is to be renewed; otherwise it is a new login.", examples=[EXAMPLE_FID]),
    ] = None,
    version: RunVersion = None,
) -> Envelope[LoginOut]:
    """Start a login at the EC: returns the URL where a person logs in, in a pop-up for instance.

    After that, `POST /actions/externals/{fid}/oauth/token` with the `uuid` fetches the token. Nothing is stored
    until then.
    """
    service, uuid = await services.db.read(
        oauth.begin, fid, str(uuid4()), renewing=credential, version=version, vault=services.vault
    )
    return Envelope(payload=LoginOut(uuid=uuid, url=service.login_url(uuid, reset=reset)))


@router.post(
    "/actions/externals/{fid}/oauth/token",
    status_code=status.HTTP_201_CREATED,
    dependencies=[WRITES],
    responses={
        200: {
            "model": Envelope[CredentialOut],
            "description": "The login was fetched before; its credential is renewed.",
        }
    }
    | fails(404, 409, 415),
)
async def fetch_token(
    fid: str, body: TokenBody, services: ServicesOf, response: Response, version: RunVersion = None
) -> Envelope[CredentialOut]:
    """Fetch the token of a login from the EC, and store it encrypted, as a credential to which crawlers can refer.

    The same `uuid` again renews the credential, for all of its crawlers; if the EC hands out the token only once, the
    response is the stored credential. The status is 409 until the person has logged in, and 503 while the EC is
    unavailable.
    """
    kept, is_new = await oauth.fetch(
        services.db, services.ec_client, fid, body.uuid, version=version, vault=services.vault, clock=services.clock
    )
    response.headers["Location"] = f"/externals/{fid}/oauth/credentials/{kept.fid}"
    if not is_new:
        response.status_code = status.HTTP_200_OK
    return Envelope(payload=CredentialOut.of(kept, at=services.clock()))


@router.get("/externals/{fid}/oauth/credentials", dependencies=[READS], responses=fails(404))
async def list_credentials(
    fid: str, services: ServicesOf, request: Request, response: Response, limit: Limit = 50, cursor: Cursor = None
) -> Listing[CredentialOut]:
    """List the credentials from logins at the EC, newest first."""
    after = position_of(cursor, str)

    def read(tx: Transaction) -> list[Credential]:
        objects.get(tx, EXTERNALS, fid)
        return credentials.page(tx, fid, after=after, limit=limit)

    page, at = await services.db.read(read), services.clock()
    shown = [CredentialOut.of(credential, at=at) for credential in page]
    return listing(request, response, shown, limit=limit, last=page[-1].fid if page else None)


@router.get("/externals/{fid}/oauth/credentials/{credential_fid}", dependencies=[READS], responses=fails(404))
async def get_credential(fid: str, credential_fid: str, services: ServicesOf) -> Envelope[CredentialOut]:
    """Read a credential; its token is not returned."""
    found = await services.db.read(credentials.get, fid, credential_fid)
    return Envelope(payload=CredentialOut.of(found, at=services.clock()))


@router.delete("/externals/{fid}/oauth/credentials/{credential_fid}", dependencies=[WRITES], responses=fails(404, 409))
async def delete_credential(fid: str, credential_fid: str, services: ServicesOf) -> Envelope[None]:
    """Delete a credential, and have the EC delete its token; 409 while a crawler refers to it.

    The token is deleted here at once. The EC is notified afterwards, with retries.
    """

    def forget(tx: Transaction, at: datetime) -> None:
        external = externals.to_run(tx, fid)
        oauth.forget(tx, external, credentials.get(tx, fid, credential_fid), vault=services.vault, at=at)

    await services.db.write(forget, services.clock())
    return Envelope(payload=None)
