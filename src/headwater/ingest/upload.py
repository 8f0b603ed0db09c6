"""Uploads: the file is written and synced first, then one transaction commits it."""

from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec

from headwater.catalog import externals, idempotency, objects, rejects, streams, tasks
from headwater.catalog.core.database import Database
from headwater.catalog.core.steps import Steps, together
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.idempotency import KeyTaken, StoredReceipt
from headwater.catalog.objects import EXTERNALS, TASKS
from headwater.domain.errors import Flaw, HeadwaterError, KeyReused, TooManyUploads, Unavailable, UploadInFlight
from headwater.domain.external import Definition
from headwater.domain.ids import new_fid
from headwater.domain.stream import WrittenSegment, segment_path
from headwater.domain.task import Task, require_open
from headwater.ingest import commit
from headwater.ingest.body_reader import BodyReader, Sink
from headwater.ingest.decompression import decompressor
from headwater.ingest.memory_budget import MemoryBudget
from headwater.ingest.pipeline import DecodedBody, DigestOnly, Limits, UploadPipeline
from headwater.ingest.rejected_lines import RejectedLines
from headwater.ingest.validation import Checker
from headwater.lake.disk import Disk
from headwater.lake.segment import SegmentWriter
from headwater.lake.segment_format import Origin
from headwater.lake.store import Store
from headwater.sandbox.pool import Sandbox

T = TypeVar("T")

#: Minimum interval at which data of a long upload restarts the task's timeout.
HEARTBEAT = timedelta(seconds=10)
#: Compiled versions of Externals that are cached.
MOST_CHECKERS = 256

