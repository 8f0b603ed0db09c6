"""Where the lake of a catalog is, so that no server looks for its files elsewhere."""

from sqlalchemy import exists, insert, select, update
from sqlalchemy.exc import IntegrityError

from headwater.catalog import iceberg_snapshots, tables
from headwater.catalog.core.transaction import Transaction
from headwater.domain.stream import inlined_path

_place = tables.lake_place.c


def find(tx: Transaction) -> tuple[str | None] | None:
    """Return the URL of the lake, None for a data directory; None instead if it has no place yet."""
    row = tx.execute(select(_place.url)).one_or_none()
    return None if row is None else (row.url,)


def settle(tx: Transaction, url: str | None) -> str | None:
    """Return where the lake is; in a catalog without files it is from now on at ``url``."""
    found = find(tx)
    if found is not None:
        return found[0]
    # Of a release that had lakes in data directories only.
    is_used = tx.execute(select(exists().where(~tables.segments.c.path.startswith(inlined_path(""))))).scalar_one()
    try:
        with tx.savepoint():
            tx.execute(insert(tables.lake_place).values(id=1, url=None if is_used else url))
    except IntegrityError:  # another process was first
        pass
    return (find(tx) or (url,))[0]


def move(tx: Transaction, url: str | None) -> None:
    """Record that the files of the lake are elsewhere now; snapshots are not among them."""
    iceberg_snapshots.forget_all(tx)
    if tx.execute(update(tables.lake_place).values(url=url)).rowcount == 0:
        tx.execute(insert(tables.lake_place).values(id=1, url=url))
