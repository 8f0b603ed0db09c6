"""Crawlers: an External set up for a stream."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query, Request, Response, status
from pydantic import BaseModel, Field

from headwater.api import key_limits, routing
from headwater.api.auth import READS, WRITES, Reader
from headwater.api.crawler_bodies import CrawlerBody, ExpectBody, GatesBody, NewCrawler, ScheduleBody, SkipOut
from headwater.api.dependencies import ServicesOf
from headwater.api.openapi import fails
from headwater.api.query_params import FidPrefix
from headwater.api.request_bodies import IfMatch, MergePatch, RunVersion, merge_patch, patched
from headwater.api.responses import (
    EXAMPLE_FID,
    Cursor,
    Envelope,
    Limit,
    Listing,
    ObjectOut,
    answer,
    common,
    listing,
    position_of,
)
from headwater.catalog import credentials, objects, tasks
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import CRAWLERS
from headwater.catalog.vault import Vault, redact
from headwater.domain.crawler import Crawler
from headwater.domain.errors import MethodNotAllowed
from headwater.domain.schedule import Rng
from headwater.domain.task import Mode, Publish, TaskState
from headwater.lifecycle import crawlers as crawler_actions
from headwater.lifecycle import deletion

router = routing.router("crawlers")


class CredentialOut(BaseModel):
    """The presence and type of a credential, without its value."""

    type: str


class LoginCredentialOut(BaseModel):
    """A credential of the External that the crawler refers to."""

    type: str = Field(examples=["oauth"])
    fid: str = Field(examples=[EXAMPLE_FID])
    expires_at: datetime | None = Field(
        description="From when on its tasks fail with `credential_expired`; null: it does not expire.",
        examples=["2026-06-01T12:00:00.000000Z"],
    )


class CrawlerOut(ObjectOut):
    """An External set up to feed one stream."""

    external: str
    stream: str
    params: dict[str, Any] = Field(description="Passwords read as `********`; sent back so, they stay as they are.")
    credential: CredentialOut | LoginCredentialOut | None
    schedule: ScheduleBody | None
    next_run_at: datetime | None = Field(description="When it next runs by itself; null: never, or it is paused.")
    last_skip: SkipOut | None = Field(description="The last run that was due and was not started, and why.")
    timeout: int
    publish: Publish
    mode: Mode
    scope: list[str] | None
    gates: GatesBody | None
    retries: int
    expect: ExpectBody | None
    expected_by: datetime | None = Field(description="By when the next expected run must have ended with 200.")
    missed_since: datetime | None = Field(
        description="When a run was expected first of those that did not end well since; null while none is missed."
    )
    state: TaskState | None = Field(description="Of its open task; null while it has none.")


def _credential(crawler: Crawler, expiries: dict[str, datetime | None]) -> CredentialOut | LoginCredentialOut | None:
    if crawler.credential_type is None:
        return None
    if crawler.login is None:
        return CredentialOut(type=crawler.credential_type)
    return LoginCredentialOut(type=crawler.credential_type, fid=crawler.login, expires_at=expiries.get(crawler.login))


def _out(tx: Transaction, found: list[Crawler]) -> list[CrawlerOut]:
    expiries = credentials.expiries(tx, {crawler.login for crawler in found if crawler.login is not None})
    states = tasks.open_states(tx, [crawler.fid for crawler in found])
    return [
        CrawlerOut(
            **common(crawler, "crawlers"),
            external=crawler.external,
            stream=crawler.stream,
            params=redact(crawler.params),
            credential=_credential(crawler, expiries),
            schedule=None if crawler.schedule is None else ScheduleBody.model_validate(crawler.schedule),
            next_run_at=crawler.next_run_at,
            last_skip=SkipOut.of(crawler),
            timeout=crawler.timeout,
            publish=crawler.publish,
            mode=crawler.mode,
            scope=crawler.scope,
            gates=None if crawler.gates is None else GatesBody.model_validate(crawler.gates),
            retries=crawler.retries,
            expect=None if crawler.expect is None else ExpectBody.model_validate(crawler.expect),
            expected_by=crawler.expected_by,
            missed_since=crawler.missed_since,
            state=states.get(crawler.fid),
        )
        for crawler in found
    ]


@router.post(
    "/actions/externals/{fid}/crawler",
    status_code=status.HTTP_201_CREATED,
    dependencies=[WRITES],
    responses=fails(404, 409, 415),
)
async def create_crawler(
    fid: str, body: NewCrawler, services: ServicesOf, response: Response, version: RunVersion = None
) -> Envelope[CrawlerOut]:
    """Create a crawler of an External for a stream.

    Parameters and credential are validated against the published version, with which its runs start. With
    `version`, they are validated against another one, with which tasks can be started; the crawler does not store it.
    """
    stream = body.stream()

    def create(tx: Transaction, at: datetime) -> CrawlerOut:
        crawler = crawler_actions.create_crawler(
            tx,
            fid,
            stream,
            body.config(body.meta.kept()),
            credential=body.credential,
            vault=services.vault,
            at=at,
            version=version,
            rng=services.rng,
        )
        return _out(tx, [crawler])[0]

    made = await services.db.write(create, services.clock())
    response.headers["Location"] = f"/crawlers/{made.fid}"
    return answer(response, made)


@router.post("/crawlers", include_in_schema=False)
async def crawlers_are_created_elsewhere() -> None:
    """Refer to the endpoint that creates crawlers."""
    raise MethodNotAllowed("a crawler is created by the action POST /actions/externals/{fid}/crawler")


@router.get("/crawlers")
async def list_crawlers(
    key: Reader,
    services: ServicesOf,
    request: Request,
    response: Response,
    external: str | None = None,
    stream: str | None = None,
    state: Annotated[TaskState | None, Query(description="Only those whose open task is in this state.")] = None,
    name: Annotated[str | None, Query(description="Only those whose `meta.name` is this.")] = None,
    fid: FidPrefix = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[CrawlerOut]:
    """List crawlers, newest first."""
    filters = {"external": external, "stream": stream, "name": name, "fid": fid}
    where = {field: value for field, value in filters.items() if value is not None}
    after = position_of(cursor, str)

    def read(tx: Transaction) -> list[CrawlerOut]:
        among = None if state is None else tasks.crawlers_with(state)
        return _out(
            tx,
            objects.page(
                tx,
                CRAWLERS,
                where=where,
                after=after,
                limit=limit,
                among=among,
                within=key_limits.within(key, CRAWLERS),
            ),
        )

    page = await services.db.read(read)
    return listing(request, response, page, limit=limit, last=page[-1].fid if page else None)


@router.get("/crawlers/{fid}", dependencies=[READS], responses=fails(404))
async def get_crawler(fid: str, services: ServicesOf, response: Response) -> Envelope[CrawlerOut]:
    """Read a crawler."""
    return answer(response, await services.db.read(lambda tx: _out(tx, [objects.get(tx, CRAWLERS, fid)])[0]))


def _change(
    tx: Transaction,
    fid: str,
    expected: frozenset[int] | None,
    body: CrawlerBody | dict[str, Any],
    *,
    vault: Vault,
    at: datetime,
    version: int | None,
    rng: Rng,
) -> CrawlerOut:
    old = objects.get(tx, CRAWLERS, fid, lock=True)
    objects.require_version(old, expected)
    keeps = False
    if isinstance(body, dict):
        keeps = "credential" not in body
        body = patched(_body(old), body)
    # A credential as GET returns it means the stored one; a login's is a reference.
    if keeps or (body.credential is not None and body.credential == {"type": old.credential_type}):
        credential: dict[str, Any] | None = crawler_actions.KEEP
    else:
        credential = body.credential
    setting = body.config(body.meta.kept())
    new = crawler_actions.change_crawler(
        tx, old, setting, credential=credential, vault=vault, at=at, version=version, rng=rng
    )
    return _out(tx, [new])[0]


def _body(crawler: Crawler) -> CrawlerBody:
    return CrawlerBody.model_validate(
        {
            "params": redact(crawler.params),
            "schedule": None if crawler.schedule is None else asdict(crawler.schedule),
            "timeout": crawler.timeout,
            "publish": crawler.publish,
            "mode": crawler.mode,
            "scope": crawler.scope,
            "gates": None if crawler.gates is None else asdict(crawler.gates),
            "retries": crawler.retries,
            "expect": None if crawler.expect is None else asdict(crawler.expect),
            "meta": crawler.meta,
        }
    )


@router.patch("/crawlers/{fid}", dependencies=[WRITES], responses=fails(404, 409, 412, 415))
async def patch_crawler(
    fid: str,
    patch: Annotated[MergePatch, merge_patch(CrawlerBody)],
    expected: IfMatch,
    services: ServicesOf,
    response: Response,
    version: RunVersion = None,
) -> Envelope[CrawlerOut]:
    """Change a crawler by a merge patch; running tasks are not affected."""
    changed = await services.db.write(
        _change, fid, expected, patch, vault=services.vault, at=services.clock(), version=version, rng=services.rng
    )
    return answer(response, changed)


@router.put("/crawlers/{fid}", dependencies=[WRITES], responses=fails(404, 409, 412, 415))
async def put_crawler(
    fid: str,
    body: CrawlerBody,
    expected: IfMatch,
    services: ServicesOf,
    response: Response,
    version: RunVersion = None,
) -> Envelope[CrawlerOut]:
    """Replace a crawler's settings; omitted fields are reset to their defaults, including the credential."""
    changed = await services.db.write(
        _change, fid, expected, body, vault=services.vault, at=services.clock(), version=version, rng=services.rng
    )
    return answer(response, changed)


@router.delete("/crawlers/{fid}", dependencies=[WRITES], responses=fails(404, 409, 412))
async def delete_crawler(
    fid: str,
    expected: IfMatch,
    services: ServicesOf,
    cascade: Annotated[bool, Query(description="Delete its tasks too; their documents leave the stream.")] = False,
) -> Envelope[None]:
    """Delete a crawler; once it has tasks, only with `cascade`."""
    await deletion.delete_crawler(
        services.db, fid, cascade=cascade, expected=expected, vault=services.vault, at=services.clock()
    )
    return Envelope(payload=None)
