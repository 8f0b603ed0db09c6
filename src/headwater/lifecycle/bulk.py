"""Many tasks of a stream, taken out or put back in one stream version."""

from dataclasses import dataclass
from datetime import datetime

import msgspec

from headwater.catalog import objects, segments, streams, tasks
from headwater.catalog.objects import STREAMS
from headwater.catalog.segments import batched
from headwater.catalog.transaction import Transaction
from headwater.catalog.vault import Vault
from headwater.domain.stream import Change, Stream
from headwater.domain.task import Reason, TaskFilter
from headwater.lifecycle import endings

#: How callers know fields of a filter that have another name here.
_CALLED = {"removed_version": "stream_version"}


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What went or came back."""

    #: The tasks, oldest first.
    tasks: list[str]
    #: The stream version that did it; None if nothing of them showed, so that there was nothing to change.
    version: int | None
    #: Tasks that were meant and could not come back: their documents are purged.
    purged: list[str]


def revert(tx: Transaction, fid: str, wanted: TaskFilter, *, vault: Vault, at: datetime) -> Moved:
    """Delete the tasks of a stream that a filter means; an open one among them is ended.

    Raises:
        NotFound: there is no such stream.
    """
    objects.get(tx, STREAMS, fid)
    found = [
        endings.end(tx, task, Reason.DELETED_BY_USER, vault=vault, at=at) if task.is_open else task
        for task in tasks.matching(tx, fid, wanted, removed=False, lock=True)
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
    """Put back the deleted tasks of a stream that a filter means, those excepted whose documents are purged.

    Raises:
        NotFound: there is no such stream.
    """
    found = tasks.matching(tx, fid, wanted, removed=True, lock=True)
    stream: Stream = objects.get(tx, STREAMS, fid, lock=True)  # as for a single task, and in its order
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
    # No secret is in the filter if it meant any task: a password is stored sealed, so that it matches none.
    given = {_CALLED.get(name, name): value for name, value in msgspec.to_builtins(wanted).items() if value is not None}
    tx.note(filter=given, tasks=tasks, stream_version=version)
