from dataclasses import asdict
from datetime import timedelta

import msgspec
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import JSON, column, insert, inspect, table, text

from builders import AT, a_crawler, a_stream, a_task, an_external, read_events
from headwater.catalog import externals, objects
from headwater.catalog.core import migrate
from headwater.catalog.core.database import Database
from headwater.catalog.core.dialects import UtcDateTime, migration_engine
from headwater.catalog.events import after
from headwater.catalog.objects import CRAWLERS, EXTERNALS, STREAMS, TASKS
from headwater.catalog.tables import events, external_versions, metadata


def test_the_migrated_schema_is_the_declared_one(url):
    engine = migration_engine(url)
    with engine.connect() as connection:
        difference = compare_metadata(MigrationContext.configure(connection), metadata)
    engine.dispose()
    assert difference == []


def test_a_migrated_database_is_at_the_newest_version(url):
    assert migrate.present(url) == migrate.newest()


def test_migrating_twice_changes_nothing(url):
    assert migrate.upgrade(url) == migrate.newest()


def test_an_empty_database_has_no_version(tmp_path):
    assert migrate.present(f"sqlite:///{tmp_path / 'new.sqlite'}") is None


@pytest.fixture
def at_version(url, tmp_path):
    """A catalog as it was at a version of the schema, before any later one."""

    def made(version: str) -> str:
        old = f"sqlite:///{tmp_path / 'old.sqlite'}" if url.startswith("sqlite") else url
        engine = migration_engine(old)
        if engine.dialect.name == "postgresql":
            with engine.begin() as connection:
                connection.execute(text("DROP SCHEMA public CASCADE"))
                connection.execute(text("CREATE SCHEMA public"))
        engine.dispose()
        config = Config()
        config.set_main_option("script_location", str(migrate.MIGRATIONS))
        config.attributes["url"] = old
        command.upgrade(config, version)
        return old

    return made


async def test_versions_that_are_there_get_the_moment_that_is_known_of_them(at_version):
    old = at_version("0003")
    fid, made_at, edited_at = "e" * 32, AT, AT + timedelta(days=1)
    moments = [column("created_at", UtcDateTime), column("updated_at", UtcDateTime)]
    stored = table("externals", column("fid"), column("version"), *moments, column("meta", JSON))
    versions = table("external_versions", column("external"), column("version"), column("definition", JSON))
    engine = migration_engine(old)
    with engine.begin() as connection:
        connection.execute(
            stored.insert().values(fid=fid, version=2, created_at=made_at, updated_at=edited_at, meta={"name": "Books"})
        )
        for version in (1, 2):
            definition = {"headers": {"X-Version": str(version)}, "parameters": []}
            connection.execute(versions.insert().values(external=fid, version=version, definition=definition))
    engine.dispose()
    migrate.upgrade(old)
    database = Database(old)
    try:
        found = await database.read(externals.versions, fid, before=None, limit=9)
        assert [(each.version, each.created_at) for each in found] == [(2, edited_at), (1, made_at)]
        external = await database.read(externals.to_run, fid)
        assert (external.version, external.published, external.name) == (2, None, "Books")
        assert (await database.read(externals.at, fid, 1)).definition.headers == {"X-Version": "1"}
    finally:
        database.close()


def test_crawlers_and_tasks_of_before_are_kept_and_do_nothing_by_themselves(tmp_path):
    url = f"sqlite:///{tmp_path / 'old.sqlite'}"
    config = Config()
    config.set_main_option("script_location", str(migrate.MIGRATIONS))
    config.attributes["url"] = url
    command.upgrade(config, "0003")
    stream, external = a_stream(), an_external()
    crawler = a_crawler(stream, external)
    task = a_task(crawler)
    engine = migration_engine(url)
    with engine.begin() as connection:
        for kind, value in ((STREAMS, stream), (EXTERNALS, external), (CRAWLERS, crawler), (TASKS, task)):
            old = {each["name"] for each in inspect(connection).get_columns(kind.name)}
            values = {name: field for name, field in asdict(value).items() if name in old}
            connection.execute(insert(kind.table).values(values))
            if kind is EXTERNALS:
                definition = msgspec.to_builtins(external.definition)
                version = {"external": external.fid, "version": 1, "definition": definition}
                connection.execute(insert(external_versions).values(version))
    engine.dispose()
    migrate.upgrade(url)
    db = Database(url)
    assert db.read_blocking(objects.get, CRAWLERS, crawler.fid) == crawler
    assert db.read_blocking(objects.get, TASKS, task.fid) == task
    assert (crawler.gates, crawler.retries, crawler.next_run_at, task.retry_at) == (None, 0, None, None)
    db.close()


async def test_events_of_before_are_kept_and_new_ones_come_after_them(at_version):
    old = at_version("0081")
    engine = migration_engine(old)
    with engine.begin() as connection:
        for _ in range(3):
            connection.execute(insert(events).values(at=AT, type="stream.created", data={}))
    engine.dispose()
    migrate.upgrade(old)
    database = Database(old)
    try:
        await database.write(objects.add, STREAMS, a_stream())
        assert [event.id for event in await read_events(database, after, 0, limit=9)] == [1, 2, 3, 4]
    finally:
        database.close()
