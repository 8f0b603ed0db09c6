"""Documents of streams: list, read, history, erase; and the log of a stream."""

from datetime import datetime
from typing import Annotated, Any, Literal, cast

from fastapi import Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import Match
from starlette.types import Scope

from headwater.api import routing
from headwater.api.auth import ADMINISTERS, READS
from headwater.api.dependencies import Services, ServicesOf
from headwater.api.openapi import fails
from headwater.api.query_params import HIGHEST, AskedSkipped, AskedView, Comparisons, Words
from headwater.api.responses import (
    EXAMPLE_FID,
    Cursor,
    DocumentOut,
    DocumentsOut,
    Envelope,
    Limit,
    Listing,
    answer_of,
    cursor_for,
    listing,
    listing_of,
    position_of,
    raw,
    shown,
)
from headwater.catalog import objects, streams
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import STREAMS
from headwater.catalog.vault import redact
from headwater.domain.errors import RequestInvalid
from headwater.domain.filter import condition_of
from headwater.domain.stream import Change, LogEntry
from headwater.lake.integrity import Skipped
from headwater.streams.history import Order, Standing, Version
from headwater.streams.views import View


class _Any(Convertor[str]):
    """A document's id in a path: any text, including slashes and line breaks."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any", _Any())


class _Route(APIRoute):
    """Distinguishes the history of a document from a document whose id ends in ``/history``.

    The slash of such an id is sent as %2F. The document ``history`` is not ambiguous: no id precedes the suffix.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        if match is Match.NONE or "{doc_id:any}" not in self.path:
            return match, child
        ends_so = scope["raw_path"].endswith(b"/history")
        if self.path.endswith("/history"):
            is_meant = ends_so
        else:
            is_meant = not ends_so or child["path_params"]["doc_id"] == "history"
        return (match, child) if is_meant else (Match.NONE, {})


router = routing.router("reading", route_class=_Route)

#: A document's id as a query parameter, where no character has a special meaning: in a path, an id may be `.`, `..`,
#: empty, or contain slashes, which clients and proxies rewrite.
DocumentId = Annotated[str, Query(alias="id", description="The document's id, as it is.", examples=["a/b"])]


class LogOut(BaseModel):
    """What created a stream version."""

    version: int = Field(description="The stream version.", examples=[12])
    at: datetime = Field(examples=["2026-03-01T12:30:00.000000Z"])
    change: Change = Field(examples=["upload"])
    task: str | None = Field(description="Null where it was none, or several.", examples=[EXAMPLE_FID])
    attempt: int | None = Field(examples=[1])
    tasks: list[str] | None = Field(description="Those that went or came back together.", examples=[None])
    docs: int = Field(description="Document versions that came in or went out.", examples=[50])


class VersionOut(BaseModel):
    """A version of a document."""

    task: str = Field(description="The task that wrote it.", examples=[EXAMPLE_FID])
    attempt: int = Field(examples=[1])
    external_version: int | None = Field(
        description="The External's version that the attempt ran with; null where that is not known any more.",
        examples=[3],
    )
    params: dict[str, Any] | None = Field(description="What it was called with.", examples=[{"language": "de"}])
    written_at: datetime = Field(
        description="When it was uploaded. Of merged `on_success` uploads: when the last of them was.",
        examples=["2026-03-01T12:30:00.000000Z"],
    )
    shows: bool = Field(description="Whether the stream shows it.", examples=[False])
    standing: Standing = Field(
        description="`shown`, or why not: `covered` by a newer version, `removed` with its task, `replaced` by a "
        "later attempt, `dropped` by a later snapshot run, `deleted` as it is a deletion, `waiting` for its task to "
        "end well, `unpublished` because its attempt did not.",
        examples=["covered"],
    )
    op: Literal["upsert", "delete"] = Field(description="`delete`: this version deletes the document.")
    doc: dict[str, Any] | None = Field(description="Null in a deletion.", examples=[{"sku": "sku-1", "price": 12.5}])


