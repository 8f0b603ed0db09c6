"""The allowances of callers, as the servers on one PostgreSQL count them together.

A row tells when the bucket of a caller is full again, by the database's clock; that is what is left of an allowance.
Servers add what they have let in since they last did, and learn what all of them have.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select, text, tuple_

from headwater.catalog import tables
from headwater.catalog.core.transaction import Transaction

_bucket = tables.rate_buckets.c
#: Sorted, so that two servers that add to the same rows never wait for each other in turn.
_ADD = text("""
    INSERT INTO rate_buckets (part, mark, full_at)
    SELECT part, mark, extract(epoch FROM now()) + seconds
    FROM unnest(CAST(:parts AS integer[]), CAST(:marks AS bigint[]), CAST(:seconds AS double precision[]))
        AS taken (part, mark, seconds)
    ORDER BY part, mark
    ON CONFLICT (part, mark) DO UPDATE SET full_at =
        greatest(rate_buckets.full_at, extract(epoch FROM now())) + excluded.full_at - extract(epoch FROM now())
    RETURNING part, mark, full_at - extract(epoch FROM now()) AS seconds
""")


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """How far a caller's bucket is from full, or what has been taken from it."""

    #: The kind of the caller, and its number among those.
    part: int
    mark: int
    #: Seconds in which that much refills.
    seconds: float


def take(tx: Transaction, taken: Sequence[Bucket]) -> list[Bucket]:
    """Count what was taken from buckets, each of which is named once; return how far each is from full."""
    values = {
        "parts": [each.part for each in taken],
        "marks": [each.mark for each in taken],
        "seconds": [each.seconds for each in taken],
    }
    rows = tx.execute(_ADD, values)
    return [Bucket(part=row.part, mark=row.mark, seconds=float(row.seconds)) for row in rows]


def forget_full(tx: Transaction) -> int:
    """Delete the rows of full buckets, but for those that another server is changing; return their number."""
    full = select(_bucket.part, _bucket.mark).where(_bucket.full_at < func.extract("epoch", func.now()))
    gone = delete(tables.rate_buckets).where(
        tuple_(_bucket.part, _bucket.mark).in_(full.with_for_update(skip_locked=True))
    )
    return tx.execute(gone.execution_options(preserve_rowcount=True)).rowcount
