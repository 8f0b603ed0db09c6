"""What a stream shows, a page, a document or a range at a time, at any version that is kept."""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pyarrow import RecordBatch

from headwater.catalog import objects, segments
from headwater.catalog.database import Database
from headwater.catalog.objects import TASKS
from headwater.catalog.transaction import Transaction
from headwater.domain.condition import Condition
from headwater.domain.errors import NotFound
from headwater.domain.stream import Seen, Segment, Stream
from headwater.lake import winners
from headwater.lake.engine import Engine, Found
from headwater.streams.views import View, visibility


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
    #: The place in the attempt behind which the next page begins; None if this is the last.
    next_after: int | None


@dataclass(frozen=True, kw_only=True)
class Documents:
    """All documents of a view of a stream, as they can be read at any time: the view does not move."""

    stream: Stream
    view: View
    #: Ids that cut them into ranges that fit into memory.
    bounds: list[str]


class Reader:
    """Answers questions about documents."""

    def __init__(self, db: Database, engine: Engine) -> None:
        """Ask the catalog which files matter, and the engine what is in them."""
        self._db = db
        self._engine = engine

    async def page(
        self, stream: str, view: View, *, after: str | None, limit: int, condition: Condition | None = None
    ) -> Page:
        """Return the documents behind the id ``after`` that meet a condition.

        Raises:
            NotFound, RequestInvalid, VersionForgotten: there is no such stream or view.
        """
        _, version, seen = await self._db.read(_look, stream, view, from_id=after)
        # One more than asked for tells whether there is a next page.
        docs = await self._engine.ask(
            winners.page, self._engine, seen, after=after, limit=limit + 1, condition=condition
        )
        more = len(docs) > limit
        return Page(docs=docs[:limit], version=version, next_after=docs[limit - 1].id if more else None)

    async def one(self, stream: str, view: View, doc_id: str) -> Found:
        """Return a document.

        Raises:
            NotFound: the stream does not show it.
            NotFound, RequestInvalid, VersionForgotten: there is no such stream or view.
        """
        _, version, seen = await self._db.read(_look, stream, view, holding=doc_id)
        document = await self._engine.ask(winners.one, self._engine, seen, doc_id)
        if document is None:
            shows = f"shows no document {doc_id!r}" if view.as_of is None else f"showed no document {doc_id!r} then"
            raise NotFound(f"stream {stream}, at version {version}, {shows}")
        return document

    async def documents(self, stream: str, view: View) -> Documents:
        """Return all documents of a view, to be read with ``batches``.

        Raises:
            NotFound, RequestInvalid, VersionForgotten: there is no such stream or view.
        """
        found, version, seen = await self._db.read(_look, stream, view)
        bounds = await self._engine.ask(winners.bounds, self._engine, seen)
        return Documents(stream=found, view=View(as_of=version, without=view.without), bounds=bounds)

    async def batches(
        self, documents: Documents, *, question: str = winners.DOCUMENTS, values: Mapping[str, Any] | None = None
    ) -> AsyncIterator[RecordBatch]:
        """Yield the answer to a question about documents, range by range (see ``lake/winners.py``).

        The catalog is asked anew for each range, so that however long reading takes, no file is read
        that was merged away long before.
        """
        for after, bound in zip([None, *documents.bounds], [*documents.bounds, None], strict=True):
            _, _, seen = await self._db.read(_look, documents.stream.fid, documents.view, from_id=after)
            batches = winners.between(self._engine, seen, after=after, bound=bound, question=question, values=values)
            async for batch in each(self._engine, batches):
                yield batch

    async def arrivals(self, task: str, *, after: int | None, limit: int) -> Arrivals:
        """Return the documents of a task's present attempt as they arrived, whether they show or not.

        Raises:
            NotFound: there is no such task.
        """
        found = await self._db.read(_arrived, task)
        behind = -1 if after is None else after
        docs: list[tuple[int, Found]] = []
        for place, segment in enumerate(found):
            ends = found[place + 1].base if place + 1 < len(found) else None
            if len(docs) > limit or (ends is not None and ends <= behind + 1):
                continue
            rows = await self._engine.ask(
                winners.arrived, self._engine, segment, after=behind - segment.base, limit=limit + 1 - len(docs)
            )
            docs += [(segment.base + pos, document) for pos, document in rows]
        more = len(docs) > limit
        return Arrivals(
            docs=[document for _, document in docs[:limit]], next_after=docs[limit - 1][0] if more else None
        )


async def each(engine: Engine, batches: Iterator[RecordBatch]) -> AsyncIterator[RecordBatch]:
    """Yield the batches of a long answer, each read in a thread of the engine."""
    while (batch := await engine.ask(next, batches, None)) is not None:
        yield batch


def _look(
    tx: Transaction, fid: str, view: View, *, holding: str | None = None, from_id: str | None = None
) -> tuple[Stream, int, list[Seen]]:
    stream, seen = visibility(tx, fid, view)
    return stream, seen.version, segments.visible(tx, fid, seen, holding=holding, from_id=from_id)


def _arrived(tx: Transaction, fid: str) -> list[Segment]:
    return segments.of_attempt(tx, objects.get(tx, TASKS, fid))
