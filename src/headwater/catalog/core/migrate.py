"""Migrates a catalog to the current schema."""

from pathlib import Path

from sqlalchemy import inspect, text
from sqlalchemy.exc import OperationalError

from headwater.catalog.core.dialects import migration_engine

MIGRATIONS = Path(__file__).parents[1] / "migrations"


class DatabaseAway(Exception):
    """The database is unreachable."""


def newest() -> str:
    """Return the schema version that this Headwater works with."""
    return max(path.stem.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def present(url: str) -> str | None:
    """Return the schema version of a database; None if it has none yet.

    Raises:
        DatabaseAway: it cannot be reached.
    """
    engine = migration_engine(url)
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    except OperationalError as error:
        raise DatabaseAway(f"the database does not answer: {str(error.orig).strip()}") from error
    finally:
        engine.dispose()


def upgrade(url: str) -> str:
    """Apply the missing migrations to a database, and return its new schema version."""
    # Imported here: a start without migrations need not wait for Alembic.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = url
    command.upgrade(config, "head")
    return newest()
