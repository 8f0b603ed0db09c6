"""What a stream shows, a page or a document at a time, at any of its versions."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from pyarrow import RecordBatch

from headwater.catalog import objects, segments
from headwater.catalog.database import Database, Transaction
from headwater.catalog.objects import STREAMS, TASKS
from headwater.domain.errors import NotFound
from headwater.domain.stream import Segment, Stream, Visibility
from headwater.lake.engine import Engine, Found, lines


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some of a stream's documents, in id order."""

    docs: list[Found]
    #: The stream version that they were read at.
    version: int
    #: The id behind which the next page begins; None if this is the last.
    next_after: str | None


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """Some of a task's own documents, in order of arrival."""

    docs: list[Found]
    #: Where the next page begins, ``(layer, place in it)``; None if this is the last.
    next_after: tuple[int, int] | None


class Reader:
    """Answers questions about documents."""

    def __init__(self, db: Database, engine: Engine) -> None:
        """Ask the catalog which files matter, and the engine what is in them."""
        self._db = db
        self._engine = engine

    async def page(self, stream: str, visibility: Visibility | None, *, after: str | None, limit: int) -> Page:
        """Return the documents behind the id ``after``; without a visibility, those that the stream shows now.

        Raises:
            NotFound: there is no such stream.
        """
        version, found = await self._db.read(_shown, stream, visibility, holding=None, from_id=after)
        # One more than asked for tells whether there is a next page.
        docs = await self._engine.ask(self._engine.page, found, after=after, limit=limit + 1)
        more = len(docs) > limit
        return Page(docs=docs[:limit], version=version, next_after=docs[limit - 1].id if more else None)

    async def one(self, stream: str, visibility: Visibility | None, doc_id: str) -> Found:
        """Return a document.

        Raises:
            NotFound: the stream does not show it, or there is no such stream.
        """
        _, found = await self._db.read(_shown, stream, visibility, holding=doc_id, from_id=None)
        document = await self._engine.ask(self._engine.one, found, doc_id)
        if document is None:
            raise NotFound(f"stream {stream} shows no document {doc_id!r}")
        return document

    async def export(self, stream: str, visibility: Visibility | None) -> AsyncIterator[bytes]:
        """Return all documents as NDJSON in id order, a piece at a time.

        Raises:
            NotFound: there is no such stream.
        """
        _, found = await self._db.read(_shown, stream, visibility, holding=None, from_id=None)
        batches = self._engine.export(found)
        # The first one here, so that what cannot be read at all is an error and not a broken answer.
        return _pieces(await self._engine.ask(next, batches, None), batches, self._engine)

    async def arrivals(self, task: str, *, after: tuple[int, int] | None, limit: int) -> Arrivals:
        """Return the documents of a task's present attempt as they arrived, whether they show or not.

        Raises:
            NotFound: there is no such task.
        """
        found = await self._db.read(_arrived, task)
        docs: list[tuple[int, int, Found]] = []
        layer, place = after or (0, -1)
        for segment in found:
            if segment.layer < layer or len(docs) > limit:
                continue
            behind = place if segment.layer == layer else -1
            rows = await self._engine.ask(self._engine.arrived, segment, after=behind, limit=limit + 1 - len(docs))
            docs += [(segment.layer, pos, document) for pos, document in rows]
        more = len(docs) > limit
        return Arrivals(
            docs=[document for _, _, document in docs[:limit]], next_after=docs[limit - 1][:2] if more else None
        )


async def _pieces(batch: RecordBatch | None, rest: Iterator[RecordBatch], engine: Engine) -> AsyncIterator[bytes]:
    while batch is not None:
        yield lines(batch)
        batch = await engine.ask(next, rest, None)


def _shown(
    tx: Transaction, fid: str, visibility: Visibility | None, *, holding: str | None, from_id: str | None
) -> tuple[int, list[Segment]]:
    stream: Stream = objects.get(tx, STREAMS, fid)
    seen = visibility or Visibility(version=stream.stream_version)
    return seen.version, segments.visible(tx, fid, seen, holding=holding, from_id=from_id)


def _arrived(tx: Transaction, fid: str) -> list[Segment]:
    return segments.of_attempt(tx, objects.get(tx, TASKS, fid))
