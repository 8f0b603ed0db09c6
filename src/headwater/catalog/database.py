"""The connection to the catalog, and everything in which SQLite and PostgreSQL differ.

Catalog functions are plain synchronous functions that take a ``Transaction``; the asynchronous
floors say ``await db.read(question, …)`` and ``await db.write(action, …)``. Writes are committed in
groups: a writer thread takes every action that waits, runs them in one transaction, commits once, and
only then answers them.
"""

import asyncio
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import copy_context
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec
import structlog
from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    CursorResult,
    DateTime,
    Engine,
    Executable,
    LargeBinary,
    Text,
    create_engine,
    event,
    func,
    literal,
    make_url,
    select,
)
from sqlalchemy.engine import URL, Dialect
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from headwater.catalog.turns import Turns
from headwater.catalog.witness import WITNESS, Deeds, Witness
from headwater.domain.errors import Unavailable
from headwater.domain.spans import span

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger(__name__)

#: At most so many actions share one commit.
MOST_IN_GROUP = 64
#: An action that the database turned down for others' sake (deadlock, lock) is tried so often.
TRIES = 3
#: Seconds that SQLite waits for another process's write.
PATIENCE = 30


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC. SQLite has no type for it and forgets the zone, so it is put back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the moment in UTC, whatever zone it came in."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the moment with its zone."""
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class holds(FunctionElement[bool]):  # noqa: N801 - it reads as a function of SQL
    """Whether bytes stand in bytes, or a text in a text, as they are: ``LIKE`` has bounds, and minds no case."""

    type = Boolean()
    inherit_cache = True

    def __init__(self, whole: ColumnElement[Any], part: bytes | str) -> None:
        super().__init__(whole, literal(part, LargeBinary() if isinstance(part, bytes) else Text()))


