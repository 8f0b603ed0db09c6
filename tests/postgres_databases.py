"""Migrated PostgreSQL databases that tests use one after the other.

To create a database and to drop it takes sixty times as much of the processor as to delete the rows of a test, and each
first connection to a new database builds caches anew. So a worker of a test run keeps databases, and lends each to one
test at a time. Before a database is lent again it is as a new one: other sessions are ended, its tables hold what the
migrations left in them, its sequences begin at their start. A database whose schema or settings a test has changed is
dropped instead.

Not as new is what no table holds: how full the pages of tables and indexes are, and what the planner knows of them. A
test that measures it is marked ``own_database``.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from uuid import uuid4

import psycopg
from psycopg import sql
from sqlalchemy import make_url

#: After so many tests, the space of deleted rows is used anew. Not earlier: until then rows stay in the order in which
#: a test adds them, as in a new database.
VACUUM_EVERY = 20
#: Bytes of a table that is truncated instead, with its indexes: that takes ten times as much as to delete few rows.
LARGE = 1 << 16
#: Seconds that an ended session may take to be gone.
GONE_WITHIN = 30.0

_TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY relname"
#: Ends the other sessions of a database.
END_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
_LARGE = """
SELECT relname FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relname = ANY(%s) AND pg_table_size(oid) > %s
"""
_RESTART = """
SELECT setval(seqrelid, seqstart, false) FROM pg_sequence WHERE pg_sequence_last_value(seqrelid) IS NOT NULL
"""
#: A number for the schema and the settings of a database: what changes them writes rows of the system catalogs anew.
_SCHEMA = """
SELECT sum(hashtextextended(line, 0)) FROM (
    SELECT concat_ws(',', 'class', oid, relname, relkind, relnamespace, relrowsecurity, reloptions, relacl)
    FROM pg_class WHERE oid >= 16384
    UNION ALL SELECT concat_ws(',', 'attribute', attrelid, attnum, xmin) FROM pg_attribute WHERE attrelid >= 16384
    UNION ALL SELECT concat_ws(',', 'constraint', oid, xmin) FROM pg_constraint
    UNION ALL SELECT concat_ws(',', 'trigger', oid, xmin) FROM pg_trigger
    UNION ALL SELECT concat_ws(',', 'routine', oid, xmin) FROM pg_proc WHERE oid >= 16384
    UNION ALL SELECT concat_ws(',', 'type', oid, xmin) FROM pg_type WHERE oid >= 16384
    UNION ALL SELECT concat_ws(',', 'sequence', seqrelid, xmin) FROM pg_sequence
    UNION ALL SELECT concat_ws(',', 'rule', oid, xmin) FROM pg_rewrite WHERE oid >= 16384
    UNION ALL SELECT concat_ws(',', 'schema', oid, xmin) FROM pg_namespace
    UNION ALL SELECT concat_ws(',', 'extension', oid, xmin) FROM pg_extension
    UNION ALL SELECT concat_ws(',', 'database', oid, xmin) FROM pg_database WHERE datname = current_database()
    UNION ALL SELECT concat_ws(',', 'setting', setrole, xmin) FROM pg_db_role_setting
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
) AS lines (line)
"""


class NotAsNew(Exception):
    """A database cannot be made as it was when it was new."""


@contextlib.contextmanager
def connected(url: str, *, database: str) -> Iterator[psycopg.Connection]:
    """Connect to another database of the same server, without transactions."""
    with _connect(url, database=database) as connection:
        yield connection


def _connect(url: str, *, database: str) -> psycopg.Connection:
    plain = make_url(url).set(drivername="postgresql", database=database).render_as_string()
    return psycopg.connect(plain, autocommit=True)


@contextlib.contextmanager
def own(url: str, *, template: str = "template1") -> Iterator[str]:
    """Create a database of one test, and drop it after it."""
    name = f"t{uuid4().hex}"
    with connected(url, database="postgres") as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield make_url(url).set(database=name).render_as_string()
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@dataclass
class _Kept:
    """A database that is lent to one test after the other."""

    name: str
    connection: psycopg.Connection
    #: What to ask: the schema's number, and for each table whether it holds other rows than a new one.
    question: sql.Composed
    schema: int
    lent: int = 0
    #: Tables whose deleted rows still take space.
    emptied: set[str] = field(default_factory=set)


class Databases:
    """The databases of a worker; all are copies of one migrated database."""

    def __init__(self, template: str) -> None:
        """Take the URL of the migrated database, to which nobody may be connected."""
        self._template = make_url(template).database
        self._url = template
        self._idle: list[_Kept] = []
        #: The rows that migrations leave, by table; known with the first copy.
        self._seeded: dict[str, str] = {}

    @contextlib.contextmanager
    def lent(self) -> Iterator[str]:
        """Lend a database that is as new."""
        kept = self._take()
        kept.lent += 1
        try:
            yield make_url(self._url).set(database=kept.name).render_as_string()
        finally:
            self._idle.append(kept)

    def close(self) -> None:
        """Let go of all; the server is about to stop."""
        for kept in self._idle:
            kept.connection.close()

    def _take(self) -> _Kept:
        while self._idle:
            kept = self._idle.pop()
            try:
                self._renew(kept)
            except (NotAsNew, psycopg.Error):
                kept.connection.close()
                with connected(self._url, database="postgres") as connection:
                    connection.execute(f"DROP DATABASE {kept.name} WITH (FORCE)")
            else:
                return kept
        return self._new()

    def _new(self) -> _Kept:
        name = f"t{uuid4().hex}"
        with connected(self._url, database="postgres") as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {self._template}")
        connection = self._opened(name)
        tables = [table for (table,) in connection.execute(_TABLES)]
        if not self._seeded:
            self._seeded = {table: rows for table in tables if (rows := _rows(connection, table)) is not None}
        schema = connection.execute(_SCHEMA).fetchone()[0]
        return _Kept(name, connection, _question(tables, self._seeded), schema)

    def _opened(self, name: str) -> psycopg.Connection:
        connection = _connect(self._url, database=name)
        # No trigger runs: neither those of foreign keys, nor those that keep the audit.
        connection.execute("SET session_replication_role = replica")
        return connection

    def _renew(self, kept: _Kept) -> None:
        """Make a database as new.

        Raises:
            NotAsNew: its schema is another one.
        """
        _end_others(kept, opened=self._opened)
        schema, *filled = kept.connection.execute(kept.question).fetchone()
        if schema != kept.schema:
            raise NotAsNew(kept.name)
        tables = [table for table in filled if table is not None]
        if tables:
            large = [table for (table,) in kept.connection.execute(_LARGE, [tables, LARGE])]
            if large:
                # Tables that refer to these hold nothing that stays either.
                kept.connection.execute(sql.SQL("TRUNCATE {} CASCADE").format(_names(large)), prepare=False)
            kept.connection.execute(sql.SQL("; ").join(map(self._as_new, tables)), prepare=False)
        kept.connection.execute(_RESTART)
        kept.emptied.update(tables)
        if kept.lent % VACUUM_EVERY == 0 and kept.emptied:
            kept.connection.execute(sql.SQL("VACUUM {}").format(_names(kept.emptied)), prepare=False)
            kept.emptied.clear()

    def _as_new(self, table: str) -> sql.Composable:
        empty = sql.SQL("DELETE FROM {}").format(sql.Identifier(table))
        if table not in self._seeded:
            return empty
        return sql.SQL(
            "{empty}; INSERT INTO {table} OVERRIDING SYSTEM VALUE "
            "SELECT (json_populate_record(NULL::{table}, row)).* FROM json_array_elements({rows}) AS rows (row)"
        ).format(empty=empty, table=sql.Identifier(table), rows=sql.Literal(self._seeded[table]))


def _end_others(kept: _Kept, *, opened: Callable[[str], psycopg.Connection]) -> None:
    """End the sessions that a test has left, and wait until they are gone."""
    until = time.monotonic() + GONE_WITHIN
    while time.monotonic() < until:
        try:
            if not kept.connection.execute(END_OTHERS).fetchall():
                return
        except psycopg.OperationalError:
            # The test has ended all sessions of its database, this one too.
            kept.connection.close()
            kept.connection = opened(kept.name)
        time.sleep(0.005)
    raise NotAsNew(kept.name)


def _rows(connection: psycopg.Connection, table: str) -> str | None:
    """Return the rows of a table as JSON; none if there are none."""
    asked = sql.SQL("SELECT json_agg(rows)::text FROM {} AS rows").format(sql.Identifier(table))
    return connection.execute(asked).fetchone()[0]


def _question(tables: list[str], seeded: dict[str, str]) -> sql.Composed:
    """Return what to ask a database: its schema's number, and those tables that hold other rows than new ones do."""
    asked = [
        sql.SQL(
            "(SELECT {name} WHERE (SELECT json_agg(rows)::text FROM {table} AS rows) IS DISTINCT FROM {rows})"
        ).format(name=sql.Literal(table), table=sql.Identifier(table), rows=sql.Literal(seeded[table]))
        if table in seeded
        else sql.SQL("(SELECT {name} WHERE EXISTS (SELECT FROM {table}))").format(
            name=sql.Literal(table), table=sql.Identifier(table)
        )
        for table in tables
    ]
    return sql.SQL("SELECT ({schema}), {tables}").format(schema=sql.SQL(_SCHEMA), tables=sql.SQL(", ").join(asked))


def _names(tables: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(table) for table in sorted(tables))
