"""The history of a document: every version, its task and time, and whether and why it is visible."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np

from headwater.catalog import objects, segment_tables, streams, tasks
from headwater.catalog.core.database import Database
from headwater.catalog.core.transaction import Transaction
from headwater.catalog.objects import STREAMS
from headwater.domain.errors import NotFound
from headwater.domain.segment_table import VisibleSegments
from headwater.domain.stream import Change, LogEntry, Segment, Stream, arrival_of
from headwater.domain.task import Attempt, Task
from headwater.lake import current
from headwater.lake.engine import Engine
from headwater.lake.hidden import flags as hidden_flags
from headwater.lake.integrity import Skipped
from headwater.lake.lookup import Stored
from headwater.streams.documents import intact

#: The order of versions: where their attempt begins, as a layer, and their position in it.
Order = tuple[int, int]


class Standing(StrEnum):
    """Why a version of a document is not the current one."""

    SHOWN = "shown"
    #: A newer version is current.
    COVERED = "covered"
    #: Its task is deleted.
    REMOVED = "removed"
    #: A later attempt of its task replaced its attempt.
    REPLACED = "replaced"
    #: The newest version, which a later snapshot run did not bring.
    DROPPED = "dropped"
    #: It is the newest version, and deletes the document.
    DELETED = "deleted"
    #: It is not published until its task succeeds.
    WAITING = "waiting"
    #: Its attempt failed, or failed a gate, before or after the document was visible for a while.
    UNPUBLISHED = "unpublished"


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a document."""

    task: str
    attempt: int
    #: The version of the External that its attempt ran with; None if unknown.
    external_version: int | None
    params: dict[str, Any] | None
    #: When it was uploaded; for merged uploads that became visible together, when the last of them was.
    written_at: datetime
    standing: Standing
    #: Its JSON text, with a trailing newline; empty if it deletes the document.
    text: str

    @property
    def is_deletion(self) -> bool:
        """Whether it deletes the document."""
        return not self.text


@dataclass(frozen=True, kw_only=True)
class HistoryPage:
    """A page of the history of a document, newest first."""

    versions: list[Version]
    #: Where the next page starts; None if this is the last.
    next_before: Order | None
    #: Stored versions of the document, on all pages.
    total: int


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    """An attempt that wrote to the stream."""

    task: Task
    #: The attempt's record; None if it is purged.
    ran: Task | Attempt | None
    is_present: bool
    #: The log entries of its uploads, if these became visible one by one, and of its publication.
    arrivals: list[LogEntry]

    def written_at(self, segment: Segment, pos: int) -> datetime:
        """Return when a document of one of its segments was uploaded."""
        total = None if self.ran is None else self.ran.versions
        arrival = arrival_of(self.arrivals, segment.base + pos, total=total)
        return segment.created_at if arrival is None else arrival.at


@dataclass(frozen=True, kw_only=True)
class _Searched:
    """The segments that may contain a document, visible or not, and the current version of the stream."""

    segments: VisibleSegments
    version: int

    def rows_of(self, parts: Collection[int]) -> dict[int, list[Segment]]:
        """Return the rows of parts, by part."""
        table = self.segments.table
        found: dict[int, list[Segment]] = {}
        for row in np.flatnonzero(np.isin(table.part, sorted(parts))).tolist():
            found.setdefault(int(table.part[row]), []).append(table.segment(row))
        return found

    @cached_property
    def present(self) -> VisibleSegments:
        """What the stream shows now."""
        table = self.segments.table
        return table.visible(table.is_shown_at(self.version))

    def first_layer(self, task: str, attempt: int) -> int:
        """Return the lowest layer of an attempt."""
        table = self.segments.table
        return int(table.layer[table.is_of([task]) & (table.attempt == attempt)].min())


@dataclass(frozen=True, kw_only=True)
class _CatalogRows:
    """What the catalog tells of the segments that contain versions of a document."""

    #: The changes of the stream versions that removed segments.
    took_out: dict[int, Change]
    #: By task and attempt.
    writings: dict[tuple[str, int], _Attempt]


@dataclass(frozen=True, kw_only=True)
class _StoredVersion:
    """A version of a document, with the rows of the files that contain it: an old one, a merged one, or both."""

    place: Stored
    rows: list[Segment]


