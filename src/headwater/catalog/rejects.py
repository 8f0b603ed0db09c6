"""Rejected lines of lenient uploads."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, Table, bindparam, delete, func, insert, or_, select, update

from headwater.catalog import tables
from headwater.catalog.core.dialects import holds
from headwater.catalog.core.transaction import Transaction, batched
from headwater.domain.errors import LONGEST_DETAIL, MovedMeanwhile
from headwater.domain.reject import MOST_REJECTS, Reject, RejectedLine, RejectKind, mentions, reject_digest, spellings
from headwater.domain.task import Publish, Reason, Task, TaskState

_rejects = tables.rejects.c
_ALL = select(tables.rejects)
_ADD = insert(tables.rejects)

#: Rows that are written or scanned at a time, of up to 64 KiB each.
MANY = 100


def add(tx: Transaction, task: Task, lines: Iterable[RejectedLine], *, count: int, before: int, at: datetime) -> None:
    """Store the rejected lines of an upload of a task, up to the task's limit.

    Lines of former attempts are deleted when their space is needed. ``count`` is the number of rejected lines, and
    ``before`` the number of the attempt's documents before the upload.
    """
    of_task = _rejects.task == task.fid
    own = of_task & (_rejects.attempt == task.attempt)
    kept = tx.execute(select(func.count()).where(own)).scalar_one()
    last = max(tx.execute(_last_of(table, task)).scalar_one() for table in (tables.rejects, tables.replayed))
    others = tx.execute(select(func.count()).where(of_task, _rejects.attempt != task.attempt)).scalar_one()
    if others and kept + others + count > MOST_REJECTS:
        tx.execute(delete(tables.rejects).where(of_task, _rejects.attempt != task.attempt))
        others = 0
    rows = (
        _row(task, line, seq=seq, before=before, at=at)
        for seq, line in enumerate(islice(lines, max(0, MOST_REJECTS - kept - others)), last + 1)
    )
    while some := list(islice(rows, MANY)):
        tx.execute(_ADD, some)


def _last_of(table: Table, task: Task) -> Select[int]:
    matches = (table.c.task == task.fid) & (table.c.attempt == task.attempt)
    return select(func.coalesce(func.max(table.c.seq), 0)).where(matches)


def _row(task: Task, line: RejectedLine, *, seq: int, before: int, at: datetime) -> dict[str, Any]:
    doc_id = None if line.doc_id is None else line.doc_id.encode()
    return {
        "task": task.fid,
        "attempt": task.attempt,
        "seq": seq,
        "upload": task.uploads,
        "at": at,
        "kind": line.kind,
        "line": line.line,
        "offset": line.offset,
        "flaws": msgspec.to_builtins(line.flaws),
        "doc_id": doc_id,
        "digest": reject_digest(doc_id, line.raw, size=line.size),
        "raw": line.raw,
        "size": line.size,
        "arrived": before + line.before,
    }


def page(tx: Transaction, task: str, attempt: int, *, after: int, limit: int) -> list[Reject]:
    """Return rejected lines of an attempt in order of arrival, starting after the position ``after``."""
    matches = (_rejects.task == task) & (_rejects.attempt == attempt) & (_rejects.seq > after)
    return tx.values(_ALL.where(matches).order_by(_rejects.seq).limit(limit), Reject)


def at_places(tx: Transaction, task: Task, seqs: Sequence[int]) -> list[Reject]:
    """Return the rejected lines at the given positions of a task's current attempt, in order."""
    return tx.values(_ALL.where(_of(task), _rejects.seq.in_(seqs)).order_by(_rejects.seq), Reject)


def replayed(tx: Transaction, task: Task) -> dict[int, int]:
    """Return the replayed lines of a task's current attempt: the line's number by its position in the attempt."""
    matches = (tables.replayed.c.task == task.fid) & (tables.replayed.c.attempt == task.attempt)
    return {row.place: row.seq for row in tx.execute(select(tables.replayed).where(matches))}


def leave(tx: Transaction, task: Task, joining: Sequence[int], covered: Sequence[int]) -> None:
    """Delete lines of a task's current attempt: those that become documents, and those that are superseded.

    Raises:
        MovedMeanwhile: one of them no longer exists.
    """
    seqs = [*joining, *covered]
    gone = 0
    if joining:
        row = {"task": task.fid, "attempt": task.attempt}
        places = [{**row, "place": task.versions + n, "seq": seq} for n, seq in enumerate(joining)]
        tx.execute(insert(tables.replayed), places)
    for some in batched(seqs):
        gone += tx.execute(delete(tables.rejects).where(_of(task), _rejects.seq.in_(some))).rowcount
    if gone != len(seqs):
        raise MovedMeanwhile(f"rejected lines of task {task.fid} were replayed or erased by somebody else meanwhile")


