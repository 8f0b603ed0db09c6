"""What Alembic runs: the versions that are missing, each process waiting for the other."""

from alembic import context

from headwater.catalog.dialects import lock_schema, migration_engine
from headwater.catalog.tables import metadata


def run() -> None:
    """Bring the database that the configuration names to the version that is asked for."""
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
