"""Following a stream: what changed in it since one of its versions."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from pyarrow import RecordBatch

from headwater.catalog import objects, segments, streams
from headwater.catalog.database import Database
from headwater.catalog.objects import STREAMS
from headwater.catalog.transaction import Transaction
from headwater.domain.errors import Flaw, RequestInvalid
from headwater.domain.stream import Seen, Stream, Visibility
from headwater.lake import winners
from headwater.lake.difference import Comparison, Operation
from headwater.lake.engine import Engine
from headwater.streams.bell import Bell
from headwater.streams.reading import each
from headwater.streams.views import View, require_kept, visibility

_CHANGES = (Operation.ADDED, Operation.CHANGED, Operation.REMOVED)


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Net changes of a stream from one of its versions to another."""

    #: The version that who has applied them holds.
    version: int
    #: They, as NDJSON, in pieces.
    lines: AsyncIterator[bytes]


@dataclass(frozen=True, kw_only=True)
class _Step:
    """What there is to compare from a version to the next that is told of."""

    version: int
    before: list[Seen]
    after: list[Seen]
    #: Ids that showed and were erased in between: no segment knows of them any more.
    erased: list[str]


class Follower:
    """Tells what changes in streams."""

    def __init__(self, db: Database, engine: Engine) -> None:
        """Ask the catalog which files matter, and the engine what is in them."""
        self._db = db
        self._engine = engine
        self._bell = Bell(db, streams.CHANGED)

    @property
    def is_closed(self) -> bool:
        """Whether it tells nobody anything any more."""
        return self._bell.is_closed

    async def since(self, stream: str, version: int, view: View, *, limit: int | None) -> Changes:
        """Return what changed after a version, up to the one that ``view`` looks at.

        With a ``limit``, up to an earlier one, so that about so many documents are told of. Never up
        to the middle of one: what one version changed is told whole.

        Raises:
            NotFound, RequestInvalid, VersionForgotten: there is no such stream, version or view.
        """
        step = await self._db.read(_step, stream, version, view, limit)
        comparison = Comparison(self._engine, step.before, step.after)
        batches = comparison.batches(_CHANGES)
        # The first one here, so that what cannot be read at all is an error and not a broken answer.
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

    async def wait(self, stream: str, version: int, *, seconds: float) -> bool:
        """Wait until a stream has left a version behind; return whether it has.

        Raises:
            NotFound, RequestInvalid, VersionForgotten: there is no such stream or version (any more).
        """

        async def has_left() -> bool:
            return await self._db.read(_standing, stream, version) > version

        return await self._bell.until(has_left, seconds=seconds)

    def close(self) -> None:
        """Let those who wait go, so that the server can stop."""
        self._bell.close()

    async def _gone(self, step: _Step) -> list[str]:
        """Return the erased ids that have not come back."""
        return [
            doc_id
            for doc_id in step.erased
            if await self._engine.ask(winners.one, self._engine, step.after, doc_id) is None
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
        # Who begins anew must not end at a version of which part is purged.
        version = min(until.version, max(version, stream.purged_version))
    sides = (Visibility(version=at, without=until.without) for at in (since, version))
    before, after = (segments.visible(tx, fid, side) for side in sides)
    return _Step(
        version=version,
        before=before,
        after=after,
        erased=_erased(tx, fid, since=since, until=version),
    )


def _erased(tx: Transaction, fid: str, *, since: int, until: int) -> list[str]:
    erasures = streams.erasures(tx, fid, since=since, until=until)
    return sorted({one.doc_id.decode() for one in erasures if one.showed_at(since)})


def _standing(tx: Transaction, fid: str, since: int) -> int:
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
    # The text goes to the wire as it was uploaded, and is not parsed again.
    return b'{"id":%b,"op":"upsert","doc":%b,"task":"%b"}\n' % (
        msgspec.json.encode(doc_id),
        text.rstrip().encode(),
        task.encode(),
    )


def _deleted(doc_id: str, task: str | None) -> bytes:
    return b'{"id":%b,"op":"delete","doc":null,"task":%b}\n' % (msgspec.json.encode(doc_id), msgspec.json.encode(task))
