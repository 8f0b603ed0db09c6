"""Crawlers: an External set up for a stream."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response, status
from pydantic import BaseModel, Field

from headwater.api.auth import READS, WRITES
from headwater.api.bodies import (
    IfMatch,
    MergePatch,
    RunVersion,
    merge_patch,
    patched,
)
from headwater.api.envelope import (
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
from headwater.api.gates import GatesBody
from headwater.api.openapi import fails
from headwater.api.parts import Backend
from headwater.api.schedules import ScheduleBody, SkipOut
from headwater.api.setups import CrawlerBody, NewCrawler
from headwater.catalog import credentials, objects, tasks
from headwater.catalog.objects import CRAWLERS
from headwater.catalog.transaction import Transaction
from headwater.catalog.vault import Vault, redact
from headwater.domain.crawler import Crawler
from headwater.domain.errors import MethodNotAllowed
from headwater.domain.schedule import Dice
from headwater.domain.task import Publish, TaskState
from headwater.lifecycle import removal, setup

router = APIRouter(tags=["crawlers"])


class CredentialOut(BaseModel):
    """That there is a credential, and of what type; nothing of what it is."""

    type: str


class LoginCredentialOut(BaseModel):
    """The credential of the External that it names."""

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
    gates: GatesBody | None
    retries: int
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
            gates=None if crawler.gates is None else GatesBody.model_validate(crawler.gates),
            retries=crawler.retries,
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
    fid: str, body: NewCrawler, backend: Backend, response: Response, version: RunVersion = None
) -> Envelope[CrawlerOut]:
    """Set up a crawler of an External for a stream.

    Parameters and credential are checked against the version that its runs will have. With `version` they are
    checked against another one, with which tasks can be started; the crawler does not keep it.
    """
    stream = body.stream()

    def create(tx: Transaction, at: datetime) -> CrawlerOut:
        crawler = setup.create_crawler(
            tx,
            fid,
            stream,
            body.setting(body.meta.kept()),
            credential=body.credential,
            vault=backend.vault,
            at=at,
            version=version,
            dice=backend.dice,
        )
        return _out(tx, [crawler])[0]

    made = await backend.db.write(create, backend.clock())
    response.headers["Location"] = f"/crawlers/{made.fid}"
    return answer(response, made)


@router.post("/crawlers", include_in_schema=False)
async def crawlers_are_created_elsewhere() -> None:
    """Say where crawlers are created."""
    raise MethodNotAllowed("a crawler is created by the action POST /actions/externals/{fid}/crawler")


@router.get("/crawlers", dependencies=[READS])
async def list_crawlers(
    backend: Backend,
    request: Request,
    response: Response,
    external: str | None = None,
    stream: str | None = None,
    state: Annotated[TaskState | None, Query(description="Only those whose open task is in this state.")] = None,
    name: Annotated[str | None, Query(description="Only those whose `meta.name` is this.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Listing[CrawlerOut]:
    """List crawlers, newest first."""
    filters = {"external": external, "stream": stream, "name": name}
    where = {field: value for field, value in filters.items() if value is not None}
    after = position_of(cursor, str)

    def read(tx: Transaction) -> list[CrawlerOut]:
        among = None if state is None else tasks.crawlers_with(state)
        return _out(tx, objects.page(tx, CRAWLERS, where=where, after=after, limit=limit, among=among))

    page = await backend.db.read(read)
    return listing(request, response, page, limit=limit, last=page[-1].fid if page else None)


@router.get("/crawlers/{fid}", dependencies=[READS], responses=fails(404))
async def get_crawler(fid: str, backend: Backend, response: Response) -> Envelope[CrawlerOut]:
    """Read a crawler."""
    return answer(response, await backend.db.read(lambda tx: _out(tx, [objects.get(tx, CRAWLERS, fid)])[0]))


def _change(
    tx: Transaction,
    fid: str,
    expected: frozenset[int] | None,
    body: CrawlerBody | dict[str, Any],
    *,
    vault: Vault,
    at: datetime,
    version: int | None,
    dice: Dice,
) -> CrawlerOut:
    old = objects.get(tx, CRAWLERS, fid, lock=True)
    objects.require_version(old, expected)
    keeps = False
    if isinstance(body, dict):
        keeps = "credential" not in body
        body = patched(_body(old), body)
    # What GET shows of a credential, sent back, means the one that is there; of a login it names it.
    if keeps or (body.credential is not None and body.credential == {"type": old.credential_type}):
        credential: dict[str, Any] | None = setup.KEEP
    else:
        credential = body.credential
    setting = body.setting(body.meta.kept())
    new = setup.change_crawler(tx, old, setting, credential=credential, vault=vault, at=at, version=version, dice=dice)
    return _out(tx, [new])[0]


def _body(crawler: Crawler) -> CrawlerBody:
    return CrawlerBody.model_validate(
        {
            "params": redact(crawler.params),
            "schedule": None if crawler.schedule is None else asdict(crawler.schedule),
            "timeout": crawler.timeout,
            "publish": crawler.publish,
            "gates": None if crawler.gates is None else asdict(crawler.gates),
            "retries": crawler.retries,
            "meta": crawler.meta,
        }
    )


@router.patch("/crawlers/{fid}", dependencies=[WRITES], responses=fails(404, 409, 412, 415))
async def patch_crawler(
    fid: str,
    patch: Annotated[MergePatch, merge_patch(CrawlerBody)],
    expected: IfMatch,
    backend: Backend,
    response: Response,
    version: RunVersion = None,
) -> Envelope[CrawlerOut]:
    """Change a crawler by a merge patch; a task that runs goes on as it was started."""
    changed = await backend.db.write(
        _change, fid, expected, patch, vault=backend.vault, at=backend.clock(), version=version, dice=backend.dice
    )
    return answer(response, changed)


@router.put("/crawlers/{fid}", dependencies=[WRITES], responses=fails(404, 409, 412, 415))
async def put_crawler(
    fid: str,
    body: CrawlerBody,
    expected: IfMatch,
    backend: Backend,
    response: Response,
    version: RunVersion = None,
) -> Envelope[CrawlerOut]:
    """Set a crawler up anew; what is not sent goes back to its default, the credential included."""
    changed = await backend.db.write(
        _change, fid, expected, body, vault=backend.vault, at=backend.clock(), version=version, dice=backend.dice
    )
    return answer(response, changed)


@router.delete("/crawlers/{fid}", dependencies=[WRITES], responses=fails(404, 409, 412))
async def delete_crawler(
    fid: str,
    expected: IfMatch,
    backend: Backend,
    cascade: Annotated[bool, Query(description="Delete its tasks too; their documents leave the stream.")] = False,
) -> Envelope[None]:
    """Delete a crawler; once it has tasks, only with `cascade`."""
    await backend.db.write(
        removal.remove_crawler, fid, cascade=cascade, expected=expected, vault=backend.vault, at=backend.clock()
    )
    return Envelope(payload=None)
