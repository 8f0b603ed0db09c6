"""Messages waiting for delivery to ECs: a transactional outbox."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import delete, func, insert, select, update

from headwater.catalog import leases, tables
from headwater.catalog.core.transaction import Transaction

_notices = tables.notices.c

#: Published when a notice is stored.
WAITING = "notices"


class NoticeKind(StrEnum):
    """The kind of message to an EC."""

    START = "start"
    END = "end"
    #: A login has ended, and its token is to be deleted.
    CLEAR = "clear"


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A stored message to an EC."""

    fid: str
    #: The task that it is about; for a ``CLEAR``, the credential.
    task: str
    attempt: int
    kind: NoticeKind
    #: The destination, ``{endpoint, headers, version}`` or ``{url, headers}``, encrypted because headers hold keys.
    sealed_target: str
    #: The code sent to the EC; 0 for a start.
    code: int
    message: str | None
    #: Number of attempts so far.
    tries: int = 0
    #: Earliest time of the next attempt.
    due_at: datetime
    #: Until when a dispatcher holds it; the claim of a dead process expires.
    leased_until: datetime | None = None
    created_at: datetime


def add(tx: Transaction, notice: Notice) -> None:
    """Store a notice; it is delivered after the commit."""
    tx.execute(insert(tables.notices).values(asdict(notice)))
    tx.publish(WAITING)


def claim(tx: Transaction, *, at: datetime, lease: timedelta, limit: int) -> list[Notice]:
    """Lease and return due notices, oldest first.

    Only the oldest notice of a task is returned: an EC receives the end of one attempt before the start of
    the next, and never an end while its start is being delivered.
    """
    earlier = tables.notices.alias()
    first = select(func.min(earlier.c.fid)).where(earlier.c.task == _notices.task).scalar_subquery()
    return leases.claim(tx, tables.notices, Notice, _notices.fid == first, at=at, lease=lease, limit=limit)


def next_due(tx: Transaction) -> datetime | None:
    """Return when the next notice is due; None if there is none."""
    return leases.next_due(tx, tables.notices)


def put_off(tx: Transaction, notice: Notice, *, until: datetime) -> None:
    """Schedule the next attempt of a notice, not before ``until``."""
    tx.execute(update(tables.notices).where(_notices.fid == notice.fid).values(due_at=until, leased_until=None))


def done(tx: Transaction, notice: Notice) -> None:
    """Delete a notice: it was delivered, or is no longer needed."""
    tx.execute(delete(tables.notices).where(_notices.fid == notice.fid))


def withdraw(tx: Transaction, task: str) -> bool:
    """Delete a task's notices whose delivery has not begun; return whether its start was among them."""
    unsent = (_notices.task == task) & (_notices.tries == 0)
    # One statement: a notice claimed between a query and a deletion would count as withdrawn, and still be sent.
    withdrawn = tx.execute(delete(tables.notices).where(unsent).returning(_notices.kind)).scalars()
    return NoticeKind.START in set(withdrawn)
