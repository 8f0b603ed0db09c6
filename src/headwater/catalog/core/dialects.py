"""Every difference between SQLite and PostgreSQL: types, functions, connections, the migration lock."""

import sqlite3
import time
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    DateTime,
    Engine,
    Float,
    LargeBinary,
    Text,
    create_engine,
    event,
    literal,
    make_url,
)
from sqlalchemy.engine import URL, Compiled, Dialect
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidatePoolError, OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator
from sqlalchemy.util import LRUCache

#: Seconds that SQLite waits for another process's write.
PATIENCE = 30
#: Seconds for which a connection to PostgreSQL that was used is taken for sound.
TRUSTED_FOR = 2.0
#: Begins a change on PostgreSQL: it sees what others have committed meanwhile.
BEGIN_WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED"
#: Seconds after which PostgreSQL ends a transaction whose process does not go on: it may hold what all nodes wait for.
HANGS_FOR = 30.0


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time in UTC. SQLite has no such type and drops the time zone, so it is added again."""

    impl = DateTime(timezone=True)
    cache_ok = True

    @property
    def python_type(self) -> type[datetime]:
        """What its values are."""
        return datetime

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the time in UTC, whatever its time zone."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the time with its time zone."""
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class holds(FunctionElement[bool]):  # noqa: N801 - it reads as an SQL function
    """Whether bytes contain bytes, or a text a text, exactly: ``LIKE`` has a length limit and ignores case."""

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


class folded(FunctionElement[str]):  # noqa: N801 - it reads as an SQL function
    """A text in small letters, which compares by its characters, whatever the language of the database.

    SQLite does so with the letters of ASCII.
    """

    type = Text()
    inherit_cache = True


@compiles(folded)
def _folded(element: folded, compiler: SQLCompiler, **more: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    (whole,) = (compiler.process(clause, **more) for clause in element.clauses)
    return f"lower({whole})" if compiler.dialect.name == "sqlite" else f'(lower({whole}) COLLATE "C")'


class seconds_between(FunctionElement[float]):  # noqa: N801 - it reads as an SQL function
    """The seconds from one point in time to another."""

    type = Float()
    inherit_cache = True


@compiles(seconds_between)
def _seconds_between(  # pyright: ignore[reportUnusedFunction]
    element: seconds_between, compiler: SQLCompiler, **more: Any
) -> str:
    start, end = (compiler.process(clause, **more) for clause in element.clauses)
    if compiler.dialect.name == "sqlite":
        return f"((julianday({end}) - julianday({start})) * 86400.0)"
    # A float, so that a value that was read compares equal to itself.
    return f"CAST(EXTRACT(EPOCH FROM ({end} - {start})) AS double precision)"


def is_sqlite(url: URL) -> bool:
    """Return whether a database URL names SQLite."""
    return url.get_backend_name() == "sqlite"


def commits_in_order(dialect: Dialect) -> bool:
    """Return whether a database has one writer at a time, so that ids that it assigns are in commit order."""
    return dialect.name == "sqlite"


def has_pipelines(dialect: Dialect) -> bool:
    """Return whether a database is across a network, and takes several statements in one round trip."""
    return dialect.name == "postgresql"


def is_rolled_back(error: DBAPIError) -> bool:
    """Return whether PostgreSQL rolled a transaction back because of others, though it was to commit."""
    return str(getattr(error.orig, "sqlstate", None) or "").startswith("40")


def is_full(error: DBAPIError) -> bool:
    """Return whether a write failed because the database's disk is full, and was certainly not committed."""
    return getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def is_away(error: DBAPIError) -> bool:
    """Return whether a statement failed because the database does not answer, or has ended the connection."""
    return isinstance(error, OperationalError) or error.connection_invalidated


def check_url(url: str) -> None:
    """Raise unless Headwater supports the database.

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


class CompiledStatements(LRUCache[tuple[Any, ...], Compiled]):
    """The compiled statements of all engines of this process.

    SQLAlchemy keeps them by engine, and compiling costs more than running most statements. A statement's SQL depends on
    the database alone: engines for one database differ in their connections.
    """

    def get(self, key: tuple[Any, ...], default: Any = None) -> Any:
        """Return a compiled statement; its key begins with the engine's dialect."""
        return super().get((key[0].name, *key[1:]), default)

    def __setitem__(self, key: tuple[Any, ...], value: Compiled) -> None:
        """Keep a compiled statement."""
        super().__setitem__((key[0].name, *key[1:]), value)


_SHARED = {"compiled_cache": CompiledStatements(1000)}


def engine_for(url: URL, *, writes: bool, size: int) -> Engine:
    """Return a connection pool for reads, or one for writes; the caller disposes of it."""
    if not is_sqlite(url):
        return _postgresql(url, writes=writes, size=size)
    engine = create_engine(
        url,
        pool_size=1 if writes else size,
        max_overflow=0,
        connect_args={"timeout": PATIENCE},
        execution_options=_SHARED,
    )
    begin = "BEGIN IMMEDIATE" if writes else "BEGIN"

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.isolation_level = None  # BEGIN is issued explicitly
        _use_wal(connection)
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.exec_driver_sql(begin)

    return engine


def _postgresql(url: URL, *, writes: bool, size: int) -> Engine:
    engine = create_engine(
        url,
        pool_size=size,
        max_overflow=0,
        # A query of several statements sees one snapshot. A change begins with ``BEGIN_WRITE``: the driver would wait
        # for the answer to a BEGIN of its own.
        isolation_level="AUTOCOMMIT" if writes else "REPEATABLE READ",
        execution_options=_SHARED,
    )
    _ping_idle(engine)
    if not writes:
        return engine

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.execute(f"SET idle_in_transaction_session_timeout = {int(HANGS_FOR * 1000)}")
        connection.commit()

    return engine


def _ping_idle(engine: Engine) -> None:
    """Check connections that were idle, which may be broken, when they are used again: a ping is a round trip."""

    @event.listens_for(engine, "checkin")
    def checked_in(_connection: Any, record: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        record.info["used_at"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def checked_out(connection: Any, record: Any, _proxy: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        if time.monotonic() - record.info.get("used_at", time.monotonic()) < TRUSTED_FOR:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError("the database has closed the connection") from error


def _use_wal(connection: Any) -> None:
    """Switch SQLite to WAL, so that readers and the writer do not wait for each other.

    The setting is stored in the file. Switching needs exclusive access, and there SQLite fails at once if
    another process has the file open, instead of waiting as it does for other locks.
    """
    for tries_left in range(PATIENCE * 20, -1, -1):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if not tries_left:
                raise
            time.sleep(0.05)
        else:
            return


def lock_schema(connection: Connection) -> None:
    """Let one process at a time migrate: with the transaction itself on SQLite, an advisory lock on PostgreSQL."""
    if is_sqlite(connection.engine.url):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(4851269)")


def migration_engine(url: str) -> Engine:
    """Return an engine for one migration run; the caller disposes of it."""
    engine = create_engine(make_url(url), connect_args={"timeout": PATIENCE} if is_sqlite(make_url(url)) else {})
    if is_sqlite(engine.url):

        @event.listens_for(engine, "connect")
        def prepare(connection: Any, _record: Any) -> None:  # pyright: ignore[reportUnusedFunction]
            connection.isolation_level = None
            _use_wal(connection)

    return engine
