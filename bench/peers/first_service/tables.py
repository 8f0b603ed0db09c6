"""The table of the first service; ``python -m bench.peers.first_service.tables URL`` creates it."""

import sys
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """All tables."""


class Row(Base):
    """A review, as it is kept."""

    __tablename__ = "documents"

    id: Mapped[str] = mapped_column(primary_key=True)
    product: Mapped[str]
    author: Mapped[str]
    rating: Mapped[int]
    title: Mapped[str]
    text: Mapped[str]
    language: Mapped[str]
    verified: Mapped[bool]
    written_at: Mapped[str]


def engine_of(url: str) -> Engine:
    """Return an engine whose commits are durable."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
    return engine


def upsert(engine: Engine) -> Any:
    """Return the statement that writes a document, whether its id is there or not."""
    dialect = postgresql if engine.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(Row)
    others = {column.name: statement.excluded[column.name] for column in Row.__table__.columns if column.name != "id"}
    return statement.on_conflict_do_update(index_elements=[Row.id], set_=others)


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    # Readers beside a writer, a sync for each commit, and patience with another writer.
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 30000"):
        connection.execute(f"PRAGMA {pragma}")


if __name__ == "__main__":
    Base.metadata.create_all(engine_of(sys.argv[1]))
