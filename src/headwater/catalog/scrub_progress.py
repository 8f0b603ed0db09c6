"""How far the background scrub has come: one row, which one process at a time works on."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from headwater.catalog import inspection, tables
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.inspection import LakeFile

_row = tables.scrub.c
_path = tables.segments.c.path


@dataclass(frozen=True, kw_only=True)
class ScrubProgress:
    """How far the scrub has come, all servers together."""

    #: Until when a process checks files; None if none does.
    leased_until: datetime | None = None
    #: When the pass began, and the last path that it has checked; None between two passes.
    began_at: datetime
    after: str | None = ""
    #: Files that there were when it began, and those of them that are checked.
    planned: int = 0
    checked: int = 0
    #: Files that were checked, and findings, since the first pass.
    files: int = 0
    findings: int = 0
    #: When a pass was last complete.
    last_pass_at: datetime | None = None


def find(tx: Transaction) -> ScrubProgress | None:
    """Return how far it has come; None before it has begun for the first time."""
    found = tx.values(select(*(_row[name] for name in ScrubProgress.__annotations__)), ScrubProgress)
    return found[0] if found else None


def begin(tx: Transaction, seen: ScrubProgress | None, *, at: datetime) -> None:
    """Begin a pass, unless another process has since ``seen``."""
    planned = tx.execute(select(func.count(_path.distinct())).where(*inspection.of_lake())).scalar_one()
    values = {"began_at": at, "after": "", "planned": planned, "checked": 0}
    if seen is not None:
        tx.execute(update(tables.scrub).where(_row.began_at == seen.began_at).values(values))
        return
    try:
        with tx.savepoint():
            tx.execute(insert(tables.scrub).values({"id": 1, "files": 0, "findings": 0, **values}))
    except IntegrityError:  # another process was first
        pass


def claim(tx: Transaction, seen: ScrubProgress, *, limit: int, at: datetime, until: datetime) -> list[LakeFile] | None:
    """Lease the next files of the pass, and return them; None if another process has them.

    No files are left if there are none: the pass is complete.
    """
    is_free = or_(_row.leased_until.is_(None), _row.leased_until <= at, _row.leased_until > until)
    taken = update(tables.scrub).where(is_free, _row.began_at == seen.began_at, _row.after == seen.after)
    if not tx.execute(taken.values(leased_until=until)).rowcount:
        return None
    following = select(_path).distinct().where(_path > seen.after, *inspection.of_lake()).order_by(_path).limit(limit)
    return inspection.files(tx, paths=set(tx.execute(following).scalars()))


def advance(tx: Transaction, *, after: str, files: int, findings: int) -> None:
    """Record that files up to a path are checked."""
    tx.execute(
        update(tables.scrub).values(
            leased_until=None,
            after=after,
            checked=_row.checked + files,
            files=_row.files + files,
            findings=_row.findings + findings,
        )
    )


def complete(tx: Transaction, *, findings: int, at: datetime) -> None:
    """Record that the pass is complete."""
    tx.execute(
        update(tables.scrub).values(leased_until=None, after=None, last_pass_at=at, findings=_row.findings + findings)
    )
