"""Every version of a document: who wrote it and when, and whether it shows, and why not."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from headwater.catalog import objects, segments, streams, tasks
from headwater.catalog.database import Database
from headwater.catalog.objects import STREAMS, TASKS
from headwater.catalog.transaction import Transaction
from headwater.domain.errors import NotFound
from headwater.domain.stream import Change, LogEntry, Segment, Stream, Visibility, arrival_of
from headwater.domain.task import Attempt, Task
from headwater.lake import winners
from headwater.lake.engine import Engine


class Standing(StrEnum):
    """How a version of a document stands in its stream."""

    SHOWN = "shown"
    #: A newer version shows in its place.
    COVERED = "covered"
    #: Its task is deleted.
    REMOVED = "removed"
    #: A later attempt of its task took the place of its own.
    REPLACED = "replaced"
    #: It waits for its task to end well.
    WAITING = "waiting"
    #: Its attempt did not end well, or failed a gate, before or after the document showed for a while.
    UNPUBLISHED = "unpublished"


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a document."""

    task: str
    attempt: int
    #: What its attempt ran with; None if that is not known any more.
    external_version: int | None
    params: dict[str, Any] | None
    #: When it was uploaded; where uploads were merged that did not show one by one, when the last of them was.
    written_at: datetime
    standing: Standing
    #: Its JSON text, ended by a line end.
    text: str


@dataclass(frozen=True, kw_only=True)
class _Writing:
    """An attempt that wrote to the stream."""

    task: Task
    #: What the attempt ran as; None if that is not known any more.
    ran: Task | Attempt | None
    is_present: bool
    #: The lines of the log that tell of its arrivals, where these showed one by one, and of its being let in.
    arrivals: list[LogEntry]

    def written_at(self, segment: Segment, pos: int) -> datetime:
        """Return when a document of one of its segments was uploaded."""
        total = None if self.ran is None else self.ran.docs
        arrival = arrival_of(self.arrivals, segment.base + pos, total=total)
        return segment.created_at if arrival is None else arrival.at


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What the catalog knows of a document."""

    #: Every row that names a file which may hold it.
    segments: list[Segment]
    #: The rows of which the stream shows something now.
    visible: set[str]
    #: What the stream versions did that took segments out.
    took_out: dict[int, Change]
    #: By task and attempt.
    writings: dict[tuple[str, int], _Writing]


@dataclass(frozen=True, kw_only=True)
class _Lying:
    """A version of a document, with the rows that name files in which it lies: an old one, or a merged one too."""

    text: str
    pos: int
    rows: list[Segment]


class Historian:
    """Tells what became of documents."""

    def __init__(self, db: Database, engine: Engine) -> None:
        """Ask the catalog which files matter, and the engine what is in them."""
        self._db = db
        self._engine = engine

    async def versions(self, stream: str, doc_id: str) -> list[Version]:
        """Return every version of a document that is still kept, newest first.

        Raises:
            NotFound: there is no such stream, or nothing of the document is kept in it.
        """
        known = await self._db.read(_known, stream, doc_id)
        one_a_file = list({segment.path: segment for segment in known.segments}.values())
        found = await self._engine.ask(winners.versions_of, self._engine, one_a_file, doc_id)
        if not found:
            raise NotFound(f"stream {stream} keeps no version of a document {doc_id!r}")
        return _versions(known, found)


def _known(tx: Transaction, fid: str, doc_id: str) -> _Known:
    stream: Stream = objects.get(tx, STREAMS, fid)
    every = segments.ever_holding(tx, fid, doc_id)
    seen = segments.visible(tx, fid, Visibility(version=stream.stream_version), holding=doc_id)
    removals = {segment.removed_version for segment in every if segment.removed_version is not None}
    return _Known(
        segments=every,
        visible={one.segment.fid for one in seen},
        took_out=streams.changes_at(tx, fid, removals),
        writings=_writings(tx, every),
    )


def _writings(tx: Transaction, every: list[Segment]) -> dict[tuple[str, int], _Writing]:
    attempts = {(segment.task, segment.attempt) for segment in every}
    runs = {fid: objects.get(tx, TASKS, fid) for fid in {task for task, _ in attempts}}
    former = {(one.task, one.attempt): one for one in tasks.former_attempts(tx, list(runs))}
    return {
        (fid, attempt): _Writing(
            task=runs[fid],
            ran=runs[fid] if runs[fid].attempt == attempt else former.get((fid, attempt)),
            is_present=runs[fid].attempt == attempt,
            arrivals=streams.arrivals(tx, fid, attempt),
        )
        for fid, attempt in attempts
    }


def _versions(known: _Known, found: list[tuple[str, int, str]]) -> list[Version]:
    lying = _by_order(known, found)
    shown = max((order for order, one in lying.items() if _is_visible(known, one)), default=None)
    return [_version(known, one, is_shown=order == shown) for order, one in sorted(lying.items(), reverse=True)]


def _by_order(known: _Known, found: list[tuple[str, int, str]]) -> dict[tuple[int, int], _Lying]:
    """Return the versions by their order in the stream: where their attempt begins, and the place in it."""
    begins: dict[tuple[str, int], int] = {}
    rows: dict[str, list[Segment]] = {}
    for segment in known.segments:
        begins.setdefault((segment.task, segment.attempt), segment.layer)
        rows.setdefault(segment.path, []).append(segment)
    lying: dict[tuple[int, int], _Lying] = {}
    for path, pos, text in found:
        segment = rows[path][0]
        order = (begins[segment.task, segment.attempt], segment.base + pos)
        others = lying[order].rows if order in lying else []
        lying[order] = _Lying(text=text, pos=pos, rows=[*others, *rows[path]])
    return lying


def _is_visible(known: _Known, one: _Lying) -> bool:
    return any(row.fid in known.visible for row in one.rows)


def _version(known: _Known, one: _Lying, *, is_shown: bool) -> Version:
    row = one.rows[-1]
    writing = known.writings[row.task, row.attempt]
    if _is_visible(known, one):
        standing = Standing.SHOWN if is_shown else Standing.COVERED
    else:
        standing = _why_not(known, writing, one)
    return Version(
        task=row.task,
        attempt=row.attempt,
        external_version=None if writing.ran is None else writing.ran.external_version,
        params=None if writing.ran is None else writing.ran.params,
        written_at=writing.written_at(row, one.pos),
        standing=standing,
        text=one.text,
    )


def _why_not(known: _Known, writing: _Writing, one: _Lying) -> Standing:
    removals = [row.removed_version for row in one.rows if row.removed_version is not None]
    change = known.took_out.get(max(removals)) if removals else None
    if change is Change.REPLACE:
        return Standing.REPLACED
    if change is Change.WITHHOLD:
        return Standing.UNPUBLISHED
    if removals:
        # Its task is back, and did not bring it along: a later version of the task's own came with it.
        return Standing.REMOVED if writing.task.removed_at is not None else Standing.COVERED
    return Standing.WAITING if writing.is_present and writing.task.is_open else Standing.UNPUBLISHED
