"""Exports all documents of a view as one file, in id order, streamed while it is written."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, cast

import msgspec
import pyarrow as pa

from headwater.domain.errors import Flaw, RequestInvalid, Unavailable
from headwater.domain.filter import Condition
from headwater.lake.current import documents_of
from headwater.lake.engine import Engine, lines
from headwater.lake.filters import clause
from headwater.lake.tables import Fields, chosen
from headwater.lake.tabular import Columns, csv_header, csv_lines, names_of, texts_of
from headwater.streams.documents import DocumentReader, Documents
from headwater.streams.parquet import ROW_GROUP_BYTES, ParquetWriter
from headwater.streams.spreadsheet import SpreadsheetWriter

_MARK = b"\xef\xbb\xbf"


class ExportFormat(StrEnum):
    """The format of an export."""

    #: One document on each line, as it was uploaded.
    NDJSON = "ndjson"
    #: The top-level fields as columns (RFC 4180).
    CSV = "csv"
    #: Id, task and text of each document, and optionally the top-level fields.
    PARQUET = "parquet"
    #: An Excel workbook with the top-level fields as columns.
    XLSX = "xlsx"

    @property
    def media_type(self) -> str:
        """Its media type."""
        return {
            ExportFormat.NDJSON: "application/x-ndjson",
            ExportFormat.CSV: "text/csv; charset=utf-8; header=present",
            ExportFormat.PARQUET: "application/vnd.apache.parquet",
            ExportFormat.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        }[self]

    @property
    def is_compressed(self) -> bool:
        """Whether it is already compressed."""
        return self in {ExportFormat.PARQUET, ExportFormat.XLSX}


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The documents of an export, and the fields of each."""

    #: The condition on documents; None selects all.
    condition: Condition | None = None
    #: The top-level fields to keep, in this order; empty keeps documents unchanged.
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Options of the formats."""

    #: Parquet: whether the top-level fields are typed columns.
    infer: bool = False
    #: Parquet: whether there is a column with the text of each document.
    has_document: bool = True
    #: CSV: whether texts that a spreadsheet would run as formulas begin with an apostrophe.
    is_defused: bool = False
    #: CSV: whether the file begins with a byte-order mark, by which Excel detects UTF-8.
    has_mark: bool = False


ALL = Selection()
PLAIN = Layout()


class _Writer(Protocol):
    #: Whether the file can list the skipped segments after its rows.
    names_skipped: bool

    def add(self, batch: pa.RecordBatch) -> bytes:
        """Add the next documents, and return the finished part of the file."""
        ...

    def finish(self, skipped: Sequence[dict[str, str | None]]) -> bytes:
        """Return the rest of the file, which lists the ``skipped`` segments if its format can."""
        ...


async def pieces(
    reader: DocumentReader,
    engine: Engine,
    documents: Documents,
    form: ExportFormat,
    *,
    selection: Selection = ALL,
    layout: Layout = PLAIN,
    row_group_bytes: int = ROW_GROUP_BYTES,
) -> AsyncIterator[bytes]:
    """Return the file in chunks.

    The first chunk is ready when this returns, so that unreadable data is an error instead of a truncated file.
    Without documents, or without any field in them, a CSV file is empty.

    Raises:
        SegmentDamaged: a segment is damaged, and ``documents`` do not skip it.
        RequestInvalid: there are too many fields for columns, or the layout does not fit the format.
        NotFound, VersionForgotten, Unavailable: the documents cannot be read.
    """
    check_layout(form, layout)
    source = _Source(reader, engine, documents, selection)
    match form:
        case ExportFormat.NDJSON:
            return await _with_first_chunk(source.lines())
        case ExportFormat.CSV:
            return await _with_first_chunk(_csv(engine, source, layout))
        case ExportFormat.PARQUET:
            fields = await source.fields() if layout.infer else None
            writer = ParquetWriter(fields, has_document=layout.has_document, row_group_bytes=row_group_bytes)
            return await _with_first_chunk(_written(engine, source, writer))
        case ExportFormat.XLSX:
            return await _with_first_chunk(_written(engine, source, SpreadsheetWriter(await source.fields())))


def check_layout(form: ExportFormat, layout: Layout) -> None:
    """Raise if the layout has options of another format.

    Raises:
        RequestInvalid: it has.
    """
    for parameter, is_given, only in (
        ("columns=infer", layout.infer, ExportFormat.PARQUET),
        ("document=false", not layout.has_document, ExportFormat.PARQUET),
        ("defuse=true", layout.is_defused, ExportFormat.CSV),
        ("bom=true", layout.has_mark, ExportFormat.CSV),
    ):
        if is_given and form is not only:
            detail = f"{parameter} goes with format={only}, not with format={form}; leave it out"
            raise RequestInvalid(detail, flaws=[Flaw(pointer=f"?{parameter.split('=')[0]}", detail=detail)])


class _Source:
    """The selected documents, in id order; can be read repeatedly."""

    def __init__(self, reader: DocumentReader, engine: Engine, documents: Documents, selection: Selection) -> None:
        self._reader = reader
        self._engine = engine
        self._documents = documents
        self._chosen = selection.fields
        self._condition, self._values = (None, {}) if selection.condition is None else clause(selection.condition)

    @property
    def skipped(self) -> list[dict[str, str | None]]:
        """The damaged segments that were skipped."""
        return [{"segment": segment.fid, "task": segment.task} for segment in self._documents.skipped or ()]

    def no_more_skipped(self) -> Callable[[], None]:
        """Return a check that no further segment was skipped: some formats cannot list them after the rows."""
        known = len(self.skipped)

        def check() -> None:
            if len(self.skipped) > known:
                raise Unavailable("a segment was found damaged while the file was sent; ask again to have it skipped")

        return check

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield the documents as lines, unchanged unless fields are selected."""
        if self._chosen:
            async for batch in self.texts():
                yield "".join(f"{text}\n" for text in cast("Any", batch).column("doc").to_pylist()).encode()
        else:
            async for batch in self._query(documents_of):
                yield lines(batch)
        if self.skipped:
            yield msgspec.json.encode({"$skipped_segments": self.skipped}) + b"\n"

    async def texts(self, *, is_whole: bool = False) -> AsyncIterator[pa.RecordBatch]:
        """Yield ``doc_id``, ``task``, and ``doc``: with only the selected fields, unless ``is_whole``."""
        async for batch in self._query(texts_of):
            yield await self._engine.ask(chosen, batch, self._chosen) if self._chosen and not is_whole else batch

    async def columns(self) -> Columns:
        """Return the names of the fields.

        Raises:
            RequestInvalid: there are too many.
        """
        columns = Columns(self._chosen)
        if not self._chosen:
            async for batch in self._query(names_of):
                columns.add(cast("Any", batch).column("name").to_pylist())
        return columns

    async def fields(self) -> Fields:
        """Return the fields with their inferred types.

        Raises:
            RequestInvalid: there are too many.
        """
        fields = Fields(self._chosen)
        async for batch in self._query(texts_of):
            await self._engine.ask(fields.add, batch)
        fields.settle()
        return fields

    def _query(self, question: Callable[[str | None], str]) -> AsyncIterator[pa.RecordBatch]:
        return self._reader.batches(self._documents, question=question(self._condition), values=self._values)


async def _with_first_chunk(file: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    first = await anext(file, b"")

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for piece in file:
            yield piece

    return whole()


async def _csv(engine: Engine, source: _Source, layout: Layout) -> AsyncIterator[bytes]:
    columns = await source.columns()
    if not columns.names:
        return
    begin = _MARK if layout.has_mark else b""
    begin += csv_header(columns.names, is_defused=layout.is_defused)
    check = source.no_more_skipped()
    async for batch in source.texts(is_whole=True):
        check()
        yield begin + await engine.ask(csv_lines, engine, columns, batch, is_defused=layout.is_defused)
        begin = b""
    if begin:  # fields were selected, and there are no documents
        yield begin


async def _written(engine: Engine, source: _Source, writer: _Writer) -> AsyncIterator[bytes]:
    check = source.no_more_skipped() if not writer.names_skipped else None
    async for batch in source.texts():
        if check is not None:
            check()
        if piece := await engine.ask(writer.add, batch):
            yield piece
    yield await engine.ask(writer.finish, source.skipped)
