"""What the tables of the catalog share."""

from sqlalchemy import JSON, Column, Integer, MetaData, String

from headwater.catalog.core.dialects import UtcDateTime

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

FID = String(32)


def common() -> list[Column[object]]:
    """The columns that every relational object has."""
    return [
        Column("fid", FID, primary_key=True),
        Column("version", Integer, nullable=False),
        Column("created_at", UtcDateTime, nullable=False),
        Column("updated_at", UtcDateTime, nullable=False),
        Column("meta", JSON, nullable=False),
    ]
