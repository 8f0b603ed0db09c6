"""Reading streams: documents, their history, the log."""

from datetime import datetime
from typing import Annotated, Any, cast

from fastapi import APIRouter, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import Match
from starlette.types import Scope

from headwater.api.auth import ADMINISTERS, READS
from headwater.api.documents import DocumentOut, DocumentsOut, answer_of, listing_of, raw, shown
from headwater.api.envelope import EXAMPLE_FID, Cursor, Envelope, Limit, Listing, cursor_for, listing, position_of
from headwater.api.openapi import fails
from headwater.api.parts import Backend
from headwater.api.views import HIGHEST, AskedView
from headwater.catalog import objects, streams
from headwater.catalog.objects import STREAMS
from headwater.catalog.transaction import Transaction
from headwater.catalog.vault import redact
from headwater.domain.condition import condition_of
from headwater.domain.errors import RequestInvalid
from headwater.domain.stream import Change, LogEntry
from headwater.streams.history import Standing, Version
from headwater.streams.views import View


class _Any(Convertor[str]):
    """A document's id in a path: any text, slashes and line ends too."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any", _Any())


class _Route(APIRoute):
    """A route that tells a document's history from a document that is called so: its own slash is written as %2F."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        is_of_document = "{doc_id:any}" in self.path
        if is_of_document and self.path.endswith("/history") != scope["raw_path"].endswith(b"/history"):
            return Match.NONE, {}
        return super().matches(scope)


router = APIRouter(tags=["reading"], route_class=_Route)


class LogOut(BaseModel):
    """What made a stream version."""

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
        "later attempt, `waiting` for its task to end well, `unpublished` because its attempt did not.",
        examples=["covered"],
    )
    doc: dict[str, Any] = Field(examples=[{"sku": "sku-1", "price": 12.5}])


class ErasedOut(BaseModel):
    """What was erased for good."""

    docs: int = Field(description="Versions of the document that there were.", examples=[4])
    rejects: int = Field(description="Rejected lines that were the document, or may have been.", examples=[0])
    stream_version: int = Field(description="The version that tells who follows the stream of it.", examples=[13])


@router.get("/streams/{fid}/docs", dependencies=[READS], responses=fails(404), response_model=DocumentsOut)
async def list_docs(
    fid: str,
    backend: Backend,
    request: Request,
    view: AskedView,
    q: Annotated[
        str | None, Query(description="Only documents whose text holds all of these words, whatever their case.")
    ] = None,
    where: Annotated[
        list[str] | None,
        Query(
            description="Only documents of which a comparison holds: `rating>=4`, `author.country=de`; repeatable.",
            examples=[["rating>=4"]],
        ),
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List documents in id order: the current ones, or those of another view.

    The pages that a cursor leads through are all of the stream version of the first one, which
    `stream_version` tells: `changes?since=` goes on from there.
    """
    condition = condition_of(q, where or [])
    after = None
    position = cast("list[Any] | None", position_of(cursor, list))
    if position is not None:
        after, version = _pair(position)
        view = View(as_of=version, without=view.without)
    page = await backend.reader.page(fid, view, after=after, limit=limit, condition=condition)
    following = None if page.next_after is None else cursor_for([page.next_after, page.version])
    return listing_of(request, [shown(found) for found in page.docs], following, stream_version=page.version)


@router.get(
    "/streams/{fid}/docs/{doc_id:any}/history",
    dependencies=[READS],
    responses=fails(404),
    response_model=Envelope[list[VersionOut]],
)
async def get_history(fid: str, doc_id: str, backend: Backend) -> Response:
    """Read every version of a document that is kept, newest first: who wrote it, and whether it shows.

    A document whose own id ends in `/history` is read with that slash written as `%2F`.
    """
    versions = await backend.historian.versions(fid, doc_id)
    return answer_of([_version(version) for version in versions])


@router.get(
    "/streams/{fid}/docs/{doc_id:any}",
    dependencies=[READS],
    responses=fails(404),
    response_model=Envelope[DocumentOut],
)
async def get_doc(fid: str, doc_id: str, backend: Backend, view: AskedView) -> Response:
    """Read a document as the stream shows it, or showed it."""
    return answer_of(shown(await backend.reader.one(fid, view, doc_id)))


@router.delete("/streams/{fid}/docs/{doc_id:any}", dependencies=[ADMINISTERS], responses=fails(404, 409))
async def erase_doc(fid: str, doc_id: str, backend: Backend) -> Envelope[ErasedOut]:
    """Erase a document for good, in every layer and every former version of the stream.

    This is for the law, not for undo: nothing brings it back. To take back what a task did, delete the
    task. Who follows the stream is told of a delete; the log keeps a line, without the id.
    """
    erased = await backend.eraser.erase(fid, doc_id)
    return Envelope(payload=ErasedOut(docs=erased.docs, rejects=erased.rejects, stream_version=erased.version))


@router.get("/streams/{fid}/log", dependencies=[READS], responses=fails(404))
async def list_log(
    fid: str, backend: Backend, request: Request, response: Response, limit: Limit = 50, cursor: Cursor = None
) -> Listing[LogOut]:
    """List what changed the stream, newest first."""
    before = position_of(cursor, int)

    def read(tx: Transaction) -> list[LogEntry]:
        objects.get(tx, STREAMS, fid)
        return streams.log(tx, fid, before=before, limit=limit)

    page = await backend.db.read(read)
    entries = [LogOut(**{name: getattr(entry, name) for name in LogOut.model_fields}) for entry in page]
    return listing(request, response, entries, limit=limit, last=page[-1].version if page else None)


@router.get("/tasks/{fid}/docs", dependencies=[READS], responses=fails(404), response_model=Listing[DocumentOut])
async def list_task_docs(
    fid: str, backend: Backend, request: Request, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """List the documents of a task's present attempt in order of arrival, whether the stream shows them or not.

    Of a document that it uploaded several times, the last remains once the task has ended and its
    segments are merged.
    """
    page = await backend.reader.arrivals(fid, after=position_of(cursor, int), limit=limit)
    following = None if page.next_after is None else cursor_for(page.next_after)
    return listing_of(request, [shown(found) for found in page.docs], following)


def _pair(position: list[Any]) -> tuple[str, int]:
    match position:
        case [str() as one, int() as other] if 0 <= other <= HIGHEST:
            return one, other
        case _:
            raise RequestInvalid("the cursor is none that this list gave out; begin with the first page")


def _version(version: Version) -> dict[str, object]:
    plain = ("task", "attempt", "external_version", "written_at", "standing")
    return {
        **{name: getattr(version, name) for name in plain},
        "params": None if version.params is None else redact(version.params),
        "shows": version.standing is Standing.SHOWN,
        "doc": raw(version.text),
    }
