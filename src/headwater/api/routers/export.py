"""Export of a stream's documents: as a streamed response, or prepared as a file."""

import csv
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, Self

from fastapi import Depends, Path, Query, Request, Response, status
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, Field

from headwater.api import routing
from headwater.api.auth import READS
from headwater.api.compression import encoded, negotiated
from headwater.api.dependencies import Services, ServicesOf
from headwater.api.head import file_response, is_head, nothing
from headwater.api.openapi import fails
from headwater.api.query_params import AskedSkipped, AskedView, Comparisons, Words
from headwater.api.responses import EXAMPLE_FID, Envelope, headers_of
from headwater.domain.download_name import attachment
from headwater.domain.errors import Flaw, RequestInvalid
from headwater.domain.filter import condition_of
from headwater.streams.documents import Documents
from headwater.streams.export import ExportFormat, Layout, Selection, check_layout, pieces
from headwater.streams.prepared_exports import PreparedExport

router = routing.router("reading")

_CONTENT = {form.media_type: {"schema": {"type": "string", "format": "binary"}} for form in ExportFormat}


@dataclass(frozen=True, kw_only=True)
class AskedExport:
    """What is exported, and in which form."""

    form: ExportFormat
    selection: Selection
    layout: Layout


async def _asked(
    form: Annotated[ExportFormat, Query(alias="format", description="The form of the file.")] = ExportFormat.NDJSON,
    columns: Annotated[
        Literal["infer"] | None,
        Query(description="`infer`: a Parquet file has the top-level fields as typed columns, nested ones included."),
    ] = None,
    document: Annotated[
        bool, Query(description="`false`: a Parquet file has no column with the text of each document.")
    ] = True,
    q: Words = None,
    where: Comparisons = None,
    fields: Annotated[
        list[str] | None,
        Query(description="Only these top-level fields, in this order, separated by commas.", examples=[["id,price"]]),
    ] = None,
    defuse: Annotated[
        bool,
        Query(description="`true`: texts of CSV that a spreadsheet would take for formulas begin with an apostrophe."),
    ] = False,
    bom: Annotated[
        bool, Query(description="`true`: a CSV file begins with a byte-order mark, by which Excel knows UTF-8.")
    ] = False,
) -> AskedExport:
    return AskedExport(
        form=form,
        selection=Selection(condition=condition_of(q, where or []), fields=_fields(fields or [])),
        layout=Layout(infer=columns == "infer", has_document=document, is_defused=defuse, has_mark=bom),
    )


Asked = Annotated[AskedExport, Depends(_asked)]


class PreparedOut(BaseModel):
    """An export that was written to a file."""

    fid: str = Field(examples=[EXAMPLE_FID])
    type: str = "exports"
    stream: str
    stream_version: int = Field(description="The version that it shows.", examples=[12])
    format: ExportFormat
    size: int = Field(description="Bytes.", examples=[28650])
    path: str = Field(description="Where it is downloaded, with ranges.")
    created_at: datetime
    expires_at: datetime = Field(description="When it is deleted: a day later.")

    @classmethod
    def of(cls, export: PreparedExport) -> Self:
        """Return an export as it is answered."""
        return cls(
            fid=export.fid,
            stream=export.stream,
            stream_version=export.stream_version,
            format=export.form,
            size=export.size,
            path=f"/streams/{export.stream}/exports/{export.fid}",
            created_at=export.created_at,
            expires_at=export.expires_at,
        )


@router.get(
    "/streams/{fid}/export",
    dependencies=[READS],
    responses=fails(404) | {200: {"content": _CONTENT}},
    response_class=StreamingResponse,
)
async def export(
    fid: str, services: ServicesOf, request: Request, view: AskedView, skipped: AskedSkipped, asked: Asked
) -> StreamingResponse:
    """Export documents in id order: the current ones, or those of another view.

    `ndjson`: each exactly as it was uploaded. `csv`: the top-level fields as columns, nested values as
    JSON. `parquet`: id, task and document. `xlsx`: the top-level fields as an Excel sheet. NDJSON and CSV are
    compressed according to `Accept-Encoding`.

    With `skip_damaged`, skipped damaged segments are named in `Headwater-Skipped-Segments`, by a
    last line `{"$skipped_segments": [...]}` of NDJSON, and by `headwater.skipped_segments` in the metadata of
    a Parquet file. If damage is found while CSV or XLSX is being sent, the response is aborted.
    """
    form = asked.form
    documents = await services.reader.documents(fid, view, skipped=skipped)
    if is_head(request.scope):
        check_layout(form, asked.layout)
        file = nothing()
    else:
        file = await _pieces(services, documents, asked)
    headers = {"Content-Disposition": _disposition(documents, form)} | headers_of(skipped)
    if not form.is_compressed:
        encoding = negotiated(", ".join(request.headers.getlist("accept-encoding")))
        file, headers = encoded(file, encoding), headers | encoding.headers
    return StreamingResponse(file, media_type=form.media_type, headers=headers)


@router.post(
    "/actions/streams/{fid}/export",
    status_code=status.HTTP_201_CREATED,
    dependencies=[READS],
    responses=fails(404, 507),
)
async def prepare_export(
    fid: str, services: ServicesOf, view: AskedView, asked: Asked, response: Response
) -> Envelope[PreparedOut]:
    """Write an export to a file, which is kept for a day and can be downloaded by parts, at the `path` answered.

    It takes the parameters of the export, and answers when the file is complete. Twenty files of a stream are kept.
    """
    documents = await services.reader.documents(fid, view)
    export = await services.prepared_exports.add(
        await _pieces(services, documents, asked),
        stream=documents.stream.fid,
        prepared_version=documents.stream.stream_version,
        stream_version=documents.view.as_of or documents.stream.stream_version,
        form=asked.form,
        disposition=_disposition(documents, asked.form),
        at=services.clock(),
    )
    made = PreparedOut.of(export)
    response.headers["Location"] = made.path
    return Envelope(payload=made)


@router.get(
    "/streams/{fid}/exports/{export_fid}",
    dependencies=[READS],
    responses=fails(404) | {200: {"content": _CONTENT}, 206: {"description": "The range asked for."}},
    response_class=FileResponse,
)
async def get_prepared_export(
    fid: str,
    export_fid: Annotated[str, Path(description="Of the answer to `prepare_export`.")],
    services: ServicesOf,
    request: Request,
) -> Response:
    """Download a prepared export, whole or by `Range`. Its `ETag` never changes; `If-Range` is understood."""
    export, file = await services.prepared_exports.find(fid, export_fid, at=services.clock())
    headers = {"Content-Disposition": export.disposition, "ETag": f'"{export.fid}"', "Cache-Control": "private"}
    return file_response(
        request.scope, file.path, media_type=export.form.media_type, headers=headers, release=file.release
    )


async def _pieces(services: Services, documents: Documents, asked: AskedExport) -> AsyncIterator[bytes]:
    return await pieces(
        services.reader, services.engine, documents, asked.form, selection=asked.selection, layout=asked.layout
    )


def _fields(given: list[str]) -> tuple[str, ...]:
    """Split comma-separated names; a name with a comma is quoted, as in CSV.

    Raises:
        RequestInvalid: a quote is not closed.
    """
    try:
        return tuple(dict.fromkeys(name for one in given for name in next(csv.reader([one], strict=True), [""])))
    except csv.Error as error:
        detail = f"names of fields are separated by commas, and one with a comma in it is in double quotes: {error}"
        raise RequestInvalid(f"?fields: {detail}", flaws=[Flaw(pointer="?fields", detail=detail)]) from error


def _disposition(documents: Documents, form: ExportFormat) -> str:
    """Return the header with a file name made of the stream's name and version."""
    stream = documents.stream
    return attachment(str(stream.meta.get("name") or ""), stream.fid, f"-v{documents.view.as_of}.{form}")
