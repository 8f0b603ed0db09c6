"""Backups by the schedule: when they are due, which process makes one, and how the last ones went."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from headwater.catalog import events, tables
from headwater.catalog.core.transaction import Transaction
from headwater.domain import event

_row = tables.scheduled_backups.c


@dataclass(frozen=True, kw_only=True)
class ScheduledBackups:
    """How backups by the schedule went, all servers together."""

    #: Since when the next one is counted: the start of the last try, or when the schedule was first seen.
    counted_from: datetime
    #: Until when a process makes one; None if none does.
    leased_until: datetime | None = None
    #: Backups that were made, and tries that failed, since the first; tries that failed since the last one was made.
    made: int = 0
    failed: int = 0
    failed_in_a_row: int = 0
    last_name: str | None = None
    last_made_at: datetime | None = None
    last_failed_at: datetime | None = None
    #: Why the last try failed; None after a success.
    last_error: str | None = None


@dataclass(frozen=True, kw_only=True)
class MadeBackup:
    """A backup that was made."""

    name: str
    files: int
    new_files: int
    #: Bytes of its files, and of the new ones.
    bytes: int
    new_bytes: int


def find(tx: Transaction) -> ScheduledBackups | None:
    """Return how backups went; None before the schedule was first seen."""
    found = tx.values(select(*(_row[name] for name in ScheduledBackups.__annotations__)), ScheduledBackups)
    return found[0] if found else None


def begin(tx: Transaction, at: datetime) -> ScheduledBackups:
    """Return how backups went; if the schedule is seen for the first time, it counts from now."""
    found = find(tx)
    if found is not None:
        return found
    try:
        with tx.savepoint():
            row = {"id": 1, "counted_from": at, "made": 0, "failed": 0, "failed_in_a_row": 0}
            tx.execute(insert(tables.scheduled_backups).values(row))
    except IntegrityError:  # another process was first
        pass
    return find(tx) or ScheduledBackups(counted_from=at)


def claim(tx: Transaction, seen: ScheduledBackups, *, at: datetime, until: datetime) -> bool:
    """Lease the next backup, unless another process has, or has tried it since ``seen``."""
    is_free = or_(_row.leased_until.is_(None), _row.leased_until <= at)
    taken = update(tables.scheduled_backups).where(is_free, _row.counted_from == seen.counted_from)
    return tx.execute(taken.values(counted_from=at, leased_until=until)).rowcount > 0


def extend(tx: Transaction, *, began: datetime, until: datetime) -> None:
    """Extend the lease of the backup that began then."""
    held = update(tables.scheduled_backups).where(_row.counted_from == began, _row.leased_until.is_not(None))
    tx.execute(held.values(leased_until=until))


def succeed(tx: Transaction, made: MadeBackup, *, at: datetime) -> None:
    """Record a backup, with its event."""
    before = begin(tx, at)
    tx.execute(
        update(tables.scheduled_backups).values(
            leased_until=None,
            made=_row.made + 1,
            failed_in_a_row=0,
            last_name=made.name,
            last_made_at=at,
            last_error=None,
        )
    )
    events.append(
        tx,
        event.backup(
            made.name,
            files=made.files,
            new_files=made.new_files,
            size=made.bytes,
            new_size=made.new_bytes,
            failed=before.failed_in_a_row,
            at=at,
        ),
    )


def fail(tx: Transaction, why: str, *, at: datetime) -> None:
    """Record a try that failed, with its event."""
    before = begin(tx, at)
    in_a_row = before.failed_in_a_row + 1
    tx.execute(
        update(tables.scheduled_backups).values(
            leased_until=None,
            failed=_row.failed + 1,
            failed_in_a_row=in_a_row,
            last_failed_at=at,
            last_error=why,
        )
    )
    events.append(tx, event.failed_backup(why, failed=in_a_row, last_made_at=before.last_made_at, at=at))


def release(tx: Transaction, seen: ScheduledBackups, *, began: datetime) -> None:
    """Give a backup up that began then, as if it had not been tried."""
    held = update(tables.scheduled_backups).where(_row.counted_from == began)
    tx.execute(held.values(leased_until=None, counted_from=seen.counted_from))
