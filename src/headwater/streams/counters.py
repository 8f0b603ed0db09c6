"""Background counting: the documents of streams, and what tasks changed."""

import time
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from headwater.catalog import objects, segment_tables, streams, tasks
from headwater.catalog.core.database import Database
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import STREAMS
from headwater.domain.errors import SegmentDamaged
from headwater.domain.segment_table import VisibleSegments
from headwater.domain.stream import Counts, Stream, Visibility
from headwater.domain.task import Task
from headwater.lake import current
from headwater.lake.diff import Diff
from headwater.lake.engine import Engine
from headwater.lake.summaries import Run, summaries, together
from headwater.streams import diffs
from headwater.streams.background_loop import BackgroundLoop
from headwater.streams.backoff import Backoff
from headwater.streams.diffs import TaskDiffs

log = structlog.get_logger(__name__)

#: Streams and tasks that are counted in one turn: tasks of one stream cost little more than one of them.
MANY = 20
MANY_TASKS = 200


class DocumentCounter:
    """Maintains the document count of each stream, and the summary of each task that has ended."""

    def __init__(self, db: Database, engine: Engine, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Count with ``engine``; ``clock`` times retries after failures."""
        self._db = db
        self._engine = engine
        self._effects = TaskDiffs(db, engine)
        #: Streams and tasks whose counting failed.
        self._failed = Backoff(clock)

    async def run(self) -> None:
        """Run until cancelled; a large busy stream does not occupy a core."""
        await BackgroundLoop(name="counters", turn=self.turn, rest=0.5, poll_interval=5.0, share=0.1).run(self._db)

    async def turn(self) -> int:
        """Count some streams and tasks that are not counted yet; return how many."""
        waiting = self._failed.waiting()
        ended = await self._db.read(tasks.to_sum_up, but=waiting, limit=MANY_TASKS)
        summed_up = await self._sum_up_together(ended)
        left = [task for task in ended if task.fid not in summed_up][:MANY]
        changed = await self._db.read(streams.uncounted, but=waiting, limit=MANY)
        work = [partial(self._sum_up, task) for task in left] + [partial(self._count, stream) for stream in changed]
        done = len(summed_up)
        for count in work:
            fid = count.args[0].fid
            try:
                await count()
            except SegmentDamaged as error:
                again = self._failed.failed(fid)
                log.error("counters.not_counted", of=fid, fault=error.detail, retry_in=again)  # noqa: TRY400 - it is known where it comes from
            except Exception:
                # Others must not wait for it.
                again = self._failed.failed(fid)
                log.exception("counters.not_counted", of=fid, retry_in=again)
            else:
                self._failed.succeeded(fid)
                done += 1
        return done

    async def _sum_up_together(self, ended: Sequence[Task]) -> set[str]:
        """Sum up tasks of the same stream in one pass where that is possible; return which were."""
        by_stream: dict[str, list[Task]] = {}
        for task in ended:
            by_stream.setdefault(task.stream, []).append(task)
        done: set[str] = set()
        for stream, some in by_stream.items():
            if len(some) > 1:
                try:
                    done |= await self._sum_up_of(stream, some)
                except SegmentDamaged:
                    continue  # one by one, those that are not affected succeed
        return done

    async def _sum_up_of(self, stream: str, some: Sequence[Task]) -> set[str]:
        shown, runs = await self._db.read(_runs, stream, some)
        runs = await self._engine.ask(together, shown, runs)
        if not runs:
            return set()
        found = await self._engine.ask(summaries, self._engine, shown, runs)
        await self._db.write(_store, [(task, found[task.fid]) for task in some if task.fid in found])
        return set(found)

    async def _count(self, stream: Stream) -> None:
        counted, now = await self._db.read(_counted_and_current, stream)
        if counted is None or counted.floor != now.floor:
            docs = await self._engine.ask(current.count, self._engine, now)
        else:
            moves = await self._engine.ask(Diff(self._engine, counted, now).moves)
            docs = stream.docs + moves.added - moves.removed
        await self._db.write(streams.counted, stream.fid, docs=docs, version=stream.stream_version)

    async def _sum_up(self, task: Task) -> None:
        counts = await self._effects.counts(partial(diffs.of_task, fid=task.fid))
        await self._db.write(tasks.summed_up, task, counts)


def _runs(tx: Transaction, stream: str, some: Sequence[Task]) -> tuple[VisibleSegments, list[Run]]:
    """Return a stream's current view, and those of its tasks that replaced and lost nothing."""
    found: Stream = objects.get(tx, STREAMS, stream)
    shown = segment_tables.visible(tx, stream, Visibility(version=found.stream_version))
    runs: list[Run] = []
    for task in some:
        version = streams.made_by(tx, task)
        if version is None or not found.remembers(version) or task.removed_at is not None:
            continue
        if streams.replaced_by(tx, task) is None:
            runs.append(Run(task=task.fid, attempt=task.attempt, version=version))
    oldest = min((run.version for run in runs), default=0)
    # An erasure takes documents out of former versions.
    is_erased = bool(streams.erasures(tx, stream, since=max(0, oldest - 1), until=found.stream_version))
    return shown, [] if is_erased else runs


def _store(tx: Transaction, found: Sequence[tuple[Task, Counts]]) -> None:
    for task, counts in found:
        tasks.summed_up(tx, task, counts)


def _counted_and_current(tx: Transaction, stream: Stream) -> tuple[VisibleSegments | None, VisibleSegments]:
    """Return a stream's view when its documents were last counted, None if unknown, and its current view.

    Changes since then are a small part of a large stream: counting them costs only what the changed segments cost.
    """
    since, until = stream.docs_version, stream.stream_version
    now = segment_tables.visible(tx, stream.fid, Visibility(version=until))
    # An erasure rewrites former versions, and a purge deletes them.
    if not stream.remembers(since) or streams.erasures(tx, stream.fid, since=since, until=until):
        return None, now
    return segment_tables.visible(tx, stream.fid, Visibility(version=since)), now