class ErasedOut(BaseModel):
    """The result of an erasure."""

    docs: int = Field(description="Versions of the document that there were.", examples=[4])
    rejects: int = Field(description="Rejected lines that were the document, or may have been.", examples=[0])
    stream_version: int = Field(description="The version that tells who follows the stream of it.", examples=[13])


@router.get("/streams/{fid}/docs", dependencies=[READS], responses=fails(404), response_model=DocumentsOut)
async def list_docs(
    fid: str,
    services: ServicesOf,
    request: Request,
    view: AskedView,
    skipped: AskedSkipped,
    q: Words = None,
    where: Comparisons = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List documents in id order: the current ones, or those of another view.

    All pages of a cursor are of the stream version of the first one, which `stream_version` names:
    `changes?since=` continues from there.
    """
    condition = condition_of(q, where or [])
    after = None
    position = cast("list[Any] | None", position_of(cursor, list))
    if position is not None:
        after, version = _pair(position)
        view = View(as_of=version, without=view.without)
    page = await services.reader.page(fid, view, after=after, limit=limit, condition=condition, skipped=skipped)
    following = None if page.next_after is None else cursor_for([page.next_after, page.version])
    docs = [shown(found) for found in page.docs]
    return listing_of(request, docs, following, stream_version=page.version, skipped=skipped)


@router.get(
    "/streams/{fid}/docs/{doc_id:any}/history",
    dependencies=[READS],
    responses=fails(404),
    response_model=Listing[VersionOut],
)
async def get_history(
    fid: str,
    doc_id: str,
    services: ServicesOf,
    request: Request,
    skipped: AskedSkipped,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Read all stored versions of a document, newest first: who wrote each, and whether it is visible.

    A document whose own id ends in `/history` is read with that slash written as `%2F`.
    """
    return await _history(fid, doc_id, services, request, skipped, limit=limit, cursor=cursor)


@router.get(
    "/streams/{fid}/doc/history",
    dependencies=[READS],
    responses=fails(404),
    response_model=Listing[VersionOut],
)
async def get_history_by_id(
    fid: str,
    doc_id: DocumentId,
    services: ServicesOf,
    request: Request,
    skipped: AskedSkipped,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Read all stored versions of a document, whatever its id: the same as `/streams/{fid}/docs/{id}/history`."""
    return await _history(fid, doc_id, services, request, skipped, limit=limit, cursor=cursor)


@router.get(
    "/streams/{fid}/docs/{doc_id:any}",
    dependencies=[READS],
    responses=fails(404),
    response_model=Envelope[DocumentOut],
)
async def get_doc(fid: str, doc_id: str, services: ServicesOf, view: AskedView, skipped: AskedSkipped) -> Response:
    """Read a document as the stream shows it, or showed it.

    With `skip_damaged`, it may be an older version, if the newest one is in a damaged segment.
    """
    return await _document(fid, doc_id, services, view, skipped)


@router.get(
    "/streams/{fid}/doc",
    dependencies=[READS],
    responses=fails(404),
    response_model=Envelope[DocumentOut],
)
async def get_doc_by_id(
    fid: str, doc_id: DocumentId, services: ServicesOf, view: AskedView, skipped: AskedSkipped
) -> Response:
    """Read a document, whatever its id: the same as `/streams/{fid}/docs/{id}`."""
    return await _document(fid, doc_id, services, view, skipped)


@router.delete("/streams/{fid}/docs/{doc_id:any}", dependencies=[ADMINISTERS], responses=fails(404, 409))
async def erase_doc(fid: str, doc_id: str, services: ServicesOf) -> Envelope[ErasedOut]:
    """Erase a document permanently, in every layer and every former version of the stream.

    This is for legal obligations, not for undo: it cannot be restored. To take back what a task did, delete the
    task. Followers of the stream get a delete; the log has an entry, without the id.
    """
    if not doc_id:
        detail = "the path ends without an id; the document with the empty id is erased by DELETE …/doc?id="
        raise RequestInvalid(detail)
    return await _erase(fid, doc_id, services)


@router.delete("/streams/{fid}/doc", dependencies=[ADMINISTERS], responses=fails(404, 409))
async def erase_doc_by_id(fid: str, doc_id: DocumentId, services: ServicesOf) -> Envelope[ErasedOut]:
    """Erase a document permanently, whatever its id: the same as `DELETE /streams/{fid}/docs/{id}`."""
    return await _erase(fid, doc_id, services)


@router.get("/streams/{fid}/log", dependencies=[READS], responses=fails(404))
async def list_log(
    fid: str, services: ServicesOf, request: Request, response: Response, limit: Limit = 50, cursor: Cursor = None
) -> Listing[LogOut]:
    """List what changed the stream, newest first."""
    before = position_of(cursor, int)

    def read(tx: Transaction) -> list[LogEntry]:
        objects.get(tx, STREAMS, fid)
        return streams.log(tx, fid, before=before, limit=limit)

    page = await services.db.read(read)
    entries = [LogOut(**{name: getattr(entry, name) for name in LogOut.model_fields}) for entry in page]
    return listing(request, response, entries, limit=limit, last=page[-1].version if page else None)


@router.get("/tasks/{fid}/docs", dependencies=[READS], responses=fails(404), response_model=Listing[DocumentOut])
async def list_task_docs(
    fid: str, services: ServicesOf, request: Request, skipped: AskedSkipped, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """List the documents of a task's current attempt in order of arrival, whether the stream shows them or not.

    If it uploaded a document several times, only the last version remains once the task has ended and its
    segments are merged.
    """
    page = await services.reader.arrivals(fid, after=position_of(cursor, int), limit=limit, skipped=skipped)
    following = None if page.next_after is None else cursor_for(page.next_after)
    return listing_of(request, [shown(found) for found in page.docs], following, skipped=skipped)


async def _document(fid: str, doc_id: str, services: Services, view: View, skipped: Skipped | None) -> Response:
    found = await services.reader.one(fid, view, doc_id, skipped=skipped)
    return answer_of(shown(found), skipped=skipped)


async def _history(
    fid: str,
    doc_id: str,
    services: Services,
    request: Request,
    skipped: Skipped | None,
    *,
    limit: int,
    cursor: str | None,
) -> Response:
    position = cast("list[Any] | None", position_of(cursor, list))
    before = None if position is None else _order(position)
    page = await services.document_history.page(fid, doc_id, before=before, limit=limit, skipped=skipped)
    following = None if page.next_before is None else cursor_for(list(page.next_before))
    return listing_of(request, [_version(version) for version in page.versions], following, skipped=skipped)


async def _erase(fid: str, doc_id: str, services: Services) -> Envelope[ErasedOut]:
    erased = await services.document_erasure.erase(fid, doc_id)
    return Envelope(payload=ErasedOut(docs=erased.docs, rejects=erased.rejects, stream_version=erased.version))


def _pair(position: list[Any]) -> tuple[str, int]:
    match position:
        case [str() as one, int() as other] if 0 <= other <= HIGHEST:
            return one, other
        case _:
            raise RequestInvalid("the cursor is not valid for this list; start with the first page")


def _order(position: list[Any]) -> Order:
    match position:
        case [int() as layer, int() as place] if 0 <= layer <= HIGHEST and 0 <= place <= HIGHEST:
            return layer, place
        case _:
            raise RequestInvalid("the cursor is not valid for this list; start with the first page")


def _version(version: Version) -> dict[str, object]:
    plain = ("task", "attempt", "external_version", "written_at", "standing")
    return {
        **{name: getattr(version, name) for name in plain},
        "params": None if version.params is None else redact(version.params),
        "shows": version.standing is Standing.SHOWN,
        "op": "delete" if version.is_deletion else "upsert",
        "doc": None if version.is_deletion else raw(version.text),
    }