_FLAWS = msgspec.json.Decoder(tuple[Flaw, ...])


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The response to an accepted upload."""

    #: Documents of this upload.
    count: int
    #: Documents of the attempt, including this upload.
    total: int
    #: Bytes of this upload's documents, decompressed.
    bytes: int
    #: Whether this is the stored response to a repeated ``Idempotency-Key``.
    replayed: bool = False
    #: Rejected lines; None if the upload was not lenient.
    rejected: int | None = None
    #: Deletions of this upload.
    deleted: int = 0
    #: The errors of the first of them.
    flaws: tuple[Flaw, ...] = ()
    #: Whether there are more errors.
    truncated: bool = False


class Uploads:
    """Accepts any number of uploads concurrently."""

    def __init__(
        self,
        db: Database,
        store: Store,
        *,
        limits: Limits,
        threads: int,
        clock: Callable[[], datetime],
        sandbox: Sandbox,
        disk: Disk | None = None,
    ) -> None:
        """Work in ``threads`` worker threads while the ``disk`` has room; validate costly schemas in ``sandbox``."""
        self._disk = disk
        self._db = db
        self._store = store
        self._limits = limits
        self._clock = clock
        self._sandbox = sandbox
        self._body_reader = BodyReader(
            threads=threads,
            budget=MemoryBudget(limits.memory, always=threads),
            stall=limits.idle_timeout,
            at_once=limits.inlined,
        )
        self._in_flight: set[tuple[str, int, str]] = set()
        #: Number of uploads in flight by task; tasks without any are not in it.
        self._under_way: dict[str, int] = {}
        self._checkers: dict[tuple[str, int], Checker] = {}

    def close(self) -> None:
        """Wait for the threads to finish."""
        self._body_reader.close()

    async def take(
        self,
        task: Task,
        body: AsyncIterator[bytes],
        *,
        encoding: str | None = None,
        key: str | None = None,
        lenient: bool = False,
    ) -> Receipt:
        """Accept one upload to a task, all or nothing; a ``lenient`` one without its rejected lines.

        When this returns, the documents are on disk and survive ``kill -9``.

        Raises:
            UploadBroken, DocumentInvalid, TooLarge, EncodingUnknown: the body is rejected.
            TaskClosed, TaskRemoved, MovedMeanwhile: the task does not accept uploads (any more).
            UploadInFlight, KeyReused: the idempotency key is in use, or was used for another body.
            TooManyUploads: the task has its maximum of uploads in flight.
            NoRoom: the disk is full.
        """
        require_open(task)
        self._require_room()
        decoded = DecodedBody(decompressor(encoding), most=self._limits.upload, digest=key is not None)
        with self._admitted(task):
            if key is None:
                return await self._take(task, body, decoded, key=None, lenient=lenient)
            with self._claim(task, key):
                first = await self._first(task, key)
                if first is not None:
                    return await self._replay(first, task, body, decoded)
                return await self._take(task, body, decoded, key=key, lenient=lenient)

    async def _take(
        self, task: Task, body: AsyncIterator[bytes], decoded: DecodedBody, *, key: str | None, lenient: bool
    ) -> Receipt:
        if not lenient:
            return await self._record(task, body, decoded, key=key, aside=None)
        aside = RejectedLines(self._store.staging)
        try:
            return await self._record(task, body, decoded, key=key, aside=aside)
        finally:
            aside.close()

    async def _record(
        self,
        task: Task,
        body: AsyncIterator[bytes],
        decoded: DecodedBody,
        *,
        key: str | None,
        aside: RejectedLines | None,
    ) -> Receipt:
        fid = new_fid(self._clock())
        path = segment_path(stream=task.stream, task=task.fid, segment=fid)
        origin = Origin(stream=task.stream, task=task.fid, attempt=task.attempt, external_version=task.external_version)
        writer = SegmentWriter(self._store, path, staged_as=fid, most_inlined=self._limits.inlined, origin=origin)
        checker = await self._checker(task)
        pipeline = UploadPipeline(decoded, checker=checker, writer=writer, longest=self._limits.document, aside=aside)
        # Explaining the errors of many lines takes too long for the event loop.
        written = await self._read_body(task, body, pipeline, is_quick=checker.is_quick and aside is None)
        digest = decoded.digest
        try:
            receipt = await self._db.write_steps(
                record, task, written, fid=fid, key=key, digest=digest, aside=aside, at=self._clock()
            )
        except Unavailable:
            raise  # it may have been committed: the orphan cleanup decides about the file
        except HeadwaterError as error:
            commit.discard(self._store, written)
            first = await self._first(task, key) if isinstance(error, KeyTaken) else None
            if first is None:
                raise
            return _same(first, digest)
        return receipt

    async def _first(self, task: Task, key: str | None) -> StoredReceipt | None:
        return None if key is None else await self._db.read(idempotency.find, task.fid, task.attempt, key)

    async def _replay(
        self, first: StoredReceipt, task: Task, body: AsyncIterator[bytes], decoded: DecodedBody
    ) -> Receipt:
        await self._read_body(task, body, DigestOnly(decoded), is_quick=True)
        return _same(first, decoded.digest)

    async def _read_body(self, task: Task, body: AsyncIterator[bytes], sink: Sink[T], *, is_quick: bool) -> T:
        reported_at = self._clock()
        heartbeat = min(HEARTBEAT, timedelta(seconds=task.timeout / 4))

        async def heard() -> None:
            nonlocal reported_at
            self._require_room()
            now = self._clock()
            if now - reported_at >= heartbeat or now < reported_at:  # or the clock was set back
                reported_at = now
                await self._db.write(tasks.heard, task, at=now)

        return await self._body_reader.read_into(body, sink, is_quick=is_quick, heard=heard)

    def _require_room(self) -> None:
        if self._disk is not None:
            self._disk.require_room()

    async def _checker(self, task: Task) -> Checker:
        version = (task.external, task.external_version)
        checker = self._checkers.get(version)
        if checker is None:
            definition, name = await self._db.read(_definition, task)
            checker = self._checkers[version] = await self._body_reader.start(
                lambda: Checker(definition, external=name, sandbox=self._sandbox)
            )
            if len(self._checkers) > MOST_CHECKERS:
                del self._checkers[next(iter(self._checkers))]
        return checker

    @contextmanager
    def _admitted(self, task: Task) -> Generator[None]:
        active = self._under_way.get(task.fid, 0)
        if active >= self._limits.of_task:
            raise TooManyUploads(
                f"task {task.fid} has {active} uploads under way, as many as it may have (setting uploads_per_task); "
                "send this one again when one of them is answered"
            )
        self._under_way[task.fid] = active + 1
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
    written: WrittenSegment | None,
    *,
    fid: str,
    key: str | None,
    digest: str | None,
    aside: RejectedLines | None = None,
    at: datetime,
) -> Steps[Receipt]:
    """Commit a written segment, together with the rejected lines, to its task.

    Raises:
        TaskClosed, TaskRemoved, MovedMeanwhile: the task no longer accepts uploads.
        KeyTaken: another process has handled an upload with this key.
    """
    versions, size, deleted = (0, 0, 0) if written is None else (written.docs, written.bytes, written.deletions)
    docs = versions - deleted
    rejected = 0 if aside is None else aside.count
    parts: list[Steps[Any]] = [tasks.credit(tx, task, docs=docs, size=size, rejected=rejected, deleted=deleted, at=at)]
    if key is not None:
        parts.append(idempotency.require_free(task.fid, task.attempt, key))
    if written is not None:
        parts.append(streams.put_on_top(tx, task, docs=versions, at=at))
    results = yield from together(*parts)
    total, all_deleted = results[0]
    base = total + all_deleted - versions
    receipt = Receipt(count=docs, total=total, bytes=size, deleted=deleted)
    if written is not None:
        layer, version = results[-1]
        commit.add_segment(tx, task, written, fid=fid, layer=layer, base=base, added_version=version, at=at)
    if aside is not None:
        receipt = replace(receipt, rejected=rejected, flaws=tuple(aside.flaws), truncated=aside.truncated)
        if rejected:
            now = objects.get(tx, TASKS, task.fid)
            rejects.add(tx, now, aside.each(), count=rejected, before=base, at=at)
    # Without an effect, there is nothing to make idempotent.
    if key is not None and digest is not None and (versions or rejected):
        idempotency.add(tx, _stored(receipt, task, key=key, digest=digest))
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
        deleted=receipt.deleted,
        flaws=msgspec.json.encode(receipt.flaws).decode() if receipt.flaws else None,
        truncated=receipt.truncated,
    )


def _same(first: StoredReceipt, digest: str | None) -> Receipt:
    """Return the stored receipt of a key, if the body is the same."""
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
        deleted=first.deleted,
        flaws=() if first.flaws is None else _FLAWS.decode(first.flaws),
        truncated=first.truncated,
    )


def _definition(tx: Transaction, task: Task) -> tuple[Definition, str]:
    definition = externals.definition_at(tx, task.external, task.external_version)
    return definition, objects.get(tx, EXTERNALS, task.external).name
