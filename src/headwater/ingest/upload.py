"""An upload: the file first, on disk, then one transaction that makes it count."""

from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from headwater.catalog import externals, objects, receipts, rejects, streams, tasks
from headwater.catalog.database import Database
from headwater.catalog.objects import EXTERNALS, TASKS
from headwater.catalog.receipts import KeyTaken, StoredReceipt
from headwater.catalog.transaction import Transaction
from headwater.domain.errors import Flaw, HeadwaterError, KeyReused, TooManyUploads, Unavailable, UploadInFlight
from headwater.domain.external import Definition
from headwater.domain.fid import new_fid
from headwater.domain.stream import Written, segment_path
from headwater.domain.task import Task, require_open
from headwater.ingest import placing
from headwater.ingest.aside import Aside
from headwater.ingest.decompression import decompressor
from headwater.ingest.intake import Inflow, Intake, Limits, Measure
from headwater.ingest.pump import Pump, Sink
from headwater.ingest.room import Room
from headwater.ingest.validation import Checker
from headwater.lake.segment import SegmentWriter
from headwater.lake.store import LocalStore

T = TypeVar("T")

#: Data arriving in a long upload restarts the silence timer so often, at most.
HEARTBEAT = timedelta(seconds=10)
#: Compiled versions of Externals that are kept.
MOST_CHECKERS = 256