@compiles(holds)
def _holds(element: holds, compiler: SQLCompiler, **more: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    whole, part = (compiler.process(clause, **more) for clause in element.clauses)
    if compiler.dialect.name == "sqlite":
        return f"(instr({whole}, {part}) > 0)"
    return f"(position({part} IN {whole}) > 0)"


class Prepared:
    """A statement that is run again and again, compiled once for each kind of database.

    What SQLAlchemy does for each run of a statement takes several times as long as SQLite does.
    """

    def __init__(self, statement: UpdateBase) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def for_dialect(self, dialect: Dialect) -> "_Compiled":
        """Return it as a database understands it."""
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _Compiled(self._statement, dialect)
        return compiled


class _Compiled:
    """A statement as the driver takes it."""

    def __init__(self, statement: UpdateBase, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self.text = str(compiled)
        self._order = compiled.positiontup
        self._fixed = {name: bind.value for bind, name in compiled.bind_names.items() if not bind.required}
        self._processors = {
            name: processor
            for bind, name in compiled.bind_names.items()
            if (processor := bind.type.dialect_impl(dialect).bind_processor(dialect)) is not None
        }

    def bound(self, values: Mapping[str, Any]) -> Any:
        """Return the values as the driver takes them."""
        bound = {**self._fixed, **values}
        for name, processor in self._processors.items():
            bound[name] = processor(bound[name])
        return bound if self._order is None else [bound[name] for name in self._order]


class Transaction:
    """What catalog functions speak through: one consistent view, or one change, of the catalog."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        #: What those who listen are told of once this is committed.
        self.topics: set[str] = set()
        self._last: dict[Callable[[Transaction, list[Any]], object], list[Any]] = {}
        #: What the present action has done, if somebody sees it.
        self.deeds: Deeds | None = None

    def execute(
        self, statement: Executable, values: dict[str, Any] | Sequence[dict[str, Any]] | None = None
    ) -> CursorResult[Any]:
        """Run a statement with the values that it leaves open, or once for each row of them."""
        answer = self._connection.execute(statement, values)
        if self.deeds is not None and isinstance(statement, UpdateBase) and answer.rowcount != 0:
            self.deeds.changed = True
        return answer

    def run(self, statement: Prepared, values: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """Run a prepared statement with the values that it leaves open; return the first row of its answer."""
        compiled = statement.for_dialect(self._connection.dialect)
        with self._cursor(compiled) as cursor:
            cursor.execute(compiled.text, compiled.bound(values))
            if self.deeds is not None and cursor.rowcount != 0:
                self.deeds.changed = True
            return cursor.fetchone() if cursor.description else None

    def run_each(self, statement: Prepared, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run a prepared statement once for each row of values, in order."""
        compiled = statement.for_dialect(self._connection.dialect)
        with self._cursor(compiled) as cursor:
            cursor.executemany(compiled.text, [compiled.bound(row) for row in rows])

    @contextmanager
    def _cursor(self, compiled: "_Compiled") -> Generator[Any]:
        """Return a cursor of the driver's; its errors become those of SQLAlchemy."""
        dialect = self._connection.dialect
        cursor: Any = self._connection.connection.cursor()
        try:
            yield cursor
        except dialect.loaded_dbapi.Error as error:
            raise DBAPIError.instance(
                compiled.text, None, error, dialect.loaded_dbapi.Error, dialect=dialect
            ) from error
        finally:
            cursor.close()

    def values(self, statement: Executable, kind: type[T]) -> list[T]:
        """Return the rows of the answer as domain values, whose fields have the columns' names."""
        answer = self.execute(statement)
        names = tuple(map(str, answer.keys()))  # SQLAlchemy's are a kind of text of their own
        return [msgspec.convert(dict(zip(names, row, strict=True)), kind) for row in answer]

    def value(self, statement: Executable, kind: type[T]) -> T | None:
        """Return the first row of the answer as a domain value, or None."""
        return next(iter(self.values(statement, kind)), None)

    def savepoint(self) -> AbstractContextManager[Any]:
        """Let the block fail, an index included, without losing what was done before it."""
        return self._connection.begin_nested()

    def announce(self, topic: str) -> None:
        """Tell those who listen to ``topic``, once this is committed."""
        self.topics.add(topic)

    def before_commit(self, store: Callable[["Transaction", list[T]], object], value: T) -> None:
        """Let ``store`` write the value as the last thing of all, with those of the other actions in this group."""
        self._last.setdefault(store, []).append(value)

    def finish(self) -> None:
        """Write what was left for the end."""
        for store, values in self._last.items():
            store(self, values)

    def take_turn(self, name: str) -> None:
        """Wait until no other transaction that took its turn under this name is under way.

        What it gives out from then on is in the order in which such transactions are committed. Taken as the last
        of all locks, so that nobody who holds it waits for another. SQLite has one writer at a time anyway.
        """
        if self._connection.dialect.name != "sqlite":
            self.execute(select(func.pg_advisory_xact_lock(zlib.crc32(name.encode()))))

    def note(self, *, about: tuple[str, str] | None = None, **facts: Any) -> None:
        """Let who sees the present action, if anybody does, write down what it is about, and facts; never secrets."""
        if self.deeds is not None:
            self.deeds.about = about or self.deeds.about
            self.deeds.facts |= facts

    def seen(self, witness: Witness, action: Callable[["Transaction"], T]) -> T:
        """Run an action under the eyes of a witness, who writes down what it has changed."""
        self.deeds = deeds = Deeds()
        try:
            result = action(self)
        finally:
            self.deeds = None
        if deeds.changed:
            witness.write_down(self, deeds)
        return result


class _Action:
    """A write that waits for its turn, and the loop in which somebody waits for it."""

    def __init__(self, run: Callable[[Transaction], Any]) -> None:
        self.run = run
        self.loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Any] = self.loop.create_future()
        #: Whether its end is known; it is told in the loop.
        self.is_over = False


class Database:
    """The catalog's connections: a pool that reads, and one writer (SQLite) or a few (PostgreSQL)."""

    def __init__(self, url: str, *, readers: int = 4, writers: int = 4) -> None:
        self.url = make_url(url)
        self._sqlite = is_sqlite(self.url)
        self._reading = _engine(self.url, writes=False, size=readers)
        self._writing = _engine(self.url, writes=True, size=writers)
        self._pool = ThreadPoolExecutor(readers, thread_name_prefix="catalog-read")
        self._queue: SimpleQueue[_Action | None] = SimpleQueue()
        self._listeners: dict[str, list[Callable[[], object]]] = {}
        self._relay: Callable[[str], object] | None = None
        self._turns = Turns(Path(self.url.database)) if self._sqlite and self.url.database else None
        self._closed = False
        # SQLite has one writer whatever we do; one thread means that nobody ever meets its lock.
        self._writers = [
            threading.Thread(target=self._write_for_ever, name=f"catalog-write-{n}", daemon=True)
            for n in range(1 if self._sqlite else writers)
        ]
        for writer in self._writers:
            writer.start()

    async def read(self, question: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the answer to a question, asked of one consistent state of the catalog."""
        asked = partial(self.ask, question, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._pool, asked)

    def ask(self, question: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the same to who waits in a thread."""
        try:
            with self._reading.begin() as connection:
                return question(Transaction(connection), *args, **kwargs)
        except OperationalError as error:
            log.exception("catalog.silent")
            raise Unavailable("the database does not answer") from error

    async def write(self, action: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run an action and return its result once it is on disk; one that raises has changed nothing."""
        witness = WITNESS.get()
        run: Callable[[Transaction], T] = lambda tx: action(tx, *args, **kwargs)  # noqa: E731
        # In the context of who asks: what is written belongs to the request, in the log and in traces.
        context = copy_context()
        waiting = _Action(lambda tx: context.run(run, tx) if witness is None else context.run(tx.seen, witness, run))
        with span("catalog.write", {"headwater.action": getattr(action, "__name__", "action")}):
            self._queue.put(waiting)
            # A caller that goes away does not undo what the writer is about to commit.
            return await waiting.answer

    def on(self, topic: str, listener: Callable[[], object]) -> None:
        """Call ``listener``, from any thread, after each commit that announced ``topic``."""
        self._listeners.setdefault(topic, []).append(listener)

    def relay_to(self, relay: Callable[[str], object] | None) -> None:
        """Call ``relay`` from a writer thread with each topic that is announced here, for other processes."""
        self._relay = relay

    def heard(self, topic: str) -> None:
        """Tell those who listen to a topic that it was announced, here or in another process."""
        for listener in self._listeners.get(topic, ()):
            with suppress(RuntimeError):  # its event loop is closed: nobody listens there any more
                listener()

    def close(self) -> None:
        """Finish the writes that wait, then let go of every connection."""
        if self._closed:
            return
        self._closed = True
        for _ in self._writers:
            self._queue.put(None)
        for writer in self._writers:
            writer.join()
        self._pool.shutdown()
        self._reading.dispose()
        self._writing.dispose()
        if self._turns is not None:
            self._turns.close()

    def _write_for_ever(self) -> None:
        while (first := self._queue.get()) is not None:
            with nullcontext() if self._turns is None else self._turns.turn():
                self._commit([first, *self._waiting()])

    def _waiting(self) -> list[_Action]:
        taken: list[_Action] = []
        while len(taken) < MOST_IN_GROUP - 1:
            try:
                action = self._queue.get_nowait()
            except Empty:
                break
            if action is None:  # the sign to stop: for whoever looks next, we included
                self._queue.put(None)
                break
            taken.append(action)
        return taken

    def _commit(self, group: list[_Action]) -> None:
        """Run actions in one transaction, and those of them that cannot be run each in its own."""
        alone: list[_Action] = []
        while len(group) > 1 and (failed := self._commit_together(group)) is not None:
            alone.append(failed)
            group = [action for action in group if action is not failed]
        for action in [*group, *alone]:
            if not action.is_over:
                self._commit_alone(action)

    def _commit_together(self, group: list[_Action]) -> _Action | None:
        """Run actions in one transaction, all or none of them; return the one that fails, None if all are answered.

        Without savepoints, which cost as much as the actions themselves, and few of them fail.
        """
        with self._unless_lost(group), self._writing.connect() as connection:
            connection.begin()
            tx = Transaction(connection)
            results: list[Any] = []
            for action in group:
                try:
                    results.append(action.run(tx))
                except Exception:  # noqa: BLE001 - run once more alone, where its error is its own
                    return action
            tx.finish()
            connection.commit()
            self._tell(tx)
            _end(group, results)
        return None

    def _commit_alone(self, action: _Action) -> None:
        for attempt in range(1, TRIES + 1):
            with self._unless_lost([action]), self._writing.connect() as connection:
                connection.begin()
                tx = Transaction(connection)
                try:
                    result = action.run(tx)
                    tx.finish()
                except OperationalError:
                    # Turned down for others' sake: nothing was committed, so that it may be tried again.
                    if attempt < TRIES:
                        continue
                    raise
                connection.commit()
                self._tell(tx)
                _end([action], [result])
            return

    @contextmanager
    def _unless_lost(self, group: list[_Action]) -> Generator[None]:
        """Let those who wait know when the block fails. It is not tried again: it may have been committed."""
        try:
            yield
        except OperationalError as error:
            log.exception("catalog.silent")
            fault: BaseException = Unavailable("the database does not answer; nothing is known to have changed")
            fault.__cause__ = error
            _end(group, [fault] * len(group))
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            _end(group, [error] * len(group))

    def _tell(self, tx: Transaction) -> None:
        relay = self._relay
        for topic in tx.topics:
            self.heard(topic)
            if relay is not None:
                relay(topic)


def _end(group: Sequence[_Action], outcomes: Sequence[Any]) -> None:
    """Let those who wait have what came of their actions, an error or a result; each loop is woken once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Action, Any]]] = {}
    for action, outcome in zip(group, outcomes, strict=True):
        if not action.is_over:
            action.is_over = True
            by_loop.setdefault(action.loop, []).append((action, outcome))
    for loop, ended in by_loop.items():
        with suppress(RuntimeError):  # it is closed: nobody waits any more
            loop.call_soon_threadsafe(_answer, ended)