class DocumentHistory:
    """Reads the history of documents."""

    def __init__(self, db: Database, engine: Engine) -> None:
        """Query the catalog for the segments, and the engine for their documents."""
        self._db = db
        self._engine = engine

    async def page(
        self, stream: str, doc_id: str, *, before: Order | None, limit: int, skipped: Skipped | None = None
    ) -> HistoryPage:
        """Return retained versions of a document, newest first: ``limit``, or fewer if they are large.

        Raises:
            NotFound: the stream does not exist, or retains nothing of the document.
                SegmentDamaged: a segment is damaged, and ``skipped`` is None.
        """
        known = await self._db.read(_known, stream, doc_id)
        seen = await intact(self._engine, known.segments, skipped)
        found = await self._engine.ask(current.versions_of, self._engine, seen, doc_id)
        found = [one for one in found if one.is_named]
        if not found:
            raise NotFound(f"stream {stream} keeps no version of a document {doc_id!r}")
        stored = _by_order(known, found)
        newest = max((order for order, one in stored.items() if _is_visible(known, one)), default=None)
        orders = sorted((order for order in stored if before is None or order < before), reverse=True)
        wanted = [stored[order] for order in orders[:limit]]
        texts = await self._engine.ask(current.texts_of, self._engine, seen, doc_id, [one.place for one in wanted])
        wanted = wanted[: len(texts)]
        about = await self._db.read(_about, stream, [row for one in wanted for row in one.rows])
        versions: list[Version] = []
        for order, one, text in zip(orders, wanted, texts, strict=False):
            standing = await self._standing(known, one, text) if order == newest else Standing.COVERED
            versions.append(_version(known, about, one, text, standing=standing))
        return HistoryPage(
            versions=versions,
            next_before=orders[len(texts) - 1] if len(texts) < len(orders) else None,
            total=len(stored),
        )

    async def _standing(self, known: _Searched, newest: _StoredVersion, text: str) -> Standing:
        """Return the standing of the visible version in the highest layer, floors aside."""
        rank = max(row.layer for row in _visible_rows(known, newest)) << 32 | newest.place.pos
        (is_hidden,) = await self._engine.ask(hidden_flags, self._engine, known.present, [rank], [text])
        if not is_hidden and rank >> 32 >= known.present.floor:
            return Standing.SHOWN
        return Standing.DROPPED if text else Standing.DELETED


def _known(tx: Transaction, fid: str, doc_id: str) -> _Searched:
    stream: Stream = objects.get(tx, STREAMS, fid)
    return _Searched(segments=segment_tables.holding(tx, fid, doc_id), version=stream.stream_version)


def _about(tx: Transaction, fid: str, rows: list[Segment]) -> _CatalogRows:
    removals = {segment.removed_version for segment in rows if segment.removed_version is not None}
    return _CatalogRows(took_out=streams.changes_at(tx, fid, removals), writings=_writings(tx, rows))


def _writings(tx: Transaction, every: list[Segment]) -> dict[tuple[str, int], _Attempt]:
    attempts = {(segment.task, segment.attempt) for segment in every}
    runs = tasks.by_fid(tx, {task for task, _ in attempts})
    former = {(one.task, one.attempt): one for one in tasks.former_attempts(tx, runs)}
    arrivals = streams.arrivals_of(tx, runs)
    return {
        (fid, attempt): _Attempt(
            task=runs[fid],
            ran=runs[fid] if runs[fid].attempt == attempt else former.get((fid, attempt)),
            is_present=runs[fid].attempt == attempt,
            arrivals=arrivals.get((fid, attempt), []),
        )
        for fid, attempt in attempts
    }


def _by_order(known: _Searched, found: list[Stored]) -> dict[Order, _StoredVersion]:
    """Return the versions by their order in the stream."""
    rows_of = known.rows_of({one.part for one in found})
    stored: dict[Order, _StoredVersion] = {}
    begins: dict[tuple[str, int], int] = {}
    for one in found:
        rows = rows_of[one.part]
        attempt = rows[0].task, rows[0].attempt
        if attempt not in begins:
            begins[attempt] = known.first_layer(*attempt)
        order = begins[attempt], rows[0].base + one.pos
        others = stored[order].rows if order in stored else []
        stored[order] = _StoredVersion(place=one, rows=[*others, *rows])
    return stored


def _is_visible(known: _Searched, one: _StoredVersion) -> bool:
    return bool(_visible_rows(known, one))


def _visible_rows(known: _Searched, one: _StoredVersion) -> list[Segment]:
    return [
        row
        for row in one.rows
        if row.added_version is not None
        and row.added_version <= known.version
        and (row.removed_version is None or row.removed_version > known.version)
    ]


def _version(known: _Searched, about: _CatalogRows, one: _StoredVersion, text: str, *, standing: Standing) -> Version:
    """Return a version, which has a ``standing`` if it is visible."""
    row = one.rows[-1]
    writing = about.writings[row.task, row.attempt]
    if not _is_visible(known, one):
        standing = _reason_hidden(about, writing, one)
    return Version(
        task=row.task,
        attempt=row.attempt,
        external_version=None if writing.ran is None else writing.ran.external_version,
        params=None if writing.ran is None else writing.ran.params,
        written_at=writing.written_at(row, one.place.pos),
        standing=standing,
        text=text,
    )


def _reason_hidden(about: _CatalogRows, writing: _Attempt, one: _StoredVersion) -> Standing:
    removals = [row.removed_version for row in one.rows if row.removed_version is not None]
    change = about.took_out.get(max(removals)) if removals else None
    if change is Change.REPLACE:
        return Standing.REPLACED
    if change is Change.WITHHOLD:
        return Standing.UNPUBLISHED
    if removals:
        # Its task was restored without it: a later version from the same task came with it.
        return Standing.REMOVED if writing.task.removed_at is not None else Standing.COVERED
    return Standing.WAITING if writing.is_present and writing.task.is_open else Standing.UNPUBLISHED
