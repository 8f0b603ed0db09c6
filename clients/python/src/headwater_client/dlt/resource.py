"""The documents of a stream as a resource of dlt, loaded incrementally from the change feed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import dlt
import pyarrow as pa
import pyarrow.parquet as pq
from dlt.common.normalizers.naming.snake_case import NamingConvention

from headwater_client.dlt import tables
from headwater_client.dlt.columns import DELETED, DOCUMENT, ID, Column, columns_of
from headwater_client.errors import VersionForgotten
from headwater_client.net_changes import NetChanges
from headwater_client.requests import fid_of

if TYPE_CHECKING:
    from dlt.extract import DltResource

    from headwater_client.headwater import Headwater
    from headwater_client.models.objects import External, Stream

#: Rows of an exported file that are read at once.
_BATCH = 50_000
#: In the state of the resource.
STREAM, VERSION, COLUMNS = "stream", "version", "columns"


def documents(
    headwater: Headwater, stream: Stream | str, *, name: str | None = None, is_full: bool = False
) -> DltResource:
    """Return a resource with the documents of a stream, one row each, kept equal to what the stream shows.

    The first run loads an export, each later one the net changes since: documents of deleted runs are deleted, those of
    restored runs come back. The version reached is in the resource's state, which dlt stores with the data, so that a
    run that was killed is repeated. Columns are ``_id`` (the primary key), ``_task``, a typed column for each top-level
    field with one scalar type in the schema of the External, and ``_document``, the whole document as JSON.
    ``_deleted`` marks rows that dlt deletes. NUL, which databases cannot hold, is replaced by U+FFFD.

    Args:
        headwater: the client.
        stream: the stream, or its fid.
        name: the table; the name of the stream unless given.
        is_full: load all documents anew.
    """
    found = headwater.streams.get(stream)
    return resource_of(headwater, found, external_of(headwater, found), name=name, is_full=is_full)[0]


def external_of(headwater: Headwater, stream: Stream) -> External | None:
    """Return the External that fills a stream; None if the stream has no crawler."""
    crawler = next(headwater.crawlers.list(stream=stream), None)
    return None if crawler is None else headwater.externals.get(crawler.external)


def resource_of(
    headwater: Headwater,
    found: Stream,
    external: External | None,
    *,
    name: str | None,
    is_full: bool,
    document_type: Literal["json", "text"] = "json",
) -> tuple[DltResource, Sequence[Column]]:
    """Return the resource, and the columns of fields."""
    naming = NamingConvention()
    columns = columns_of(None if external is None else external.schema, naming.normalize_identifier)
    table = naming.normalize_identifier(name or found.name or f"stream_{found.fid}")

    @dlt.resource(
        name=table,
        primary_key=ID,
        write_disposition={"disposition": "merge", "strategy": "delete-insert"},
        columns={DELETED: {"hard_delete": True, "data_type": "bool"}, DOCUMENT: {"data_type": document_type}},
    )
    def rows() -> Iterator[Any]:
        state: dict[str, Any] = dlt.current.resource_state()
        held = None if is_full else _held(state, found.fid, columns)
        version = headwater.streams.get(found.fid).stream_version
        changed = None if held is None else _changed(headwater, found.fid, held, version, columns)
        if changed is not None:
            yield from changed
        else:
            yield from _all(headwater, found.fid, version, columns)
        state.update({STREAM: found.fid, VERSION: version, COLUMNS: described(columns)})

    return rows(), columns


def _held(state: Mapping[str, Any], stream: str, columns: Iterable[Column]) -> int | None:
    """Return the version that the table holds; None if it is of another stream, or has other columns."""
    if state.get(STREAM) != stream or state.get(COLUMNS) != described(columns):
        return None
    return state.get(VERSION)


def described(columns: Iterable[Column]) -> list[str]:
    """Return columns as they are in the state of the resource."""
    return [f"{column.name} {column.type} {column.field}" for column in columns]


def _all(headwater: Headwater, stream: str, version: int, columns: Sequence[Column]) -> Iterator[Any]:
    replacing = dlt.mark.make_hints(write_disposition="replace")
    yield dlt.mark.with_hints(tables.schema_of(columns).empty_table(), replacing)
    if version == 0:
        return
    with TemporaryDirectory() as folder:
        file = headwater.streams.save(stream, Path(folder, "export.parquet"), as_of=version)
        with pq.ParquetFile(file) as exported:
            batches: Iterator[pa.RecordBatch] = exported.iter_batches(_BATCH)  # pyright: ignore[reportUnknownMemberType]
            for batch in batches:
                yield from tables.tables_of_export(batch, columns)


def _changed(
    headwater: Headwater, stream: str, since: int, until: int, columns: Sequence[Column]
) -> Iterator[pa.Table] | None:
    """Return tables of the net changes between two versions; None if the stream cannot tell them any more."""
    if until < since:
        return None  # the server was restored from a backup
    lines = headwater.driver.iterate(NetChanges(stream=fid_of(stream), since=since, until=until))
    try:
        first = next(lines, None)
    except VersionForgotten:
        return None
    return tables.tables_of_changes(lines if first is None else chain([first], lines), columns)
