"""Exporting all documents of a stream as a file."""

import re
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from headwater.api.auth import READS
from headwater.api.encodings import encoded, negotiated
from headwater.api.openapi import fails
from headwater.api.parts import Backend
from headwater.api.views import AskedView
from headwater.streams.export import ExportFormat, pieces
from headwater.streams.reading import Documents

router = APIRouter(tags=["reading"])

_CONTENT = {form.media_type: {"schema": {"type": "string", "format": "binary"}} for form in ExportFormat}


@router.get(
    "/streams/{fid}/export",
    dependencies=[READS],
    responses=fails(404) | {200: {"content": _CONTENT}},
    response_class=StreamingResponse,
)
async def export(
    fid: str,
    backend: Backend,
    request: Request,
    view: AskedView,
    form: Annotated[ExportFormat, Query(alias="format", description="The form of the file.")] = ExportFormat.NDJSON,
    columns: Annotated[
        Literal["infer"] | None,
        Query(description="`infer`: beside id, task and document, a Parquet file has the top-level fields, typed."),
    ] = None,
) -> StreamingResponse:
    """Export all documents in id order: the current ones, or those of another view.

    `ndjson`: each exactly as it was uploaded. `csv`: the top-level fields as columns, nested values as
    JSON. `parquet`: id, task and document. NDJSON and CSV come compressed as `Accept-Encoding` asks.
    """
    documents = await backend.reader.documents(fid, view)
    file = await pieces(backend.reader, backend.engine, documents, form, infer=columns == "infer")
    headers = {"Content-Disposition": f'attachment; filename="{_name(documents)}.{form}"'}
    if not form.is_compressed:
        encoding = negotiated(", ".join(request.headers.getlist("accept-encoding")))
        file, headers = encoded(file, encoding), headers | encoding.headers
    return StreamingResponse(file, media_type=form.media_type, headers=headers)


def _name(documents: Documents) -> str:
    """Return a file name that every system takes: the stream's name and the version that is shown."""
    stream = documents.stream
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", str(stream.meta.get("name") or stream.fid)).strip("-.") or stream.fid
    return f"{name}-v{documents.view.as_of}"
