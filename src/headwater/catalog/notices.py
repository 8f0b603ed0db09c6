"""Messages that wait to be delivered to ECs."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import delete, func, insert, select, update

from headwater.catalog import leases, tables
from headwater.catalog.transaction import Transaction

_notices = tables.notices.c

#: Announced when a notice waits.
WAITING = "notices"


class NoticeKind(StrEnum):
    """What an EC is told."""

    START = "start"
    END = "end"
    #: That a login is over, and its token to be forgotten.
    CLEAR = "clear"


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A stored message to an EC."""

    fid: str
    #: The task that it tells of; of a ``CLEAR``, the credential.
    task: str
    attempt: int
    kind: NoticeKind
    #: Where it goes, ``{endpoint, headers, version}`` or ``{url, headers}``, sealed because headers hold keys.
    sealed_target: str
    #: The code that the EC is told; 0 for a start.
    code: int
    message: str | None
    #: How often it was tried.
    tries: int = 0
    #: Not to be tried before.
    due_at: datetime
    #: Somebody is delivering it until then; a dead one's claim comes back.
    leased_until: datetime | None = None
    created_at: datetime


def add(tx: Transaction, notice: Notice) -> None:
    """Store a notice; it is delivered once this is committed."""
    tx.execute(insert(tables.notices).values(asdict(notice)))
    tx.announce(WAITING)


def claim(tx: Transaction, *, at: datetime, lease: timedelta, limit: int) -> list[Notice]:
    """Return notices that are due, oldest first, leased to us.

    Of a task's notices only the oldest is given out: an EC hears of the end of one attempt before
    the start of the next, and never of an end while its start is under way.
    """
    earlier = tables.notices.alias()
    first = select(func.min(earlier.c.fid)).where(earlier.c.task == _notices.task).scalar_subquery()
    return leases.claim(tx, tables.notices, Notice, _notices.fid == first, at=at, lease=lease, limit=limit)


def put_off(tx: Transaction, notice: Notice, *, until: datetime) -> None:
    """Let a notice be tried again, not before ``until``."""
    tx.execute(update(tables.notices).where(_notices.fid == notice.fid).values(due_at=until, leased_until=None))


def done(tx: Transaction, notice: Notice) -> None:
    """Forget a notice: it was delivered, or there is no more use in it."""
    tx.execute(delete(tables.notices).where(_notices.fid == notice.fid))


def withdraw(tx: Transaction, task: str) -> bool:
    """Forget what a task's EC was to be told and nobody has begun to tell; return whether that was its start."""
    untold = (_notices.task == task) & (_notices.tries == 0)
    kinds = set(tx.execute(select(_notices.kind).where(untold)).scalars())
    tx.execute(delete(tables.notices).where(untold))
    return NoticeKind.START in kinds
