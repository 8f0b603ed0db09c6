"""Counting what streams show, and what tasks did to them, some time afterwards."""

from functools import partial

import structlog

from headwater.catalog import segments, streams, tasks
from headwater.catalog.database import Database
from headwater.domain.stream import Stream, Visibility
from headwater.domain.task import Task
from headwater.lake import winners
from headwater.lake.engine import Engine
from headwater.streams import effects
from headwater.streams.effects import Effects
from headwater.streams.rounds import Rounds

log = structlog.get_logger(__name__)

#: Streams and tasks that are counted in one turn.
MANY = 20


class Tally:
    """Keeps the number of each stream's documents, and the summary of each task that has ended."""

    def __init__(self, db: Database, engine: Engine) -> None:
        """Count with ``engine``."""
        self._db = db
        self._engine = engine
        self._effects = Effects(db, engine)

    async def run(self) -> None:
        """Work until cancelled; a large busy stream does not keep a core for itself."""
        await Rounds(name="tally", turn=self.turn, rest=0.5, patience=5.0, share=0.1).run(self._db)

    async def turn(self) -> int:
        """Count some of what is not counted yet; return how much of it there was."""
        ended = await self._db.read(tasks.to_sum_up, limit=MANY)
        changed = await self._db.read(streams.uncounted, limit=MANY)
        work = [partial(self._sum_up, task) for task in ended] + [partial(self._count, stream) for stream in changed]
        done = 0
        for count in work:
            try:
                await count()
            except Exception:
                # A file that cannot be read, say: the others must not wait for it.
                log.exception("tally.not_counted", of=count.args[0].fid)
            else:
                done += 1
        return done

    async def _count(self, stream: Stream) -> None:
        version = stream.stream_version
        seen = await self._db.read(segments.visible, stream.fid, Visibility(version=version))
        docs = await self._engine.ask(winners.count, self._engine, seen)
        await self._db.write(streams.counted, stream.fid, docs=docs, version=version)

    async def _sum_up(self, task: Task) -> None:
        counts = await self._effects.counts(partial(effects.doing, fid=task.fid))
        await self._db.write(tasks.summed_up, task, counts)
