"""tests/postgres_databases.py: what a test leaves in a database, the next one does not see."""

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url, text

import postgres_databases
from headwater.catalog.core.database import Database
from headwater.catalog.core.migrate import present
from postgres_databases import VACUUM_EVERY, Databases, connected

TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
SEQUENCES = "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1"
COLUMNS = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s"
#: A value for a column of each type.
VALUES = {
    "bigint": 7,
    "boolean": True,
    "bytea": b"x",
    "character varying": "x",
    "double precision": 1.5,
    "integer": 7,
    "json": "{}",
    "text": "x",
    "timestamp with time zone": "2026-03-01T12:00:00Z",
    "timestamp without time zone": "2026-03-01T12:00:00",
}


@pytest.fixture
def lender(postgres) -> Iterator[Databases]:
    with contextlib.closing(Databases(postgres)) as made:
        yield made


@pytest.fixture
def new(postgres) -> Iterator[str]:
    """A database that no test has had."""
    with postgres_databases.own(postgres, template="template") as url:
        yield url


@contextlib.contextmanager
def session(url: str) -> Iterator[psycopg.Connection]:
    with connected(url, database=make_url(url).database) as connection:
        yield connection


def tables_of(connection: psycopg.Connection) -> list[str]:
    return [table for (table,) in connection.execute(TABLES)]


def fill(url: str) -> None:
    """Add a row to each table, and change those that are there; let each sequence go on."""
    with session(url) as connection:
        connection.execute("SET session_replication_role = replica")
        for table in tables_of(connection):
            columns = connection.execute(COLUMNS, [table]).fetchall()
            names = sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns)
            connection.execute(
                sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                    sql.Identifier(table), names, sql.SQL(", ").join(sql.Placeholder() * len(columns))
                ),
                [VALUES[kind] for _, kind in columns],
            )
        connection.execute("DELETE FROM alembic_version WHERE version_num <> 'x'; DELETE FROM audit_kept WHERE id = 1")
        connection.execute("UPDATE webhook_place SET event = 9")
        for name, _ in connection.execute(SEQUENCES).fetchall():
            connection.execute("SELECT nextval(%s)", [name])


def content(url: str) -> dict[str, Any]:
    """All rows of all tables, and the places of the sequences."""
    with session(url) as connection:
        rows = {
            table: connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))).fetchall()
            for table in tables_of(connection)
        }
        return rows | {"sequences": connection.execute(SEQUENCES).fetchall()}


@pytest.mark.parametrize("lent_before", [0, VACUUM_EVERY - 1])
def test_a_database_that_is_lent_again_is_as_a_new_one(lender, new, lent_before):
    for _ in range(lent_before):
        with lender.lent():
            pass
    with lender.lent() as first:
        fill(first)
        left = content(first)
        assert all(left.values())
    with lender.lent() as second:
        assert second == first
        assert content(second) == content(new)


def test_a_table_that_was_large_takes_no_more_space_than_a_new_one(lender, new):
    size = "SELECT pg_total_relation_size('audit')"
    with lender.lent() as url, session(url) as connection:
        connection.execute(
            "INSERT INTO audit (fid, at, name, origin, action, detail) "
            "SELECT md5(n::text), now(), 'anna', 'api', 'create', '{}' FROM generate_series(1, 2000) AS n"
        )
        large = connection.execute(size).fetchone()[0]
    with lender.lent() as url, session(url) as connection, session(new) as another:
        of_new = another.execute(size).fetchone()[0]
        assert connection.execute(size).fetchone()[0] == of_new < large


def test_two_tests_at_once_have_a_database_each(lender):
    with lender.lent() as one, lender.lent() as other:
        assert one != other


def test_the_audit_of_a_database_that_is_lent_again_still_takes_no_change(lender):
    with lender.lent() as url:
        fill(url)
    with lender.lent() as url, session(url) as connection, pytest.raises(psycopg.errors.RaiseException):
        connection.execute("DELETE FROM audit_kept")


def test_a_session_that_a_test_leaves_ends_with_its_locks(lender):
    with lender.lent() as url:
        left = psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string())
        left.execute("LISTEN anything")
        left.execute("SELECT pg_advisory_lock(1)")
        left.execute("LOCK TABLE tasks")  # in a transaction that never ends
    with lender.lent() as url, session(url) as connection:
        assert connection.execute("SELECT pg_try_advisory_lock(1)").fetchone() == (True,)
        connection.execute("DELETE FROM tasks")
    with pytest.raises(psycopg.OperationalError):
        left.execute("SELECT 1")
    left.close()


def test_a_database_whose_sessions_are_all_ended_is_lent_again(lender, new):
    with lender.lent() as first:
        fill(first)
        with session(first) as connection:
            connection.execute(postgres_databases.END_OTHERS)
    with lender.lent() as second:
        assert second == first
        assert content(second) == content(new)


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE lake_place",
        "DROP SCHEMA public CASCADE",
        "CREATE TABLE more (id integer)",
        "CREATE VIEW more AS SELECT 1",
        "CREATE INDEX more ON tasks (state)",
        "DROP INDEX deliveries_to_send",
        "ALTER TABLE tasks ADD COLUMN more integer",
        "ALTER TABLE tasks ALTER COLUMN timeout DROP NOT NULL",
        "ALTER TABLE tasks DISABLE TRIGGER ALL",
        "CREATE SCHEMA more",
        "ALTER DATABASE {name} SET timezone = 'Asia/Tokyo'",
    ],
)
def test_a_database_with_another_schema_or_other_settings_is_dropped(lender, postgres, change):
    with lender.lent() as first:
        name = make_url(first).database
        with session(first) as connection:
            connection.execute(change.format(name=name))
    with lender.lent() as second:
        assert second != first
        assert present(second) == present(postgres)
    with connected(postgres, database="postgres") as connection:
        assert connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchall() == []


def test_a_database_that_lets_nobody_in_any_more_is_dropped(lender, postgres):
    with lender.lent() as first, connected(postgres, database="postgres") as connection:
        name = make_url(first).database
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
    with lender.lent() as second:
        assert second != first


async def test_a_catalog_that_was_not_closed_cannot_write_into_the_next_test(lender):
    with lender.lent() as url:
        left = Database(url)
        await left.read(lambda tx: tx.execute(text("SELECT 1")))
    with lender.lent() as url, session(url) as connection:
        others = "SELECT FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
        # Only the one that emptied it.
        assert len(connection.execute(others, [make_url(url).database]).fetchall()) == 1
    left.close()