_FLAWS = msgspec.json.Decoder(tuple[Flaw, ...])


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What an accepted upload is answered."""

    #: Documents of this upload.
    count: int
    #: Documents of the attempt, with this upload.
    total: int
    #: Bytes of this upload's documents, decompressed.
    bytes: int
    #: Whether this was answered before: the upload repeated an ``Idempotency-Key``.
    replayed: bool = False
    #: Lines that were kept aside; None if the upload was not a lenient one.
    rejected: int | None = None
    #: What is wrong with the first of them.
    flaws: tuple[Flaw, ...] = ()
    #: Whether there is more wrong than that.
    truncated: bool = False


class Uploads:
    """Takes uploads, any number at once."""

    def __init__(
        self, db: Database, store: LocalStore, *, limits: Limits, threads: int, clock: Callable[[], datetime]
    ) -> None:
        """Work in ``threads`` worker threads."""
        self._db = db
        self._store = store
        self._limits = limits
        self._clock = clock
        self._pump = Pump(
            threads=threads, room=Room(limits.memory, always=threads), stall=limits.stall, at_once=limits.inlined
        )
        self._in_flight: set[tuple[str, int, str]] = set()
        #: By task, how many of its uploads are under way; tasks that have none are not in it.
        self._under_way: dict[str, int] = {}
        self._checkers: dict[tuple[str, int], Checker] = {}

    def close(self) -> None:
        """Finish what the threads do."""
        self._pump.close()

    async def take(
        self,
        task: Task,
        body: AsyncIterator[bytes],
        *,
        encoding: str | None = None,
        key: str | None = None,
        lenient: bool = False,
    ) -> Receipt:
        """Take one upload to a task, wholly or not at all; a ``lenient`` one without the lines that are no documents.

        When this returns, the documents are on disk and ``kill -9`` loses none of them.

        Raises:
            UploadBroken, DocumentInvalid, TooLarge, EncodingUnknown: the body cannot be taken.
            TaskClosed, TaskRemoved, MovedMeanwhile: the task does not take it (any more).
            UploadInFlight, KeyReused: the idempotency key is in use, or was used for another body.
            TooManyUploads: the task has as many under way as it may have.
        """
        require_open(task)
        inflow = Inflow(decompressor(encoding), most=self._limits.upload, digest=key is not None)
        with self._admitted(task):
            if key is None:
                return await self._take(task, body, inflow, key=None, lenient=lenient)
            with self._claim(task, key):
                first = await self._first(task, key)
                if first is not None:
                    return await self._replay(first, task, body, inflow)
                return await self._take(task, body, inflow, key=key, lenient=lenient)

    async def _take(
        self, task: Task, body: AsyncIterator[bytes], inflow: Inflow, *, key: str | None, lenient: bool
    ) -> Receipt:
        if not lenient:
            return await self._record(task, body, inflow, key=key, aside=None)
        aside = Aside(self._store.staging)
        try:
            return await self._record(task, body, inflow, key=key, aside=aside)
        finally:
            aside.close()

    async def _record(
        self, task: Task, body: AsyncIterator[bytes], inflow: Inflow, *, key: str | None, aside: Aside | None
    ) -> Receipt:
        fid = new_fid(self._clock())
        path = segment_path(stream=task.stream, task=task.fid, segment=fid)
        writer = SegmentWriter(self._store, path, staged_as=fid, most_inlined=self._limits.inlined)
        checker = await self._checker(task)
        intake = Intake(inflow, checker=checker, writer=writer, longest=self._limits.document, aside=aside)
        # To say what is wrong with each of many lines takes its time.
        written = await self._pour(task, body, intake, is_quick=checker.is_quick and aside is None)
        digest = inflow.digest
        try:
            receipt = await self._db.write(
                record, task, written, fid=fid, key=key, digest=digest, aside=aside, at=self._clock()
            )
        except Unavailable:
            raise  # it may have been committed: the sweep knows whether the file is garbage
        except HeadwaterError as error:
            placing.drop(self._store, written)
            first = await self._first(task, key) if isinstance(error, KeyTaken) else None
            if first is None:
                raise
            return _same(first, digest)
        return receipt

    async def _first(self, task: Task, key: str | None) -> StoredReceipt | None:
        return None if key is None else await self._db.read(receipts.find, task.fid, task.attempt, key)

    async def _replay(self, first: StoredReceipt, task: Task, body: AsyncIterator[bytes], inflow: Inflow) -> Receipt:
        await self._pour(task, body, Measure(inflow), is_quick=True)
        return _same(first, inflow.digest)

    async def _pour(self, task: Task, body: AsyncIterator[bytes], sink: Sink[T], *, is_quick: bool) -> T:
        spoken = self._clock()
        heartbeat = min(HEARTBEAT, timedelta(seconds=task.timeout / 4))

        async def heard() -> None:
            nonlocal spoken
            now = self._clock()
            if now - spoken >= heartbeat:
                spoken = now
                await self._db.write(tasks.heard, task, at=now)

        return await self._pump.pour(body, sink, is_quick=is_quick, heard=heard)

    async def _checker(self, task: Task) -> Checker:
        version = (task.external, task.external_version)
        checker = self._checkers.get(version)
        if checker is None:
            definition, name = await self._db.read(_definition, task)
            checker = self._checkers[version] = await self._pump.start(lambda: Checker(definition, external=name))
            if len(self._checkers) > MOST_CHECKERS:
                del self._checkers[next(iter(self._checkers))]
        return checker

    @contextmanager
    def _admitted(self, task: Task) -> Generator[None]:
        there = self._under_way.get(task.fid, 0)
        if there >= self._limits.of_task:
            raise TooManyUploads(
                f"task {task.fid} has {there} uploads under way, as many as it may have (setting uploads_per_task); "
                "send this one again when one of them is answered"
            )
        self._under_way[task.fid] = there + 1
        try:
            yield
        finally:
            left = self._under_way[task.fid] - 1
            if left:
                self._under_way[task.fid] = left
            else:
                del self._under_way[task.fid]

    @contextmanager
    def _claim(self, task: Task, key: str) -> Generator[None]:
        claim = (task.fid, task.attempt, key)
        if claim in self._in_flight:
            raise UploadInFlight(f"an upload with Idempotency-Key {key!r} is under way; wait for its answer")
        self._in_flight.add(claim)
        try:
            yield
        finally:
            self._in_flight.discard(claim)


def record(
    tx: Transaction,
    task: Task,
    written: Written | None,
    *,
    fid: str,
    key: str | None,
    digest: str | None,
    aside: Aside | None = None,
    at: datetime,
) -> Receipt:
    """Make a written segment count, with what was kept aside: from here on its documents are the task's.

    Raises:
        TaskClosed, TaskRemoved, MovedMeanwhile: the task does not take it any more.
    """
    docs, size = (0, 0) if written is None else (written.docs, written.bytes)
    rejected = 0 if aside is None else aside.count
    total = tasks.credit(tx, task, docs=docs, size=size, rejected=rejected, at=at)
    receipt = Receipt(count=docs, total=total, bytes=size)
    if written is not None:
        layer, version = streams.put_on_top(tx, task, docs=docs, at=at)
        placing.put(tx, task, written, fid=fid, layer=layer, base=total - docs, added_version=version, at=at)
    if aside is not None:
        receipt = replace(receipt, rejected=rejected, flaws=tuple(aside.flaws), truncated=aside.truncated)
        if rejected:
            now = objects.get(tx, TASKS, task.fid)
            rejects.add(tx, now, aside.each(), count=rejected, before=total - docs, at=at)
    # What changed nothing may come again.
    if key is not None and digest is not None and (docs or rejected):
        receipts.add(tx, _stored(receipt, task, key=key, digest=digest))
    return receipt


def _stored(receipt: Receipt, task: Task, *, key: str, digest: str) -> StoredReceipt:
    return StoredReceipt(
        task=task.fid,
        attempt=task.attempt,
        idempotency_key=key,
        body_digest=digest,
        count=receipt.count,
        total=receipt.total,
        bytes=receipt.bytes,
        rejected=receipt.rejected,
        flaws=msgspec.json.encode(receipt.flaws).decode() if receipt.flaws else None,
        truncated=receipt.truncated,
    )


def _same(first: StoredReceipt, digest: str | None) -> Receipt:
    """Return what the first upload under a key was answered, if this is the same."""
    if first.body_digest != digest:
        raise KeyReused(
            f"Idempotency-Key {first.idempotency_key!r} was used for another body; take a new key for new documents"
        )
    return Receipt(
        count=first.count,
        total=first.total,
        bytes=first.bytes,
        replayed=True,
        rejected=first.rejected,
        flaws=() if first.flaws is None else _FLAWS.decode(first.flaws),
        truncated=first.truncated,
    )


def _definition(tx: Transaction, task: Task) -> tuple[Definition, str]:
    definition = externals.definition_at(tx, task.external, task.external_version)
    return definition, objects.get(tx, EXTERNALS, task.external).name