def judge_anew(tx: Transaction, task: Task, found: Collection[tuple[int, RejectKind, Sequence[Any]]]) -> None:
    """Store the new errors of lines of a task's current attempt; each is ``(place, kind, flaws)``."""
    if found:
        matches = _of(task) & (_rejects.seq == bindparam("at_place"))
        values = [{"at_place": seq, "kind": kind, "flaws": msgspec.to_builtins(flaws)} for seq, kind, flaws in found]
        tx.execute(
            update(tables.rejects).where(matches).values(kind=bindparam("kind"), flaws=bindparam("flaws")), values
        )


def forget_former(tx: Transaction, task: Task) -> None:
    """Delete the lines of former attempts, which the current one has replaced."""
    for table in (tables.rejects, tables.replayed):
        tx.execute(delete(table).where(table.c.task == task.fid, table.c.attempt != task.attempt))


def purge(tx: Transaction, *, before: datetime) -> int:
    """Delete the lines of tasks that were deleted, or of attempts that were kept out of their stream, before a time.

    Return how many were deleted.
    """
    tasks = tables.tasks.c
    is_removed = tasks.removed_at <= before
    is_failed = (tasks.publish == Publish.ON_SUCCESS) & (tasks.state != TaskState.DONE)
    is_kept_out = (is_failed | (tasks.reason == Reason.GATE_FAILED)) & (tasks.ended_at <= before)
    is_over = is_removed | (is_kept_out & (_rejects.attempt == tasks.attempt))
    over = select(tasks.fid).where(tasks.fid == _rejects.task, is_over).exists()
    return tx.execute(delete(tables.rejects).where(_rejects.at <= before, over)).rowcount


def of_document(tx: Transaction, stream: str, doc_id: str) -> list[tuple[str, int, int]]:
    """Return the rejected lines of a stream that are a document, or may be: ``(task, attempt, place)`` of each.

    A line without a certain id, because it is not JSON or has no id where the External expects it, may be the
    document if the id occurs anywhere in it.
    """
    found = tx.execute(_keys(stream).where(_rejects.doc_id == doc_id.encode()))
    keys = {(row.task, row.attempt, row.seq) for row in found}
    is_unsure = (_rejects.kind == RejectKind.BROKEN) | _rejects.doc_id.is_(None) | holds(_rejects.doc_id, b"sha256:")
    stands = or_(*(holds(_rejects.raw, text) for text in spellings(doc_id))) if doc_id else is_unsure
    suspects = [(row.task, row.attempt, row.seq) for row in tx.execute(_keys(stream).where(is_unsure, stands))]
    return sorted(keys | {key for key in suspects if mentions(_raw(tx, key), doc_id)})


def _keys(stream: str) -> Select[str, int, int]:
    of_stream = _rejects.task.in_(select(tables.tasks.c.fid).where(tables.tasks.c.stream == stream))
    return select(_rejects.task, _rejects.attempt, _rejects.seq).where(of_stream)


def _raw(tx: Transaction, key: tuple[str, int, int]) -> bytes:
    return tx.execute(select(_rejects.raw).where(_at(key))).scalar_one()


def erase(tx: Transaction, stream: str, doc_id: str) -> int:
    """Delete a document from the rejected lines of a stream, and from the stored answers to lenient uploads.

    Return how many lines were deleted.
    """
    erased = of_document(tx, stream, doc_id)
    for key in erased:
        tx.execute(delete(tables.rejects).where(_at(key)))
        for table, fid in ((tables.tasks, tables.tasks.c.fid), (tables.attempts, tables.attempts.c.task)):
            matches = (fid == key[0]) & (table.c.attempt == key[1])
            tx.execute(update(table).where(matches).values(rejected=table.c.rejected - 1))
    receipts = tables.receipts.c
    of_stream = receipts.task.in_(select(tables.tasks.c.fid).where(tables.tasks.c.stream == stream))
    # As it is written in the answers, where long ids are truncated.
    encoded = msgspec.json.encode(doc_id[: LONGEST_DETAIL - 1])[1:-1].decode()
    if encoded:
        matches = of_stream & receipts.flaws.is_not(None) & holds(receipts.flaws, encoded)
        tx.execute(update(tables.receipts).where(matches).values(flaws="[]", truncated=True))
    return len(erased)


def _at(key: tuple[str, int, int]) -> ColumnElement[bool]:
    return (_rejects.task == key[0]) & (_rejects.attempt == key[1]) & (_rejects.seq == key[2])


def _of(task: Task) -> ColumnElement[bool]:
    return (_rejects.task == task.fid) & (_rejects.attempt == task.attempt)
