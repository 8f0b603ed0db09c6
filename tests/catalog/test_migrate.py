from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from headwater.catalog import migrate
from headwater.catalog.database import migration_engine
from headwater.catalog.tables import metadata


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
