"""A stream as files for readers on other machines, cut into ranges of ids."""

from datetime import datetime
from typing import Annotated, Literal, Self

from fastapi import Query, Request
from pydantic import BaseModel, Field

from headwater.api import iceberg_access, routing
from headwater.api.auth import READS, Reader
from headwater.api.dependencies import ServicesOf
from headwater.api.head import is_head
from headwater.api.openapi import fails
from headwater.api.query_params import AskedView
from headwater.api.responses import EXAMPLE_FID, Envelope
from headwater.lake.plan import MOST_RANGES, Plan, PlannedFile
from headwater.streams.iceberg import READERS_LEAVE, Warehouse, look_at

router = routing.router("reading")

#: Ranges unless the caller asks for another number.
RANGES = 16


class DeletesOut(BaseModel):
    """The positions of rows of a segment that the stream does not show."""

    location: str = Field(
        description="A Parquet file: its column `pos` has the positions, ascending. It is a position delete file of "
        "Iceberg, whose `file_path` readers may ignore.",
        examples=[f"s3://iceberg/files/{EXAMPLE_FID}/iceberg/{EXAMPLE_FID}/plan/12-3/deletes-{EXAMPLE_FID}.parquet"],
    )
    size: int = Field(examples=[1873])
    rows: int = Field(description="How many positions it has.", examples=[310])


class SegmentOut(BaseModel):
    """A file with documents of the stream."""

    location: str = Field(
        description="A Parquet file with the columns `doc_id`, `doc` and, unless all rows are of one task, `task`.",
        examples=[f"s3://iceberg/files/{EXAMPLE_FID}/streams/{EXAMPLE_FID}/{EXAMPLE_FID}.parquet"],
    )
    size: int = Field(description="In bytes.", examples=[5_120_311])
    rows: int = Field(description="All that it has, also those that do not show.", examples=[40_000])
    task: str | None = Field(description="The task of all rows; null: the column `task` has that of each.")
    deletes: DeletesOut | None = Field(description="The rows to leave out; null if all show.")


class RangeOut(BaseModel):
    """The documents after an id, up to another."""

    after: str | None = Field(description="Exclusive; null: from the first id on.", examples=["sku-1"])
    upto: str | None = Field(description="Inclusive; null: to the last id.", examples=["sku-2"])
    segments: list[SegmentOut] = Field(description="The files that may have rows with ids of the range, and others.")


class PlanOut(BaseModel):
    """A version of a stream as files: all ranges together are exactly what an export has."""

    version: int = Field(description="The stream version.", examples=[12])
    docs: int = Field(description="How many documents it shows.", examples=[1_000_000])
    warehouse: str = Field(description="How locations are to be read.", examples=[iceberg_access.SERVED])
    config: dict[str, str] = Field(
        description="How to read `s3://` locations, by the names of Iceberg: endpoint, region and credentials. Empty "
        "for files of the data directory.",
        examples=[{"s3.endpoint": "http://127.0.0.1:8080/", "s3.session-token": "…"}],
    )
    expires_at: datetime = Field(
        description="Until when the files can be read; then ask again, with `as_of` this version.",
        examples=["2026-03-01T13:30:00.000000Z"],
    )
    ranges: list[RangeOut] = Field(description="In the order of ids; together they cover all ids.")

    @classmethod
    def of(cls, plan: Plan, *, ranges: int, files: Warehouse, config: dict[str, str], expires_at: datetime) -> Self:
        """Return a plan in the form of the API."""
        segments = {file.path: _segment(file, files) for file in plan.files}
        return cls(
            version=plan.version,
            docs=plan.docs,
            warehouse=files.name,
            config=config,
            expires_at=expires_at,
            ranges=[
                RangeOut(after=one.after, upto=one.upto, segments=[segments[file.path] for file in one.files])
                for one in plan.ranges(ranges)
            ],
        )


@router.get("/streams/{fid}/plan", dependencies=[READS], responses=fails(404, 507))
async def plan_stream(
    fid: str,
    key: Reader,
    services: ServicesOf,
    request: Request,
    view: AskedView,
    ranges: Annotated[
        int, Query(ge=1, le=MOST_RANGES, description="Into how many ranges of ids the stream is cut, at most.")
    ] = RANGES,
    warehouse: Annotated[
        Literal["headwater", "local", "store"],
        Query(
            description="`headwater`: files are read over HTTP, with credentials of an hour. `local`: they are files "
            "of the data directory, for readers on the same machine. `store`: they are objects of the object store, "
            "with credentials of an hour from there."
        ),
    ] = "headwater",
) -> Envelope[PlanOut]:
    """Plan how several machines read a stream at once: ranges of ids, and the files to read for each.

    A plan is made when a view is first asked for, which takes as long as reading the ids of the stream, and kept for a
    day. `headwater_client.plan_reader` reads one.
    """
    files = iceberg_access.warehouse(warehouse, services.store, services.store_reader)
    expires_at = services.clock() + READERS_LEAVE
    if is_head(request.scope):
        look = await services.db.read(look_at, fid, view)
        plan, config = Plan(version=look.version, docs=0, files=[], bounds=[]), {}
    else:
        plan = await services.stream_plans.plan(fid, view)
        config = await iceberg_access.properties(fid, key, request, services, files)
    return Envelope(payload=PlanOut.of(plan, ranges=ranges, files=files, config=config, expires_at=expires_at))


def _segment(file: PlannedFile, files: Warehouse) -> SegmentOut:
    deletes = file.deletes
    return SegmentOut(
        location=files.locate(file.path),
        size=file.size,
        rows=file.rows,
        task=file.task,
        deletes=None
        if deletes is None
        else DeletesOut(location=files.locate(deletes.path), size=deletes.size, rows=deletes.rows),
    )
