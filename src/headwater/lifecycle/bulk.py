"""Bulk revert and restore: many tasks of a stream are deleted or restored in one stream version."""

from dataclasses import dataclass
from datetime import datetime

import msgspec

from headwater.catalog import objects, segments, settled, streams, tasks
from headwater.catalog.core.transaction import Transaction, batched
from headwater.catalog.objects import STREAMS
from headwater.catalog.vault import Vault
from headwater.domain.stream import Change, Stream
from headwater.domain.task import Reason, TaskFilter
from headwater.lifecycle import task_end

#: API names of filter fields that have another name here.
_IN_API = {"removed_version": "stream_version"}


@dataclass(frozen=True, kw_only=True)
class Moved:
    """Result of a bulk revert or restore."""

    #: The fids of the tasks that changed, oldest first.
    tasks: list[str]
    #: The stream version that was made; None if the stream showed nothing of them, so that nothing changed.
    version: int | None
    #: Tasks that matched but could not be restored: their documents are purged.
    purged: list[str]


def revert(tx: Transaction, fid: str, wanted: TaskFilter, *, vault: Vault, at: datetime) -> Moved:
    """Delete the tasks of a stream that match a filter; open ones are ended.

    Raises:
        NotFound: there is no such stream.
        RunSettled: one of them is settled.
    """
    objects.get(tx, STREAMS, fid)
    matching = tasks.matching(tx, fid, wanted, removed=False, lock=True)
    # Locked, so that no run settles meanwhile.
    settled.require_undoable(tx, objects.get(tx, STREAMS, fid, lock=True), [task.fid for task in matching])
    found = [
        task_end.end(tx, task, Reason.DELETED_BY_USER, vault=vault, at=at) if task.is_open else task
        for task in matching
    ]
    fids = [task.fid for task in found]
    shown = [segments.shown(*some) for some in batched(fids)]
    docs = [held for held in (segments.docs_in(tx, named) for named in shown) if held is not None]
    version = None
    if docs:
        version = streams.advance_together(tx, fid, Change.REMOVE, tasks=fids, docs=sum(docs), at=at)
        for named in shown:
            segments.take_out(tx, named, version=version)
    tasks.mark_removed(tx, found, version=version, at=at)
    _note(tx, wanted, tasks=len(fids), version=version)
    return Moved(tasks=fids, version=version, purged=[])


def restore(tx: Transaction, fid: str, wanted: TaskFilter, *, at: datetime) -> Moved:
    """Restore the deleted tasks of a stream that match a filter, except those whose documents are purged.

    Raises:
        NotFound: there is no such stream.
    """
    found = tasks.matching(tx, fid, wanted, removed=True, lock=True)
    stream: Stream = objects.get(tx, STREAMS, fid, lock=True)  # locked in the same order as for a single task
    back = [task for task in found if not task.is_purged(stream)]
    fids = [task.fid for task in back]
    gone = segments.removed_with(tx, back)
    version = None
    if gone:
        docs = sum(segment.docs for segment in gone)
        version = streams.advance_together(tx, fid, Change.RESTORE, tasks=fids, docs=docs, at=at)
        segments.put_back(tx, gone, version=version, at=at)
    tasks.mark_restored(tx, back, at=at)
    _note(tx, wanted, tasks=len(fids), version=version)
    return Moved(tasks=fids, version=version, purged=[task.fid for task in found if task.is_purged(stream)])


def _note(tx: Transaction, wanted: TaskFilter, *, tasks: int, version: int | None) -> None:
    # The filter holds no secret if it matched a task: stored passwords are sealed, so a plain one matches none.
    given = {_IN_API.get(name, name): value for name, value in msgspec.to_builtins(wanted).items() if value is not None}
    tx.annotate(filter=given, tasks=tasks, stream_version=version)
