"""Reads documents of a stream: a page, one, or all, at any retained version."""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pyarrow import RecordBatch

from headwater.catalog import objects, segment_tables, segments
from headwater.catalog.core.database import Database
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import TASKS
from headwater.domain.errors import NotFound
from headwater.domain.filter import Condition
from headwater.domain.segment_table import VisibleSegments, all_of
from headwater.domain.stream import Segment, Stream
from headwater.lake import current
from headwater.lake.engine import Engine, Found
from headwater.lake.integrity import Skipped
from headwater.lake.page_size import PAGE_TEXT, is_full, page_of
from headwater.streams.views import View, visibility


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page of a stream's documents, in id order."""

    docs: list[Found]
    #: The stream version of the page.
    version: int
    #: The id after which the next page starts; None if this is the last.
    next_after: str | None


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """A page of a task's own documents, in order of arrival."""

    docs: list[Found]
    #: The position in the attempt after which the next page starts; None if this is the last.
    next_after: int | None


@dataclass(frozen=True, kw_only=True)
class Documents:
    """All documents of a view of a stream, readable at any time: the view does not move."""

    stream: Stream
    view: View
    #: Ids that divide them into ranges that fit into memory.
    bounds: list[str]
    #: Collects the damaged segments that are skipped, also during reading; None: they are errors.
    skipped: Skipped | None = None


class DocumentReader:
    """Reads documents."""

    def __init__(self, db: Database, engine: Engine) -> None:
        """Query the catalog for the segments, and the engine for their documents."""
        self._db = db
        self._engine = engine

    async def page(
        self,
        stream: str,
        view: View,
        *,
        after: str | None,
        limit: int,
        condition: Condition | None = None,
        skipped: Skipped | None = None,
    ) -> Page:
        """Return the documents after the id ``after`` that match a condition.

        Raises:
            SegmentDamaged: a segment is damaged, and ``skipped`` is None.
                NotFound, RequestInvalid, VersionForgotten: the stream or view does not exist.
        """
        _, version, seen = await self._db.read(_look, stream, view, from_id=after)
        seen = await intact(self._engine, seen, skipped)
        # One document more than the limit shows whether there is a next page.
        docs = await self._engine.ask(
            current.page, self._engine, seen, after=after, limit=limit + 1, condition=condition
        )
        shown, more = page_of(docs, limit, current.text_of)
        return Page(docs=shown, version=version, next_after=shown[-1].id if more else None)

    async def one(self, stream: str, view: View, doc_id: str, *, skipped: Skipped | None = None) -> Found:
        """Return a document.

        Raises:
            SegmentDamaged: a segment is damaged, and ``skipped`` is None.
                NotFound: the document is not visible in the stream.
                NotFound, RequestInvalid, VersionForgotten: the stream or view does not exist.
        """
        _, version, seen = await self._db.read(_look, stream, view, from_id=doc_id, to_id=doc_id)
        seen = await intact(self._engine, seen, skipped)
        document = await self._engine.ask(current.one, self._engine, seen, doc_id)
        if document is None:
            shows = f"shows no document {doc_id!r}" if view.as_of is None else f"showed no document {doc_id!r} then"
            damaged = ", ".join(segment.fid for segment in skipped or ())
            unread = f"; it may be in a damaged segment that was skipped: {damaged}" if damaged else ""
            raise NotFound(f"stream {stream}, at version {version}, {shows}{unread}")
        return document

    async def documents(self, stream: str, view: View, *, skipped: Skipped | None = None) -> Documents:
        """Return all documents of a view, to be read with ``batches``.

        Raises:
            SegmentDamaged: a segment is damaged, and ``skipped`` is None.
                NotFound, RequestInvalid, VersionForgotten: the stream or view does not exist.
        """
        found, version, seen = await self._db.read(_look, stream, view)
        seen = await intact(self._engine, seen, skipped)
        bounds = await self._engine.ask(current.bounds, self._engine, seen)
        view = View(as_of=version, without=view.without)
        return Documents(stream=found, view=view, bounds=bounds, skipped=skipped)

    async def batches(
        self, documents: Documents, *, question: str = current.DOCUMENTS, values: Mapping[str, Any] | None = None
    ) -> AsyncIterator[RecordBatch]:
        """Yield the result of a query on documents, range by range (see ``lake/current.py``).

        The catalog is queried again for each range, so that a long read never opens a file that was merged away long
        before.
        """
        for after, bound in zip([None, *documents.bounds], [*documents.bounds, None], strict=True):
            _, _, seen = await self._db.read(_look, documents.stream.fid, documents.view, from_id=after)
            seen = await intact(self._engine, seen, documents.skipped)
            batches = current.between(self._engine, seen, after=after, bound=bound, question=question, values=values)
            async for batch in each(self._engine, batches):
                yield batch

    async def arrivals(
        self,
        task: str,
        *,
        after: int | None,
        limit: int,
        most_text: int = PAGE_TEXT,
        skipped: Skipped | None = None,
    ) -> Arrivals:
        """Return the documents of a task's current attempt in order of arrival, visible or not.

        A page ends with the document with which its texts reach ``most_text`` characters.

        Raises:
            NotFound: the task does not exist.
                SegmentDamaged: a segment is damaged, and ``skipped`` is None.
        """
        found = await self._db.read(_arrived, task)
        if skipped is not None:
            seen = await intact(self._engine, all_of(found), skipped)
            kept = {segment.fid for segment in seen.segments}
            found = [segment for segment in found if segment.fid in kept]
        behind = -1 if after is None else after
        docs: list[tuple[int, Found]] = []
        for place, segment in enumerate(found):
            ends = found[place + 1].base if place + 1 < len(found) else None
            if len(docs) > limit or is_full(docs, _text_of) or (ends is not None and ends <= behind + 1):
                continue
            rows = await self._engine.ask(
                current.arrived, self._engine, segment, after=behind - segment.base, limit=limit + 1 - len(docs)
            )
            docs += [(segment.base + pos, document) for pos, document in rows]
        shown, more = page_of(docs, limit, _text_of, most=most_text)
        return Arrivals(docs=[document for _, document in shown], next_after=shown[-1][0] if more else None)


def _text_of(arrived: tuple[int, Found]) -> int:
    return current.text_of(arrived[1])


async def intact(engine: Engine, seen: VisibleSegments, skipped: Skipped | None) -> VisibleSegments:
    """Return the readable segments; all of them if ``skipped`` is None."""
    return seen if skipped is None else await engine.ask(engine.intact, seen, skipped)


async def each(engine: Engine, batches: Iterator[RecordBatch]) -> AsyncIterator[RecordBatch]:
    """Yield the batches of a streamed result, each read in a thread of the engine."""
    while (batch := await engine.ask(next, batches, None)) is not None:
        yield batch


def _look(
    tx: Transaction, fid: str, view: View, *, from_id: str | None = None, to_id: str | None = None
) -> tuple[Stream, int, VisibleSegments]:
    """Return a stream, the version that a view shows, and the files that may have ids in a range."""
    stream, seen = visibility(tx, fid, view)
    return stream, seen.version, segment_tables.visible(tx, fid, seen).holding(from_id, to_id)


def _arrived(tx: Transaction, fid: str) -> list[Segment]:
    return segments.of_attempt(tx, objects.get(tx, TASKS, fid))
