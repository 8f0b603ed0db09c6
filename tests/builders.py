"""Objects for tests, with good defaults: a test says only what it is about."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import httpx

from headwater.catalog import crawlers, event_order, externals, inlined_segments, objects, rejects
from headwater.catalog.garbage import READERS_LEAVE
from headwater.catalog.objects import EXTERNALS, STREAMS, TASKS
from headwater.catalog.vault import Vault
from headwater.domain.crawler import Crawler
from headwater.domain.external import Definition, External
from headwater.domain.ids import new_fid
from headwater.domain.reject import Reject
from headwater.domain.stream import Segment, Stream
from headwater.domain.task import Mode, Origin, Publish, Task, TaskFilter, TaskState
from headwater.domain.webhook import Delivery, DeliveryState, Webhook
from headwater.ingest.pipeline import Limits
from headwater.ingest.replay import Replayed, Replays
from headwater.ingest.upload import Receipt, Uploads
from headwater.lake.engine import Engine, lines
from headwater.lake.inlined import Inlined
from headwater.lifecycle import bulk, publication
from headwater.lifecycle import tasks as task_actions
from headwater.lifecycle.bulk import Moved
from headwater.lifecycle.tasks import Opened
from headwater.sandbox.pool import Sandbox
from headwater.streams.bisect import Bisection
from headwater.streams.change_feed import ChangeFeed
from headwater.streams.compaction import Compaction
from headwater.streams.diffs import TaskDiffs
from headwater.streams.documents import DocumentReader
from headwater.streams.erasure import DocumentErasure
from headwater.streams.folding import Folding, Tiers
from headwater.streams.history import DocumentHistory, Version
from headwater.streams.retention import Purged, Retention
from headwater.streams.views import NOW, View
from lakes import object_lake, opened_lake

T = TypeVar("T")

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
#: What all tests share: its processes take a while to start, and keep nothing.
SANDBOX = Sandbox()

SECRET = "a secret key for tests, long enough"


def _common(at: datetime) -> dict[str, Any]:
    return {"fid": new_fid(at), "created_at": at, "updated_at": at, "version": 1, "meta": {}}


def a_stream(at: datetime = AT, **fields: Any) -> Stream:
    """A new stream."""
    return Stream(
        **(
            _common(at)
            | {"stream_version": 0, "top_layer": 0, "docs": 0, "docs_version": 0, "purged_version": 0}
            | fields
        )
    )


def an_external(at: datetime = AT, **fields: Any) -> External:
    """An External: push, ids from ``id``, any object; fields of its definition may be given too."""
    definition = {"headers": {}, "parameters": (), "doc_id_field": "id"}
    definition |= {name: fields.pop(name) for name in Definition.__annotations__ if name in fields}
    return External(**(_common(at) | {"definition": Definition(**definition)} | fields))


def a_crawler(stream: Stream, external: External, at: datetime = AT, **fields: Any) -> Crawler:
    """A crawler of an External for a stream."""
    base = {"stream": stream.fid, "external": external.fid, "params": {}, "timeout": 60, "publish": Publish.LIVE}
    return Crawler(**(_common(at) | base | fields))


def a_task(crawler: Crawler | None = None, at: datetime = AT, **fields: Any) -> Task:
    """A new task of a crawler."""
    base = {
        "crawler": crawler.fid if crawler else "c" * 32,
        "stream": crawler.stream if crawler else "5" * 32,
        "external": crawler.external if crawler else "e" * 32,
        "external_version": 1,
        "params": {},
        "timeout": 60,
        "publish": Publish.LIVE,
        "attempt": 1,
        "origin": Origin.API,
        "code": 0,
        "state": TaskState.NEW,
        "started_at": at,
    }
    return Task(**(_common(at) | base | fields))


def a_segment(task: Task, **fields: Any) -> Segment:
    """A segment of a task, visible from version 1 on."""
    fid = new_fid(AT)
    base = {
        "fid": fid,
        "stream": task.stream,
        "task": task.fid,
        "attempt": task.attempt,
        "layer": 1,
        "path": f"streams/{fid}.parquet",
        "docs": 1,
        "bytes": 10,
        "min_id": b"a",
        "max_id": b"z",
        "added_version": 1,
        "removed_version": None,
        "base": 0,
        "created_at": AT,
    }
    return Segment(**(base | fields))


def a_webhook(at: datetime = AT, *, vault: Vault | None = None, **fields: Any) -> Webhook:
    """A webhook that wants every event."""
    base = {
        "url": "https://receiver.test/hook",
        "since": 0,
        "sealed_secret": (vault or Vault(SECRET)).seal("whsec_c2VjcmV0IGZvciB0ZXN0cywgbG9uZyBlbm91Z2g="),
    }
    return Webhook(**(_common(at) | base | fields))


def a_delivery(webhook: Webhook, at: datetime = AT, **fields: Any) -> Delivery:
    """A delivery that waits to be sent."""
    fid = new_fid(at)
    base = {
        "fid": fid,
        "webhook": webhook.fid,
        "event": None,
        "type": "task.done",
        "body": "{}",
        "lane": fid,
        "state": DeliveryState.PENDING,
        "due_at": at,
        "created_at": at,
    }
    return Delivery(**(base | fields))


def ndjson(docs: list[dict[str, Any]]) -> bytes:
    """Documents as a body."""
    return b"".join(json.dumps(doc).encode() + b"\n" for doc in docs)


async def body_of(*pieces: bytes) -> AsyncIterator[bytes]:
    """A body that arrives in pieces."""
    for piece in pieces:
        yield piece


async def read_events(db, question: Callable[..., T], *args, **options) -> T:
    """What the catalog says of events, with all that are committed by now."""
    await event_order.catch_up(db)
    return await db.read(question, *args, **options)


async def eventually(question: Callable[[], Awaitable[bool]], *, seconds: float = 30) -> None:
    """Wait for something to become true: for an event, which is no measure of time."""
    async with asyncio.timeout(seconds):
        while not await question():  # noqa: ASYNC110 - what we wait for is in another process or a database
            await asyncio.sleep(0.02)


class World:
    """A Headwater without HTTP, and without loops: nothing happens but what the test does."""

    def __init__(self, db, folder, *, limits: Limits | None = None, client: object = None) -> None:
        """Make one with its lake below a folder, or in the object store of a ``client``."""
        self.db = db
        self.at = AT
        self._opened = ExitStack()
        if client is None:
            self.store = opened_lake(db, folder, self._opened, clock=self.clock)
        else:
            self.store = object_lake(db, folder, self._opened, client, clock=self.clock)
        rows = Inlined(partial(db.read_blocking, inlined_segments.packed))
        self.engine = Engine(self.store, memory=500 << 20, spill=folder / "spill", threads=2, inlined=rows)
        self.vault = Vault(SECRET)
        limits = limits or Limits(upload=1 << 30, document=1 << 20, inlined=0)
        self.uploads = Uploads(db, self.store, limits=limits, threads=2, clock=self.clock, sandbox=SANDBOX)
        inlining = replace(limits, inlined=64 << 10)
        self.inlining = Uploads(db, self.store, limits=inlining, threads=2, clock=self.clock, sandbox=SANDBOX)
        #: Whether the next upload becomes a file; None: every other one does, the rest are inlined.
        self.as_files: bool | None = None
        self._uploaded = 0
        self.reader = DocumentReader(db, self.engine)
        self.replays = Replays(db, self.engine, self.store, most_inlined=4 << 10, clock=self.clock, sandbox=SANDBOX)
        self.change_feed = ChangeFeed(db, self.engine)
        self.task_diffs = TaskDiffs(db, self.engine)
        self.document_history = DocumentHistory(db, self.engine)
        self.bisection = Bisection(db, self.engine)
        self.document_erasure = DocumentErasure(db, self.engine, self.store, clock=self.clock)
        self.compaction = Compaction(db, self.engine, self.store, clock=self.clock, leaves_small=False)
        #: As it runs in a server: what is small is left to folding.
        self.lazy_compaction = Compaction(db, self.engine, self.store, clock=self.clock)
        #: Of any two files of a stream.
        self.folding = Folding(db, self.engine, self.store, clock=self.clock, tiers=Tiers(unit=1 << 30, fanout=2))
        self.retention = Retention(db, self.store, keep=timedelta(days=30), clock=self.clock)

    def clock(self) -> datetime:
        """The time, which stands still until the test moves it."""
        return self.at

    def wait(self, **time: float) -> None:
        """Let time pass."""
        self.at += timedelta(**time)

    def close(self) -> None:
        """Let go of everything."""
        self.uploads.close()
        self.inlining.close()
        self.engine.close()
        self._opened.close()

    async def crawler(self, *, external: External | None = None, stream: Stream | None = None, **fields) -> Crawler:
        """A stored crawler, with a stream and a push External of its own unless others are given."""
        stream, external = stream or a_stream(), external or an_external()

        def store(tx) -> Crawler:
            for kind, value in ((STREAMS, stream), (EXTERNALS, external)):
                if objects.find(tx, kind, value.fid) is None:
                    objects.add(tx, kind, value)
            return crawlers.add(tx, a_crawler(stream, external, **fields))

        return await self.db.write(store)

    async def create(
        self, crawler: Crawler, *, mode: Mode | None = None, scope: list[str] | None = None, **overrides: Any
    ) -> Opened:
        """Start a task."""
        self.wait(seconds=1)
        return await self.db.write(
            task_actions.create,
            crawler.fid,
            overrides,
            vault=self.vault,
            origin=Origin.API,
            at=self.at,
            mode=mode,
            scope=scope,
        )

    async def task(
        self,
        crawler: Crawler | None = None,
        *,
        mode: Mode | None = None,
        scope: list[str] | None = None,
        **overrides: Any,
    ) -> Task:
        """A new task."""
        return (await self.create(crawler or await self.crawler(), mode=mode, scope=scope, **overrides)).task

    async def retry(self, task: Task, **overrides: Any) -> Opened:
        """Retry a task."""
        self.wait(seconds=1)
        return await self.db.write(task_actions.retry, task.crawler, task.fid, overrides, vault=self.vault, at=self.at)

    async def upload(self, task: Task, docs: list[dict[str, Any]] | bytes, **options: Any) -> Receipt:
        """Upload documents to a task as it is now."""
        self.wait(seconds=1)
        body = docs if isinstance(docs, bytes) else ndjson(docs)
        self._uploaded += 1
        becomes_file = self._uploaded % 2 == 0 if self.as_files is None else self.as_files
        uploads = self.uploads if becomes_file else self.inlining
        return await uploads.take(await self.now(task), body_of(body), **options)

    async def loosen(self, of: Task | Crawler, **fields: Any) -> None:
        """Edit the External of a task or crawler: it has no schema any more, or the fields that are given."""
        external: External = await self.db.read(objects.get, EXTERNALS, of.external)
        definition = replace(external.definition, **({"schema": None} | fields))
        new = replace(external, definition=definition, version=external.version + 1)
        await self.db.write(objects.save, EXTERNALS, external, new)

    async def use_version(self, of: Task | Crawler, version: int) -> None:
        """Let runs begin with a version of the External of a task or crawler."""
        external: External = await self.db.read(objects.get, EXTERNALS, of.external)
        await self.db.write(externals.publish, external, version, at=self.at)

    async def rejects(self, task: Task, attempt: int | None = None) -> list[Reject]:
        """What was kept aside of a task's current attempt, or of another one."""
        of_attempt = (await self.now(task)).attempt if attempt is None else attempt
        return await self.db.read(rejects.page, task.fid, of_attempt, after=0, limit=1 << 30)

    async def replay(self, task: Task) -> Replayed:
        """Try what was kept aside of a task again."""
        self.wait(seconds=1)
        return await self.replays.replay(task.fid)

    async def report(self, task: Task, code: int, *, attempt: int | None = None, **said: Any) -> Task:
        """Report a task's status as its crawler."""
        self.wait(seconds=1)
        said = {"message": None, "detail": None} | said
        return await self.db.write(task_actions.report, task.fid, attempt=attempt, code=code, at=self.at, **said)

    async def stop(self, task: Task) -> Task:
        """Stop a task."""
        return await self.db.write(task_actions.stop, task.fid, vault=self.vault, at=self.at)

    async def publish(self, task: Task) -> Task:
        """Let a task in that a gate kept out."""
        self.wait(seconds=1)
        return await self.db.write(publication.publish, task.fid, at=self.at)

    async def delete(self, task: Task) -> Task:
        """Delete a task."""
        self.wait(seconds=1)
        return await self.db.write(task_actions.delete, task.fid, vault=self.vault, at=self.at)

    async def restore(self, task: Task) -> Task:
        """Restore a task."""
        self.wait(seconds=1)
        return await self.db.write(task_actions.restore, task.fid, at=self.at)

    async def revert(self, stream: str, **wanted: Any) -> Moved:
        """Delete the tasks of a stream that a filter means."""
        self.wait(seconds=1)
        return await self.db.write(bulk.revert, stream, TaskFilter(**wanted), vault=self.vault, at=self.at)

    async def restore_all(self, stream: str, **wanted: Any) -> Moved:
        """Restore the deleted tasks of a stream that a filter means."""
        self.wait(seconds=1)
        return await self.db.write(bulk.restore, stream, TaskFilter(**wanted), at=self.at)

    async def compact(self) -> None:
        """Merge all that is to be merged."""
        while await self.compaction.turn():
            pass

    async def fold(self) -> int:
        """Fold the files of each stream that has several; return in how many streams."""
        while await self.lazy_compaction.turn():
            pass
        return await self.folding.turn()

    async def set_undo_days(self, stream: str, days: int | None) -> None:
        """Say for how many days the runs of a stream can be undone."""
        found = await self.stream(stream)
        await self.db.write(objects.save, STREAMS, found, replace(found, undo_days=days, version=found.version + 1))

    async def purge(self, *, before: datetime | None = None) -> Purged:
        """Purge what was removed before a moment, or by now, and delete the files at once."""
        purged = await self.retention.purge(before=before or self.at, at=self.at, leave=timedelta(0))
        await self.retention.delete_garbage(at=self.at + READERS_LEAVE)
        return purged

    async def changes(self, stream: str, since: int, *, limit: int | None = None, view: View = NOW) -> tuple[int, list]:
        """The net changes of a stream since a version: up to which one, and they."""
        changes = await self.change_feed.since(stream, since, view, limit=limit)
        lines = b"".join([piece async for piece in changes.lines])
        return changes.version, [json.loads(line) for line in lines.splitlines()]

    async def done(
        self,
        crawler: Crawler,
        docs: list[dict[str, Any]],
        *,
        mode: Mode | None = None,
        scope: list[str] | None = None,
    ) -> Task:
        """A task that uploaded documents, if there are any, and ended well."""
        task = await self.task(crawler, mode=mode, scope=scope)
        if docs:
            await self.upload(task, docs)
        return await self.report(task, 200)

    async def now(self, task: Task) -> Task:
        """The task as it is stored now."""
        return await self.db.read(objects.get, TASKS, task.fid)

    async def stream(self, fid: str) -> Stream:
        """A stream as it is stored now."""
        return await self.db.read(objects.get, STREAMS, fid)

    async def export(self, stream: str, version: int | None = None, *, without: Iterable[str] = ()) -> bytes:
        """What a stream shows, now or at a version, as NDJSON."""
        documents = await self.reader.documents(stream, View(as_of=version, without=frozenset(without)))
        return b"".join([lines(batch) async for batch in self.reader.batches(documents)])

    async def history(self, stream: str, doc_id: str, **how) -> list[Version]:
        """Return the first 1,000 versions of a document."""
        return (await self.document_history.page(stream, doc_id, before=None, limit=1000, **how)).versions

    async def shown(self, stream: str, version: int | None = None, *, without: Iterable[str] = ()) -> dict[str, Any]:
        """What a stream shows, by id (of documents whose id is in ``id``)."""
        docs = [json.loads(line) for line in (await self.export(stream, version, without=without)).splitlines()]
        return {doc["id"]: doc for doc in docs}


class Ecs:
    """External crawlers that answer as the test says, and remember what they were asked."""

    def __init__(self) -> None:
        self.asked: list[httpx.Request] = []
        self.answers: list[httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]] = []

    def answer(self, *answers) -> None:
        """Answer the next requests so; the last answer also to all that follow."""
        self.answers = list(answers)

    def transport(self) -> httpx.MockTransport:
        """The way to them."""
        return httpx.MockTransport(self._handle)

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        await asyncio.sleep(0)
        answer = (
            self.answers[0]
            if len(self.answers) <= 1 and self.answers
            else self.answers.pop(0)
            if self.answers
            else None
        )
        match answer:
            case None:
                return httpx.Response(200, json={"success": True})
            case Exception():
                raise answer
            case httpx.Response():
                return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
            case _:
                return answer(request)

    def bodies(self) -> list[Any]:
        """What they were sent."""
        return [json.loads(request.content) for request in self.asked]

    def calls(self) -> list[str]:
        """What they were asked, ``POST /task``."""
        return [f"{request.method} {request.url.path}" for request in self.asked]
