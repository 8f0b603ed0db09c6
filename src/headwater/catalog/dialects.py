"""All in which SQLite and PostgreSQL differ: types, functions, connections, the lock of who migrates."""

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
    LargeBinary,
    Text,
    create_engine,
    event,
    literal,
    make_url,
)
from sqlalchemy.engine import URL, Dialect
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

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


def engine_for(url: URL, *, writes: bool, size: int) -> Engine:
    """Return a pool of connections that read, or of those that write; who uses it disposes of it."""
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
