"""What the tests of change sets stand on: looks into catalog and lake, and ways to come in between."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import event as sql_event
from sqlalchemy import select

from builders import World, read_events
from headwater.catalog import events, tables
from headwater.catalog.core.database import Database
from headwater.domain.event import Event
from headwater.domain.stream import Segment
from headwater.domain.task import Task
from lakes import content_of, paths_in


def on(*engines: str) -> pytest.MarkDecorator:
    """The claim is about these catalogs alone."""
    return pytest.mark.parametrize("url", engines, indirect=True)


def files_of(world: World) -> list[str]:
    """The paths of all files in the lake, staged ones too."""
    return paths_in(world.store)


def telling(world: World, text: str) -> list[str]:
    """The files of the lake in which a text can be read: in their columns, or in their bytes as they are."""
    return [path for path in files_of(world) if _tells(world, path, text)]


def _tells(world: World, path: str, text: str) -> bool:
    content = content_of(world.store, path)
    if text.encode() in content:
        return True
    table = pq.ParquetFile(pa.BufferReader(content)).read()
    return any(text in str(value) for column in table.columns for value in column.to_pylist())


async def rows_of(world: World, *tasks: Task) -> list[Segment]:
    """Every row of the catalog that names a file of tasks, in order of layers and of time."""
    segments = tables.segments.c
    fids = [task.fid for task in tasks]
    wanted = select(tables.segments).where(segments.task.in_(fids)).order_by(segments.layer, segments.added_version)
    return await world.db.read(lambda tx: tx.values(wanted, Segment))


async def garbage_of(world: World) -> list[str]:
    """The files that wait to be deleted."""
    return sorted(await world.db.read(lambda tx: tx.execute(select(tables.garbage.c.path)).scalars().all()))


async def versions_of(world: World, stream: str, *, step: int = 1) -> list[bytes]:
    """What each version of a stream showed, or each so many-th, from the first to the present."""
    present = (await world.stream(stream)).stream_version
    return [await world.export(stream, version) for version in range(0, present + 1, step)]


@contextmanager
def counted_statements(db: Database) -> Iterator[list[str]]:
    """Collect the statements that the catalog's readers send in the block."""
    statements: list[str] = []

    def note(_connection, _cursor, statement, *_) -> None:
        statements.append(statement)

    sql_event.listen(db._reading, "before_cursor_execute", note)  # noqa: SLF001 - nothing else needs to know
    try:
        yield statements
    finally:
        sql_event.remove(db._reading, "before_cursor_execute", note)  # noqa: SLF001 - as above


class Hearsay:
    """What is known of a stream and its tasks by events alone."""

    def __init__(self, world: World, stream: str) -> None:
        self._world = world
        self._stream = stream
        self._place = self._version = 0
        #: How each task stands, as it was told.
        self._tasks: dict[str, tuple[Any, ...]] = {}

    async def holds(self) -> None:
        """Hear what was told meanwhile, and assert that it is all that happened, each of it once and in order."""
        for event in await read_events(self._world.db, events.after, self._place, limit=1_000_000):
            assert event.id > self._place
            self._place = event.id
            if event.stream != self._stream:
                continue  # of another play on the same catalog
            if event.type == "stream.changed":
                assert event.data["stream_version"] == self._version + 1
                self._version += 1
            elif event.type.startswith("task."):
                standing = _standing(event.data, is_removed=self._is_removed(event))
                assert standing != self._tasks.get(event.task), "told twice"
                self._tasks[event.task] = standing
        stream = await self._world.stream(self._stream)
        assert self._version == stream.stream_version
        of_it = tables.tasks.c.stream == self._stream
        stored = await self._world.db.read(lambda tx: tx.values(select(tables.tasks).where(of_it), Task))
        assert self._tasks == {
            task.fid: _standing(vars(task), is_removed=task.removed_at is not None) for task in stored
        }

    def _is_removed(self, event: Event) -> bool:
        if event.type in {"task.deleted", "task.restored"}:
            return event.type == "task.deleted"
        return self._tasks.get(event.task, (False,))[0]


def _standing(told: Mapping[str, Any], *, is_removed: bool) -> tuple[Any, ...]:
    return (is_removed, *(told[name] for name in ("attempt", "code", "state", "reason", "message")))


class Between:
    """A catalog in which something else happens just before a question or a change reaches it."""

    def __init__(
        self,
        db: Any,
        *,
        read: Callable[[], Awaitable[Any]] | None = None,
        write: Callable[[], Awaitable[Any]] | None = None,
        named: str = "",
        times: int = 1,
    ) -> None:
        """Let ``read`` or ``write`` happen, so many times, before one whose function has that name."""
        self._db = db
        self._read, self._write = read, write
        self._named = named
        self._left = times

    async def read(self, question: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        await self._come_in(self._read, question)
        return await self._db.read(question, *args, **kwargs)

    async def write(self, action: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        await self._come_in(self._write, action)
        return await self._db.write(action, *args, **kwargs)

    async def _come_in(self, happens: Callable[[], Awaitable[Any]] | None, function: Callable[..., Any]) -> None:
        if happens is not None and self._left and self._named in function.__name__:
            self._left -= 1
            await happens()


class _Held:
    """A transaction that stops before a statement until it may go on."""

    def __init__(self, tx: Any, statement: str, reached: threading.Event, go_on: threading.Event) -> None:
        self._tx = tx
        self._statement = statement
        self._reached, self._go_on = reached, go_on

    def execute(self, statement: Any, values: Any = None) -> Any:
        if str(statement).startswith(self._statement):
            self._reached.set()
            self._go_on.wait(20)
        return self._tx.execute(statement, values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)


class Holding:
    """A catalog whose changes stop in the middle of their transaction; for PostgreSQL, where others go on."""

    def __init__(self, db: Any, *, before: str) -> None:
        """Stop changes ``before`` a statement that begins so."""
        self._db = db
        self._before = before
        self._reached, self._go_on = threading.Event(), threading.Event()

    async def read(self, question: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await self._db.read(question, *args, **kwargs)

    async def write(self, action: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await self._db.write(
            lambda tx: action(_Held(tx, self._before, self._reached, self._go_on), *args, **kwargs)
        )

    @asynccontextmanager
    async def at_rest(self, change: Awaitable[Any]):
        """Have a change stop, do the block meanwhile, and let the change go on to its end."""
        running = asyncio.ensure_future(change)
        await asyncio.to_thread(self._reached.wait, 10)
        try:
            yield running
        finally:
            self._go_on.set()
            await running