def _answer(ended: Sequence[tuple[_Action, Any]]) -> None:
    for action, outcome in ended:
        if action.answer.done():
            continue  # who waited went away
        if isinstance(outcome, BaseException):
            action.answer.set_exception(outcome)
        else:
            action.answer.set_result(outcome)


def is_sqlite(url: URL) -> bool:
    """Tell whether a database URL names SQLite."""
    return url.get_backend_name() == "sqlite"


def check_url(url: str) -> None:
    """Raise unless Headwater can work with such a database.

    Raises:
        ValueError: it is neither SQLite nor PostgreSQL through psycopg.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ValueError("it is no database URL; use sqlite:///… or postgresql+psycopg://…") from error
    if parsed.drivername not in {"sqlite", "postgresql+psycopg"}:
        raise ValueError(
            f"{parsed.drivername!r} is no database that Headwater knows: use sqlite:///… or postgresql+psycopg://…"
        )


def _engine(url: URL, *, writes: bool, size: int) -> Engine:
    if not is_sqlite(url):
        return create_engine(
            url,
            pool_size=size,
            max_overflow=0,
            pool_pre_ping=True,
            # A question of several statements sees one state; a change sees what others have committed.
            isolation_level="READ COMMITTED" if writes else "REPEATABLE READ",
        )
    engine = create_engine(url, pool_size=1 if writes else size, max_overflow=0, connect_args={"timeout": PATIENCE})
    begin = "BEGIN IMMEDIATE" if writes else "BEGIN"

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.isolation_level = None  # we say BEGIN ourselves
        _use_wal(connection)
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.exec_driver_sql(begin)

    return engine


def _use_wal(connection: Any) -> None:
    """Let readers and the writer of a SQLite not wait for each other.

    The file remembers it. The first time it needs the file for itself, and SQLite, which waits for a
    lock elsewhere, fails at once here when another process has it.
    """
    for patience in range(PATIENCE * 20, -1, -1):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if not patience:
                raise
            time.sleep(0.05)
        else:
            return


def lock_schema(connection: Connection) -> None:
    """Let one process at a time migrate: on SQLite the transaction itself, on PostgreSQL an advisory lock."""
    if is_sqlite(connection.engine.url):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(4851269)")


def migration_engine(url: str) -> Engine:
    """Return an engine for one migration run; who uses it disposes of it."""
    engine = create_engine(make_url(url), connect_args={"timeout": PATIENCE} if is_sqlite(make_url(url)) else {})
    if is_sqlite(engine.url):

        @event.listens_for(engine, "connect")
        def prepare(connection: Any, _record: Any) -> None:  # pyright: ignore[reportUnusedFunction]
            connection.isolation_level = None
            _use_wal(connection)

    return engine
