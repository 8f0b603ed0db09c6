"""Alembic's environment: applies missing versions, one process at a time."""

from alembic import context

from headwater.catalog.core.dialects import lock_schema, migration_engine
from headwater.catalog.tables import metadata


def run() -> None:
    """Migrate the configured database to the requested version."""
    engine = migration_engine(context.config.attributes["url"])
    with engine.connect() as connection:
        context.configure(
            connection=connection, target_metadata=metadata, transactional_ddl=True, user_module_prefix=""
        )
        with context.begin_transaction():
            lock_schema(connection)
            context.run_migrations()
    engine.dispose()


run()
