"""The change feed of a stream: its net changes since a version."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any, cast

import msgspec
from pyarrow import RecordBatch

from headwater.catalog import objects, segment_tables, streams
from headwater.catalog.core.database import Database
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import STREAMS
from headwater.domain.errors import Flaw, RequestInvalid
from headwater.domain.segment_table import VisibleSegments
from headwater.domain.stream import Stream, Visibility
from headwater.lake import current
from headwater.lake.diff import Compared, Diff, Operation
from headwater.lake.engine import Engine
from headwater.lake.integrity import Skipped
from headwater.streams.documents import each, intact
from headwater.streams.topic_waiter import TopicWaiter
from headwater.streams.views import View, require_kept, visibility

_CHANGES = (Operation.ADDED, Operation.CHANGED, Operation.REMOVED)


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Net changes of a stream from one of its versions to another."""

    #: The version that a reader has after applying them.
    version: int
    #: The changes as NDJSON, in chunks.
    lines: AsyncIterator[bytes]


@dataclass(frozen=True, kw_only=True)
class _Step:
    """The views to compare between a version and the next one that is reported."""

    version: int
    before: VisibleSegments
    after: VisibleSegments
    #: Ids that were visible and were erased in between: no segment contains them any more.
    erased: list[str]


class ChangeFeed:
    """Reads the net changes of streams."""

    def __init__(self, db: Database, engine: Engine) -> None:
        """Query the catalog for the segments, and the engine for their documents."""
        self._db = db
        self._engine = engine
        self._waiter = TopicWaiter(db, streams.CHANGED)

    @property
    def is_closed(self) -> bool:
        """Whether it is closed."""
        return self._waiter.is_closed

    async def since(
        self, stream: str, version: int, view: View, *, limit: int | None, skipped: Skipped | None = None
    ) -> Changes:
        """Return the changes after a version, up to the version of ``view``.

        With a ``limit``, up to an earlier version, for about so many documents. The changes of one version are never
        divided.

        Raises:
            NotFound, RequestInvalid, VersionForgotten: the stream, version or view does not exist.
            SegmentDamaged: a segment is damaged, and ``skipped`` is None.
        """
        step = await self._db.read(_step, stream, version, view, limit)
        before, after = [await intact(self._engine, side, skipped) for side in (step.before, step.after)]
        step = replace(step, before=before, after=after)
        comparison = Diff(self._engine, step.before, step.after)
        # What a document was before is not told, and its text is most of what there is to read.
        batches = comparison.batches(_CHANGES, compared=Compared.TEXT_AFTER)
        # The first batch is read here, so that unreadable data is an error and not a truncated response.
        first = await self._engine.ask(next, batches, None)
        erased = await self._gone(step)

        async def lines() -> AsyncIterator[bytes]:
            if first is not None:
                yield _lines(first)
                async for batch in each(self._engine, batches):
                    yield _lines(batch)
            for doc_id in erased:
                yield _deleted(doc_id, None)

        return Changes(version=step.version, lines=lines())

    async def check(self, stream: str, version: int, view: View) -> None:
        """Check that the changes exist, without reading them.

        Raises:
            NotFound, RequestInvalid, VersionForgotten: the stream, version or view does not exist.
        """
        await self._db.read(_step, stream, version, view, None)

    async def wait(self, stream: str, version: int, *, seconds: float) -> bool:
        """Wait until a stream has a version after ``version``; return whether it has.

        Raises:
            NotFound, RequestInvalid, VersionForgotten: the stream or version does not exist (any more).
        """

        async def has_left() -> bool:
            return await self._db.read(_version_of, stream, version) > version

        return await self._waiter.wait_for(has_left, seconds=seconds)

    def close(self) -> None:
        """End all waits, so that the server can stop."""
        self._waiter.close()

    async def _gone(self, step: _Step) -> list[str]:
        """Return the erased ids that have no document again."""
        return [
            doc_id
            for doc_id in step.erased
            if await self._engine.ask(current.one, self._engine, step.after, doc_id) is None
        ]


def _step(tx: Transaction, fid: str, since: int, view: View, limit: int | None) -> _Step:
    stream, until = visibility(tx, fid, view)
    require_kept(tx, stream, since, name="since")
    version = until.version
    if since > version:
        detail = f"the changes since version {since} end at version {version}, which is before it"
        raise RequestInvalid(f"?as_of: {detail}", flaws=[Flaw(pointer="?as_of", detail=detail)])
    if limit is not None:
        version = streams.within(tx, fid, since=since, until=version, docs=limit)
        # A reader that starts over must not end at a version that is partly purged.
        version = min(until.version, max(version, stream.purged_version))
    sides = (Visibility(version=at, without=until.without) for at in (since, version))
    before, after = (segment_tables.visible(tx, fid, side) for side in sides)
    return _Step(
        version=version,
        before=before,
        after=after,
        erased=_erased(tx, fid, since=since, until=version),
    )


def _erased(tx: Transaction, fid: str, *, since: int, until: int) -> list[str]:
    erasures = streams.erasures(tx, fid, since=since, until=until)
    return sorted({one.doc_id.decode() for one in erasures if one.showed_at(since)})


def _version_of(tx: Transaction, fid: str, since: int) -> int:
    stream: Stream = objects.get(tx, STREAMS, fid)
    require_kept(tx, stream, since, name="since")
    return stream.stream_version


def _lines(batch: RecordBatch) -> bytes:
    columns: list[list[Any]] = [
        cast("Any", batch.column(name)).to_pylist() for name in ("doc_id", "before_task", "after_task", "after")
    ]
    return b"".join(
        _deleted(doc_id, before) if text is None else _upserted(doc_id, after, text)
        for doc_id, before, after, text in zip(*columns, strict=True)
    )


def _upserted(doc_id: str, task: str, text: str) -> bytes:
    # The text is sent as it was uploaded, and is not parsed again.
    return b'{"id":%b,"op":"upsert","doc":%b,"task":"%b"}\n' % (
        msgspec.json.encode(doc_id),
        text.rstrip().encode(),
        task.encode(),
    )


def _deleted(doc_id: str, task: str | None) -> bytes:
    return b'{"id":%b,"op":"delete","doc":null,"task":%b}\n' % (msgspec.json.encode(doc_id), msgspec.json.encode(task))
