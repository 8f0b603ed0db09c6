"""Keeps a table of a database equal to a stream."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dlt

from headwater_client.dlt.destinations import target_of
from headwater_client.dlt.resource import COLUMNS, VERSION, described, external_of, resource_of
from headwater_client.sync_marks import Mark, MarkFile

if TYPE_CHECKING:
    from headwater_client.headwater import Headwater
    from headwater_client.models.objects import Stream

DATASET = "headwater"


@dataclass(frozen=True)
class Synced:
    """What a sync did."""

    #: The stream's version that the table equals.
    version: int
    #: ``dataset.table``.
    table: str
    #: Number of rows that were written or deleted.
    rows: int


def sync(
    headwater: Headwater,
    stream: Stream | str,
    url: str,
    *,
    folder: Path,
    table: str | None = None,
    dataset: str = DATASET,
    is_full: bool = False,
) -> Synced:
    """Load what has changed in a stream since the last sync into a table of a database.

    A sync that was killed is finished, or repeated, by the next one. Do not run two of one table at once.

    Args:
        headwater: the client.
        stream: the stream, or its fid.
        url: the database, such as ``postgresql://user:password@host/db`` or ``duckdb:///shop.duckdb``.
        folder: where dlt works; keep it from one sync to the next. Without it, the database is asked what it holds.
        table: its name; the stream's unless given.
        dataset: the schema (in some databases: dataset, or prefix) of the table.
        is_full: load all documents anew.

    Raises:
        UnknownDestination: the URL is of no known database.
        HeadwaterError: the stream cannot be read.
        dlt.pipeline.exceptions.PipelineStepFailed: the database cannot be written.
    """
    found = headwater.streams.get(stream)
    external = external_of(headwater, found)
    target = target_of(url)
    resource, columns = resource_of(
        headwater, found, external, name=table, is_full=is_full, document_type=target.document_type
    )
    file = MarkFile.of(folder, stream=found.fid, url=url, table=table, dataset=dataset)
    is_known = file.read() is not None
    file.delete()
    if not target.is_compressed:
        dlt.config[f"{file.pipeline}.normalize.data_writer.disable_compression"] = True
    with _quiet():
        pipeline = dlt.pipeline(
            file.pipeline, pipelines_dir=str(folder), destination=target.destination, dataset_name=dataset
        )
        if is_full:
            pipeline = pipeline.drop()
        elif pipeline.has_pending_data:
            pipeline.run()  # of a sync that was killed
        elif not is_known:
            # Whatever the folder says may not have been loaded; the database says what was.
            pipeline = pipeline.drop()
        if pipeline.first_run:
            pipeline.sync_destination()
        held = _state(pipeline, resource.name).get(COLUMNS)
        # A column's type cannot be changed in place.
        refresh = "drop_resources" if held is not None and (is_full or held != described(columns)) else None
        # Both may be None, which the annotations of dlt do not say.
        pipeline.run(resource, loader_file_format=target.file_format, refresh=refresh)  # pyright: ignore[reportArgumentType]
    trace = pipeline.last_trace
    normalized = None if trace is None else trace.last_normalize_info
    rows = 0 if normalized is None else normalized.row_counts.get(resource.name, 0)
    version = _state(pipeline, resource.name)[VERSION]
    mark = Mark(version=version, external=_described(external), table=f"{dataset}.{resource.name}")
    file.write(mark)
    return Synced(version=version, table=mark.table, rows=rows)


def _described(external: Any) -> str:
    return "" if external is None else f"{external.fid} {external.version}"


def _state(pipeline: dlt.Pipeline, resource: str) -> dict[str, Any]:
    """Return the state of the resource."""
    sources: dict[str, Any] = pipeline.state.get("sources", {})  # pyright: ignore[reportAssignmentType]
    for source in sources.values():
        resources: dict[str, dict[str, Any]] = source.get("resources", {})
        if resource in resources:
            return resources[resource]
    return {}


@contextmanager
def _quiet() -> Generator[None]:
    """Have dlt log errors only: it warns of hints that are meant, such as that a column of text holds JSON.

    Its own statements make SQLAlchemy warn.
    """
    log = logging.getLogger("dlt")  # a filter, since dlt sets its level anew
    log.addFilter(_is_error)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"dlt\.")
            yield
    finally:
        log.removeFilter(_is_error)


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR
